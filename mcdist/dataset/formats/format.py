"""Format: a way to write a data set. It gets the photos one after another and keeps none of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from mcdist.dataset.photo import LabelledPhoto
from mcdist.report.palette import class_colours, rgb


@dataclass(frozen=True, slots=True)
class Target:
    """Where and of what a data set is written: the empty folder, the classes' names by id (1..), and what the data set is called."""

    folder: Path
    names: dict[int, str]
    title: str

    @property
    def colours(self) -> dict[int, tuple[int, int, int]]:
        """The colour of each class, the same as in mcdist's own pictures."""
        colours = class_colours(max(self.names) + 1)
        return {class_id: rgb(colours[class_id]) for class_id in self.names}


@runtime_checkable
class Format(Protocol):
    """One data set being written."""

    def add(self, photo: LabelledPhoto, *, suffix: str, content: bytes) -> None:
        """Write a photo, whose file is `content` with the name's ending `suffix`, and its labels."""
        ...

    def finish(self) -> None:
        """Write what belongs to all photos."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """A format that can be asked for. `how_to_open`: a few lines of Python that read it, for the data card. `void`: what became of void segments.
    `reserved`: names that mean something to its readers, so that no class may have them."""

    name: str
    summary: str
    begin: "Begin"
    how_to_open: str
    void: str
    jpeg_only: bool = False
    max_classes: int | None = None
    reserved: tuple[str, ...] = ()


@runtime_checkable
class Begin(Protocol):
    """Begin a data set in an empty folder."""

    def __call__(self, target: Target) -> Format:
        """The format, ready for the first photo."""
        ...


def write_file(path: Path, content: bytes) -> None:
    """Write a file of a data set that is not in its place yet; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
