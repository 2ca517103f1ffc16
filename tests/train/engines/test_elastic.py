"""A run goes on on fewer ranks and under the other engine: the samples are exactly those of the undisturbed run, and so is the curve but for rounding.

Whole runs in real processes; the undisturbed one is one process. Losses are held to 1e-5 (relative), a hundred times what float32's rounding
makes of them (measured: 1e-7). For that the learning rate is small: a ReLU or a maximum that tips over by rounding changes gradients by a
thousandth, and at 0.004 every step made such a difference ten times as large. It is large enough to tell: a momentum that was lost would
change the next loss by a thousandth.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mcdist import build, run
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.report.jsonl import read_metrics
from mcdist.run_dir import RunDir, list_checkpoints
from tests.fixture_types import MakeShards
from tests.makers.many_ranks import on_ranks, skip_without_deepspeed

GLOBAL_BATCH, NUM_SAMPLES, EPOCHS = 8, 24, 3
STEPS_A_START = 3
CONFIG = f"""
data: {{num_workers: 0, block: 4, num_lanes: 4}}
views: {{size_px: 32, max_objects: 2}}
model: {{backbone: resnet18, num_stages: 3, norm: group, decoder: linear, embedding_dim: 8, bank_size: 21, momentum: 0.9}}
optim: {{global_batch: {GLOBAL_BATCH}, micro_batch: 2, epochs: {EPOCHS}, lr: 0.0001, clip_grad_norm: 5.0, bucket_mib: 0.25}}
run: {{device: cpu, num_threads: 1}}
checkpoint: {{every_steps: 100}}
report: {{mlflow: "off", console: "off", log_every_steps: 1}}
"""


class StopsSoon(run.StopWish):
    """As if a signal came during the last step of a start."""

    asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        self.signal_number = 15 if self.asked >= STEPS_A_START else 0
        return bool(self.signal_number)


def _start(rank: int, config: Config, seen: Path, stops: bool) -> None:
    """One start of a run on this rank, which writes down the samples it sees."""
    from tests.makers.watched_train import WatchedLoader

    make = build.build_batches
    build.build_batches = lambda *arguments, **options: WatchedLoader(make(*arguments, **options), path=Path(f"{seen}.{rank}"))  # type: ignore[assignment]
    if stops:
        run.StopWish = StopsSoon  # type: ignore[misc]
    code = run.train_run(config)
    assert code == (143 if stops else 0), code


def _batches(seen: Path, *, num_ranks: int) -> list[list[int]]:
    """The global batches of a start, put together from the micro-batches that each rank saw."""
    steps: list[list[int]] = []
    for rank in range(num_ranks):
        shown = [index for line in Path(f"{seen}.{rank}").read_text().splitlines() for index in json.loads(line)]
        share = GLOBAL_BATCH // num_ranks
        for step in range(len(shown) // share):
            if step == len(steps):
                steps.append([-1] * GLOBAL_BATCH)
            steps[step][rank::num_ranks] = shown[step * share : (step + 1) * share]
    return steps


def _weights(config: Config) -> dict[str, torch.Tensor]:
    return load_file(list_checkpoints(RunDir(Path(config.run.dir)).checkpoints)[-1] / "state.safetensors")


def _curve(config: Config, name: str) -> list[float]:
    return [record.value for record in read_metrics(RunDir(Path(config.run.dir)).metrics) if record.name == name]


def _check(tmp_path: Path, shards: Path, starts: list[tuple[int, str]]) -> None:
    """`starts`: (ranks, engine) of each start of the disturbed run."""
    if any(engine != "ddp" for _, engine in starts):
        skip_without_deepspeed()
    (tmp_path / "config.yaml").write_text(CONFIG)

    def configure(name: str, engine: str) -> Config:
        chosen = [] if engine == "ddp" else ["optim.engine=deepspeed", f"optim.zero_stage={engine[-1]}"]
        return load_config(tmp_path / "config.yaml", overrides=[f"data.train={shards}", f"run.dir={tmp_path / name}", *chosen])

    whole = configure("whole", "ddp")
    on_ranks(1, _start, whole, tmp_path / "whole_seen", False, notes=tmp_path)
    seen: list[list[int]] = []
    for number, (num_ranks, engine) in enumerate(starts):
        stops = number < len(starts) - 1
        on_ranks(num_ranks, _start, configure("parts", engine), tmp_path / f"seen_{number}", stops, notes=tmp_path)
        seen += _batches(tmp_path / f"seen_{number}", num_ranks=num_ranks)

    assert seen == _batches(tmp_path / "whole_seen", num_ranks=1)
    shown = [index for batch in seen for index in batch]
    assert all(sorted(shown[first : first + NUM_SAMPLES]) == list(range(NUM_SAMPLES)) for first in range(0, EPOCHS * NUM_SAMPLES, NUM_SAMPLES))
    parts = configure("parts", "ddp")
    for name in ("loss/contrast", "loss/saliency"):
        assert len(_curve(whole, name)) == EPOCHS * NUM_SAMPLES // GLOBAL_BATCH
        assert _curve(parts, name) == pytest.approx(_curve(whole, name), rel=1e-5), name
    assert _curve(parts, "lr") == _curve(whole, "lr")
    want, got = _weights(whole), _weights(parts)
    assert got.keys() == want.keys()
    for name, tensor in want.items():
        share = float((got[name].double() - tensor.double()).norm()) / max(float(tensor.double().norm()), 1e-6)
        assert share < (2e-2 if name.startswith("optimizer/") else 1e-4), f"{name} differs by {share:.1e} of its length"
    assert torch.equal(got["bank/ages"], want["bank/ages"])


@pytest.mark.slow
def test_a_deterministic_run_that_was_continued_on_as_many_ranks_ends_bit_equal(tmp_path: Path, make_shards: MakeShards) -> None:
    """Four ranks, since two numbers add up the same in either order; small buckets, which DDP lays out anew after a start's first step."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    shards = make_shards(NUM_SAMPLES)
    whole, parts = (
        load_config(tmp_path / "config.yaml", overrides=[f"data.train={shards}", f"run.dir={tmp_path / name}", "run.deterministic=true", "optim.lr=0.01"])
        for name in ("whole", "parts")
    )
    on_ranks(4, _start, whole, tmp_path / "whole_seen", False, notes=tmp_path)
    for number in range(3):
        on_ranks(4, _start, parts, tmp_path / f"seen_{number}", number < 2, notes=tmp_path)
    want, got = _weights(whole), _weights(parts)
    assert got.keys() == want.keys()
    assert not [name for name in want if not torch.equal(got[name], want[name])]


@pytest.mark.slow
@pytest.mark.parametrize(
    "starts",
    [
        [(4, "ddp"), (2, "ddp"), (1, "ddp")],
        [(4, "zero_2"), (2, "zero_1"), (1, "ddp")],
        [(1, "ddp"), (2, "zero_2"), (4, "zero_1")],
    ],
    ids=lambda starts: "-".join(f"{engine}x{ranks}" for ranks, engine in starts),
)
def test_a_run_goes_on_on_other_ranks_and_engines(tmp_path: Path, make_shards: MakeShards, starts: list[tuple[int, str]]) -> None:
    _check(tmp_path, make_shards(NUM_SAMPLES), starts)


def test_a_run_goes_on_from_two_ranks_to_one(tmp_path: Path, make_shards: MakeShards) -> None:
    _check(tmp_path, make_shards(NUM_SAMPLES), [(2, "ddp"), (1, "ddp")])
