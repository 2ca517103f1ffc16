import importlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import pytest
import torch
from PIL import Image

from mcdist.errors import ConfigError, McdistError
from mcdist.records.step_profile import REST
from tests.fixture_types import MakeShards

FIELDS = ["benchmark", "provider", "mode", "shape", "metric", "unit", "median", "p20", "p80", "num_runs", "machine"]
FIELDS += ["instruction_set", "allocator", "load", "versions", "commit", "date"]
SMALL_MODEL = ["model.backbone=resnet18", "model.num_stages=3", "model.decoder=linear", "model.bank_size=4"]
SMALL_STEP = ["views.size_px=32", "optim.global_batch=4", "data.num_lanes=1", "run.device=cpu", "run.num_threads=1"]

Rows = list[dict[str, Any]]


@pytest.fixture
def benchmark_named() -> Callable[[str], ModuleType]:
    return importlib.import_module


@pytest.fixture
def run_benchmark(benchmark_named: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Rows]:
    def run(name: str, *arguments: str) -> Rows:
        path = tmp_path / f"{name.split('.')[-1]}.json"
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments, "--json", str(path)])
        with pytest.raises(SystemExit) as leaving:
            benchmark_named("benchmarks.harness.command").run(benchmark_named(name).main)
        assert leaving.value.code == 0
        return json.loads(path.read_text())

    return run


@pytest.fixture(autouse=True)
def same_threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def check_rows(rows: Rows, *, benchmark: str) -> None:
    assert rows
    for row in rows:
        assert list(row) == FIELDS
        assert row["benchmark"] == benchmark
        assert 0 <= row["p20"] <= row["median"] <= row["p80"]
        assert row["num_runs"] == (1 if row["metric"].endswith("error") or row["mode"] == "whole process" else 2)
        assert row["unit"] and row["machine"] and row["commit"] and row["versions"]["torch"]
        assert row["instruction_set"].startswith("torch ") and row["allocator"] and row["load"] >= 0


WAYS = ["plain", "reference", "compact", "fused"]
METRICS = ["loss error", "gradient error", "time", "peak extra memory"]


