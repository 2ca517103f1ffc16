"""COCO as a script: `python shards/coco.py ...` is `python -m shards build coco ...`, also from a clone that is not installed."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command line. This clone comes first on the path, also for workers, and not this folder: its names (`source`, `folder`) are others' too."""
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([sys.path[0], *filter(None, [os.environ.get("PYTHONPATH")])])
    from mcdist.building.commands.app import app

    app(args=["build", "coco", *sys.argv[1:]], prog_name="python -m shards")


if __name__ == "__main__":
    main()
