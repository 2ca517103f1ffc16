"""mcdist import-weights: a checkpoint of the paper's authors as a run."""

from pathlib import Path
from typing import Annotated

import typer

from mcdist.cli.run_arguments import Overrides
from mcdist.run_dir import RunDir


def import_weights_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint of MaskContrast's authors (.pth.tar), or its tensors as .safetensors.")],
    overrides: Overrides = None,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The run's folder that is made.", show_default=False)],
    start: Annotated[
        str, typer.Option(metavar="WEIGHTS", help="What their training started from, as model.weights: the baseline of an evaluation. Such as moco_v2_r50.")
    ] = "",
) -> None:
    """Make a run of FILE: backbone, decoder, embedding and saliency head of its query model. Nothing loads by half, and no code of the file runs.

    The run is evaluated, exported and searched like any other; checkpoint.init_from=DIR starts a training from it.

    Example: mcdist import-weights maskcontrast.pth.tar --out runs/authors data.val=shards/voc/val evaluate.classes=voc21
    """
    from mcdist.workflows.importing import import_weights

    imported = import_weights(file, out=RunDir(out), overrides=overrides or [], start=start)
    left = ", ".join(f"{num} of {name}" for name, num in imported.left_out.items() if num) or "nothing"
    typer.echo(f"{out}: {imported.num_tensors} tensors of the query model, an embedding of {imported.embedding_dim}; left out: {left}")
    typer.echo(f"next: mcdist evaluate {out}")
