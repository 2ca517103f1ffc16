"""A whole evaluation: one feature store for all protocols, the same under several ranks, refused where it was made of something else."""

import json
import os
import re
import shutil
import signal
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy
import pytest
from typer.testing import CliRunner, Result

from mcdist import run
from mcdist.cli.main import app
from mcdist.config.file import load_config
from mcdist.data.pictures.png import encode_map
from mcdist.errors import ConfigError, DataError
from mcdist.passes.extraction import embed_run
from mcdist.records import Evaluation
from mcdist.run_dir import RunDir
from mcdist.store.store import FeatureStore
from mcdist.workflows.evaluation import evaluate_run
from tests.fixture_types import ShardsAt
from tests.makers.many_ranks import exit_code_of, on_ranks
from tests.makers.tiny_shards import draw_members

SMALL = """
data: {num_workers: 0, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 2}
model: {backbone: resnet18, num_stages: 3, trainable_from: 3, norm: frozen, decoder_width: 8, atrous_rates: [1, 2], embedding_dim: 8, bank_size: 16}
optim: {global_batch: 4, epochs: 1, lr: 0.05}
run: {device: cpu, num_threads: 1}
report: {mlflow: "off"}
evaluate: {classes: {background: [0], one: [1], two: [2]}, size_px: 64, batch: 2, chunk: 4, num_seeds: 2, num_panels: 2}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, shards_at: ShardsAt) -> RunDir:
    """A run on twelve photos whose backbone is frozen, so that it is the initial one's."""
    root = tmp_path_factory.mktemp("trained")
    (root / "small.yaml").write_text(SMALL)
    shards = shards_at(root / "shards", 12)
    config = load_config(root / "small.yaml", overrides=[f"data.train={shards}", f"data.val={shards}", f"run.dir={root / 'run'}"])
    assert run.train_run(config) == 0
    return RunDir(root / "run")


def evaluated(run_dir: RunDir, *overrides: str, **options) -> Evaluation:
    evaluation = evaluate_run(run_dir, overrides=list(overrides), which="newest", **options)
    assert evaluation is not None
    return evaluation


def files_of(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(store.rglob("*.npy"))}


