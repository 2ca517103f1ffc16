"""`python launch/slurm.py --nodes 4 [CONFIG] [KEY=VALUE]...` is `mcdist launch ...`, also from a clone that is not installed."""

import sys
from pathlib import Path


def main() -> None:
    """Run the command line. The clone replaces this folder on the path."""
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from mcdist.cli.main import main as run

    run(["launch", *sys.argv[1:]])


if __name__ == "__main__":
    main()
