"""mcdist finetune from shards to the table: killed and continued with the same bits, on one rank or two, and its errors."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch

from mcdist import run
from mcdist.cli.main import main
from mcdist.config.file import load_config
from mcdist.data.pictures.png import encode_map
from mcdist.errors import ConfigError
from mcdist.finetune.folder import TuneFolder
from mcdist.finetune.settings import TuneSettings
from mcdist.records import Evaluation
from mcdist.records.names import FINETUNE_FRACTION, INITIAL_BACKBONE, LINEAR_EXACT_CLEAN, LINEAR_EXACT_PUBLISHED, RANDOM_WEIGHTS, TRAINED_DECODER
from mcdist.run_dir import RunDir
from mcdist.trained import load_encoder
from mcdist.workflows import finetuning
from mcdist.workflows.finetuning import Finetuned, FinetuneTask, finetune_run
from tests.fixture_types import ShardsAt
from tests.makers.many_ranks import on_ranks
from tests.makers.tiny_shards import draw_members

SMALL = """
data: {num_workers: 0, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 2}
model: {backbone: resnet18, num_stages: 3, decoder_width: 8, atrous_rates: [1, 2], embedding_dim: 8, bank_size: 16}
optim: {global_batch: 4, epochs: 1, lr: 0.05}
run: {device: cpu, num_threads: 1}
report: {mlflow: "off", log_every_steps: 1}
evaluate: {classes: {background: [0], one: [1], two: [2]}, size_px: 64, batch: 2, limit: 3}
"""
SETTINGS = TuneSettings(size_px=32, batch=4, num_epochs=2, drop_after=1, lr=0.01)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, shards_at: ShardsAt) -> tuple[RunDir, Path]:
    """A run, and its ten labelled photos."""
    root = tmp_path_factory.mktemp("trained")
    (root / "small.yaml").write_text(SMALL)
    shards = shards_at(root / "shards", 10)
    config = load_config(root / "small.yaml", overrides=[f"data.train={shards}", f"data.val={shards}", f"run.dir={root / 'run'}"])
    assert run.train_run(config) == 0
    return RunDir(root / "run"), shards


def task(out: Path, shards: Path, **changes) -> FinetuneTask:
    asked = FinetuneTask(out=out, train_shards=str(shards), fractions_percent=(20.0, 100.0), num_seeds=1, save_every_steps=2, settings=SETTINGS)
    return replace(asked, **changes)


def finetuned(run_dir: RunDir, asked: FinetuneTask, *overrides: str) -> Finetuned:
    return finetune_run(run_dir, asked, overrides=list(overrides))


def stop_after(monkeypatch: pytest.MonkeyPatch, num_asked: int) -> None:
    class Wish(finetuning.StopWish):
        asked = 0

        def __call__(self) -> bool:
            Wish.asked += 1
            self.signal_number = 15 if Wish.asked >= num_asked else 0
            return bool(self.signal_number)

    monkeypatch.setattr(finetuning, "StopWish", Wish)


@pytest.fixture(scope="module")
def whole(trained: tuple[RunDir, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    """Everything in one go, random weights too."""
    run_dir, shards = trained
    out = tmp_path_factory.mktemp("whole") / "out"
    evaluation = finetuned(run_dir, task(out, shards, with_random_weights=True)).evaluation
    assert evaluation is not None
    return out, evaluation


def test_every_start_has_its_rows_and_the_files_are_read_back(whole: tuple[Path, Evaluation]) -> None:
    out, evaluation = whole
    names = (LINEAR_EXACT_CLEAN, LINEAR_EXACT_PUBLISHED, f"{FINETUNE_FRACTION}-100", f"{FINETUNE_FRACTION}-20")
    starts = (TRAINED_DECODER, INITIAL_BACKBONE, RANDOM_WEIGHTS)
    assert [(row.protocol, row.subject.encoder) for row in evaluation.rows] == [(name, start) for name in names for start in starts]
    assert evaluation == Evaluation.from_json(RunDir(out).evaluation.read_text(), where="here")
    assert all(0 <= row.mean <= 100 and row.interval is not None for row in evaluation.rows)
    assert evaluation.rows[0].details["num_steps"] == 4 and evaluation.rows[0].details["epoch"] == [2]
    assert evaluation.rows[-1].details["num_photos_fitted"] == 2 and evaluation.rows[-1].details["num_steps"] == 4
    assert "size_px 32 (512)" in evaluation.protocols[FINETUNE_FRACTION]["departs_from_published"]
    report = RunDir(out).report.read_text()
    assert LINEAR_EXACT_PUBLISHED in report and "finetune-fraction-20" in report
    best = next(row for row in evaluation.rows if row.protocol == LINEAR_EXACT_PUBLISHED)
    assert best.values[0] == max(best.details["miou_percent_of_epochs"][0]) and best.values[0] >= evaluation.rows[0].values[0]


def test_the_fine_tuned_encoder_can_be_loaded(whole: tuple[Path, Evaluation], trained: tuple[RunDir, Path]) -> None:
    tuned, before = load_encoder(whole[0]), load_encoder(trained[0].root)
    images = torch.rand(1, 3, 32, 32)
    assert not torch.equal(tuned(images).features, before(images).features)
    assert torch.equal(tuned.embedding.weight, before.embedding.weight)


def test_a_second_start_does_nothing_again(whole: tuple[Path, Evaluation], trained: tuple[RunDir, Path], capsys: pytest.CaptureFixture[str]) -> None:
    out, evaluation = whole
    results = {path: path.stat().st_mtime_ns for path in out.glob("tunings/*/*")}
    again = finetuned(trained[0], task(out, trained[1], protocols=(LINEAR_EXACT_CLEAN,))).evaluation
    assert again is not None and again.rows == tuple(row for row in evaluation.rows if row.protocol == LINEAR_EXACT_CLEAN)[:2]
    assert "2 of 2 fine-tunings are done" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in out.glob("tunings/*/*")} == results
    with pytest.raises(ConfigError, match="holds fine-tunings of another settings"):
        finetuned(trained[0], task(out, trained[1], settings=replace(SETTINGS, lr=0.02)))
    with pytest.raises(ConfigError, match="is the folder of a run"):
        finetuned(trained[0], task(trained[0].root, trained[1]))


@pytest.mark.parametrize("protocol", [LINEAR_EXACT_PUBLISHED, FINETUNE_FRACTION])
def test_a_stopped_one_continues_with_the_same_bits(
    protocol: str,
    trained: tuple[RunDir, Path],
    whole: tuple[Path, Evaluation],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_dir, shards = trained
    asked = task(tmp_path / "out", shards, protocols=(protocol,), fractions_percent=(20.0,))
    with monkeypatch.context() as context:
        stop_after(context, 3)
        stopped = finetuned(run_dir, asked)
    assert stopped.evaluation is None and stopped.exit_code == 143
    assert len(list(asked.out.glob("tunings/*/checkpoints/step_00000003"))) == 1
    finished = finetuned(run_dir, asked)
    assert "continuing after step 3" in capsys.readouterr().out and finished.evaluation is not None
    expected = {(row.protocol, row.subject.encoder): row for row in whole[1].rows}
    for row in finished.evaluation.rows:
        assert row == expected[row.protocol, row.subject.encoder]
    for name in (path.name for path in asked.out.glob("tunings/*")):
        mine, theirs = (numpy.load(folder / "tunings" / name / "counts.npz") for folder in (asked.out, whole[0]))
        assert all(numpy.array_equal(mine[key], theirs[key]) for key in mine)


def test_a_stop_while_judging_keeps_what_was_trained(
    trained: tuple[RunDir, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir, shards = trained
    asked = task(tmp_path / "out", shards, protocols=(LINEAR_EXACT_CLEAN,))
    with monkeypatch.context() as context:
        stop_after(context, 6)  # four steps, a batch of judged photos, and the next
        assert finetuned(run_dir, asked).exit_code == 143
    assert TuneFolder(asked.out).read(finetuning.Tuning(start=TRAINED_DECODER, percent=None, seed=0)) is None
    assert finetuned(run_dir, asked).evaluation is not None
    assert "continuing after step 4" in capsys.readouterr().out


def test_subsets_are_handed_on_and_refused_where_they_do_not_fit(
    trained: tuple[RunDir, Path], whole: tuple[Path, Evaluation], tmp_path: Path, shards_at: ShardsAt
) -> None:
    run_dir, shards = trained
    subsets = whole[0] / "subsets.json"
    others = shards_at(tmp_path / "others", 11)
    with pytest.raises(ConfigError, match="was drawn from 10 labelled photos"):
        finetuned(run_dir, task(tmp_path / "out", others, protocols=(FINETUNE_FRACTION,), subsets=subsets))
    content = json.loads(subsets.read_text())
    content["orders"]["0"] = ["photo_0003", "photo_0009"]
    (tmp_path / "mine.json").write_text(json.dumps(content))
    asked = task(tmp_path / "mine", shards, protocols=(FINETUNE_FRACTION,), fractions_percent=(20.0,), subsets=tmp_path / "mine.json")
    assert finetuned(run_dir, asked).evaluation is not None
    assert json.loads((asked.out / "subsets.json").read_text())["orders"] == {"0": ["photo_0003", "photo_0009"]}
    with pytest.raises(ConfigError, match="holds other subsets than"):
        finetuned(run_dir, replace(asked, subsets=subsets))


def test_what_labels_lack_is_said_and_too_few_photos_are_refused(
    trained: tuple[RunDir, Path], tmp_path: Path, shards_at: ShardsAt, capsys: pytest.CaptureFixture[str]
) -> None:
    def members(index: int) -> dict[str, bytes]:
        labels = numpy.full((40, 52), 255 if index == 4 else 7, dtype=numpy.uint8)
        if index != 4:
            labels[:20] = 1
        return {**draw_members(index), "seg.png": encode_map(labels)}

    shards = shards_at(tmp_path / "shards", 5, members_of=members)
    evaluation = finetuned(trained[0], task(tmp_path / "out", shards, protocols=(LINEAR_EXACT_CLEAN,))).evaluation
    out = capsys.readouterr().out
    assert "ids that no class names are void: 7 (40.0 % of the pixels)" in out
    assert "1 of 5 photos have no pixel of a class; nothing is trained on them" in out
    assert f"{shards}: no label shows background, two" in out
    assert evaluation is not None and evaluation.rows[0].details["classes_without_a_label"] == [["background", "two"]]
    with pytest.raises(ConfigError, match="needs at least the 8 labelled photos of a batch, got 4"):
        finetuned(trained[0], task(tmp_path / "few", shards, settings=replace(SETTINGS, batch=8)))
    with pytest.raises(ConfigError, match="10 % of 4 labelled photos rounds to no photo"):
        finetuned(trained[0], task(tmp_path / "none", shards, fractions_percent=(10.0,)))


def test_features_without_their_positions_are_not_trained(trained: tuple[RunDir, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="finetune-fraction trains all weights, and what model.position_debias=mean takes from the features"):
        finetuned(trained[0], task(tmp_path / "out", trained[1]), "model.position_debias=mean")


def test_a_folder_of_something_else_is_not_written_into(trained: tuple[RunDir, Path], tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(ConfigError, match=re.escape("must be empty or hold fine-tunings, it holds 'photo.jpg'")):
        finetuned(trained[0], task(tmp_path, trained[1]))


def _on_a_rank(rank: int, run_folder: Path, shards: Path, out: Path) -> None:
    found = finetuned(RunDir(run_folder), task(out, shards))
    assert (found.evaluation is None) == (rank > 0)


@pytest.mark.slow
def test_two_ranks_share_every_batch_and_find_what_one_finds(trained: tuple[RunDir, Path], whole: tuple[Path, Evaluation], tmp_path: Path) -> None:
    out = tmp_path / "out"
    on_ranks(2, _on_a_rank, trained[0].root, trained[1], out, notes=tmp_path)
    evaluation = Evaluation.from_json(RunDir(out).evaluation.read_text(), where="here")
    one = {(row.protocol, row.subject.encoder): row for row in whole[1].rows}
    for row in evaluation.rows:
        expected = one[row.protocol, row.subject.encoder]
        assert row.values == pytest.approx(expected.values, abs=0.5)  # sums of floats in another order may move a pixel
    tuned, alone = load_encoder(out), load_encoder(whole[0])
    for name, tensor in alone.state_dict().items():
        torch.testing.assert_close(tuned.state_dict()[name], tensor, rtol=1e-3, atol=1e-4)


def called(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


def test_a_backbone_alone_is_fine_tuned_from_the_command_line(trained: tuple[RunDir, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards, out = trained[1], tmp_path / "out"
    command = ["finetune", "--backbone", "resnet18:none", "--train-shards", shards, "--shards", shards, "--out", out, "--protocol", "linear"]
    command += ["--size", 32, "--batch", 4, "--epochs", 1, "--seeds", 2, "model.num_stages=3", "evaluate.limit=2", "data.num_workers=0"]
    command += ["evaluate.classes={background: [0], one: [1], two: [2]}", "run.device=cpu", "report.mlflow=off"]
    assert called(*command) == 0
    printed = capsys.readouterr().out
    assert "maskcontrast-linear-exact" in printed and "resnet18:none" in printed and f"report: {out / 'report.html'}" in printed
    assert called(*command) == 0 and "2 of 2 fine-tunings are done" in capsys.readouterr().out
    evaluation = Evaluation.from_json(RunDir(out).evaluation.read_text(), where="here")
    assert [len(row.values) for row in evaluation.rows] == [2, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "needs the folder of a run, or --backbone"),
        (("--backbone", "resnet18:none"), "--backbone needs photos to be judged on; name their shards: --shards DIR"),
        (("--protocol", "linear-fast"), "--protocol must be one of maskcontrast-linear-exact/published"),
        (("--fractions", "1,x"), "--fractions must be numbers with commas between them"),
        (("--seeds", 0), "--seeds must be at least 1, got 0"),
    ],
)
def test_errors_are_one_sentence(arguments: tuple[object, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("finetune", "--train-shards", "nowhere", "--out", tmp_path / "out", *arguments) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
