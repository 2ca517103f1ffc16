"""The story of an export: the segments of a run's photos, called what a person calls their clusters now, become a data set that others' tools open."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcdist.building.folder.split import draw
from mcdist.building.source import safe_keys
from mcdist.data.pictures.folder import check_folder, pictures_in, stem_of
from mcdist.dataset.card import Counts, data_card
from mcdist.dataset.folder import MARK_NAME, check_replaceable, replaced
from mcdist.dataset.formats.format import Kind, Target, write_file
from mcdist.dataset.formats.registry import FORMATS
from mcdist.dataset.labels import BACKGROUND_ID, ClassList, LabelRule, Named, class_list
from mcdist.dataset.photo import LabelledPhoto, LabelledSegment, Split, photo_content, segment_in_box
from mcdist.dataset.run_names import NameSource, names_in_segments, names_of_run
from mcdist.dataset.segments import CLASSES_NAME, SegmentedPhoto, read_segments, segments_folder
from mcdist.errors import ConfigError, DataError
from mcdist.json_text import parse_json
from mcdist.run_dir import RunDir

Tick = Callable[[int], None]
MARK_FORMAT = "mcdist dataset 1"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, for the one who asked."""

    folder: Path
    counts: Counts
    classes: dict[int, str]


@dataclass(frozen=True, slots=True)
class _Planned:
    """A photo of the data set, before it is written."""

    photo: str
    number: int
    key: str
    split: Split


