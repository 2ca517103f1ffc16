"""A whole run in this process: it stops, continues, refuses and survives as the README says."""

import copy
import importlib.metadata
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import load_file

from mcdist import run
from mcdist.building.convert import convert_shards
from mcdist.building.writers.pack import Packing
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.data.batch import Batch
from mcdist.data.finish import finish
from mcdist.errors import CheckpointError, ConfigError, DataError, HeldError, ShardError, SupersededError, TrainingError
from mcdist.report.bad_samples import read_bad_samples
from mcdist.report.console import Console
from mcdist.report.jsonl import read_metrics
from mcdist.report.page.html import write_report
from mcdist.resilience import claim
from mcdist.resilience.attempts import list_attempts
from mcdist.resilience.claim import Claim, claim_run
from mcdist.run_dir import RunDir, list_checkpoints
from mcdist.types import IMAGENET_MEAN, IMAGENET_STD
from mcdist.workflows.evaluation import evaluate_run
from tests.fixture_types import MakeShards, ShardsAt
from tests.judged_run import judged
from tests.makers.shard_server import serve
from tests.makers.stopped_run import last_state, stop_after
from tests.makers.tiny_shards import draw_members, photo_bytes
from tests.servers import starts_a_server

SMALL = """
data: {num_workers: 0, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 2}
model: {backbone: resnet18, num_stages: 3, decoder_width: 8, atrous_rates: [1, 2], embedding_dim: 8, bank_size: 16, momentum: 0.9}
optim: {global_batch: 4, epochs: 3, lr: 0.05}
run: {device: cpu, deterministic: true, num_threads: 1}
checkpoint: {every_steps: 3, keep: 2}
report: {mlflow: "off", log_every_steps: 2}
evaluate: {classes: {background: [0], one: [1], two: [2]}, size_px: 64, num_seeds: 2, num_panels: 2, objects: components}
"""


@pytest.fixture(autouse=True)
def _restore_determinism() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def configure(tmp_path: Path, make_shards: MakeShards) -> Callable[..., Config]:
    """A small configuration over twelve photos, with overrides."""
    (tmp_path / "small.yaml").write_text(SMALL)
    shards = make_shards(12)

    def make(*overrides: str, folder: str = "run") -> Config:
        given = [f"data.train={shards}", f"data.val={shards}", f"run.dir={tmp_path / folder}", *overrides]
        return load_config(tmp_path / "small.yaml", overrides=given)

    return make


