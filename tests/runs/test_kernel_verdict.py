"""A run writes down whether the GPU kernels were trusted: in its metrics, its environment and its report."""

import json
from pathlib import Path

import pytest
import torch

from mcdist import outputs, run
from mcdist.choices import Implementation
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.distributed import World
from mcdist.ops.trial import Comparison
from mcdist.ops.verdict import Verdict, verdict_for
from mcdist.report.jsonl import read_metrics
from mcdist.report.page.html import write_report
from mcdist.run_dir import RunDir
from tests.fixture_types import MakeShards

SMALL = """
data: {num_workers: 0, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 2}
model: {backbone: resnet18, num_stages: 3, decoder: linear, embedding_dim: 8, bank_size: 16}
optim: {global_batch: 4, epochs: 1}
run: {device: cpu, num_threads: 1}
report: {mlflow: "off", console: "off"}
"""

GOOD = Verdict("Some GPU", (Comparison("mask_pool", "float32", "gradient", 0.01, 0.1),))
BAD = Verdict("Some GPU", (Comparison("mask_pool", "float32", "gradient", 0.5, 0.1),))
SAID = "Some GPU: the fused operators are not used, compact ones are: mask_pool in float32: gradient differs by 0.5, allowed is 0.1"


@pytest.fixture
def config(tmp_path: Path, make_shards: MakeShards) -> Config:
    (tmp_path / "small.yaml").write_text(SMALL)
    return load_config(tmp_path / "small.yaml", overrides=[f"data.train={make_shards(8)}", f"run.dir={tmp_path / 'run'}"])


def trained(config: Config, monkeypatch: pytest.MonkeyPatch, verdict: Verdict | None) -> tuple[dict[str, float], dict[str, object], str]:
    """The records of the verdict, the facts of the start and the report of a run whose device has this verdict."""
    monkeypatch.setattr(outputs, "verdict_for", lambda device, implementation: verdict)
    assert run.train_run(config) == 0
    run_dir = RunDir(Path(config.run.dir))
    records = {record.name: record.value for record in read_metrics(run_dir.metrics) if record.name.startswith("fused_operators/")}
    (start,) = json.loads(run_dir.environment.read_text())
    return records, start, write_report(run_dir).read_text()


def test_kernels_that_are_not_trusted_are_in_metrics_environment_and_report(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    records, start, page = trained(config, monkeypatch, BAD)
    assert records == {"fused_operators/trusted": 0.0, "fused_operators/difference": 0.5, "fused_operators/tolerance": 0.1}
    assert start["gpu_kernels"] == SAID
    assert "GPU kernels" in page
    assert SAID in page


def test_without_a_gpu_nothing_is_said_of_kernels(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    records, start, page = trained(config, monkeypatch, None)
    assert records == {}
    assert "gpu_kernels" not in start
    assert "GPU kernels" not in page


@pytest.mark.parametrize(
    ("of_ranks", "written"), [([GOOD, GOOD], GOOD), ([GOOD, BAD], BAD), ([BAD, GOOD], BAD), ([None, None], None), ([None, BAD], BAD), ([None, GOOD], GOOD)]
)
def test_the_first_rank_that_does_not_trust_its_device_is_written_down(
    config: Config, monkeypatch: pytest.MonkeyPatch, of_ranks: list[Verdict | None], written: Verdict | None
) -> None:
    """Every rank has its own verdict before it meets the others, whatever theirs are, so none can wait for one that does not come."""
    texts = [verdict.to_json() for verdict in of_ranks if verdict]
    for own in of_ranks:
        given: list[list[str]] = []
        monkeypatch.setattr(World, "gather_texts", lambda self, mine, given=given: given.append(mine) or texts)
        monkeypatch.setattr(outputs, "verdict_for", lambda device, implementation, own=own: own)
        assert outputs._kernel_verdict(config, world=World(rank=0, num_ranks=2, device=torch.device("cpu"))) == written
        assert given == [[own.to_json()] if own else []]


def test_a_verdict_travels_as_text_with_nan_and_all() -> None:
    failed = Verdict("Some GPU", (Comparison("mask_pool", "float32", "", float("nan"), float("nan"), error="it hangs"),))
    assert str(Verdict.from_json(failed.to_json())) == str(failed)


@pytest.mark.parametrize("implementation", ["auto", "fused", "compact"])
def test_a_cpu_needs_no_verdict(implementation: Implementation) -> None:
    assert verdict_for(torch.device("cpu"), implementation=implementation) is None
