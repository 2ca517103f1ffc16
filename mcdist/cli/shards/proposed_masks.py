"""Masks that do not exist yet: with --proposals they are made first, beside the shards."""

from pathlib import Path

from mcdist.cli.options import Refine, read_options
from mcdist.cli.proposals.show import show_proposed
from mcdist.cli.shards.options import BuildOptions, MaskOptions
from mcdist.errors import ConfigError


def masks_for(photos: Path, *, options: MaskOptions, build: BuildOptions) -> Path:
    """The folder of masks, made first where a method was named. A run that was stopped goes on.

    Raises:
        ConfigError: neither masks nor a method, or options of a method that was not named.
        Others as `propose_folder`.
    """
    if options.proposals is None:
        if options.masks is None:
            raise ConfigError("expected --masks DIR, or --proposals METHOD to make the masks first (mcdist proposals list); got neither")
        if options.option or options.refine is not Refine.none:
            raise ConfigError("--option and --refine are for --proposals METHOD, which was not given; name the method or leave them out")
        return options.masks
    out = build.out if build.out.name not in ("", "..") else build.out.resolve()
    if not out.name:
        raise ConfigError(f"--out {build.out} has no name to call the folder of masks after; choose another --out, or name the folder with --masks")
    folder = options.masks or out.with_name(f"{out.name}_masks")
    show_proposed(
        photos,
        out=folder,
        method=options.proposals,
        options=read_options(options.option),
        refine=options.refine,
        device=options.device,
        workers=build.workers,
    )
    return folder
