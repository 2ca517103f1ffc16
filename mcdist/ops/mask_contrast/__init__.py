"""The contrastive loss: `reference.py` is the definition in plain torch, `compact.py`, `native.py` and `kernel.py` are the fast ones, `op.py` is public."""
