"""Masks that are not there yet: with --proposals they are made first, beside the shards, and what made them is kept in every sample."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mcdist.commands.options import Refine, read_options
from mcdist.commands.propose import show_proposed
from mcdist.errors import ConfigError
from mcdist.proposals.proposal_folder import ProposalFolder

Masks = Annotated[Path | None, typer.Option(help="Folder of masks: the photo's path with .png. With --proposals: where the masks are kept.")]
Proposals = Annotated[
    str | None,
    typer.Option("--proposals", metavar="METHOD", help="Make the masks first, by this method (mcdist proposals list), in OUT_masks unless --masks says where."),
]


def masks_for(
    photos: Path, *, masks: Path | None, out: Path, proposals: str | None, option: list[str] | None, refine: Refine, device: str, workers: int, overwrite: bool
) -> Path:
    """The folder of masks, made first where a method was named. A run that was stopped goes on.

    Raises:
        ConfigError: neither masks nor a method, or options of a method that was not named.
        Others as `propose_folder`.
    """
    if proposals is None:
        if masks is None:
            raise ConfigError("expected --masks DIR, or --proposals METHOD to make the masks first (mcdist proposals list); got neither")
        if option or refine is not Refine.none:
            raise ConfigError("--option and --refine are for --proposals METHOD, which was not given; name the method or leave them out")
        return masks
    folder = masks or out.with_name(f"{out.name}_masks")
    show_proposed(photos, out=folder, method=proposals, options=read_options(option), refine=refine, device=device, workers=workers, overwrite=overwrite)
    return folder


def facts_of_masks(masks: Path) -> dict[str, Any]:
    """Method, version, parameters and refinement of a folder that `mcdist proposals make` wrote; of any other its name alone.

    Raises:
        DataError: its proposals.json is damaged.
    """
    folder = ProposalFolder(masks)
    if not folder.manifest.is_file():
        return {"method": masks.name}
    manifest = folder.read_manifest()
    return {key: manifest[key] for key in ("method", "version", "parameters", "refine")}


def text_of(facts: dict[str, Any]) -> str:
    """The facts as one line: the name alone where there is no more."""
    return str(facts["method"]) if len(facts) == 1 else json.dumps(facts, sort_keys=True, ensure_ascii=False)
