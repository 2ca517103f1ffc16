"""mcdist finetune: probes and fractions of the labels, with the network in the loop."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mcdist.cli.option_groups import spread
from mcdist.cli.run_arguments import Overrides
from mcdist.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Smaller:
    """The schedule's options; the defaults are the published values, and every other value is in the row's switches."""

    size: Annotated[int, typer.Option(help="Side of the squared photos, a multiple of the backbone's stride.")] = 512
    batch: Annotated[int, typer.Option(help="Photos of a step, over all ranks.")] = 16
    epochs: Annotated[int, typer.Option(help="Epochs over all labelled photos.")] = 60
    drop_after: Annotated[int | None, typer.Option(help="Epochs after which the learning rate is a tenth; default: 25 of 60, in proportion.")] = None
    steps: Annotated[int, typer.Option(help="Steps of finetune-fraction, for each fraction; 0: as many as the epochs have.")] = 0
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 0.1


@spread
def finetune_command(
    smaller: Smaller,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where results, table and report go; the same command goes on there.", show_default=False)],
    train_shards: Annotated[str, typer.Option(metavar="DIR", help="Shards with ground truth to train on.", show_default=False)],
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="A run's folder, such as runs/demo; none with --backbone.", show_default=False)] = None,
    overrides: Overrides = None,
    shards: Annotated[str, typer.Option(metavar="DIR", help="Shards with ground truth to judge on; default: the run's data.val.")] = "",
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="linear, fraction, or a name that mcdist protocols lists; repeat for several. Default: all that mcdist finetune has."
        ),
    ] = None,
    backbone: Annotated[str, typer.Option(metavar="NAME[:WEIGHTS]", help="Fine-tune a backbone without a run. WEIGHTS as model.weights.")] = "",
    checkpoint: Annotated[str, typer.Option(help="newest, best (lowest training loss), or step_NNNNNNNN.")] = "newest",
    fractions: Annotated[str, typer.Option(metavar="PERCENT,...", help="Shares of the labelled photos for finetune-fraction.")] = "1,2,5,12.5,100",
    seeds: Annotated[int, typer.Option(help="Fine-tunings of each kind; each seed has its own subsets.")] = 3,
    subsets: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Use the label subsets of this file, such as another OUT's subsets.json, instead of drawing them.")
    ] = None,
    random_weights: Annotated[bool, typer.Option("--random-weights", help="Also from random weights: the floor.")] = False,
    save_every: Annotated[int, typer.Option(help="Steps between two checkpoints; a killed command repeats at most these.")] = 500,
) -> None:
    """Train RUN's network on labelled photos and judge it on others: a linear probe on augmented photos, and all weights on fractions of the labels.

    Beside it: the same from the backbone that the run started from. A stopped command continues where it was; on several devices:
    torchrun --nproc-per-node 2 -m mcdist finetune RUN ...

    Example: mcdist finetune runs/voc --train-shards shards/voc/train_labelled --shards shards/voc/val --out runs/voc_tuned
    Example: mcdist finetune --backbone resnet50:imagenet --train-shards DIR --shards DIR --out tuned evaluate.classes=voc21
    """
    from mcdist.finetune.protocols import PROTOCOLS
    from mcdist.finetune.settings import TuneSettings
    from mcdist.model.backbones.registry import name_and_weights
    from mcdist.records.names import FINETUNE_FRACTION, LINEAR_EXACT_CLEAN, LINEAR_EXACT_PUBLISHED
    from mcdist.report.console import show
    from mcdist.report.table import evaluation_table
    from mcdist.run_dir import RunDir
    from mcdist.workflows.finetuning import FinetuneTask, finetune_backbone, finetune_run

    short = {"linear": [LINEAR_EXACT_CLEAN, LINEAR_EXACT_PUBLISHED], "fraction": [FINETUNE_FRACTION]}
    task = FinetuneTask(
        out=out,
        train_shards=train_shards,
        shards=shards,
        protocols=tuple(dict.fromkeys(name for given in protocol or PROTOCOLS for name in short.get(given, [given]))),
        fractions_percent=_percents(fractions),
        num_seeds=seeds,
        subsets=subsets,
        with_random_weights=random_weights,
        save_every_steps=save_every,
        settings=TuneSettings(
            size_px=smaller.size,
            batch=smaller.batch,
            num_epochs=smaller.epochs,
            drop_after=round(smaller.epochs * 25 / 60) if smaller.drop_after is None else smaller.drop_after,
            num_steps=smaller.steps,
            lr=smaller.lr,
        ),
    )
    if backbone:
        if not shards:
            raise ConfigError("--backbone needs photos to be judged on; name their shards: --shards DIR")
        name, weights = name_and_weights(backbone)
        words = [*([str(run)] if run else []), *(overrides or [])]
        found = finetune_backbone(task, overrides=[f"model.backbone={name}", f"model.weights={weights}", *words])
    elif run is None:
        raise ConfigError("mcdist finetune needs the folder of a run, or --backbone NAME with --shards DIR; see: mcdist finetune --help")
    else:
        found = finetune_run(RunDir(run), task, overrides=overrides or [], which=checkpoint)
    if found.evaluation is not None:
        show(evaluation_table(found.evaluation))
        typer.echo(f"report: {RunDir(out).report}")
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def _percents(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--fractions must be numbers with commas between them, such as 1,2,5,12.5,100, got {text!r}") from error
