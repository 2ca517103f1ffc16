"""Self-training on pictures of discs with masks that are wrong here and there."""

import json
from pathlib import Path

import numpy
import pytest
import torch

from mcdist.errors import ConfigError, DataError
from mcdist.proposals.folder.propose_folder import propose_folder
from mcdist.proposals.registry import make_method
from mcdist.proposals.self_training import self_train as self_train_module
from mcdist.proposals.self_training.level_store import LevelStore
from mcdist.proposals.self_training.saliency_net import load_net, make_net, predict
from mcdist.proposals.self_training.self_train import SelfTraining, self_train
from mcdist.proposals.self_training.student import Student, StudentSettings
from mcdist.proposals.self_training.teacher import drawn, read_teacher
from tests.proposals.proposal_pictures import files_in, iou, read, save, save_discs

TINY = SelfTraining(width=8, size_px=64, num_rounds=2, num_steps=20, batch=4, student=StudentSettings(lr=1e-2, ema=0.8))


@pytest.fixture
def discs(tmp_path: Path) -> tuple[Path, Path, list[numpy.ndarray]]:
    """(photos, masks, truths): of each mask a random fifth of its 8 px blocks is turned over."""
    truths = save_discs(tmp_path / "photos", num=8)
    random = numpy.random.default_rng(0)
    for path, truth in zip(sorted((tmp_path / "photos").rglob("*.png")), truths, strict=True):
        wrong = random.random((9, 12)).repeat(8, axis=0).repeat(8, axis=1) < 0.2
        save(tmp_path / "masks" / path.relative_to(tmp_path / "photos"), numpy.where(truth ^ wrong, 255, 0).astype(numpy.uint8))
    return tmp_path / "photos", tmp_path / "masks", truths


def mean_iou(folder: Path, truths: list[numpy.ndarray]) -> float:
    return float(numpy.mean([iou(read(path) > 0, truth) for path, truth in zip(sorted(folder.rglob("*.png")), truths, strict=True)]))


def train(discs, out: Path, *, settings: SelfTraining = TINY, **options):
    photos, masks, _ = discs
    return self_train(photos, masks=masks, out=out, settings=settings, num_workers=0, **options)


def test_the_masks_it_proposes_are_cleaner_than_those_it_learnt_from(discs, tmp_path):
    settings = SelfTraining(width=8, size_px=96, num_rounds=1, num_steps=40, batch=8, student=StudentSettings(lr=5e-3, ema=0.9))
    done = train(discs, tmp_path / "out", settings=settings)
    before, after = mean_iou(discs[1], discs[2]), mean_iou(done.masks.folder.root, discs[2])
    assert before < 0.5 and after > before + 0.1, (before, after)
    report = json.loads((tmp_path / "out" / "self_training.json").read_text())
    assert report["learnt_from"]["num_photos"] == 8 and report["seed"] == 0 and report["masks"] == "masks"
    assert not (tmp_path / "out" / "features").exists() and not (tmp_path / "out" / "state.safetensors").exists()


def test_a_stopped_training_continued_leaves_the_same_files(discs, tmp_path, monkeypatch):
    monkeypatch.setattr(self_train_module, "SAVE_EVERY_STEPS", 8)
    train(discs, tmp_path / "straight")

    class Stopped(Exception):
        pass

    def stop_at(line: str):
        def say(text: str) -> None:
            if text.startswith(line):
                raise Stopped

        return say

    for line in ("round 1 of 2: step 8 ", "round 2 of 2: step 16 ", "proposing"):
        with pytest.raises(Stopped):
            train(discs, tmp_path / "stopped", say=stop_at(line))
    train(discs, tmp_path / "stopped")
    straight, stopped = files_in(tmp_path / "straight"), files_in(tmp_path / "stopped")
    assert straight.keys() == stopped.keys()
    assert [name for name in straight if straight[name] != stopped[name]] == []


def test_the_network_is_a_method_for_other_photos(discs, tmp_path):
    done = train(discs, tmp_path / "out")
    propose_folder(discs[0], out=tmp_path / "again", method="self_trained", options={"network": str(done.network)}, num_workers=0)
    assert mean_iou(tmp_path / "again", discs[2]) == mean_iou(done.masks.folder.root, discs[2])
    about = json.loads((tmp_path / "again" / "proposals.json").read_text())
    assert about["parameters"]["network"].startswith("network.safetensors crc32 ")


