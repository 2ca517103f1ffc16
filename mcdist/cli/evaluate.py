"""mcdist evaluate."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from mcdist.cli.run_arguments import Overrides
from mcdist.errors import ConfigError
from mcdist.run_dir import RunDir


def evaluate_command(
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="A run's folder, such as runs/demo; none with --backbone.", show_default=False)] = None,
    overrides: Overrides = None,
    checkpoint: Annotated[str, typer.Option(help="newest, best (lowest training loss), or step_NNNNNNNN.")] = "newest",
    protocol: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Judge by this protocol; repeat for several, the first is quoted. See: mcdist protocols")
    ] = None,
    store: Annotated[Path | None, typer.Option(metavar="DIR", help="Judge this feature store (of mcdist embed) instead of embedding the photos.")] = None,
    train_shards: Annotated[str, typer.Option(metavar="DIR", help="Shards with ground truth that probes are fitted on, for protocols that need them.")] = "",
    transfer: Annotated[
        list[str] | None,
        typer.Option(metavar="DIR=CLASSES", help="Judge on these shards too, with the classes of this description; repeat for several. Into RUN/transfer."),
    ] = None,
    backbone: Annotated[
        str, typer.Option(metavar="NAME[:WEIGHTS]", help="Judge a backbone without a run, on --shards and under their masks. WEIGHTS as model.weights.")
    ] = "",
    shards: Annotated[str, typer.Option(metavar="DIR", help="With --backbone: the photos to judge on.")] = "",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="With --backbone: where to write; default: runs/backbone_NAME.")] = None,
) -> None:
    """Judge RUN's embeddings on its validation shards, beside its baselines; writes evaluation.json and report.html and prints the table.

    A backbone alone: mcdist evaluate --backbone efficientnet_lite0 --shards DIR evaluate.classes=voc21
    On several devices: torchrun --nproc-per-node 2 -m mcdist evaluate RUN ...
    """
    if backbone:
        words = [*([str(run)] if run else []), *(overrides or [])]
        evaluate_backbone_and_print(backbone, shards=shards, out=out, overrides=words, protocols=protocol, store=store, train_shards=train_shards)
        return
    if run is None:
        raise ConfigError("mcdist evaluate needs the folder of a run, or --backbone NAME with --shards DIR; see: mcdist evaluate --help")
    if shards or out is not None:
        raise ConfigError("--shards and --out are for --backbone; a run is judged on data.val=DIR and writes into its own folder")
    evaluate_and_print(RunDir(run), overrides=overrides, checkpoint=checkpoint, protocols=protocol, store=store, train_shards=train_shards)
    for given in transfer or []:
        location, classes = _read_transfer(given)
        changed = [*(word for word in overrides or [] if not word.startswith(("data.val=", "evaluate.classes="))), f"data.val={location}"]
        evaluate_and_print(
            RunDir(run),
            overrides=[*changed, f"evaluate.classes={classes}"],
            checkpoint=checkpoint,
            protocols=protocol,
            train_shards=train_shards,
            transfer=_file_name(location),
        )


def evaluate_and_print(
    run_dir: RunDir,
    *,
    overrides: list[str] | None = None,
    checkpoint: str = "newest",
    protocols: list[str] | None = None,
    store: Path | None = None,
    train_shards: str = "",
    transfer: str = "",
) -> None:
    """Evaluate, print the table and say where the report is; the first rank alone prints."""
    from mcdist.workflows.evaluation import evaluate_run

    evaluation = evaluate_run(
        run_dir, overrides=overrides or [], which=checkpoint, protocols=protocols or (), store=store, train_shards=train_shards, transfer=transfer
    )
    if evaluation is not None:
        _print(evaluation, folder=run_dir.transferred(transfer) if transfer else run_dir)


def evaluate_backbone_and_print(
    backbone: str, *, shards: str, out: Path | None, overrides: list[str], protocols: list[str] | None, store: Path | None, train_shards: str
) -> None:
    """The same for a backbone without a run. Weights that are not named are the packaged ones, of timm those that timm fetches."""
    from mcdist.model.backbones.registry import name_and_weights
    from mcdist.workflows.evaluation import evaluate_backbone

    if not shards:
        raise ConfigError("--backbone needs photos to be judged on; name their shards: --shards DIR")
    name, weights = name_and_weights(backbone)
    folder = RunDir(out or Path("runs") / f"backbone_{_file_name(backbone)}")
    given = [f"model.backbone={name}", f"model.weights={weights}", f"data.val={shards}"]
    evaluation = evaluate_backbone(folder, overrides=[*given, *overrides], protocols=protocols or (), store=store, train_shards=train_shards)
    if evaluation is not None:
        _print(evaluation, folder=folder)


def _print(evaluation: Any, *, folder: RunDir) -> None:
    from mcdist.report.console import show
    from mcdist.report.table import evaluation_table

    show(evaluation_table(evaluation))
    typer.echo(f"report: {folder.report}")


def _read_transfer(given: str) -> tuple[str, str]:
    location, _, classes = given.rpartition("=")
    if not (location and classes):
        raise ConfigError(f"--transfer must be DIR=CLASSES, such as shards/msrc/val=msrc_v2, got {given!r}; the descriptions are in configs/classes")
    return location, classes


def _file_name(text: str) -> str:
    """Letters, digits, dots and hyphens of a location or name, joined by underscores."""
    return "_".join(re.findall(r"[\w-][\w.-]*", text)) or "other"