def test_the_loss_is_measured_by_the_way_it_is_computed(run_benchmark: Callable[..., Rows], capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--batch", "2", "--batch", "3", "--dim", "4", "--size-px", "16", "--bank", "3", "--max-objects", "3", "--objects", "2", "--num-runs", "2"]
    rows = run_benchmark("benchmarks.loss.contrast", *options, "--num-threads", "1", "--check-images", "1")
    check_rows(rows, benchmark="mask_contrast")
    assert [(row["provider"], row["metric"]) for row in rows] == 2 * [(way, metric) for way in WAYS for metric in METRICS]
    assert "2 images of 16 px" in capsys.readouterr().out


def test_pooling_is_measured_by_the_way_it_is_computed(run_benchmark: Callable[..., Rows]) -> None:
    rows = run_benchmark("benchmarks.loss.pool", "--batch", "2", "--dim", "4", "--size-px", "16", "--num-runs", "2", "--num-threads", "1")
    check_rows(rows, benchmark="mask_pool")
    assert [row["provider"] for row in rows if row["metric"] == "time"] == WAYS


def test_rows_are_drawn_as_bars_and_an_unknown_metric_names_the_known_ones(
    run_benchmark: Callable[..., Rows], benchmark_named: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    run_benchmark("benchmarks.loss.pool", "--batch", "2", "--dim", "4", "--size-px", "16", "--num-runs", "2", "--num-threads", "1")
    plot, rows = benchmark_named("benchmarks.harness.plot"), tmp_path / "pool.json"
    plot.main(rows, metric="time", mode="", figure=tmp_path / "figures" / "time.png")
    assert (tmp_path / "figures" / "time.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="--metric wants one of gradient error, .*time, got 'speed'"):
        plot.main(rows, metric="speed", mode="", figure=tmp_path / "none.png")


def test_what_disagrees_with_the_truth_is_not_timed(benchmark_named: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    module = benchmark_named("benchmarks.loss.contrast")
    right = module.loss_and_gradient

    def wrong(operands: Any, way: str) -> tuple[torch.Tensor, torch.Tensor]:
        loss, gradient = right(operands, way)
        return (loss, gradient * 1.01) if way == "fused" else (loss, gradient)

    monkeypatch.setattr(module, "loss_and_gradient", wrong)
    with pytest.raises(McdistError, match="fused's gradient is 1.0e-02 away from the truth.*not timed"):
        module.main(batch=[1], dim=[4], size_px=16, num_runs=2, num_threads=1, check_images=0)


def test_what_would_not_fit_into_memory_is_left_out_and_said_so(
    benchmark_named: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark_named("benchmarks.harness.comparison"), "free_bytes", lambda device: 10.0)
    benchmark_named("benchmarks.loss.contrast").main(batch=[1], dim=[4], size_px=16, num_runs=2, num_threads=1, check_images=0)
    printed = capsys.readouterr()
    assert "plain left out at 1 images" in printed.err
    assert "fused" in printed.out


PIPELINE_PROVIDERS = ["libjpeg-turbo decode", "PIL + torchvision", "mcdist", "mcdist + colour"]


def write_photos(folder: Path) -> tuple[str, str]:
    """Four photos and their maps, as pipeline.py wants them."""
    for name in ("photos", "masks"):
        (folder / name).mkdir()
    for number in range(4):
        instances = numpy.zeros((40, 52), dtype=numpy.uint8)
        instances[5:25, 5 + number : 25] = 1
        Image.fromarray(numpy.repeat(200 * instances[..., None], 3, axis=2)).save(folder / "photos" / f"{number}.jpg")
        Image.fromarray(instances).save(folder / "masks" / f"{number}.png")
    return str(folder / "photos"), str(folder / "masks")


def here(module: ModuleType) -> Callable[..., dict[str, Any]]:
    """trial.py's work in this process: starting one for each figure takes seconds."""

    def trial(name: str, source: Any, *, check: bool = False, **options: Any) -> dict[str, Any]:
        if check:
            return module.check(name, source, **options)
        options["num_workers"] = options.pop("workers")
        return module.measure(name, source, began_s=time.monotonic(), **options)

    return trial


def test_loaders_of_two_views_are_checked_and_measured_side_by_side(
    benchmark_named: Callable[[str], ModuleType], run_benchmark: Callable[..., Rows], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(benchmark_named("benchmarks.loader.pipeline"), "run_trial", here(benchmark_named("benchmarks.loader.trial")))
    providers = [part for name in PIPELINE_PROVIDERS for part in ("--provider", name)]
    options = ["--workers", "0", "--batch", "2", "--size-px", "32", "--num-runs", "2", "--stretch-s", "0.01", *providers]
    rows = run_benchmark("benchmarks.loader.pipeline", *write_photos(tmp_path), *options)
    check_rows(rows, benchmark="data_pipeline")
    assert [row["provider"] for row in rows if row["metric"] == "photos"] == PIPELINE_PROVIDERS
    ratios = {row["provider"]: row["median"] for row in rows if row["unit"] in ("x", "%")}
    assert ratios.keys() == set(PIPELINE_PROVIDERS)
    assert [row["median"] for row in rows if row["metric"] == "beside PIL + torchvision" and row["provider"] == "PIL + torchvision"] == [1]
    assert {row["metric"] for row in rows} >= {"peak memory", "first batch, cold", "first batch, warm"}


def test_a_loader_whose_map_misses_its_photo_is_not_timed(
    benchmark_named: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = benchmark_named("benchmarks.loader.pipeline").generate_check(tmp_path / "check")
    seen = next(benchmark_named("benchmarks.loader.providers").PROVIDERS["PIL + torchvision"].open(source, 4, 32, 0))
    beside = replace(seen, instances=tuple(instances.roll(8, dims=-1) for instances in seen.instances))
    wrong = benchmark_named("benchmarks.loader.providers").Provider(lambda *_: iter([beside]))
    monkeypatch.setitem(benchmark_named("benchmarks.loader.providers").PROVIDERS, "wrong", wrong)
    with pytest.raises(McdistError, match="wrong gives a map that misses its photo in .* not timed"):
        benchmark_named("benchmarks.loader.trial").check("wrong", source, batch=4, size_px=32)


def test_a_trial_runs_in_a_process_of_its_own(benchmark_named: Callable[[str], ModuleType], tmp_path: Path) -> None:
    module = benchmark_named("benchmarks.loader.pipeline")
    source = module.generate_check(tmp_path / "check")
    found = module.run_trial("libjpeg-turbo decode", source, batch=2, size_px=32, workers=0, stretch_s=0.01)
    assert found["rates"] and min(found["rates"]) > 0
    with pytest.raises(McdistError, match="PIL . torchvision could not be measured: .*nowhere/photos"):
        module.run_trial("PIL + torchvision", replace(source, folder=tmp_path / "nowhere"), check=True)


def test_the_loaders_memory_is_measured_by_number_of_photos(benchmark_named: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = benchmark_named("benchmarks.loader.memory")

    def here(folder: Path, *options: str) -> dict[str, float]:
        return benchmark.read(folder, num_steps=3, num_workers=1, batch=8, ready="--ready" in options)

    monkeypatch.setattr(benchmark, "_in_a_process", here)
    rows = benchmark.measure(300, num_steps=3, num_workers=1, batch=8)
    assert [(row.provider, row.metric, row.unit) for row in rows] == [
        ("main process", "peak memory", "MiB"),
        ("worker", "peak memory", "MiB"),
        ("manifest", "size", "MiB"),
        ("loader, server cold", "first batch", "s"),
        ("loader, server ready", "first batch", "s"),
    ]
    assert all(row.median > 0 and row.mode == "300 photos" for row in rows)


def test_the_step_is_measured_whole_and_by_part(run_benchmark: Callable[..., Rows], make_shards: MakeShards, tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text("{}\n")
    rows = run_benchmark("benchmarks.step.step", str(config), f"data.train={make_shards(6)}", *SMALL_MODEL, *SMALL_STEP, "--num-runs", "2")
    check_rows(rows, benchmark="train_step")
    assert [row["mode"] for row in rows if row["unit"] == "1/s"] == ["whole step"]
    encoders = {"key encoder, forward", "query encoder, forward", "query encoder, backward"}
    others = {"waiting for data", "copy and colours", "optimizer", "pooling of objects", "moving average", "memory bank", REST}
    assert {row["mode"] for row in rows if row["unit"] == "ms"} == {*encoders, *others, "loss: contrast", "loss: saliency"}
    assert [row["median"] > 100 for row in rows if row["metric"] == "peak memory"] == [True]
    assert all(row["median"] > 0 for row in rows if row["unit"] == "ms" and row["mode"] != REST)


def test_cached_views_are_measured_against_photos_in_turns(run_benchmark: Callable[..., Rows], tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text("{}\n")
    frozen = ["model.trainable_from=3", "data.num_workers=0", "model.bank_size=4", "model.decoder_width=8", "model.atrous_rates=[1]"]
    turns = ["--num-rounds", "2", "--num-steps", "1", "--num-photos", "8", "--cached-with", "model.decoder=linear"]
    model = [setting for setting in SMALL_MODEL if "decoder" not in setting]
    rows = run_benchmark("benchmarks.step.cached", str(config), *model, *SMALL_STEP, *frozen, *turns)
    check_rows([row for row in rows if row["mode"] == "training"], benchmark="cached_views")
    ways = ["photos", "cached", "cached, model.decoder=linear"]
    assert [row["provider"] for row in rows if row["metric"] == "photos"] == ways
    assert [row["provider"] for row in rows if row["metric"] == "against photos"] == ways
    assert [row["median"] for row in rows if row["metric"] == "against photos"][0] == 1
    assert [row["provider"] for row in rows if row["mode"] == "making"] == ways[1:]


@pytest.mark.slow
def test_allocators_take_turns_and_are_compared_with_the_systems(run_benchmark: Callable[..., Rows], capsys: pytest.CaptureFixture[str]) -> None:
    works = ["--work", "forward:2:64", "--work", "training:2:64"]
    rows = run_benchmark("benchmarks.step.allocator", *works, "--num-rounds", "1", "--num-threads", "1")
    assert [row["provider"] for row in rows if row["metric"] == "time"] == ["system", "auto"] * 2
    assert {(row["mode"], row["metric"], row["unit"]) for row in rows} >= {("training", "page faults", "1/pass"), ("forward", "peak memory", "MiB")}
    assert all(row["median"] == 1 for row in rows if row["provider"] == "system" and row["unit"] == "x")
    turns = [line.split(", ")[2].split(":")[0] for line in capsys.readouterr().err.splitlines() if " s  round " in line]
    assert turns == ["system", "auto", "auto", "system"] * 2


def test_an_allocator_that_cannot_be_measured_says_why(benchmark_named: Callable[[str], ModuleType], tmp_path: Path) -> None:
    module = benchmark_named("benchmarks.step.allocator")
    with pytest.raises(McdistError, match=r"allocator_trial sleep 1 32 .* ended with 2: .*WORK must be one of forward, training, got 'sleep'"):
        module.measure(("sleep", 1, 32), environments=module.ways(huge_pages=False, preload=[]), num_rounds=1, num_threads=1)
    with pytest.raises(ConfigError, match="--preload must name a shared library, found no file at .*libnone.so"):
        module.main(preload=[tmp_path / "libnone.so"])


def test_a_user_error_is_one_sentence(
    benchmark_named: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pipeline.py", str(tmp_path / "nowhere"), str(tmp_path), "--provider", "mcdist"])
    with pytest.raises(SystemExit) as leaving:
        benchmark_named("benchmarks.harness.command").run(benchmark_named("benchmarks.loader.pipeline").main)
    assert leaving.value.code == 3
    assert "expected a folder of .jpg photos" in capsys.readouterr().err


def test_peak_memory_counts_what_a_call_holds(benchmark_named: Callable[[str], ModuleType], device: torch.device) -> None:
    peak = benchmark_named("benchmarks.harness.measurement").peak_extra_mib(lambda: torch.ones(16, 2**18, device=device).sum(), device=device)
    if peak is None:
        pytest.skip("this system does not tell the peak of a process's memory")
    assert 12 <= peak <= 64


def test_the_cost_of_a_checkpoint_is_measured_both_ways(run_benchmark: Callable[..., Rows], tmp_path: Path, make_shards: MakeShards) -> None:
    (tmp_path / "config.yaml").write_text("")
    settings = [f"data.train={make_shards(4)}", *SMALL_MODEL, *SMALL_STEP]
    rows = run_benchmark(
        "benchmarks.step.checkpoint", str(tmp_path / "config.yaml"), *settings, "--num-rounds", "2", "--num-steps", "2", "--folder", str(tmp_path)
    )
    assert {row["benchmark"] for row in rows} == {"checkpoint"}
    a_save = [("a save", "cost"), ("every 200 steps", "share of the step time"), ("a save", "longest step")]
    wanted = [
        ("no save", "training", "step time"),
        ("no save", "training", "longest step"),
        *((way, *what) for way in ("synchronous", "asynchronous") for what in a_save),
    ]
    assert [(row["provider"], row["mode"], row["metric"]) for row in rows] == wanted
    assert not list(tmp_path.glob("tmp*"))


def test_rows_become_markdown_a_table_a_shape(run_benchmark: Callable[..., Rows], benchmark_named: Callable[[str], ModuleType], tmp_path: Path) -> None:
    rows = run_benchmark("benchmarks.loss.pool", "--batch", "2", "--dim", "4", "--size-px", "16", "--num-runs", "2", "--num-threads", "1")
    table = benchmark_named("benchmarks.harness.table")
    text = table.markdown([row for row in rows if row["metric"] == "time"])
    assert text.count("| provider | mode |") == 1
    assert text.count("| time |") == len(WAYS)
    assert rows[0]["commit"] in text.splitlines()[-1]
    (tmp_path / "none.json").write_text("[1]")
    with pytest.raises(McdistError, match="expected the rows of a benchmark in .*none.json"):
        table.main(tmp_path / "none.json")
