"""A person who names the clusters of a run: the changes of a short session, each saved by itself, from wherever the names are now."""

import sys
from collections.abc import Callable
from pathlib import Path

from mcdist.catalogue.catalogue import Catalogue
from mcdist.catalogue.names import Names
from mcdist.catalogue.names_of_run import names_of
from mcdist.errors import in_plain_words
from mcdist.run_dir import RunDir

CHANGES: tuple[Callable[[Names], Names], ...] = (
    lambda names: names.name(0, "cat"),
    lambda names: names.name(1, "dog"),
    lambda names: names.name(2, "naïve “bird”"),
    lambda names: names.merge(2, into=1),
    lambda names: names.undo(),
    lambda names: names.redo(),
    lambda names: names.name(0, "lynx"),
    lambda names: names.reject([0, 3]),
    lambda names: names.undo(),
    lambda names: names.name(1, "wolf"),
)
"""Change number N leads from revision N to revision N + 1."""


def main() -> None:
    """Name the clusters of the run in the first argument."""
    run_dir = RunDir(Path(sys.argv[1]))
    with in_plain_words():
        names_file = names_of(run_dir, catalogue=Catalogue.open(run_dir))
        while (revision := names_file.read().revision) < len(CHANGES):
            names_file.change(CHANGES[revision], revision=revision)


if __name__ == "__main__":
    main()
