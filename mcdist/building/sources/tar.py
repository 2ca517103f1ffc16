"""Tars of photos: one or many, read by offset and never unpacked; masks are in a folder or in tars of the same inner paths."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

from mcdist.building.pictures.photo import first_line
from mcdist.building.pictures.place import Place, TarMember
from mcdist.building.pictures.treatment import Treatment
from mcdist.building.source import Item, hostile, problem_item, safe_keys
from mcdist.building.sources.files import FileSource, file_item
from mcdist.building.sources.folder import twice_problem
from mcdist.data.pictures.folder import check_folder, is_picture, named_twice, stem_of
from mcdist.errors import DataError

BLOCK_BYTES = 512


def tar_source(photos: list[Path], *, masks: list[Path], labels: list[Path], treatment: Treatment) -> FileSource:
    """Every picture of the tars, in their order; `masks` and `labels` are one folder or any number of tars (no `labels`: no ground truth).

    Raises:
        DataError: a tar is missing, compressed or damaged, or there is no photo in any.
    """
    members, problems = _pictures_of(photos)
    if not members:
        raise DataError(f"expected photos in {', '.join(map(str, photos))}, found none; give tars that hold photos, not tars of tars")
    items = _items(members, masks=_Maps(masks, what="masks"), labels=_Maps(labels, what="labels") if labels else None)
    named = labels[0].name if labels else None
    return FileSource(name="tar", items=(*items, *problems), proposals=masks[0].name, treatment=treatment, own_options=(("labels", named),))


def members_of(tar: Path) -> Iterator[TarMember]:
    """The plain files of an uncompressed tar, in its order; `./` before a name is dropped.

    Raises:
        DataError: missing, compressed, damaged or cut.
    """
    try:
        num_bytes = tar.stat().st_size
        with tarfile.open(tar, mode="r:") as file:
            while (member := file.next()) is not None:
                # tarfile keeps all it has seen: a gigabyte for a million photos.
                file.members.clear()  # type: ignore[attr-defined]
                if member.isreg() and not member.issparse():
                    yield _inside(TarMember(str(tar), member.name.removeprefix("./"), member.offset_data, member.size), num_bytes=num_bytes)
            _check_end(tar, offset=file.offset)
    except FileNotFoundError as error:
        raise DataError(f"expected a tar at {tar}, found nothing there; check the path") from error
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise DataError(f"{tar} is no uncompressed tar that can be read to its end ({first_line(error)}); uncompress it, or copy it again") from error


class _Maps:
    """Where the map of a photo is: in a folder, or in tars, whose members are looked up by their path without suffix."""

    def __init__(self, paths: list[Path], *, what: str) -> None:
        self.what, self.paths = what, paths
        self.folder = paths[0] if len(paths) == 1 and not paths[0].is_file() else None
        if self.folder is not None:
            check_folder(self.folder, what=what)
            return
        found = (member for path in paths for member in members_of(path) if member.name.lower().endswith(".png"))
        self.members = {stem_of(member.name): member for member in found}

    def place_of(self, name: str) -> Place | None:
        if self.folder is not None:
            return f"{self.folder}/{stem_of(name)}.png"
        return self.members.get(stem_of(name))

    def missing(self, name: str) -> Item:
        return problem_item(name, problem=f"expected {stem_of(name)}.png in the {self.what} {', '.join(map(str, self.paths))}, found none; add it")


def _pictures_of(tars: list[Path]) -> tuple[dict[str, TarMember], list[Item]]:
    """Photos by name, and the items whose names collide or lead out of the folder."""
    members: dict[str, TarMember] = {}
    problems = []
    for member in (member for tar in tars for member in members_of(tar)):
        if hostile(member.name):
            problems.append(problem_item(str(member), problem=f"{member}: the name leads out of the tar; pack it with relative names without .."))
        elif is_picture(member.name) and member.name in members:
            problems.append(problem_item(str(member), problem=f"{member}: {members[member.name]} has the same name; rename one"))
        elif is_picture(member.name):
            members[member.name] = member
    return members, problems


def _items(members: dict[str, TarMember], *, masks: _Maps, labels: _Maps | None) -> Iterator[Item]:
    twice = named_twice(list(members))
    single = [name for name in members if name not in twice]
    for key, name in zip(safe_keys([stem_of(name) for name in single]), single, strict=True):
        mask, label = masks.place_of(name), labels.place_of(name) if labels else None
        if mask is None:
            yield masks.missing(name)
        elif labels and label is None:
            yield labels.missing(name)
        else:
            yield file_item(key, photo=name, photo_place=members[name], mask_place=mask, labels_place=label)
    for name, earlier in twice.items():
        yield twice_problem(name, earlier=earlier)


def _inside(member: TarMember, *, num_bytes: int) -> TarMember:
    if member.offset + member.size > num_bytes:
        raise DataError(f"{member} should end at byte {member.offset + member.size:,}, its tar ends at {num_bytes:,}; copy the tar again")
    return member


def _check_end(tar: Path, *, offset: int) -> None:
    """tarfile takes a header it cannot read for the end; what follows would be lost in silence."""
    with tar.open("rb") as file:
        file.seek(offset)
        block = file.read(BLOCK_BYTES)
    if block.strip(b"\0"):
        raise DataError(f"{tar} has a damaged header at byte {offset:,}; copy the tar again")