def test_a_store_is_written_by_itself_and_then_reused(trained: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    store = embed_run(trained, overrides=[], which="newest")
    assert store is not None and store.folder.parent == trained.features
    assert (store.num_photos, store.num_rows("proposals")) == (12, 24)
    before = {path: path.stat().st_mtime_ns for path in store.folder.rglob("*")}
    capsys.readouterr()
    one = evaluated(trained)
    two = evaluated(trained, "evaluate.num_clusters=4", "evaluate.classes={background: [0], any: [1, 2]}", "evaluate.num_panels=1")
    assert capsys.readouterr().out.count(f"using the feature store {store.folder}") == 2
    assert {path: path.stat().st_mtime_ns for path in store.folder.rglob("*")} == before
    assert (one.classes, two.classes) == (("background", "one", "two"), ("background", "any"))
    assert Evaluation.from_json(trained.evaluation.read_text(), where="here") == two


def test_a_frozen_backbone_runs_once_and_gives_the_rows_of_two(trained: RunDir, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shared = embed_run(trained, overrides=[], which="newest", out=tmp_path / "shared")
    monkeypatch.setattr("mcdist.passes.extraction.equal_weights", lambda one, other: False)
    apart = embed_run(trained, overrides=[], which="newest", out=tmp_path / "apart")
    assert shared is not None and apart is not None
    assert shared.manifest.plan.aliases and not apart.manifest.plan.aliases
    for table in apart.tables:
        for column in apart.columns(table):
            assert numpy.array_equal(apart.column(table, column).read(), shared.column(table, column).read()), column


def _two_ranks(rank: int, root: Path, out: Path) -> None:
    store = embed_run(RunDir(root), overrides=[], which="newest", out=out)
    assert (store is None) == (rank == 1)


@pytest.fixture
def alone(trained: RunDir, tmp_path: Path) -> FeatureStore:
    store = embed_run(trained, overrides=[], which="newest", out=tmp_path / "alone")
    assert store is not None
    return store


def test_two_ranks_write_the_store_of_one(trained: RunDir, alone: FeatureStore, tmp_path: Path) -> None:
    on_ranks(2, _two_ranks, trained.root, tmp_path / "both", notes=tmp_path)
    assert files_of(tmp_path / "both") == files_of(alone.folder)
    assert (tmp_path / "both" / "manifest.json").read_text() == (alone.folder / "manifest.json").read_text()


def _killed_in_a_chunk(root: Path, out: Path, after: int) -> None:
    """Dies as it has written so many arrays."""
    write = numpy.lib.format.write_array
    written: list[None] = []

    def write_and_die(*arguments: Any, **options: Any) -> None:
        written.append(write(*arguments, **options))
        if len(written) == after:
            os.kill(os.getpid(), signal.SIGKILL)

    numpy.lib.format.write_array = write_and_die
    embed_run(RunDir(root), overrides=[], which="newest", out=out)


def test_a_killed_extraction_goes_on_with_the_next_chunk(trained: RunDir, alone: FeatureStore, tmp_path: Path) -> None:
    num_arrays = len(list((alone.folder / "chunk_000000").iterdir()))
    assert exit_code_of(_killed_in_a_chunk, trained.root, tmp_path / "killed", num_arrays + 5) == -9
    kept = tmp_path / "killed" / "chunk_000000"
    before = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert [path.name for path in sorted(kept.parent.glob("chunk_*"))] == ["chunk_000000"]
    store = embed_run(trained, overrides=[], which="newest", out=kept.parent)
    assert store is not None
    assert {name: content for name, content in files_of(kept.parent).items() if name.startswith("chunk")} == files_of(alone.folder)
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == before


def _evaluate_command(rank: int, root: Path, said: Path) -> None:
    """`mcdist evaluate`, what it prints in a file of its rank."""
    with (said / f"said_{rank}").open("w") as file, redirect_stdout(file):
        app(["evaluate", str(root)], standalone_mode=False)


def test_two_ranks_judge_as_one_and_one_of_them_says_so(trained: RunDir, tmp_path: Path) -> None:
    expected = evaluated(trained)
    for store in trained.features.iterdir():
        shutil.rmtree(store)
    trained.evaluation.unlink()
    on_ranks(2, _evaluate_command, trained.root, tmp_path, notes=tmp_path)
    said = [(tmp_path / f"said_{rank}").read_text() for rank in range(2)]
    assert [text.count("report: ") for text in said] == [1, 0]
    found = Evaluation.from_json(trained.evaluation.read_text(), where="here")
    assert (found.rows, found.settings, found.headline) == (expected.rows, expected.settings, expected.headline)


def test_a_store_of_other_settings_is_refused_with_the_difference(trained: RunDir, alone: FeatureStore) -> None:
    with pytest.raises(ConfigError, match=r"was made of something else: settings.size_px is 64, expected 32; choose another folder"):
        embed_run(trained, overrides=["evaluate.size_px=32"], which="newest", out=alone.folder)
    with pytest.raises(ConfigError, match=r"data.num_photos is 12, expected 5; settings.objects is photo, expected components"):
        evaluated(trained, "evaluate.objects=components", "evaluate.limit=5", store=alone.folder)
    with pytest.raises(DataError, match="found no complete one"):
        evaluated(trained, store=trained.root / "nowhere")
    assert evaluated(trained, store=alone.folder).num_photos == 12


def test_a_store_of_other_shards_names_the_setting_that_cures_it(trained: RunDir, shards_at: ShardsAt, tmp_path: Path) -> None:
    other = shards_at(tmp_path / "other", 3)
    store = embed_run(trained, overrides=[], which="newest", shards=str(other), out=tmp_path / "store")
    assert store is not None
    with pytest.raises(ConfigError, match=rf"; name the shards that it was made of: data.val={re.escape(str(other))}, or leave out --store$"):
        evaluated(trained, store=store.folder)
    assert evaluated(trained, f"data.val={other}", store=store.folder).num_photos == 3


def test_shards_with_other_labels_of_the_same_photos_are_another_store(trained: RunDir, shards_at: ShardsAt, tmp_path: Path) -> None:
    def relabelled(index: int) -> dict[str, bytes]:
        return {**draw_members(index), "seg.png": encode_map(numpy.full((40, 52), 1, dtype=numpy.int16))}

    before = evaluated(trained)
    shards = shards_at(tmp_path / "shards", 12, members_of=relabelled)
    after = evaluated(trained, f"data.val={shards}")
    assert before.classes == ("background", "one", "two") and after.classes == ("background", "one")


def test_patches_are_kept_on_demand_and_serve_an_evaluation_without(trained: RunDir, tmp_path: Path) -> None:
    store = embed_run(trained, overrides=["evaluate.limit=3"], which="newest", out=tmp_path / "patches", patches=True)
    assert store is not None
    assert store.column("photos", "patches/initial backbone").read().dtype == numpy.float16
    assert evaluated(trained, "evaluate.limit=3", store=store.folder).num_photos == 3
    plain = embed_run(trained, overrides=["evaluate.limit=3"], which="newest", out=tmp_path / "plain")
    assert plain is not None and not plain.has("photos", "patches/trained")
    with pytest.raises(ConfigError, match="settings.patches is False, expected True"):
        embed_run(trained, overrides=["evaluate.limit=3"], which="newest", out=tmp_path / "plain", patches=True)


def test_other_shards_are_embedded_with_their_ground_truth(trained: RunDir, shards_at: ShardsAt, tmp_path: Path) -> None:
    other = shards_at(tmp_path / "other", 3)
    store = embed_run(trained, overrides=[], which="newest", shards=str(other), out=tmp_path / "store")
    assert store is not None and store.num_photos == 3 and store.has("proposals", "histogram")


def test_protocols_are_chosen_by_name(trained: RunDir) -> None:
    only = evaluated(trained, protocols=["mean-embedding"])
    assert {row.protocol for row in only.rows} == {"mean-embedding"} and list(only.protocols) == ["mean-embedding"]
    with pytest.raises(ConfigError, match="unknown protocol 'mean'; did you mean 'mean-embedding'"):
        evaluated(trained, protocols=["mean"])
    with pytest.raises(ConfigError, match="maskcontrast-kmeans needs truth"):
        evaluated(trained, "data.val=", protocols=["maskcontrast-kmeans"])


def test_masks_by_groups_need_a_group_head(trained: RunDir) -> None:
    with pytest.raises(ConfigError, match=r"evaluate.predicted_by=groups needs an encoder with a group head, that of .*step_\d+ has none; train with groups"):
        evaluated(trained, "evaluate.predicted_by=groups")


def test_neighbours_before_and_after_are_in_the_report(trained: RunDir) -> None:
    evaluated(trained)
    assert len(list(trained.neighbours.glob("object_*.png"))) == 6
    assert "What training changed" in trained.report.read_text()


def test_the_store_knows_what_it_was_made_of(trained: RunDir, alone: FeatureStore) -> None:
    content = json.loads((alone.folder / "manifest.json").read_text())
    assert content["checkpoint"]["trained"] == json.loads((sorted(trained.checkpoints.glob("step_*"))[-1] / "meta.json").read_text())["sha256"]
    assert {len(content[f"{section}_sha256"]) for section in ("checkpoint", "data", "settings")} == {64}


def test_the_commands_say_what_they_did(trained: RunDir, tmp_path: Path) -> None:
    def call(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    done = call("embed", trained.root, "--out", tmp_path / "store", "evaluate.limit=3")
    assert done.exit_code == 0, done.output
    assert f"{tmp_path / 'store'}: 3 photos, objects: " in done.stdout and "6 proposals" in done.stdout
    listed = call("protocols").stdout
    assert "maskcontrast-kmeans: K-means of whitened object vectors" in listed and "needs: objects, truth" in listed and "pca_dim=32" in listed
    refused = call("evaluate", trained.root, "--protocol", "nearest")
    assert refused.exit_code == 2 and "unknown protocol 'nearest'" in refused.stderr
