"""`mcdist ...` and `python -m mcdist ...`: the command line, in `mcdist.cli`."""

import sys

from mcdist.errors import in_plain_words
from mcdist.resilience.stop import listen


def main() -> None:
    """Entry point. Signals that come while a training still imports its packages are noted: a cluster may send one in the first second."""
    if sys.argv[1:2] == ["train"]:
        listen()
    with in_plain_words():  # imports need memory too
        from mcdist.cli.main import main as run_command_line

        run_command_line()


if __name__ == "__main__":
    main()
