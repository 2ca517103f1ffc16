"""`python -m shards ...` from a clone: the shard builders of `mcdist.building`, under the name that this folder gives them."""

from mcdist.building.commands.app import app, main

__all__ = ["app", "main"]

if __name__ == "__main__":
    main()
