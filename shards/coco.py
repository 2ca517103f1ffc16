"""COCO as a script: `python shards/coco.py ...` is `python -m shards build coco ...`, also from a clone that is not installed."""

import sys
from pathlib import Path


def main() -> None:
    """Run the command line, with the clone on the path in place of this folder, whose names (`tree`, `source`) are others' too."""
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from shards.__main__ import app

    app(args=["build", "coco", *sys.argv[1:]], prog_name="python -m shards")


if __name__ == "__main__":
    main()
