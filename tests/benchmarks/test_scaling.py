"""The model of scaling: its formulas at their ends, its parts against simulation and count, and the measurement on two real ranks."""

import importlib
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from mcdist import build
from mcdist.config import Config, ModelConfig, ViewsConfig
from mcdist.errors import ConfigError, DataError, McdistError

HOUR_S = 3600.0


@pytest.fixture
def module() -> Callable[[str], ModuleType]:
    return importlib.import_module


def test_one_rank_exchanges_nothing_and_one_node_is_a_ring(module: Callable[[str], ModuleType]) -> None:
    net = module("benchmarks.scaling.network")
    network = net.Network(net.Level(1e-6, 1e-10), net.Level(1e-5, 1e-9), 8)
    assert net.all_reduce_s(1e6, num_ranks=1, network=network) == net.all_gather_s(1e6, num_ranks=1, network=network) == 0
    assert net.all_reduce_s(1e6, num_ranks=8, network=network) == net.ring_all_reduce_s(1e6, num_ranks=8, level=network.within)
    assert net.ring_all_reduce_s(8e6, num_ranks=8, level=net.Level(0, 1e-9)) == pytest.approx(2 * 7e-3)
    assert net.all_reduce_s(1e6, num_ranks=64, network=network) > net.all_reduce_s(1e6, num_ranks=8, network=network)


def test_a_level_is_found_again_from_what_it_predicts(module: Callable[[str], ModuleType]) -> None:
    net = module("benchmarks.scaling.network")
    level, sizes = net.Level(2e-5, 5e-10), [2**12, 2**16, 2**20, 2**24]
    taken = [net.ring_all_reduce_s(size, num_ranks=4, level=level) for size in sizes]
    found = net.fit(sizes, taken, num_messages=6, share=1.5)
    assert (found.alpha_s, found.beta_s) == (pytest.approx(level.alpha_s), pytest.approx(level.beta_s))
    assert net.fit(sizes, [1.0, 1.0, 1.0, 0.1], num_messages=6, share=1.5).beta_s == 0, "no link is faster for more bytes"


def test_dalys_interval_is_the_best_one_and_young_is_near_where_saves_are_short(module: Callable[[str], ModuleType]) -> None:
    failures = module("benchmarks.scaling.failures")
    for save_s, mtbf_s in ((1.0, HOUR_S), (60.0, HOUR_S), (0.02, 12 * HOUR_S)):
        best = failures.daly_interval_s(save_s=save_s, mtbf_s=mtbf_s)
        goodput = {factor: failures.goodput(interval_s=best * factor, save_s=save_s, restart_s=180.0, mtbf_s=mtbf_s) for factor in (0.5, 1.0, 2.0)}
        assert goodput[1.0] == max(goodput.values())
    assert failures.young_interval_s(save_s=0.02, mtbf_s=HOUR_S) == pytest.approx(failures.daly_interval_s(save_s=0.02, mtbf_s=HOUR_S), rel=0.01)
    assert failures.daly_interval_s(save_s=100.0, mtbf_s=10.0) == 10.0
    assert failures.goodput(interval_s=1e9, save_s=1.0, restart_s=1.0, mtbf_s=1.0) == 0.0


def test_the_goodput_is_that_of_a_simulated_year(module: Callable[[str], ModuleType]) -> None:
    failures = module("benchmarks.scaling.failures")
    interval_s, save_s, restart_s, mtbf_s = 600.0, 20.0, 180.0, 2 * HOUR_S
    draw = random.Random(0)
    now_s = worked_s = 0.0
    next_failure_s = draw.expovariate(1 / mtbf_s)
    while now_s < 8760 * HOUR_S:
        if now_s + interval_s + save_s <= next_failure_s:
            now_s, worked_s = now_s + interval_s + save_s, worked_s + interval_s
            continue
        now_s = next_failure_s
        while True:  # a restart may fail as well
            next_failure_s = now_s + draw.expovariate(1 / mtbf_s)
            if now_s + restart_s <= next_failure_s:
                now_s += restart_s
                break
            now_s = next_failure_s
    want = failures.goodput(interval_s=interval_s, save_s=save_s, restart_s=restart_s, mtbf_s=mtbf_s)
    assert worked_s / now_s == pytest.approx(want, rel=0.02)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("backward_s", [0.0, 0.3, 2.0])
