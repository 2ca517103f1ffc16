"""Builder: a command that makes a Source becomes one that builds its shards, with the options that all builders share."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcdist.building.commands.console import print_built, print_part
from mcdist.building.commands.formats import Format, PhotoKept, ShardFormat, packing_of
from mcdist.building.commands.options import (
    DEFAULT_WORKERS,
    Components,
    KeepEmpty,
    MaskValues,
    MaxSkipped,
    Out,
    Overwrite,
    Quality,
    ShardSize,
    ShortSide,
    SplitSeed,
    Strict,
    ValShare,
    Values,
    Workers,
)
from mcdist.building.folder.build import MAX_SKIPPED_SHARE, build_plan, plan_of
from mcdist.building.folder.part import asked_for, build_part
from mcdist.building.folder.split import split_source
from mcdist.building.pictures.treatment import Treatment
from mcdist.building.source import Source
from mcdist.building.writers.pack import Packing
from mcdist.errors import ConfigError
from mcdist.report.progress import progress_bar


@dataclass(frozen=True, slots=True)
class Building:
    """How any source is built: `val_share` 0 builds `out` itself, else `out/train` and `out/val`."""

    out: Path
    shard_size: int
    workers: int
    strict: bool
    overwrite: bool
    max_skipped_share: float = MAX_SKIPPED_SHARE
    val_share: float = 0.0
    split_seed: int = 0
    packing: Packing | None = None


def builder(source_of: Callable[..., Source]) -> Callable[..., None]:
    """Decorator: the command has the options of `source_of` and the shared ones, which `source_of` gets as `treatment` and `building`."""
    own = [option for option in inspect.signature(source_of).parameters.values() if option.name not in ("treatment", "building")]
    shared = list(inspect.signature(_chosen).parameters.values())

    def command(**given: Any) -> None:
        treatment, building = _chosen(**{option.name: given.pop(option.name) for option in shared})
        build_and_print(source_of(**given, treatment=treatment, building=building), building=building)

    wanted_first = sorted([*own, *shared], key=lambda option: option.default is not option.empty)
    command.__doc__ = source_of.__doc__
    command.__signature__ = inspect.Signature([option.replace(kind=option.KEYWORD_ONLY) for option in wanted_first])  # type: ignore[attr-defined]
    return command


def _chosen(
    out: Out,
    mask_values: Values = MaskValues.auto,
    components: Components = False,
    keep_empty: KeepEmpty = False,
    short_side: ShortSide = 0,
    jpeg_quality: Quality = 92,
    shard_size: ShardSize = 256,
    shard_format: Format = ShardFormat.webdataset,
    ffcv_photo: PhotoKept = None,
    workers: Workers = DEFAULT_WORKERS,
    val_share: ValShare = 0.0,
    split_seed: SplitSeed = 0,
    strict: Strict = False,
    max_skipped_share: MaxSkipped = MAX_SKIPPED_SHARE,
    overwrite: Overwrite = False,
) -> tuple[Treatment, Building]:
    """The shared options: how a photo and its maps become a sample, and how samples become shards."""
    treatment = Treatment(short_side_px=short_side, jpeg_quality=jpeg_quality, mask_values=mask_values.value, components=components, keep_empty=keep_empty)
    building = Building(
        out=out,
        shard_size=shard_size,
        workers=workers,
        packing=packing_of(shard_format, photo=ffcv_photo),
        val_share=val_share,
        split_seed=split_seed,
        strict=strict,
        max_skipped_share=max_skipped_share,
        overwrite=overwrite,
    )
    return treatment, building


def build_and_print(source: Source, *, building: Building) -> None:
    """Build the shards, with a progress bar, and print what became of them."""
    if not building.val_share:
        _build_one(source, out=building.out, building=building)
        return
    for part in split_source(source, val_share=building.val_share, seed=building.split_seed):
        _build_one(part, out=building.out / part.part, building=building)


def _build_one(source: Source, *, out: Path, building: Building) -> None:
    part, num_parts = asked_for.get()
    if num_parts > 1 and building.overwrite:
        raise ConfigError(f"--part {part}/{num_parts} goes without --overwrite: every part would delete the others' shards; remove {out} first")
    title = f"Building part {part} of {num_parts} of {out.name}" if num_parts > 1 else f"Building {out.name}"
    with progress_bar(title, total=-(-len(source.items) // num_parts)) as tick:
        plan = plan_of(
            source,
            folder=out,
            shard_size=building.shard_size,
            packing=building.packing,
            strict=building.strict,
            max_skipped_share=building.max_skipped_share,
        )
        if num_parts > 1:
            print_part(build_part(plan, folder=out, part=part, num_parts=num_parts, num_workers=building.workers, tick=tick))
            return
        built = build_plan(plan, folder=out, num_workers=building.workers, overwrite=building.overwrite, tick=tick)
    print_built(built)
