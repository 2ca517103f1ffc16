"""Runs on cached views train as runs on photos do, share their cache, go on where they were stopped, and say what does not fit."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest
import torch

from mcdist import run
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.errors import ConfigError, MachineError
from mcdist.passes import caching
from mcdist.report.bad_samples import read_bad_samples
from mcdist.report.jsonl import read_metrics
from mcdist.run_dir import RunDir
from mcdist.store.store import FeatureStore
from mcdist.view_cache import layout
from tests.fixture_types import MakeShards
from tests.makers.many_ranks import on_ranks
from tests.makers.stopped_run import last_state, stop_after
from tests.makers.tiny_shards import draw_members

NUM_PHOTOS = 16
SMALL = """
data: {num_workers: 0, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 2, cached: 2, cache_dtype: fp32}
model: {backbone: resnet18, num_stages: 3, trainable_from: 3, decoder_width: 8, atrous_rates: [1, 2], embedding_dim: 8, bank_size: 16, momentum: 0.9}
optim: {global_batch: 16, epochs: 2, lr: 0.05}
run: {device: cpu, deterministic: true, num_threads: 1}
checkpoint: {every_steps: 100}
report: {mlflow: "off", log_every_steps: 1}
"""
"""A batch has as many views as go through the backbone together when they are cached: a convolution's last bits may depend on that number."""


@pytest.fixture(autouse=True)
def _restore_determinism() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


Configure = Callable[..., Config]


@pytest.fixture
def configure(tmp_path: Path, make_shards: MakeShards) -> Configure:
    """A run with a frozen backbone whose two epochs see two cached pairs of sixteen photos, with overrides."""
    (tmp_path / "small.yaml").write_text(SMALL)
    shards = make_shards(NUM_PHOTOS)

    def make(*overrides: str, folder: str = "run") -> Config:
        return load_config(tmp_path / "small.yaml", overrides=[f"data.train={shards}", f"run.dir={tmp_path / folder}", *overrides])

    return make


@pytest.fixture
def as_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Views are cached with the backbone as it is trained, since the quick one's last bits are others."""
    monkeypatch.setattr(caching, "quicken_backbone", lambda backbone, size_px: backbone)


def losses_of(config: Config) -> list[float]:
    return [record.value for record in read_metrics(RunDir(Path(config.run.dir)).metrics) if record.name == "loss"]


def _read_nothing(*arguments: object, **options: object) -> None:
    raise AssertionError("a photo was read")


def cache_of(config: Config) -> Path:
    (folder,) = RunDir(Path(config.run.dir)).views.iterdir()
    return folder


@pytest.mark.parametrize("overrides", [(), ("model.embedding_from=backbone", "model.norm=frozen"), ("model.norm=shuffled",)])
def test_a_run_on_cached_views_is_the_run_on_photos_bit_for_bit(configure: Configure, as_trained: None, overrides: tuple[str, ...]) -> None:
    photos, cached = configure("views.cached=0", *overrides, folder="photos"), configure(*overrides, folder="cached")
    assert run.train_run(photos) == run.train_run(cached) == 0
    want, got = last_state(photos.run.dir), last_state(cached.run.dir)
    assert not [name for name in want if not torch.equal(want[name], got[name])]
    assert losses_of(photos) == losses_of(cached)
    assert len(set(losses_of(cached))) == 2


