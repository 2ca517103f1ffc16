"""K-means of vectors in memory: `reference.py` is the definition in numpy, `native.py` the fast one, `op.py` is public."""