def test_the_command_line_trains_and_says_where_things_are(discs, tmp_path, run):
    options = ["--rounds", 1, "--steps", 2, "--size-px", 64, "--workers", 1]
    result = run("self-train", discs[0], "--masks", discs[1], "--out", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert "8 photos to learn from" in result.output and f"network: {tmp_path / 'out' / 'network.safetensors'}" in result.output


def test_another_setting_in_the_same_folder_is_refused(discs, tmp_path):
    photos, masks, _ = discs
    out = tmp_path / "out"
    settings = SelfTraining(width=8, size_px=64, num_rounds=1, num_steps=1, batch=4)
    self_train(photos, masks=masks, out=out, settings=settings, num_workers=0)
    other = SelfTraining(width=8, size_px=64, num_rounds=1, num_steps=1, batch=4, seed=1)
    with pytest.raises(ConfigError, match="seed is 0 there, 1 was asked for"):
        self_train(photos, masks=masks, out=out, settings=other, num_workers=0)
    self_train(photos, masks=masks, out=out, settings=other, num_workers=0, overwrite=True)
    with pytest.raises(ConfigError, match="expected an empty folder or one of self-training"):
        self_train(photos, masks=masks, out=photos, settings=settings, num_workers=0, overwrite=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size_px": 100}, "size_px must be a multiple of 32"),
        ({"num_rounds": 0}, "rounds, steps and batch"),
        ({"precision": "fp8"}, "precision must be fp32 or bf16"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        SelfTraining(**settings).check()


def test_photos_without_a_usable_mask_are_counted_by_reason(discs):
    photos, masks, _ = discs
    save(masks / "a" / "p000.png", numpy.zeros((72, 96), dtype=numpy.uint8))
    save(masks / "a" / "p001.png", numpy.zeros((10, 10), dtype=numpy.uint8))
    (masks / "a" / "p002.png").unlink()
    teacher = read_teacher(photos, masks=masks, size_px=64)
    assert len(teacher.names) == 5 and teacher.targets.shape == (5, 16, 16)
    assert sorted(teacher.num_without.values()) == [1, 1, 1]
    for path in masks.rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match="not one photo below .* has a mask below .* to learn from .no mask file: 8"):
        read_teacher(photos, masks=masks, size_px=64)


def test_void_stays_void_at_the_targets_size(discs, tmp_path):
    photos, _, truths = discs
    for path, truth in zip(sorted(photos.rglob("*.png")), truths, strict=True):
        mask = numpy.where(truth, 1, 0).astype(numpy.uint8)
        mask[:, :48] = 255
        save(tmp_path / "half" / path.relative_to(photos), mask)
    targets = read_teacher(photos, masks=tmp_path / "half", size_px=64).targets
    assert bool((targets[:, :, :8] == -1).all()) and bool((targets[:, :, 8:] >= 0).all()) and bool((targets == 1).any())


def test_every_photo_comes_once_before_one_comes_again():
    seen = [index for step in range(10) for index in drawn(step, num_photos=10, size=3, seed=1)]
    assert [sorted(seen[begin : begin + 10]) for begin in (0, 10, 20)] == [list(range(10))] * 3
    assert seen != [index for step in range(10) for index in drawn(step, num_photos=10, size=3, seed=2)]
    assert len(drawn(0, num_photos=2, size=5, seed=0)) == 5


def test_a_store_without_room_gives_the_same_levels(tmp_path):
    computed = []

    def compute(photos: torch.Tensor) -> list[torch.Tensor]:
        computed.append(len(photos))
        return [photos[:, :, ::4, ::4].half().float() / 3, photos[:, :1].half().float()]

    photos = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    stores = {
        gib: LevelStore(
            tmp_path / str(gib), num_photos=6, read=lambda indices: photos[list(indices)], compute=lambda x: [y.half().float() for y in compute(x)], max_gib=gib
        )
        for gib in (1.0, 0.0)
    }
    for indices in ([0, 3, 3], [3, 5, 0]):
        kept, fresh = (store.levels(indices) for store in stores.values())
        assert all(torch.equal(one, other) for one, other in zip(kept, fresh, strict=True))
    assert computed == [1] * (2 + 2 + 1 + 3)
    stores[1.0].remove()
    assert not (tmp_path / "1.0").exists()


def test_saliency_is_at_a_quarter_of_the_size_and_symmetric():
    torch.manual_seed(0)
    network = make_net(backbone="efficientnet_lite0", weights="none", width=8)
    photos = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    levels = network.levels(photos)
    saliency = predict(network, levels)
    assert saliency.shape == (2, 16, 24)
    torch.testing.assert_close(predict(network, [level.flip(-1) for level in levels]).flip(-1), saliency)
    assert not any(parameter.requires_grad for parameter in network.backbone.parameters())


def test_a_state_of_another_network_is_refused(tmp_path):
    narrow, wide = (
        Student(make_net(backbone="efficientnet_lite0", weights="none", width=width), settings=StudentSettings(), num_steps=1, seed=0) for width in (4, 8)
    )
    narrow.save(tmp_path / "state.safetensors", step=0)
    with pytest.raises(ConfigError, match="is of another network than this one"):
        wide.load(tmp_path / "state.safetensors")
    (tmp_path / "state.safetensors").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="cannot be read; remove the file"):
        wide.load(tmp_path / "state.safetensors")


def test_files_that_are_no_network_of_ours_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected a self-trained network at"):
        load_net(tmp_path / "none.safetensors")
    (tmp_path / "other.safetensors").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="is no network that mcdist proposals self-train wrote"):
        load_net(tmp_path / "other.safetensors")
    with pytest.raises(ConfigError, match="needs the network that mcdist proposals self-train wrote"):
        make_method("self_trained")


def test_a_backbone_without_the_pyramids_strides_is_refused():
    pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")
    with pytest.raises(ConfigError, match="needs a backbone with blocks at strides 4 and 8, such as efficientnet_lite0, got one of stride 16"):
        make_net(backbone="timm/test_vit2", weights="none", width=8)
