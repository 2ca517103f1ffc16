"""The steps of others that ours is put beside: plain torch computes our loss, lightly's losses train, and what is not installed is left out."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.harness import inputs
from benchmarks.harness.pretend_run import fill, pretend_batches
from benchmarks.harness.turns import ratios_by_round
from benchmarks.peers import page, step_trial
from benchmarks.step import depthwise, polite
from mcdist import build
from mcdist.config.file import load_config
from mcdist.errors import ConfigError, McdistError
from mcdist.model.backbones.dilation import InterleavedConv2d
from mcdist.ranks.join import leave_world


@pytest.fixture
def started() -> Any:
    config = load_config(Path(inputs.CONFIG), overrides=[*inputs.SMALL, "views.size_px=32", "views.max_objects=2"])
    world = build.build_world(config)
    threads = torch.get_num_threads()
    build.prepare_process(config, world=world)
    state = build.build_state(config, world=world)
    fill(state)
    yield config, state, pretend_batches(config, world=world)[0]
    leave_world()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def test_a_step_in_plain_torch_has_our_loss_and_trains(started: Any) -> None:
    config, state, batch = started
    plain, first = step_trial.others("plain torch", config, state, batch)
    _, ours = step_trial.ours(config, state, batch)
    assert first == pytest.approx(ours, rel=1e-5)
    assert first < float(plain()) < 2 * first, "the bank now holds the prototypes of these photos, as negatives"


@pytest.mark.parametrize("name", ["lightly DetConS", "lightly NTXent, bank"])
def test_steps_with_lightlys_losses_run(name: str, started: Any) -> None:
    pytest.importorskip("lightly")
    step, first = step_trial.others(name, *started)
    assert 0 < first < 20 and 0 < float(step()) < 20


def test_another_loss_is_not_timed() -> None:
    page._require_equal({page.OURS: 2.0, page.PLAIN: 2.0001})
    with pytest.raises(McdistError, match="first contrastive loss is 2.100000, ours 2.000000; not timed"):
        page._require_equal({page.OURS: 2.0, page.PLAIN: 2.1})
    with pytest.raises(McdistError, match="not timed"):
        page._require_equal({page.OURS: 2.0, page.PLAIN: float("nan")})


class PretendTrial:
    """A process that was started: each pass takes a second more than the one before."""

    last = None

    def __init__(self) -> None:
        self.ready = {"loss": 1.0, "allocator": "none"}
        self.passes: list[list[float]] = []

    def take_pass(self) -> list[float]:
        self.passes.append([1000.0 * (len(self.passes) + 1), 1.0, 0.0, 0.0])
        return self.passes[-1]

    def end(self) -> None:
        pass


def test_without_lightly_two_ways_are_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(page, "is_installed", lambda module: False)
    monkeypatch.setattr(page, "started", lambda *command, environment: nullcontext(PretendTrial()))
    rows = page.step_rows(Path("a.yaml"), [], num_rounds=2, shape="a shape")
    assert [(row.provider, row.metric) for row in rows if row.unit == "x"] == [("mcdist", "time, times ours"), ("plain torch", "time, times ours")]
    assert capsys.readouterr().err.count("lightly is left out: it is not installed") == 1


def test_a_busy_pass_is_compared_with_the_quiet_one_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polite, "started", lambda *command, environment: nullcontext(PretendTrial()))
    asked: list[int] = []

    def busy(number: int) -> AbstractContextManager[None]:
        asked.append(number)
        return nullcontext()

    monkeypatch.setattr(polite, "busy_processes", busy)
    rows = polite.measure(("training", 1, 32), names=[polite.OURS, polite.ONE], num_busy=3, num_rounds=2, num_threads=2)
    assert asked == [0, 3, 0, 3]
    found = {(row.provider, row.mode): row for row in rows if row.unit == "x"}
    assert found[polite.ONE, "busy / quiet"].median == pytest.approx((2 / 1 + 4 / 3) / 2)
    assert found[polite.ONE, "quiet, beside the first way"].median == 1


def test_ratios_are_of_the_same_round() -> None:
    own, base = [[2.0], [4.0], [9.0], [1.0]], [[1.0], [1.0], [5.0], [5.0]]
    assert ratios_by_round(own, base, place=0, passes_per_round=2) == [3.0, 1.0]


def test_a_way_of_a_convolution_that_differs_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = InterleavedConv2d(4, 4, 3, padding=2, dilation=2, groups=4)
    rows = depthwise.measure(made, torch.randn(1, 4, 8, 8), shape="small", num_runs=1)
    assert [row.provider for row in rows if row.metric == "time" and row.mode == "forward"] == list(depthwise.WAYS)
    monkeypatch.setattr(InterleavedConv2d, "_interleaved", lambda self, x: 1.01 * x)
    with pytest.raises(McdistError, match="dilated differs by .* not timed"):
        depthwise.measure(made, torch.randn(1, 4, 8, 8), shape="small", num_runs=1)


def test_a_way_that_is_not_known_names_those_that_are() -> None:
    with pytest.raises(ConfigError, match="WAY must be one of mcdist, plain torch, .*, got 'dense'"):
        step_trial.main("dense", Path(inputs.CONFIG))
