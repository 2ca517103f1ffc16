"""`python -m shards ...` from a clone is `mcdist shards ...`."""

import sys

from mcdist.cli.main import main

if __name__ == "__main__":
    main(["shards", *sys.argv[1:]])