def export_dataset(
    folder: Path,
    *,
    format: str,
    out: Path,
    rule: LabelRule,
    photos: Path | None = None,
    run: Path | None = None,
    val_share: float = 0.1,
    seed: int = 0,
    keep_empty: bool = False,
    say_total: Callable[[int], None] = lambda _: None,
    tick: Tick = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Write the data set `out` from the segments in `folder`: a run, or what mcdist segment wrote. The same input gives the same bytes.

    Args:
        photos: the folder that was segmented; None: where the segments say.
        run: whose catalogue and names count; None: `folder` where it is a run, else the run that the segments name, else the names in the segments.
        keep_empty: also export photos in which no segment has a label.
        say: hears where an earlier export is kept, in which somebody changed or added files.

    Raises:
        ConfigError: an unknown format, a share out of range, no class, or `out` holds something else.
        DataError: no segments, no label, a damaged file, or a photo that is missing or has changed.
        HeldError: another export writes to `out`.
        MachineError: the disk refuses; an earlier export in `out` is untouched.
    """
    if format not in FORMATS:
        raise ConfigError(f"unknown format {format!r}; known: {', '.join(FORMATS)}")
    if not 0 <= val_share < 1:
        raise ConfigError(f"--val-share must be in 0..1 without 1, got {val_share:g}")
    kind, found = FORMATS[format], segments_folder(folder)
    check_replaceable(out)
    about = _about(found)
    source = _name_source(folder, run=run, about=about)
    _require_same_encoder(source, about=about, found=found)
    root = _photos_of(found, given=photos, about=about)

    counts = Counts()
    names, empty = _look_through(found, source=source, rule=rule, counts=counts)
    counts.not_segmented = len(set(pictures_in(root)) - {photo for photo, _ in names})
    classes = _class_list(source, seen=names, rule=rule, kind=kind)
    planned = _plan(names, empty=empty, keep_empty=keep_empty, val_share=val_share, seed=seed, counts=counts, rule=rule)
    say_total(len(planned))

    facts = {**_facts(about), **source.facts, "smallest confidence": f"{rule.min_confidence:g}"}
    title = f"{folder.resolve().name}, labelled by clusters"
    settings = {
        "format": format,
        "min_confidence": rule.min_confidence,
        "unnamed": rule.unnamed,
        "val_share": val_share,
        "seed": seed,
        "keep_empty": keep_empty,
    }
    with replaced(out, say=say) as fresh:
        target = Target(folder=fresh, names=classes.names, title=title)
        writer = kind.begin(target)
        for photo, plan in _planned_photos(found, planned=planned):
            labelled = _labelled(photo, plan=plan, named=source.name(photo), classes=classes, rule=rule)
            suffix, content = photo_content(f"{root}/{photo.photo}", width=photo.width, height=photo.height, jpeg_only=kind.jpeg_only)
            writer.add(labelled, suffix=suffix, content=content)
            _count(labelled, counts=counts)
            tick(1)
        writer.finish()
        card = data_card(title, kind=kind, names=classes.names, counts=counts, rule=rule, facts=facts, keep_empty=keep_empty)
        write_file(fresh / "README.md", card.encode())
        write_file(fresh / MARK_NAME, _mark(settings, facts=facts, classes=classes, planned=planned))
    return Exported(folder=out, counts=counts, classes=classes.names)


def _about(found: Path) -> dict[str, Any]:
    """classes.json of the segments: what they were made of."""
    try:
        about = parse_json((found / CLASSES_NAME).read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{found / CLASSES_NAME} is damaged ({type(error).__name__}); run mcdist segment again") from error
    return about if isinstance(about, dict) else {}


def _name_source(folder: Path, *, run: Path | None, about: dict[str, Any]) -> NameSource:
    """The names of today where the run is known; those in the segments where it is not."""
    if run is not None:
        return names_of_run(RunDir(run))
    candidates = [folder, *([Path(about["run"])] if isinstance(about.get("run"), str) else [])]
    for candidate in map(RunDir, candidates):
        if candidate.config.is_file() and candidate.catalogue.is_dir():
            return names_of_run(candidate)
    return names_in_segments()


def _require_same_encoder(source: NameSource, *, about: dict[str, Any], found: Path) -> None:
    """Vectors of one encoder say nothing to clusters of another one."""
    if source.step is not None and isinstance(about.get("step"), int) and about["step"] != source.step:
        raise DataError(
            f"{found} was segmented after step {about['step']} of the run, its clusters are of step {source.step}; segment the photos again: mcdist segment"
        )


def _photos_of(found: Path, *, given: Path | None, about: dict[str, Any]) -> Path:
    if given is None and not isinstance(about.get("photos"), str):
        raise DataError(f"{found / CLASSES_NAME} does not say where the photos are; name their folder with --photos DIR")
    root = given if given is not None else Path(about["photos"])
    check_folder(root, what="photos")
    return root


def _facts(about: dict[str, Any]) -> dict[str, str]:
    """What the segments say of themselves, as far as it is text or a number and no path of this machine."""
    shown = {"run": Path(about["run"]).name} if isinstance(about.get("run"), str) else {}
    return {**shown, **{name: str(about[name]) for name in ("step", "masks", "objects") if isinstance(about.get(name), str | int)}}


def _look_through(found: Path, *, source: NameSource, rule: LabelRule, counts: Counts) -> tuple[list[tuple[str, list[Named]]], set[str]]:
    """Every photo with what its segments are called, and the photos in which none has a label; counts what is void."""
    seen: list[tuple[str, list[Named]]] = []
    empty: set[str] = set()
    names: set[str] = set()
    for photo in read_segments(found):
        if photo.photo in names:
            raise DataError(f"{photo.where}: the photo {photo.photo} is in two files; delete the older one")
        names.add(photo.photo)
        named = source.name(photo)
        reasons = [rule.void_because(each) for each in named]
        counts.void.update(reason for reason in reasons if reason)
        counts.background += sum(reason is None and each.class_id == BACKGROUND_ID for each, reason in zip(named, reasons, strict=True))
        if not any(reason is None and each.class_id != BACKGROUND_ID for each, reason in zip(named, reasons, strict=True)):
            empty.add(photo.photo)
        seen.append((photo.photo, named))
    return seen, empty


def _class_list(source: NameSource, *, seen: Sequence[tuple[str, list[Named]]], rule: LabelRule, kind: Kind) -> ClassList:
    everything = [named for _, all_named in seen for named in all_named]
    written = {named.class_id: named.name for named in everything if named.class_id is not None and named.name is not None}
    unnamed = {named.cluster for named in everything if named.name is None} if rule.unnamed == "classes" else ()
    classes = class_list(written if source.classes is None else source.classes, unnamed_clusters=unnamed)
    if reserved := sorted(set(kind.reserved) & set(classes.names.values())):
        raise ConfigError(f"the format {kind.name} has a meaning of its own for {', '.join(reserved)}; give the class another name in mcdist view")
    if kind.max_classes is not None and max(classes.names) > kind.max_classes:
        raise ConfigError(f"the format {kind.name} has room for {kind.max_classes} classes, there are {len(classes.names)}; choose coco, or merge clusters")
    return classes


def _plan(
    seen: Sequence[tuple[str, list[Named]]], *, empty: set[str], keep_empty: bool, val_share: float, seed: int, counts: Counts, rule: LabelRule
) -> dict[str, _Planned]:
    """The photos of the data set in the order of their names, each with its number, its key and its split."""
    everything = sorted(photo for photo, _ in seen)
    counts.left_out = len(empty)
    chosen = [photo for photo in everything if keep_empty or photo not in empty]
    if len(empty) == len(everything):
        why = ", ".join(f"{num:,} {reason}" for reason, num in sorted(counts.void.items())) or "the photos have no segments"
        raise DataError(
            f"no segment of {len(everything):,} photos has a label ({why}); lower --min-confidence {rule.min_confidence:g}, name more clusters "
            "with: mcdist view RUN, or export clusters without a name with --unnamed classes"
        )
    keys = dict(zip(chosen, _keys(chosen), strict=True))
    draws = {photo: draw(key, seed=seed) for photo, key in keys.items()}
    val = {photo for photo in chosen if draws[photo] < val_share}
    if val_share and len(chosen) > 1:  # most trainers need both
        val = val or {min(chosen, key=draws.__getitem__)}
        val = val if len(val) < len(chosen) else val - {max(chosen, key=draws.__getitem__)}
    return {photo: _Planned(photo=photo, number=place + 1, key=keys[photo], split="val" if photo in val else "train") for place, photo in enumerate(chosen)}


def _keys(photos: list[str]) -> list[str]:
    """File names without suffix that no photo's name can lead out of the data set; photos that differ in their suffix keep it."""
    stems = [stem_of(photo) for photo in photos]
    num_with = Counter(stems)
    return safe_keys([photo if num_with[stem] > 1 else stem for photo, stem in zip(photos, stems, strict=True)])


def _planned_photos(found: Path, *, planned: dict[str, _Planned]) -> Iterator[tuple[SegmentedPhoto, _Planned]]:
    for photo in read_segments(found):
        if photo.photo in planned:
            yield photo, planned[photo.photo]


def _labelled(photo: SegmentedPhoto, *, plan: _Planned, named: list[Named], classes: ClassList, rule: LabelRule) -> LabelledPhoto:
    segments: list[LabelledSegment] = []
    for segment, each in zip(photo.segments, named, strict=True):
        class_id = None if rule.void_because(each) else classes.id_of(each)
        found = segment_in_box(photo.mask(segment), number=segment.number, class_id=class_id, confidence=round(each.confidence, 5), cluster=each.cluster)
        if found is not None:
            segments.append(found)
    return LabelledPhoto(
        number=plan.number, key=plan.key, original=photo.photo, split=plan.split, width=photo.width, height=photo.height, segments=tuple(segments)
    )


def _count(photo: LabelledPhoto, *, counts: Counts) -> None:
    counts.photos[photo.split] += 1
    of_classes = [segment.class_id for segment in photo.labelled if segment.class_id]
    counts.segments.update(of_classes)
    counts.photos_of_class.update(set(of_classes))


def _mark(settings: dict[str, Any], *, facts: dict[str, str], classes: ClassList, planned: dict[str, _Planned]) -> bytes:
    photos = [{"key": plan.key, "original": plan.photo, "split": plan.split, "number": plan.number} for plan in planned.values()]
    names = {str(class_id): name for class_id, name in classes.names.items()}
    return json.dumps({"format": MARK_FORMAT, "settings": settings, "facts": facts, "classes": names, "photos": photos}, indent=1).encode() + b"\n"
