"""Videos as folders of frames, in DAVIS's layout: JPEGImages/480p/NAME/*.jpg, Annotations/480p/NAME/*.png, ImageSets/YEAR/SPLIT.txt. No torch here."""

from dataclasses import dataclass
from pathlib import Path

import numpy
from jaxtyping import Int32, UInt8

from mcdist.data.pictures.folder import check_folder, is_picture, is_text
from mcdist.data.pictures.map_file import read_map_file
from mcdist.data.pictures.photo import decode_upright
from mcdist.errors import DataError

PHOTOS_FOLDER, ANNOTATIONS_FOLDER, LISTS_FOLDER = "JPEGImages", "Annotations", "ImageSets"
RESOLUTION = "480p"
YEARS = ("2016", "2017")


@dataclass(frozen=True, slots=True)
class Video:
    """`frames` in the order of their names. `annotations`: of each frame the map of objects, None where there is none; the first frame has one."""

    name: str
    frames: tuple[Path, ...]
    annotations: tuple[Path | None, ...]

    @property
    def is_annotated(self) -> bool:
        """Whether every frame has its annotation, so that the video can be scored."""
        return None not in self.annotations


def frames_in(folder: Path) -> tuple[Path, ...]:
    """The pictures directly in a folder, in the order of their names.

    Raises:
        DataError: no folder, or no picture in it.
    """
    check_folder(folder, what="a video's frames")
    found = sorted(path for path in folder.iterdir() if is_picture(path.name) and is_text(path.name))
    if not found:
        raise DataError(f"expected a video's frames (JPEG, PNG) in {folder}, found none; check the path")
    return tuple(found)


def davis_videos(root: Path, *, year: int, split: str = "val") -> tuple[Video, ...]:
    """The videos of a split, in the order of its list.

    Raises:
        DataError: no list of that year and split, a name in it that is no folder's, or a video without frames or without an annotation of its first frame.
    """
    return tuple(_video(root, name=name) for name in _names(root, year=year, split=split))


def read_frame(path: Path) -> UInt8[numpy.ndarray, "H W 3"]:
    """The pixels of a frame.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return decode_upright(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"the frame {path} cannot be read ({error}); replace it, or leave out its video") from error


def read_annotation(path: Path) -> Int32[numpy.ndarray, "H W"]:
    """The numbers of an annotation, 0..255.

    Raises:
        DataError: it cannot be read, or holds larger numbers.
    """
    numbers = read_map_file(path, what="the annotation")
    if numbers.max(initial=0) > 255:
        raise DataError(f"the annotation {path} holds numbers up to {numbers.max()}, expected 0..255; number the objects from 1")
    return numbers


def _names(root: Path, *, year: int, split: str) -> list[str]:
    check_folder(root, what="a data set in DAVIS's layout")
    path = root / LISTS_FOLDER / str(year) / f"{split}.txt"
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise DataError(f"expected the list of videos {path}, it cannot be read ({reason}){_lists_in(root, split=split)}") from error
    names = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not names:
        raise DataError(f"expected names of videos in {path}, one a line, found none")
    for name in names:
        if Path(name).name != name or name in (".", ".."):
            raise DataError(f"{path} must have one name of a folder a line, got {name!r}")
    return names


def _lists_in(root: Path, *, split: str) -> str:
    """The lists that are there, and the year to ask for where one of them is the split of another year."""
    found = sorted(one.relative_to(root / LISTS_FOLDER) for one in (root / LISTS_FOLDER).glob("*/*.txt"))
    years = [one.parent.name for one in found if one.stem == split and one.parent.name in YEARS]
    cure = f"; for these videos: --year {years[0]}" if years else ""
    return f"; there are: {', '.join((Path(LISTS_FOLDER) / one).as_posix() for one in found) or 'none'}{cure}"


def _video(root: Path, *, name: str) -> Video:
    frames = frames_in(root / PHOTOS_FOLDER / RESOLUTION / name)
    places = [root / ANNOTATIONS_FOLDER / RESOLUTION / name / f"{frame.stem}.png" for frame in frames]
    annotations = tuple(place if place.is_file() else None for place in places)
    if annotations[0] is None:
        raise DataError(f"the video {name} must have an annotation of its first frame at {places[0]}; without it no label can be propagated")
    return Video(name, frames=frames, annotations=annotations)
