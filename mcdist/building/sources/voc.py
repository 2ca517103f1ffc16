"""The PASCAL VOC layout: photos, an id list, proposals and labels below one VOC2012 folder."""

import hashlib
import re
from pathlib import Path
from typing import Literal

from mcdist.building.pictures.treatment import Treatment
from mcdist.building.source import safe_keys
from mcdist.building.sources.files import FileSource, file_item
from mcdist.errors import ConfigError, DataError, MachineError

Part = Literal["train", "held-out"]

LABEL_FOLDERS = ("SegmentationClassAug", "SegmentationClass")


def voc_source(
    root: Path,
    *,
    split: str,
    proposals: str,
    treatment: Treatment,
    with_labels: bool = True,
    ids_file: Path | None = None,
    hold_out: int = 0,
    part: Part = "train",
) -> FileSource:
    """The photos of `ImageSets/Segmentation/SPLIT.txt` (or of `ids_file`), in that order.

    `root` holds VOCdevkit/VOC2012 or is VOC2012. `proposals` names a folder in VOC2012, or is a path, of one PNG a photo. `hold_out` sets that many photos
    aside, the same ones every time; `part` says which side to build.

    Raises:
        DataError: a folder or list is missing, empty or holds what is no id.
        ConfigError: more photos held out than there are.
    """
    folder = voc_folder(root)
    masks = _proposals_folder(folder, proposals=proposals)
    labels = _labels_folder(folder) if with_labels else None
    ids = _held(_read_ids(ids_file or folder / "ImageSets" / "Segmentation" / f"{split}.txt"), num=hold_out, part=part)
    items = tuple(
        file_item(
            key,
            photo=f"JPEGImages/{photo}.jpg",
            photo_place=f"{folder}/JPEGImages/{photo}.jpg",
            mask_place=f"{masks}/{photo}.png",
            labels_place=None if labels is None else f"{labels}/{photo}.png",
        )
        for key, photo in zip(safe_keys(ids), ids, strict=True)
    )
    own = (("split", ids_file.name if ids_file else split), ("labels", labels.name if labels else None), ("hold_out", hold_out), ("part", part))
    return FileSource(name="voc", items=items, proposals=masks.name, treatment=treatment, own_options=own)


def voc_folder(root: Path) -> Path:
    """The VOC2012 folder at or below `root`, known by its JPEGImages."""
    for folder in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
        if (folder / "JPEGImages").is_dir():
            return folder
    found = "no JPEGImages below it" if root.is_dir() else "nothing"
    raise DataError(
        f"expected VOCdevkit/VOC2012/JPEGImages below {root}, found {found}; check the path, or fetch the data set: "
        f"mcdist shards build voc {root} --out DIR --download"
    )


def download_voc(root: Path) -> None:
    """Fetch VOC 2012 (2 GB) into `root` with torchvision; it checks the archive's checksum. Proposals and the extra labels are not part of it.

    Raises:
        MachineError: no connection, a damaged download or no space.
    """
    from torchvision.datasets import VOCSegmentation

    try:
        VOCSegmentation(str(root), year="2012", image_set="trainval", download=True)
    except (OSError, RuntimeError) as error:
        raise MachineError(
            f"cannot download VOC 2012 into {root} ({error}); fetch it on a machine with internet, copy it there and leave --download out"
        ) from error


def _proposals_folder(folder: Path, *, proposals: str) -> Path:
    inside, outside = folder / proposals, Path(proposals)
    for candidate in (inside, outside):
        if candidate.is_dir():
            return candidate
    raise DataError(f"expected the proposals (one PNG a photo) at {inside} or {outside}, found neither; name the folder with --proposals")


def _labels_folder(folder: Path) -> Path:
    for name in LABEL_FOLDERS:
        if (folder / name).is_dir():
            return folder / name
    raise DataError(f"expected the labels at {folder / LABEL_FOLDERS[0]} or {LABEL_FOLDERS[1]}, found neither; build without them with --no-labels")


def _read_ids(path: Path) -> list[str]:
    try:
        ids = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        present = ", ".join(sorted(file.stem for file in path.parent.glob("*.txt"))) or "no list"
        raise DataError(f"expected a list of photo ids at {path}, cannot read one there; that folder has: {present}") from error
    wrong = next((photo for photo in ids if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", photo)), None)
    if wrong is not None:
        raise DataError(f"expected photo ids, one a line, in {path}, found {wrong!r}; an id is a file name without folder and suffix")
    if not ids:
        raise DataError(f"expected photo ids in {path}, the list is empty; choose another --split")
    if len(set(ids)) != len(ids):
        twice = next(photo for photo in ids if ids.count(photo) > 1)
        raise DataError(f"expected each photo id once in {path}, found {twice} more than once; remove the repetition")
    return ids


def _held(ids: list[str], *, num: int, part: Part) -> list[str]:
    """One side of the split: the `num` ids with the lowest hashes are held out, whatever the order of the list."""
    if not 0 <= num < len(ids):
        raise ConfigError(f"--hold-out must be 0 to {len(ids) - 1} of the {len(ids)} photos, got {num}; choose fewer")
    if not num and part == "held-out":
        raise ConfigError("--part held-out needs the number of photos held out; add --hold-out N")
    held = set(sorted(ids, key=lambda photo: hashlib.sha256(f"hold-out:{photo}".encode()).digest())[:num])
    return [photo for photo in ids if (photo in held) == (part == "held-out")]
