"""mcdist demo."""

from pathlib import Path
from threading import Thread
from typing import Annotated

import typer

from mcdist.cli.options import DEFAULT_WORKERS
from mcdist.cli.run_arguments import Overrides
from mcdist.cli.shards.options import Workers
from mcdist.errors import ConfigError
from mcdist.run_dir import RunDir

PLACES = ("data.train", "data.val", "run.dir")


def demo_command(
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the shards (DIR/data) and the run (DIR/run).", show_default="data/demo and runs/demo")
    ] = None,
    num_train: Annotated[int, typer.Option(help="Photos to train on, without ground truth.")] = 1200,
    num_val: Annotated[int, typer.Option(help="Photos to evaluate on, with ground truth.")] = 200,
    workers: Workers = DEFAULT_WORKERS,
) -> None:
    """Generate photos, build shards, train, evaluate, and print where the report is. Needs no data, no GPU and no internet.

    The settings are those of the configuration `demo`. A demo that was stopped goes on when the same command is given again.

    Example: mcdist demo --out demo
    """
    from mcdist.config.file import load_config
    from mcdist.config.presets import presets_folder

    for override in overrides or []:
        if override.partition("=")[0] in PLACES:
            raise ConfigError(f"the demo's folders are chosen with --out DIR, got {override}; for other shards and runs use: mcdist train CONFIG {override}")
    places = [f"data.train={out}/data/train", f"data.val={out}/data/val", f"run.dir={out}/run"] if out else []
    config = load_config(presets_folder() / "demo.yaml", overrides=[*places, *(overrides or [])])

    from mcdist.groups.clustering.faiss_library import require_faiss

    require_faiss()

    from mcdist.cli.evaluate import evaluate_and_print
    from mcdist.cli.shards.build_demo import SHARD_SIZE, build_demo
    from mcdist.cli.shards.options import BuildOptions
    from mcdist.ops.native import reason_missing

    compiling = Thread(target=reason_missing, name="compiler", daemon=True)  # training needs the C++ operators, which are compiled once
    compiling.start()
    build_demo(BuildOptions(out=Path(config.data.train).parent, shard_size=SHARD_SIZE, workers=workers, strict=True), num_train=num_train, num_val=num_val)
    compiling.join()

    from mcdist.run import train_run

    code = train_run(config)
    if code:
        raise typer.Exit(code)
    evaluate_and_print(RunDir(Path(config.run.dir)))
