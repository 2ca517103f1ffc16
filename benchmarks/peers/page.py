"""How fast is a step of ours beside the same model and batch in plain torch, and beside the nearest public losses and loaders? One page, one run.

    python -m benchmarks.peers.page configs/demo_contrast.yaml
    python -m benchmarks.peers.page configs/demo_contrast.yaml --photos PHOTOS --masks MASKS

**Step.** Each way has a process of its own (benchmarks/peers/step_trial.py), and they take turns: ours as `mcdist train` runs it, plain torch as one writes it
(benchmarks/peers/plain.py; refused where its first loss is not ours), lightly's DetConS and NTXent with a memory bank where lightly is installed. The others
keep what torch and the system choose: memory layout, allocator, how threads wait.
**Data.** The providers of benchmarks/loader on one core: a DataLoader with PIL and torchvision, webdataset, FFCV, and ours.
What is not installed is left out with one line.
"""

import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.harness import inputs
from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish
from benchmarks.harness.progress import say
from benchmarks.harness.turns import PASS_METRICS, Trial, ratios_by_round, started
from benchmarks.loader.pipeline import choose, link_photos, measured
from benchmarks.loader.providers import is_installed
from benchmarks.peers.step_trial import WAYS
from mcdist.config.file import load_config
from mcdist.errors import McdistError
from mcdist.machine import allocator, waiting

OURS, PLAIN = "mcdist", "plain torch"
LOADERS = ("PIL + torchvision", "webdataset + v2", "FFCV two crops, no map", "mcdist", "mcdist + colour")
LOSS_ERROR_MAX = 1e-4
SYSTEM: dict[str, str | None] = {allocator.VARIABLE: "system", waiting.VARIABLE: "system", **dict.fromkeys(waiting.SETTINGS)}


def step_rows(config: Path, overrides: list[str], *, num_rounds: int, shape: str) -> list[Measurement]:
    """Time, CPU time and peak memory of each way's step, and how many times ours."""
    names = [name for name in WAYS if not name.startswith("lightly") or is_installed("lightly")]
    if len(names) < len(WAYS):
        say("lightly is left out: it is not installed (pip install lightly)")
    with ExitStack() as stack:
        trials: dict[str, Trial] = {}
        for name in names:
            environment: dict[str, str | None] = {} if name == OURS else SYSTEM
            trials[name] = stack.enter_context(started("benchmarks.peers.step_trial", name, str(config), *overrides, environment=environment))
            say(f"{name} is ready: {trials[name].ready['allocator']}")
        _require_equal({name: trials[name].ready["loss"] for name in (OURS, PLAIN)})
        for number in range(num_rounds):
            for name, trial in trials.items():
                say(f"round {number + 1} of {num_rounds}, {name}: {trial.take_pass()[0]:,.0f} ms")
        for trial in trials.values():
            trial.end()
    rows = []
    for name, trial in trials.items():
        row = partial(measurement, benchmark="peers", provider=name, mode="training step", shape=shape, device=torch.device("cpu"))
        rows += [row([taken[place] for taken in trial.passes], metric=metric, unit=unit) for place, (metric, unit) in enumerate(PASS_METRICS[:2])]
        rows.append(row(ratios_by_round(trial.passes, trials[OURS].passes, place=0, passes_per_round=1), metric="time, times ours", unit="x"))
        if trial.last is not None:
            rows.append(row([trial.last], metric="peak memory", unit="MiB"))
    return rows


def _require_equal(loss: dict[str, float]) -> None:
    ours, theirs = loss[OURS], loss[PLAIN]
    if not abs(ours - theirs) <= LOSS_ERROR_MAX * abs(ours):
        raise McdistError(f"plain torch's first contrastive loss is {theirs:.6f}, ours {ours:.6f}; not timed: mend it first (benchmarks/peers/plain.py)")


def data_rows(photos: Path, masks: Path, *, num_rounds: int, batch: int, size_px: int, folder: Path) -> list[Measurement]:
    """Photos a second of each loader on one core."""
    source = link_photos(folder / "real", photos=photos, masks=masks)
    return measured(choose(list(LOADERS)), source=source, workers=[0], num_runs=num_rounds, batch=batch, size_px=size_px, stretch_s=0.5, folder=folder)


def main(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as configs/demo_contrast.yaml.", show_default=False)],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings over the file's.")] = None,
    photos: Annotated[Path | None, typer.Option(help="A folder of .jpg photos for the loaders. Default: generated ones.")] = None,
    masks: Annotated[Path | None, typer.Option(help="A folder of their instance maps.")] = None,
    num_rounds: Annotated[int, typer.Option(min=1, help="Turns of every way.")] = 5,
    num_turns: Annotated[int, typer.Option(min=0, help="Turns of every loader; 0: leave them out.")] = 3,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
) -> None:
    """Our step and loader beside others', in one run."""
    given = overrides or []
    loaded: Any = load_config(config, overrides=given)
    batch, size_px = loaded.optim.global_batch, loaded.views.size_px
    shape = f"{loaded.model.backbone}, {batch} photos of {size_px} px, K = {loaded.model.bank_size:,}"
    rows = step_rows(config, given, num_rounds=num_rounds, shape=shape)
    if num_turns:
        with tempfile.TemporaryDirectory() as folder:
            if photos is None or masks is None:
                photos, masks = map(Path, inputs.photos_and_masks(Path(folder) / "generated", num_photos=64))
            rows += data_rows(photos, masks, num_rounds=num_turns, batch=min(batch, 16), size_px=size_px, folder=Path(folder))
    publish(rows, json_path=json)


QUICK = (inputs.CONFIG, *inputs.SMALL, "--num-rounds", "2", "--num-turns", "0")

if __name__ == "__main__":
    run(main, quick=QUICK)
