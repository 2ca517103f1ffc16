"""`python -m shards ...` from a clone is `mcdist shards ...`."""