@pytest.mark.parametrize("num_asked", [1, 4, 8])
def test_a_stopped_and_continued_run_ends_bit_equal_to_one_never_stopped(
    configure: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, num_asked: int
) -> None:
    whole, parts = configure(folder="whole"), configure(folder="parts")
    assert run.train_run(whole) == 0
    with monkeypatch.context() as patch:
        stop_after(patch, num_asked)
        assert run.train_run(parts) == 143
    assert run.train_run(parts) == 0
    want, got = last_state(whole.run.dir), last_state(parts.run.dir)
    assert want.keys() == got.keys()
    different = [name for name in want if not torch.equal(want[name], got[name])]
    assert not different
    losses = [
        [(record.step, record.value) for record in read_metrics(RunDir(Path(config.run.dir)).metrics) if record.name == "lr"] for config in (whole, parts)
    ]
    assert dict(losses[0]).items() <= dict(losses[1]).items(), "every logged step of the whole run is there once"
    assert len(losses[1]) == len(dict(losses[1]))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains_stops_and_continues(configure: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    """The CPU's dilated kernels want no determinism in fp16; what is checked is that losses stay finite and the scaler comes back."""
    config = configure(f"optim.precision={precision}", "run.deterministic=false", "optim.clip_grad_norm=1.0", "optim.epochs=2")
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        assert run.train_run(config) == 143
    assert run.train_run(config) == 0
    losses = [record.value for record in read_metrics(RunDir(Path(config.run.dir)).metrics) if record.name == "loss"]
    assert len(losses) == 3
    assert numpy.isfinite(losses).all()


@pytest.mark.parametrize(
    "override",
    [
        "loss.scope=rank",
        "ops.implementation=reference",
        "loss.pixels_per_object=50",
        "loss.false_negative_cosine=0.5",
        "model.momentum_buffers=copy",
        "model.bank_size=0",
        "model.bank_dtype=bf16",
    ],
)
def test_every_switch_of_the_science_trains(configure: Callable[..., Config], override: str) -> None:
    config = configure(override, "optim.epochs=1")
    assert run.train_run(config) == 0
    losses = [record.value for record in read_metrics(RunDir(Path(config.run.dir)).metrics) if record.name == "loss"]
    assert numpy.isfinite(losses).all()


def test_a_second_start_on_a_run_that_is_held_is_refused_and_changes_nothing(configure: Callable[..., Config]) -> None:
    config = configure("optim.epochs=1")
    run_dir = RunDir(Path(config.run.dir)).create()
    with claim_run(run_dir.root, attempts=run_dir.attempts, lease_s=100.0, say=print), pytest.raises(HeldError, match="two jobs cannot write one run"):
        run.train_run(config)
    assert not list_checkpoints(run_dir.checkpoints)
    assert not run_dir.metrics.exists()
    assert run.train_run(config) == 0
    assert [(attempt.began_step, attempt.saved_step, attempt.exit_code) for attempt in list_attempts(run_dir.attempts)] == [(None, None, 0), (0, 3, 0)]


def test_a_run_that_is_replaced_while_it_trains_saves_nothing_more(configure: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure("checkpoint.every_steps=2", "checkpoint.asynchronous=false")  # else step 2 may still be on its way when the newer attempt comes
    run_dir = RunDir(Path(config.run.dir))
    original = run.train
    newer: list[Claim] = []
    seen: list[bytes] = []

    def replaced(*arguments: Any, **settings: Any) -> Iterator:
        for progress in original(*arguments, **settings):
            if progress.step == 3:
                monkeypatch.setattr(claim, "is_dead", lambda attempt: True)
                newer.append(claim_run(run_dir.root, attempts=run_dir.attempts, lease_s=100.0, say=print))
                with Console(mode="off", total_steps=1, samples_per_step=1) as console:
                    console.open_log(run_dir.log, folder=newer[0].folder)
                seen.append(run_dir.log.read_bytes())
            yield progress

    monkeypatch.setattr(run, "train", replaced)
    with pytest.raises(SupersededError, match="is held by attempt 2 .* this was attempt 1"):
        run.train_run(config)
    assert [path.name for path in list_checkpoints(run_dir.checkpoints)] == ["step_00000002"]
    assert run_dir.log.read_bytes() == seen[0]
    assert newer[0].folder.is_dir()


def test_a_finished_run_is_left_alone(configure: Callable[..., Config], capsys: pytest.CaptureFixture[str]) -> None:
    config = configure("optim.epochs=1")
    assert run.train_run(config) == 0
    before = last_state(config.run.dir)
    assert run.train_run(config) == 0
    assert "is trained: 3 of 3 steps" in capsys.readouterr().out
    assert all(torch.equal(before[name], tensor) for name, tensor in last_state(config.run.dir).items())


def test_other_science_in_the_same_folder_is_refused_and_other_efficiency_is_not(configure: Callable[..., Config]) -> None:
    run.train_run(configure("optim.epochs=1"))
    with pytest.raises(ConfigError, match=r"loss.temperature: 0.5 -> 0.1.*run.dir=PATH"):
        run.train_run(configure("optim.epochs=1", "loss.temperature=0.1"))
    assert run.train_run(configure("optim.epochs=1", "optim.accumulation_steps=2", "report.log_every_steps=1")) == 0


def test_what_a_message_tells_to_change_may_change_in_the_same_run_and_the_log_notes_it(
    configure: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        run.train_run(configure())
    with pytest.raises(ConfigError, match=r"\(optim.lr: 0.05 -> 0.01\).*run.allow_changes=\[optim.lr\]"):
        run.train_run(configure("optim.lr=0.01"))
    with pytest.raises(ConfigError, match=r"\(loss.temperature: 0.5 -> 0.1\).*run.allow_changes=\[loss.temperature,optim.lr\]"):
        run.train_run(configure("optim.lr=0.01", "loss.temperature=0.1", "run.allow_changes=[optim.lr]"))
    config = configure("optim.lr=0.01", "run.allow_changes=[optim.lr]")
    assert run.train_run(config) == 0
    run_dir = RunDir(Path(config.run.dir))
    assert "changed on purpose (run.allow_changes): optim.lr: 0.05 -> 0.01, after step 2" in run_dir.log.read_text()
    assert load_config(run_dir.config).optim.lr == 0.01


@starts_a_server
def test_a_run_knows_its_samples_wherever_they_are(
    configure: Callable[..., Config], shards_at: ShardsAt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped again and again, it goes on with its shards at home, moved, from a URL, staged, and as FFCV files; the end is that of one go."""
    home = shards_at(tmp_path / "home", 12)
    whole, pieces = configure(f"data.train={home}", folder="whole"), configure(f"data.train={home}", folder="pieces")
    assert run.train_run(whole) == 0
    convert_shards(home, out=tmp_path / "ffcv", packing=Packing("raw"))
    moved = shutil.copytree(home, tmp_path / "moved")
    with serve(home) as server:
        places = (
            f"data.train={home}",
            f"data.train={moved}",
            f"data.train={server.url}",
            f"data.train={tmp_path / 'ffcv'}",
        )
        for place in places:
            with monkeypatch.context() as patch:
                stop_after(patch, 2)
                assert run.train_run(configure(place, f"data.cache_dir={tmp_path / 'cache'}", folder="pieces")) == 143
        assert run.train_run(configure(f"data.train={moved}", f"data.stage_to={tmp_path / 'node'}", folder="pieces")) == 0
    assert "does not record which samples" not in capsys.readouterr().out
    want, got = last_state(whole.run.dir), last_state(pieces.run.dir)
    assert all(torch.equal(want[name], got[name]) for name in want)


@pytest.mark.parametrize("num_asked", [2, 100])
def test_a_run_whose_shards_were_rebuilt_with_other_photos_is_refused_with_both_facts(
    configure: Callable[..., Config], shards_at: ShardsAt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_asked: int
) -> None:
    """Stopped or finished."""
    folder = shards_at(tmp_path / "rebuilt", 12)
    config = configure(f"data.train={folder}", "optim.epochs=1")
    with monkeypatch.context() as patch:
        stop_after(patch, num_asked)
        run.train_run(config)
    before = last_state(config.run.dir)
    shutil.rmtree(folder)
    shards_at(folder, 16)
    with pytest.raises(
        ConfigError, match=rf"trained on 12 samples \(digest \w{{12}}, at {folder}\), data.train names 16 others \(digest \w{{12}}, at {folder}\)"
    ):
        run.train_run(config)
    assert all(torch.equal(tensor, before[name]) for name, tensor in last_state(config.run.dir).items())
    started = configure(f"data.train={folder}", "optim.epochs=1", f"checkpoint.init_from={config.run.dir}", folder="started")
    assert run.train_run(started) == 0


def test_a_checkpoint_that_does_not_know_its_samples_continues_with_a_warning(
    configure: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configure("optim.epochs=1")
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        run.train_run(config)
    meta = list_checkpoints(RunDir(Path(config.run.dir)).checkpoints)[-1] / "meta.json"
    numbers = json.loads(meta.read_text())
    assert numbers.pop("data")["num_samples"] == 12
    meta.write_text(json.dumps(numbers))
    capsys.readouterr()
    assert run.train_run(config) == 0
    assert capsys.readouterr().out.count("does not record which samples its run was trained on; continuing with the 12 at") == 1


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(configure: Callable[..., Config], capsys: pytest.CaptureFixture[str]) -> None:
    config = configure()
    run.train_run(config)
    newest = list_checkpoints(RunDir(Path(config.run.dir)).checkpoints)[-1]
    (newest / "state.safetensors").write_bytes(b"damaged")
    assert run.train_run(config) == 0
    assert f"{newest.name} is damaged" in capsys.readouterr().out
    assert last_state(config.run.dir)["random/cpu"].numel()


def test_a_checkpoint_of_another_model_is_refused(configure: Callable[..., Config]) -> None:
    run.train_run(configure("optim.epochs=1", folder="small"))
    other = configure("optim.epochs=1", "model.decoder=linear", f"checkpoint.init_from={configure(folder='small').run.dir}", folder="other")
    with pytest.raises(CheckpointError, match="it is of another model|lacks"):
        run.train_run(other)


def test_a_run_starts_from_another_runs_weights(configure: Callable[..., Config]) -> None:
    first = configure("optim.epochs=1", folder="first")
    run.train_run(first)
    second = configure("optim.epochs=1", f"checkpoint.init_from={first.run.dir}", folder="second")
    run.train_run(second)
    start = load_file(RunDir(Path(second.run.dir)).initial_checkpoint / "state.safetensors")
    trained = last_state(first.run.dir)
    assert all(torch.equal(tensor, trained[name]) for name, tensor in start.items())


def test_steps_that_are_never_finite_end_the_run_and_keep_the_checkpoint(configure: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure("optim.max_nonfinite=2", "report.log_every_steps=1")
    original = run.train

    def poisoned(state: Any, batches: Iterator, **settings: Any) -> Iterator:
        return original(state, (_poison(batch, after=3, number=number) for number, batch in enumerate(batches)), **settings)

    monkeypatch.setattr(run, "train", poisoned)
    with pytest.raises(TrainingError, match="not finite in 2 steps in a row.*last checkpoint is intact"):
        run.train_run(config)
    checkpoints = list_checkpoints(RunDir(Path(config.run.dir)).checkpoints)
    assert [path.name for path in checkpoints] == ["step_00000003"]
    assert all(tensor.isfinite().all() for tensor in last_state(config.run.dir).values() if tensor.is_floating_point())


def _poison(batch: Batch, *, after: int, number: int) -> Batch:
    if number >= after:
        batch = finish(copy.deepcopy(batch), mean=IMAGENET_MEAN, std=IMAGENET_STD)
        batch.query_images.fill_(torch.nan)
    return batch


def test_a_trained_run_is_evaluated_beside_its_baselines(configure: Callable[..., Config]) -> None:
    config = configure()
    run.train_run(config)
    run_dir = RunDir(Path(config.run.dir))
    evaluation = judged(run_dir, overrides=[], which="newest")
    names = {row.subject.encoder for row in evaluation.rows}
    assert names == {"trained", "trained backbone", "initial", "initial backbone", "random labels", "random vectors", "upper bound"}
    assert evaluation.rows[evaluation.headline].subject.encoder == "trained"
    assert run_dir.report.read_text().lower().startswith("<!doctype html>")
    assert len(list(run_dir.panels.glob("*.png"))) == 2
    best = judged(run_dir, overrides=["evaluate.num_seeds=1"], which="best")
    assert len(best.rows[0].values) == 1
    with pytest.raises(CheckpointError, match="has no checkpoint 'step_77'; there are: newest, best, step_"):
        evaluate_run(run_dir, overrides=[], which="step_77")


def test_evaluating_without_classes_says_what_to_set_and_without_ground_truth_shows_clusters(
    configure: Callable[..., Config], shards_at: ShardsAt, tmp_path: Path
) -> None:
    config = configure("optim.epochs=1")
    run.train_run(config)
    run_dir = RunDir(Path(config.run.dir))
    with pytest.raises(ConfigError, match="evaluate.classes"):
        evaluate_run(run_dir, overrides=["evaluate.classes={}"], which="newest")
    bare = shards_at(tmp_path / "bare", 3, members_of=lambda index: {name: content for name, content in draw_members(index).items() if name != "seg.png"})
    for override in (f"data.val={bare}", "data.val="):
        evaluation = judged(run_dir, overrides=[override, "evaluate.num_clusters=2"], which="newest")
        assert not evaluation.has_truth
        assert evaluation.classes == ("background", "cluster 1", "cluster 2")
        quoted = evaluation.rows[evaluation.headline].details
        assert sum(quoted["sizes"]) == quoted["num_objects"]
        text = run_dir.report.read_text()
        assert "No ground truth" in text
        assert "typical objects of cluster 1" in text
        assert list(run_dir.clusters.glob("*.png"))


def test_photos_whose_masks_never_fit_keep_their_place_and_are_counted(configure: Callable[..., Config], shards_at: ShardsAt, tmp_path: Path) -> None:
    def members(index: int) -> dict[str, bytes]:
        blank = photo_bytes(numpy.zeros((40, 52), dtype=numpy.uint8))
        return draw_members(index) | ({"mask.png": blank} if index % 2 else {})

    shards = shards_at(tmp_path / "half", 8, members_of=members)
    config = configure("optim.epochs=1", f"data.train={shards}", "report.log_every_steps=1")
    assert run.train_run(config) == 0
    counts = [record.value for record in read_metrics(RunDir(Path(config.run.dir)).metrics) if record.name == "count/emptied"]
    assert counts[-1] == 4


@pytest.fixture
def bad_shards(shards_at: ShardsAt, tmp_path: Path) -> Path:
    """Eight photos, of which number 6 has no bytes."""
    return shards_at(tmp_path / "bad", 8, members_of=lambda index: draw_members(index) | ({"png": b""} if index == 6 else {}))


def test_bad_samples_are_skipped_counted_and_listed_as_often_as_they_come(
    configure: Callable[..., Config], bad_shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure("data.bad_samples=skip", "data.bad_samples_max_share=0.125", "optim.epochs=2", f"data.train={bad_shards}", "report.log_every_steps=1")
    run_dir = RunDir(Path(config.run.dir))
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        assert run.train_run(config) == 143
    with run_dir.bad_samples.open("a") as file:
        file.write(json.dumps({"step": 4, "epoch": 1, "shard": "of a killed start", "key": "", "index": 0, "reason": ""}) + "\n")
    assert run.train_run(config) == 0
    counts = {record.name: record.value for record in read_metrics(run_dir.metrics)}
    assert (counts["count/bad_samples"], counts["count/emptied"]) == (2, 0)
    listed = read_bad_samples(run_dir.bad_samples)
    assert [(line["epoch"], line["shard"], line["key"], line["index"]) for line in listed] == [(epoch, "shard-0001.tar", "photo_0006", 6) for epoch in (0, 1)]
    assert all("the photo is empty" in line["reason"] for line in listed)
    assert "1 samples could not be read and took part void everywhere" in run_dir.log.read_text()
    assert "photo_0006" in write_report(run_dir).read_text()


def test_more_bad_samples_than_allowed_stop_the_run_with_their_number(configure: Callable[..., Config], bad_shards: Path) -> None:
    config = configure("data.bad_samples=skip", f"data.train={bad_shards}", "report.log_every_steps=1")
    with pytest.raises(DataError, match=r"1 samples could not be read up to step [12], data.bad_samples_max_share=0.001 allows 0 in 1 epochs of 8"):
        run.train_run(config)
    assert len(read_bad_samples(RunDir(Path(config.run.dir)).bad_samples)) == 1


def test_a_bad_sample_stops_the_run_unless_it_may_be_skipped(configure: Callable[..., Config], bad_shards: Path) -> None:
    with pytest.raises(ShardError, match=r"shard-0001.tar, sample photo_0006 \(png at byte \d+, mask.png at byte \d+\): the photo is empty"):
        run.train_run(configure(f"data.train={bad_shards}"))


@starts_a_server
def test_a_run_on_shards_at_a_url_or_staged_is_the_run_on_the_folder(configure: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_DISK", str(tmp_path / "node"))
    plain = configure(folder="plain")
    with serve(Path(plain.data.train)) as server:
        given = (f"data.train={server.url}", f"data.val={server.url}/", f"data.cache_dir={tmp_path / 'cache'}")
        cached = configure(*given, folder="cached")
        staged = configure(f"data.train=file://{plain.data.train}", "data.stage_to=$NODE_DISK/shards", folder="staged")
        small = configure(*given, "data.cache_gib=0.0001", folder="small")
        for config in (plain, cached, small, staged):
            assert run.train_run(config) == 0
        assert judged(RunDir(Path(cached.run.dir)), overrides=[], which="newest").num_photos == 12
    wanted = last_state(plain.run.dir)
    for config in (cached, small, staged):
        state = last_state(config.run.dir)
        assert all(torch.equal(state[name], tensor) for name, tensor in wanted.items())
    assert len(list((tmp_path / "node" / "shards").glob("*.tar"))) == 3
    assert "data.cache_gib=0.0001 is less than the" in RunDir(Path(small.run.dir)).log.read_text()
    assert "cache_gib" not in RunDir(Path(cached.run.dir)).log.read_text()
    assert "staged 3 shards" in RunDir(Path(staged.run.dir)).log.read_text()


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        ("data.train=", ConfigError, "data.train is not set"),
        ("data.train=nowhere", ShardError, "expected a shard folder at nowhere"),
        pytest.param("run.device=cuda", ConfigError, "no CUDA device here", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")),
        ("checkpoint.init_from=nowhere", CheckpointError, "expected a run with checkpoints at nowhere"),
        ("model.weights=nowhere.pth", ConfigError, "weights=nowhere.pth: there is no file nowhere.pth"),
    ],
)
def test_what_is_missing_is_one_sentence(configure: Callable[..., Config], override: str, error: type[Exception], message: str) -> None:
    config = configure(override)
    with pytest.raises(error, match=message):
        run.train_run(config)
    assert override.startswith("checkpoint.") or not Path(config.run.dir).exists()  # nothing of a run that could not begin


def test_a_run_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a run at .*train first"):
        evaluate_run(RunDir(tmp_path), overrides=[], which="newest")


def test_a_damaged_metrics_file_is_an_error_and_not_lost(configure: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure("optim.epochs=1")
    stop_after(monkeypatch, 1)
    run.train_run(config)
    path = RunDir(Path(config.run.dir)).metrics
    path.write_text("not json\n" + path.read_text())
    with pytest.raises(DataError, match=r"metrics.jsonl:1"):
        run.train_run(config)
    assert path.read_text().startswith("not json\n")


@pytest.mark.filterwarnings("ignore")
def test_all_starts_are_one_mlflow_run_though_one_was_killed_before_it_saved(
    configure: Callable[..., Config], mlflow_store: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    config = configure("optim.epochs=1", "report.mlflow=on")
    run_dir = RunDir(Path(config.run.dir))
    mlflow_store(run_dir.mlflow_database)
    original = run.train
    with monkeypatch.context() as patch:
        patch.setattr(run, "train", lambda *arguments, **settings: _dies(original(*arguments, **settings)))
        with pytest.raises(KeyboardInterrupt):
            run.train_run(config)
    assert not list_checkpoints(run_dir.checkpoints)
    starts = json.loads(run_dir.environment.read_text())
    assert starts[0].pop("mlflow_run_id")
    run_dir.environment.write_text(json.dumps(starts))  # as if it had died before it knew
    assert run.train_run(config) == 0
    starts = json.loads(run_dir.environment.read_text())
    assert len({start["run_key"] for start in starts}) == 1
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{run_dir.mlflow_database}")
    runs = client.search_runs([client.get_experiment_by_name("mcdist").experiment_id])
    assert [found.info.run_id for found in runs] == [starts[1]["mlflow_run_id"]]
    assert runs[0].info.status == "FINISHED"


@pytest.mark.filterwarnings("ignore")
def test_mlflow_does_not_call_a_run_finished_that_was_stopped(
    configure: Callable[..., Config], mlflow_store: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    config = configure("optim.epochs=1", "report.mlflow=on")
    run_dir = RunDir(Path(config.run.dir))
    mlflow_store(run_dir.mlflow_database)
    stop_after(monkeypatch, 1)
    run.train_run(config)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{run_dir.mlflow_database}")
    (found,) = client.search_runs([client.get_experiment_by_name("mcdist").experiment_id])
    assert found.info.status == "KILLED"
    evaluate_run(run_dir, overrides=["evaluate.num_seeds=1"], which="newest")
    (found,) = client.search_runs([client.get_experiment_by_name("mcdist").experiment_id])
    assert found.info.status == "KILLED"
    assert not [tag for tag in found.data.tags if tag.startswith("resumed_with")]
    assert [name for name in found.data.metrics if name.startswith("evaluation/")]


@pytest.mark.parametrize("name", ["r?x=1", "a%20b"])
def test_a_run_folder_that_cannot_hold_mlflows_database_is_trained_without_tracking(configure: Callable[..., Config], name: str) -> None:
    config = configure("optim.epochs=1", "report.mlflow=auto", folder=name)
    assert run.train_run(config) == 0
    run_dir = RunDir(Path(config.run.dir))
    assert re.search("not tracking with MLflow: MLflow's database cannot be in .*, whose path contains", run_dir.log.read_text())
    assert not list(run_dir.root.parent.glob("r")) and not run_dir.mlflow_database.exists()
    with pytest.raises(ConfigError, match="set report.mlflow_uri, or choose another run.dir"):
        run.train_run(configure("optim.epochs=2", "run.allow_changes=[optim.epochs]", "report.mlflow=on", folder=name))


def _dies(steps: Iterator) -> Iterator:
    next(steps)
    raise KeyboardInterrupt
    yield


def test_the_environment_and_the_configuration_are_kept_with_every_start(configure: Callable[..., Config]) -> None:
    config = configure("optim.epochs=1")
    run.train_run(config)
    starts = json.loads(RunDir(Path(config.run.dir)).environment.read_text())
    assert len(starts) == 1
    assert starts[0]["versions"]["torch"] == importlib.metadata.version("torch")
    assert load_config(RunDir(Path(config.run.dir)).config) == config
