"""Mask pooling: `reference.py` is the definition in plain torch, `gathered.py` the fast path of a CPU, `op.py` the public function."""
