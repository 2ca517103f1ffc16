"""Proposals: photo -> instance map. One module a method, one registry, one signature."""
