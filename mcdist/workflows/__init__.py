"""Workflows: what one command does from beginning to end, a file each. A training's is `mcdist/run.py`."""
