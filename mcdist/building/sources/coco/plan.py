"""Plan a COCO build: which files the photos, masks and labels come from, and what is wrong with them as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mcdist.building.pictures.place import size_and_time
from mcdist.building.pictures.treatment import Treatment
from mcdist.building.source import Item, Option, problem_item, safe_keys, strange_item
from mcdist.building.sources.coco.file import CocoFile, CocoImage, orphans, read_coco
from mcdist.building.sources.coco.labels import Labels
from mcdist.building.sources.coco.rle import pycocotools_mask
from mcdist.building.sources.coco.source import CocoItem, CocoSource, JsonMaps, StuffMaps, png_beside
from mcdist.building.sources.coco.stuff import class_names
from mcdist.data.pictures.folder import check_folder, is_text, pictures_in
from mcdist.data.pictures.png import STORED_VOID
from mcdist.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class CocoFiles:
    """What the user gave; `masks` is `annotations`, `panoptic`, a folder of PNGs, a JSON file of proposals, or None for whichever there is."""

    images: Path
    annotations: Path | None = None
    masks: str | None = None
    panoptic: Path | None = None
    panoptic_masks: Path | None = None
    stuff: Path | None = None
    labels: Labels = Labels.auto
    min_score: float = 0.0


def coco_source(files: CocoFiles, *, treatment: Treatment) -> CocoSource:
    """A source of the photos that `annotations` lists, or `panoptic`, or of every picture in `images` where neither is given.

    Raises:
        ConfigError: options that do not go together.
        DataError: a file or folder is missing or of another form.
        MissingExtraError: segmentations are to be decoded and pycocotools is not installed.
    """
    kind = _masks_kind(files)
    check_folder(files.images, what="images")
    annotations = None if files.annotations is None else read_coco(files.annotations)
    panoptic = None if files.panoptic is None else read_coco(files.panoptic)
    proposals = read_coco(Path(str(files.masks)), results=True) if kind == "proposals" else None
    labels = _labels_kind(files, has_annotations=any(file is not None and file.places_of for file in (annotations, panoptic)))
    of_masks = {"annotations": annotations, "panoptic": panoptic, "proposals": proposals}.get(kind)
    of_labels = (panoptic or annotations) if labels is Labels.categories else None
    if any(file is not None and file is not panoptic for file in (of_masks, of_labels)):
        pycocotools_mask()
    read = [file for file in (annotations, panoptic, proposals) if file is not None]
    masks = Path(str(files.masks)) if of_masks is None else _json_maps(of_masks, files=files, is_labels=of_masks is of_labels)
    truth = _truth(labels, of_labels=of_labels, files=files)
    return CocoSource(
        items=tuple(_items(files, listed=annotations or panoptic, of_masks=of_masks, of_labels=of_labels, read=read)),
        images=files.images,
        masks=masks,
        labels=truth,
        method=of_masks.label if of_masks is not None else str(PurePosixPath(str(files.masks)).name),
        treatment=treatment,
        own_options=tuple(_own_options(files, labels=labels, of_labels=of_labels, read=read).items()),
    )


def _masks_kind(files: CocoFiles) -> str:
    if (files.panoptic is None) != (files.panoptic_masks is None):
        raise ConfigError("--panoptic FILE and --panoptic-masks FOLDER belong together: the ids are in one, the pixels in the other; give both or neither")
    if files.masks in (None, "annotations", "panoptic"):
        kind = files.masks or ("panoptic" if files.panoptic is not None else "annotations")
        if (files.panoptic if kind == "panoptic" else files.annotations) is None:
            missing = "--panoptic FILE --panoptic-masks FOLDER" if kind == "panoptic" else "--annotations FILE"
            raise ConfigError(f"masks from {kind} need {missing}, got none; give it, or proposals with --masks FOLDER or --masks FILE.json")
        return kind
    if Path(str(files.masks)).suffix.lower() == ".json":
        return "proposals"
    check_folder(Path(str(files.masks)), what="masks")
    return "folder"


def _labels_kind(files: CocoFiles, *, has_annotations: bool) -> Labels:
    labels = files.labels
    if labels is Labels.auto:
        labels = Labels.coarse if files.stuff is not None else Labels.categories if has_annotations else Labels.none
    if labels in (Labels.coarse, Labels.fine):
        if files.stuff is None:
            raise ConfigError(f"--labels {labels} needs COCO-Stuff's maps, got none; name their folder with --stuff DIR")
        check_folder(files.stuff, what="COCO-Stuff maps")
    if labels is Labels.categories and files.annotations is None and files.panoptic is None:
        raise ConfigError("--labels categories needs --annotations FILE or --panoptic FILE, got neither; give one, or --labels none")
    return labels


def _json_maps(file: CocoFile, *, files: CocoFiles, is_labels: bool) -> JsonMaps:
    if not file.places_of:
        raise DataError(f"expected annotations in {file.path}, it has none; name proposals with --masks FOLDER or --masks FILE.json")
    folder = files.panoptic_masks if file.path == files.panoptic else None
    if folder is not None:
        check_folder(folder, what="panoptic maps")
    return JsonMaps(file.path, categories=file.category_of, with_categories=is_labels, panoptic_folder=folder, min_score=files.min_score)


def _truth(labels: Labels, *, of_labels: CocoFile | None, files: CocoFiles) -> JsonMaps | StuffMaps | None:
    if of_labels is not None:
        wrong = next((number for number in of_labels.category_of if not 0 < number < STORED_VOID), None)
        if wrong is not None or not of_labels.category_of:
            found = "no categories" if wrong is None else f"category {wrong}"
            raise DataError(f"labels hold category ids 1 to {STORED_VOID - 1}, {of_labels.path} has {found}; build with --labels none, or map the categories")
        return _json_maps(of_labels, files=files, is_labels=True)
    if labels in (Labels.coarse, Labels.fine):
        return StuffMaps(Path(str(files.stuff)), "coarse" if labels is Labels.coarse else "fine")
    return None


def _own_options(files: CocoFiles, *, labels: Labels, of_labels: CocoFile | None, read: list[CocoFile]) -> dict[str, Option]:
    options: dict[str, Option] = {"labels": labels.value, "min_score": files.min_score, "files": ", ".join(file.label for file in read)}
    if of_labels is not None:
        options["classes"] = ",".join(["0 background", *(f"{number} {name}" for number, (name, _) in sorted(of_labels.category_of.items()))])
    elif labels in (Labels.coarse, Labels.fine):
        options["classes"] = ",".join(class_names("coarse" if labels is Labels.coarse else "fine"))
    return options


def _items(files: CocoFiles, *, listed: CocoFile | None, of_masks: CocoFile | None, of_labels: CocoFile | None, read: list[CocoFile]) -> Iterator[Item]:
    images = _pictures(files.images) if listed is None else listed.images
    yield from (strange_item(image.file_name) for image in images if not is_text(image.file_name))
    images = tuple(image for image in images if is_text(image.file_name))
    keys = safe_keys([PurePosixPath(image.file_name).with_suffix("").as_posix() for image in images])
    for key, image in zip(keys, images, strict=True):
        yield _item(key, image, files=files, of_masks=of_masks, of_labels=of_labels)
    for file in read:
        for what, sentence in file.problems:
            yield problem_item(what, problem=sentence)
    for file in (file for file in read if listed is not None and file.images):
        for what, sentence in orphans(file, known=[image.id for image in file.images]):
            yield problem_item(what, problem=sentence)


def _item(key: str, image: CocoImage, *, files: CocoFiles, of_masks: CocoFile | None, of_labels: CocoFile | None) -> Item:
    folders = [files.panoptic_masks, files.stuff, Path(str(files.masks)) if of_masks is None else None]
    places = [str(files.images / image.file_name), *(png_beside(folder, photo=image.file_name) for folder in folders if folder is not None)]
    found = [size_and_time(place) for place in places]
    return CocoItem(
        key=key,
        photo=image.file_name,
        identity="/".join(size for size, _ in found),
        state="/".join(time for _, time in found),
        image_id=image.id if image.id >= 0 else None,
        width=image.width,
        height=image.height,
        masks=_places(of_masks, image=image),
        labels=_places(of_labels, image=image),
    )


def _places(file: CocoFile | None, *, image: CocoImage) -> bytes:
    """A photo's annotations: by its id, or by its file name in files of proposals that have no ids."""
    return b"" if file is None else file.places_of.get(image.id) or file.places_of.get(image.file_name, b"")


def _pictures(folder: Path) -> tuple[CocoImage, ...]:
    """Photos without a list. COCO names them by their id; another name has none, shown as a negative one."""
    names = pictures_in(folder)
    stems = [PurePosixPath(name).stem for name in names]
    return tuple(
        CocoImage(int(stem) if stem.isascii() and stem.isdigit() else -number, name, None, None)
        for number, (stem, name) in enumerate(zip(stems, names, strict=True), start=1)
    )
