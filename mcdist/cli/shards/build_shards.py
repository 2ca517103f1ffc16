"""From the options of a builder to its shards: with a progress bar, in parts or split, and a summary at the end."""

from pathlib import Path

from mcdist.building.folder.build import build_plan, plan_of
from mcdist.building.folder.part import build_part
from mcdist.building.folder.split import split_source
from mcdist.building.pictures.treatment import Treatment
from mcdist.building.source import Source
from mcdist.cli.shards.console import print_built, print_part
from mcdist.cli.shards.options import BuildOptions, part_to_build
from mcdist.cli.shards.packing import packing_of
from mcdist.errors import ConfigError
from mcdist.report.progress import progress_bar


def treatment_of(options: BuildOptions) -> Treatment:
    """How a photo and its maps become a sample."""
    return Treatment(
        short_side_px=options.short_side,
        jpeg_quality=options.jpeg_quality,
        mask_values=options.mask_values.value,
        components=options.components,
        keep_empty=options.keep_empty,
    )


def build_and_print(source: Source, *, options: BuildOptions) -> None:
    """Build the shards and print the summary; with --val-share a folder for training and one for validation."""
    if not options.val_share:
        build_folder_and_print(source, out=options.out, options=options)
        return
    for part in split_source(source, val_share=options.val_share, seed=options.split_seed):
        build_folder_and_print(part, out=options.out / part.part, options=options)


def build_folder_and_print(source: Source, *, out: Path, options: BuildOptions) -> None:
    """Build one shard folder, or with --part K/N its part, and print the summary."""
    part, num_parts = part_to_build.get()
    if num_parts > 1 and options.overwrite:
        raise ConfigError(f"--part {part}/{num_parts} cannot be used with --overwrite: every part would delete the others' shards; remove {out} first")
    title = f"Building part {part} of {num_parts} of {out.name}" if num_parts > 1 else f"Building {out.name}"
    with progress_bar(title, total=-(-len(source.items) // num_parts)) as tick:
        plan = plan_of(
            source,
            folder=out,
            shard_size=options.shard_size,
            packing=packing_of(options.shard_format, photo=options.ffcv_photo),
            strict=options.strict,
            max_skipped_share=options.max_skipped_share,
        )
        if num_parts > 1:
            print_part(build_part(plan, folder=out, part=part, num_parts=num_parts, num_workers=options.workers, tick=tick))
            return
        built = build_plan(plan, folder=out, num_workers=options.workers, overwrite=options.overwrite, tick=tick)
    print_built(built)
