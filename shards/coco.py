"""COCO as a script: `python shards/coco.py ...` is `mcdist shards build coco ...`, also from a clone that is not installed."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command line. The clone replaces this folder on the path, and comes first for worker processes too."""
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([sys.path[0], *filter(None, [os.environ.get("PYTHONPATH")])])
    from mcdist.cli.main import main as run

    run(["shards", "build", "coco", *sys.argv[1:]])


if __name__ == "__main__":
    main()
