"""Passes: every photo, or every object, goes through a network once, each rank its share, and what comes out is kept on disk."""
