"""mcdist export: a run's encoder for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from mcdist.cli.run_arguments import RunFolder
from mcdist.run_dir import RunDir


def export_command(
    run: RunFolder,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="An ONNX graph too, for any number and size of photos.")] = False,
    torch_export: Annotated[bool, typer.Option("--torch-export", help="A torch.export program too.")] = False,
    mlflow: Annotated[bool, typer.Option("--mlflow", help="An MLflow model (pyfunc) too, which `mlflow models serve` serves.")] = False,
    register: Annotated[str, typer.Option(metavar="NAME", help="Register the MLflow model under this name in the run's MLflow store.")] = "",
    faiss: Annotated[bool, typer.Option("--faiss", help="A FAISS index of the catalogue's objects too (mcdist cluster).")] = False,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Licence of the weights, for the model card.")] = "not stated",
    checkpoint: Annotated[str, typer.Option(help="newest, best (lowest training loss), or step_NNNNNNNN.")] = "newest",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an export that is there.")] = False,
) -> None:
    """Write DIR: model.safetensors, config.json, preprocessor_config.json and README.md, a model card made from the run, as Hugging Face has them.

    Graphs are compared with the encoder on five sizes before they are kept. Load it with mcdist.trained.load_encoder("DIR").

    Example: mcdist export runs/demo --out exported/demo --onnx --licence apache-2.0
    """
    from mcdist.workflows.exporting import Wanted, export_run

    wanted = Wanted(onnx=onnx, torch_export=torch_export, mlflow=mlflow, register=register, faiss=faiss, licence=licence)
    made = export_run(RunDir(run), out=out, wanted=wanted, which=checkpoint, overwrite=overwrite, say=lambda text: typer.echo(text, err=True))
    for name, found in made.graphs.items():
        typer.echo(
            f"{name}: differs from the encoder by at most {found.difference_max:.1e} on {len(found.sizes)} sizes of {made.checked_on}, "
            f"the same class at {100 * found.same_share:.3f} % of pixels"
        )
    if made.objects:
        typer.echo(f"objects.faiss: {made.objects:,} objects")
    if made.registered:
        typer.echo(f"registered as {made.registered}")
    num_bytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    typer.echo(f"{out}: {num_bytes / 2**20:,.1f} MiB; load it with mcdist.trained.load_encoder({str(out)!r})")