def test_no_more_hides_than_the_backward_pass_is_long(module: Callable[[str], ModuleType], overlap: float, backward_s: float) -> None:
    model = module("benchmarks.scaling.model")
    work = model.Work(encoders_s=3.0, backward_s=backward_s, gradients_bytes=1e6, prototypes=8, dim=32)
    reduce_s = {1e6: 1.0}
    step = model.step_of(work, num_ranks=4, loss_s=0.5, overlap=overlap, all_reduce_s=lambda size: reduce_s.get(size, 0.0), all_gather_s=lambda size: 0.25)
    assert step.exposed_s == pytest.approx(max(1.0 - backward_s, 1.0 - overlap))
    assert step.total_s == pytest.approx(3.75 + step.exposed_s)
    assert model.step_of(work, num_ranks=1, loss_s=0.5, overlap=0.0, all_reduce_s=lambda size: 9.0, all_gather_s=lambda size: 9.0).total_s == 3.5


def test_operations_and_parameters_are_counted_without_computing(module: Callable[[str], ModuleType]) -> None:
    small = Config(model=ModelConfig(backbone="resnet18", num_stages=3, decoder="linear"), views=ViewsConfig(size_px=32))
    costs = module("benchmarks.scaling.encoder_costs").encoder_costs(small)
    encoder = build.build_encoder(small.model)
    assert costs.num_parameters == costs.num_trainable == sum(parameter.numel() for parameter in encoder.parameters())
    stem_flops = 2 * 16 * 16 * 64 * 3 * 49
    assert costs.forward_flops > stem_flops
    twice = module("benchmarks.scaling.encoder_costs").encoder_costs(Config(model=small.model, views=ViewsConfig(size_px=64)))
    assert twice.forward_flops == pytest.approx(4 * costs.forward_flops)
    assert twice.saved_bytes == pytest.approx(4 * costs.saved_bytes, rel=0.05)


def test_predictions_say_that_the_loss_saturates_first_and_what_helps(module: Callable[[str], ModuleType]) -> None:
    predicting = module("benchmarks.scaling.predict")
    config = Config(model=ModelConfig(backbone="resnet18", num_stages=3, decoder="linear"), views=ViewsConfig(max_objects=1))
    few = Config(model=config.model, views=config.views, loss=type(config.loss)(pixels_per_object=256))
    options = {"gpu": predicting.GPUS["h100"], "site": predicting.Site(), "local_batch": 64, "gpus": [8, 512, 4096]}
    everything, chosen = (predicting.predict(one, **options) for one in (config, few))
    last = everything[-1].step
    assert last.loss_s > max(last.gather_s, last.exposed_s, last.small_s)
    assert chosen[-1].step.loss_s < last.loss_s / 20
    for found in (everything, chosen):
        assert [one.efficiency_percent for one in found] == sorted((one.efficiency_percent for one in found), reverse=True)
        assert found[0].efficiency_percent == 100
        assert all(one.memory_gib < 80 and one.goodput_percent > 90 for one in found)
    with pytest.raises(ConfigError, match="--gpu wants one of h100, a100, got 'abacus'"):
        predicting.main(gpu="abacus")


