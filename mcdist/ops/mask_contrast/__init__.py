"""The contrastive loss: `reference.py` defines it in plain torch, `compact.py`, `native.py` and
`kernel.py` are faster, `op.py` is public.
"""
