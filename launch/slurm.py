"""`python launch/slurm.py --nodes 4 [CONFIG] [KEY=VALUE]...` from a clone: the launcher of `mcdist.launch`."""

import sys
from pathlib import Path


def main() -> None:
    """Run the command line. This clone comes first on the path, and not this folder."""
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from mcdist.launch.command import main as launch

    launch()


if __name__ == "__main__":
    main()