def test_predictions_are_printed_and_written(module: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module("benchmarks.scaling.predict").main(gpus=[8, 64], photos=[10**6], json=tmp_path / "predicted.json")
    written = json.loads((tmp_path / "predicted.json").read_text())
    assert [one["num_gpus"] for one in written["predictions"]] == [1, 8, 64]
    assert [(row["photos"], row["gpus"]) for row in written["data"]] == [(10**6, 8), (10**6, 64)]
    assert "goodput" in capsys.readouterr().out


def made_case(num_ranks: int) -> dict[str, object]:
    times = {"alone": [1.0, 1.1, 1.2], "whole": [1.3, 1.4, 1.5], "together": [1.1, 1.15, 1.2], "exchange": [0.5, 0.5, 0.5]}
    traffic = {"calls": {"gradients": 2, "prototypes": 1}, "bytes": {"gradients": 100, "prototypes": 10}, "wire_bytes": 110, "needed_bytes": 100}
    return {
        "num_ranks": num_ranks, "scaling": "weak", "local_batch": 4, "gradients_bytes": 100, "first_step_s": 9.0, "traffic": traffic,
        "checkpoint": {"bytes": 2**20, "copy_s": 0.01, "write_s": 0.02}, "network_s": None,
        "steps_s": times if num_ranks > 1 else {"alone": times["alone"], "whole": times["alone"]},
        "cpu_s": {"alone": [1.0], "together": [1.02]},
    }  # fmt: skip


def test_the_page_gets_the_measured_tables_between_its_marks(module: Callable[[str], ModuleType], tmp_path: Path) -> None:
    scaling, page = module("benchmarks.scaling.scaling"), module("benchmarks.scaling.page")
    cases = [case | scaling.summarise(case) for case in (made_case(1), made_case(2))]
    assert cases[1]["overlap"] == pytest.approx(1 - 0.25 / 0.5)
    assert cases[1]["outside_cpu_percent"] == pytest.approx(2)
    assert cases[1]["outside_percent"] == pytest.approx(100 * 0.05 / 1.1)
    found = {"model": "a model", "machine": "a machine", "versions": {"torch": "2"}, "commit": "c", "date": "today", "num_cores": 2, "cases": cases}
    cases[1]["predicted_s"] = 1.54
    (tmp_path / "scaling.json").write_text(json.dumps(found))
    (tmp_path / "scale.md").write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    page.main(json_path=tmp_path / "scaling.json", page=tmp_path / "scale.md")
    text = (tmp_path / "scale.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| 2 | weak | 4 | 1100 | 1400 | 1540 | +10.0 % |" in text
    assert "1.1000 x" in text
    with pytest.raises(DataError, match="expected the marks"):
        page.with_section("no marks", "tables", name="page.md")
    with pytest.raises(DataError, match="run: python -m benchmarks.scaling.scaling"):
        page.main(json_path=tmp_path / "nowhere.json", page=tmp_path / "scale.md")


def test_ranks_that_fail_are_named_with_their_last_words(module: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "fails.py"
    script.write_text("import os, sys, time\nif os.environ['RANK'] == '1':\n    sys.exit('no luck')\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(McdistError, match=r"fails failed on 2 ranks: .*rank 1: no luck"):
        module("benchmarks.harness.ranks").on_ranks("fails", num_ranks=2, timeout_s=120)


@pytest.mark.slow
def test_scaling_is_measured_on_two_ranks(module: Callable[[str], ModuleType], tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        module("benchmarks.scaling.scaling").main(
            ranks=[1, 2], local_batch=2, global_batch=4, size_px=32, num_stages=3, num_rounds=2, json=tmp_path / "scaling.json"
        )
    finally:
        torch.set_num_threads(threads)
    found = json.loads((tmp_path / "scaling.json").read_text())
    assert [(case["num_ranks"], case["scaling"]) for case in found["cases"]] == [(1, "weak"), (2, "weak"), (2, "strong")]
    for case in found["cases"][1:]:
        assert math.isfinite(case["predicted_s"]) and case["predicted_s"] > 0
        assert case["traffic"]["calls"] == {"stop flag": 1, "prototypes": 1, "pixel counts": 1, "gradients": 1}
        assert case["traffic"]["wire_bytes"] <= 1.05 * case["traffic"]["needed_bytes"]
    assert "| 2 | strong |" in module("benchmarks.scaling.page").measured_section(found)
