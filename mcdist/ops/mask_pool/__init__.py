"""Mask pooling: `reference.py` is the definition in plain torch, `op.py` the public function."""
