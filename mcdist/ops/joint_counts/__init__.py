"""Pixels by pair of numbers: `reference.py` is the definition in numpy, `native.py` the fast one, `op.py` is public."""