def test_cached_features_are_those_of_the_backbone_up_to_rounding(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    dilated = ("model.backbone=efficientnet_lite0", "model.num_stages=0", "model.trainable_from=5", "views.size_px=64")
    quick, plain = configure(*dilated, folder="quick"), configure(*dilated, folder="plain")
    assert run.train_run(quick) == 0
    monkeypatch.setattr(caching, "quicken_backbone", lambda backbone, size_px: backbone)
    assert run.train_run(plain) == 0
    got, want = (FeatureStore(cache_of(config)).column("photos", layout.FEATURES).read() for config in (quick, plain))
    assert 0 < numpy.abs(got - want).max() <= 2e-5 * numpy.abs(want).max()
    states = last_state(quick.run.dir), last_state(plain.run.dir)
    frozen = [name for name in states[0] if name.startswith("query/backbone")]
    assert frozen and not [name for name in frozen if not torch.equal(states[0][name], states[1][name])], "the run's own backbone is left as it is"


def test_where_no_term_looks_at_the_key_view_it_is_not_kept_and_the_run_is_the_same(configure: Configure, as_trained: None) -> None:
    alone = ("loss.contrast_weight=0", "optim.global_batch=16")
    photos, cached = configure("views.cached=0", *alone, folder="photos"), configure(*alone, folder="cached")
    assert run.train_run(photos) == run.train_run(cached) == 0
    assert FeatureStore(cache_of(cached)).column("photos", "features").row_shape[:2] == (2, 1)
    want, got = last_state(photos.run.dir), last_state(cached.run.dir)
    assert not [name for name in want if not torch.equal(want[name], got[name])]


def test_micro_batches_of_another_size_differ_from_photos_by_rounding_only(configure: Configure) -> None:
    photos, cached = (configure("optim.global_batch=4", f"views.cached={num}", folder=f"run_{num}") for num in (0, 2))
    assert run.train_run(photos) == run.train_run(cached) == 0
    numpy.testing.assert_allclose(losses_of(cached), losses_of(photos), rtol=1e-5)


def test_features_in_half_precision_are_rounded_to_eleven_bits_and_train_alike(configure: Configure) -> None:
    exact, half = (configure(f"views.cache_dtype={name}", folder=name) for name in ("fp32", "fp16"))
    assert run.train_run(exact) == run.train_run(half) == 0
    want, got = (FeatureStore(cache_of(config)).column("photos", "features").read() for config in (exact, half))
    assert (want.dtype, got.dtype) == (numpy.float32, numpy.float16)
    numpy.testing.assert_array_equal(got, want.astype(numpy.float16))
    numpy.testing.assert_allclose(losses_of(half), losses_of(exact), rtol=2**-9)


def test_the_last_pair_is_followed_by_the_first(configure: Configure) -> None:
    config = configure("optim.epochs=3", "optim.lr=1e-9", "model.bank_size=0", "model.norm=frozen")
    assert run.train_run(config) == 0
    first, second, third = losses_of(config)
    assert third == pytest.approx(first, rel=1e-5)
    assert abs(second - first) > 1e-4


def test_runs_share_a_cache_where_photos_views_seed_and_backbone_agree(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CACHE", str(tmp_path / "shared"))
    shared = "views.cache_dir=$CACHE/views"
    assert run.train_run(configure(shared, folder="one")) == 0
    assert "caching 2 pairs of views of 16 photos" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr(WebDatasetReader, "read", _read_nothing)
        assert run.train_run(configure(shared, "optim.lr=0.01", "model.embedding_dim=4", folder="two")) == 0
    assert "training on cached views: 2 pairs of views of 16 photos" in capsys.readouterr().out
    for change in ("views.hue=0.2", "run.seed=1", "views.cached=1", "model.num_stages=4 model.trainable_from=4"):
        assert run.train_run(configure(shared, *change.split(), "optim.epochs=1", folder=change)) == 0
    assert len(list((tmp_path / "shared" / "views").iterdir())) == 5


def test_a_cache_that_was_stopped_goes_on_with_the_chunks_that_it_lacks(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "CHUNK_BYTES", 1)
    whole, parts = configure(folder="whole"), configure("data.num_workers=1", folder="parts")
    assert run.train_run(whole) == 0
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        assert run.train_run(parts) == 143
    chunks = sorted(cache_of(parts).glob("chunk_*"))
    assert 0 < len(chunks) < len(list(cache_of(whole).glob("chunk_*"))) == 4
    made = [chunk.stat().st_mtime_ns for chunk in chunks]
    assert run.train_run(parts) == 0
    assert [chunk.stat().st_mtime_ns for chunk in chunks] == made
    for path in cache_of(whole).glob("chunk_*/*.npy"):
        assert path.read_bytes() == (cache_of(parts) / path.parent.name / path.name).read_bytes()
    assert losses_of(parts) == losses_of(whole)


def _train(rank: int, config: Config) -> None:
    layout.CHUNK_BYTES = 1
    assert run.train_run(config) == 0


@pytest.mark.parametrize("engine", ["ddp", pytest.param("deepspeed", marks=pytest.mark.slow)])
def test_two_ranks_share_the_chunks_and_train_as_one(configure: Configure, tmp_path: Path, engine: str) -> None:
    if engine == "deepspeed":
        pytest.importorskip("deepspeed")
    alone, shared = configure("model.norm=group", folder="alone"), configure("model.norm=group", f"optim.engine={engine}", folder="shared")
    on_ranks(2, _train, shared, notes=tmp_path)
    on_ranks(1, _train, alone, notes=tmp_path)
    chunks = [path.relative_to(cache_of(alone)) for path in cache_of(alone).glob("chunk_*/*.npy")]
    assert len(chunks) == 4 * 3
    assert all((cache_of(alone) / chunk).read_bytes() == (cache_of(shared) / chunk).read_bytes() for chunk in chunks)
    numpy.testing.assert_allclose(losses_of(shared), losses_of(alone), rtol=1e-5)


def test_bad_samples_are_void_counted_and_listed_as_without_a_cache(configure: Configure, shards_at: Callable[..., Path], tmp_path: Path) -> None:
    bad = shards_at(tmp_path / "bad", NUM_PHOTOS, members_of=lambda index: draw_members(index) | ({"png": b""} if index == 6 else {}))
    overrides = ("data.bad_samples=skip", "data.bad_samples_max_share=0.1", f"data.train={bad}")
    photos, cached = configure("views.cached=0", *overrides, folder="photos"), configure(*overrides, folder="cached")
    assert run.train_run(photos) == run.train_run(cached) == 0
    assert losses_of(cached) == losses_of(photos)
    listed = [[(row["epoch"], row["index"], row["key"]) for row in read_bad_samples(RunDir(Path(config.run.dir)).bad_samples)] for config in (photos, cached)]
    assert listed[0] == listed[1] == [(0, 6, "photo_0006"), (1, 6, "photo_0006")]
    with pytest.raises(Exception, match="photo_0006"):
        run.train_run(configure(f"data.train={bad}", folder="error"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.trainable_from=0", "views.cached=2 needs a backbone that does not train: model.trainable_from must be the number of its blocks"),
        ("model.trainable_from=2", "views.cached=2 needs a backbone that does not train: model.trainable_from must be 3, the blocks .* got 2"),
        ("model.recompute=true", "views.cached=2 needs model.recompute=false, got true"),
        ("views.max_objects=128", "views.cached=2 needs views.max_objects <= 127, got 128"),
        ("views.cached=-1", "views.cached must be >= 0, got -1"),
        ("views.cache_dir=~/views", "views.cache_dir must not begin with ~"),
        ("views.cache_dir=$NO_SUCH_VARIABLE", "views.cache_dir=.NO_SUCH_VARIABLE names the environment variable NO_SUCH_VARIABLE, which is not set"),
    ],
)
def test_what_does_not_fit_is_one_sentence(configure: Configure, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run.train_run(configure(override))


def test_a_disk_that_is_too_small_is_told_before_anything_is_made(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "SPARE_BYTES", shutil.disk_usage("/").free * 2)
    with pytest.raises(MachineError, match=r"views.cached=2 needs .* GiB at .*, its disk has 0 GiB free; lower views.cached"):
        run.train_run(configure())


def test_a_folder_with_other_files_is_left_alone(configure: Configure) -> None:
    config = configure()
    assert run.train_run(config) == 0
    (cache_of(config) / "plan.json").write_text(json.dumps({"schema_version": 1}))
    shutil.rmtree(RunDir(Path(config.run.dir)).checkpoints)
    with pytest.raises(Exception, match=r"plan.json is damaged .*; delete the store's folder"):
        run.train_run(config)


def test_the_first_views_may_be_cached_in_the_run_of_any_dtype(configure: Configure) -> None:
    config = configure("optim.precision=bf16", "views.cache_dtype=fp16", "run.deterministic=false")
    assert run.train_run(config) == 0
    assert numpy.isfinite(losses_of(config)).all()
