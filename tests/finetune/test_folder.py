"""Results are read back as they were written; another plan or a damaged result is refused."""

import numpy
import pytest

from mcdist.errors import ConfigError, DataError
from mcdist.evaluate.metrics.labels import label_map
from mcdist.evaluate.protocols.pixel_row import PixelCounts
from mcdist.finetune.folder import TuneFolder, TuneResult, Tuning
from mcdist.finetune.rows import fraction_rows, linear_rows, truth_of
from mcdist.records.names import INITIAL_BACKBONE, LINEAR_EXACT_CLEAN, LINEAR_EXACT_PUBLISHED, TRAINED_DECODER

TUNING = Tuning(start=TRAINED_DECODER, percent=12.5, seed=1)
LABELS = label_map({"background": [0], "cat": [1], "dog": [2]})


def counts(right):
    """Two photos of 100 pixels, half background and half cat, of which `right` each are so predicted, the rest as the other one."""
    found = PixelCounts(num_photos=2, num_classes=3)
    truth = numpy.repeat([0, 1], 50).astype(numpy.uint8)[None]
    predicted = truth.copy()
    predicted[0, right:50], predicted[0, 50 + right :] = 1, 0
    for photo in range(2):
        found.add(photo, predicted, truth=truth)
    return found


def result(last=40, best=50, **changes):
    return TuneResult(**{"num_photos": 5, "num_steps": 7, "skipped_steps": 0, "absent": ("dog",), "last": counts(last), "best": counts(best), **changes})


def test_a_result_is_read_back_and_its_checkpoints_are_gone(tmp_path):
    folder = TuneFolder(tmp_path)
    assert folder.read(TUNING) is None
    folder.checkpoints(TUNING).mkdir(parents=True)
    folder.write(TUNING, result(num_epochs=2, best_epoch=1, miou_percent_of_epochs=(50.0, 40.0)))
    found = folder.read(TUNING)
    assert found is not None
    assert (found.num_photos, found.absent, found.miou_percent_of_epochs, found.best_epoch) == (5, ("dog",), (50.0, 40.0), 1)
    assert numpy.array_equal(found.last.confusion, counts(40).confusion) and numpy.array_equal(found.best.by_photo, counts(50).by_photo)
    assert not folder.checkpoints(TUNING).exists()


@pytest.mark.parametrize("damage", ["result.json", "counts.npz"])
def test_a_damaged_result_is_one_sentence(tmp_path, damage):
    folder = TuneFolder(tmp_path)
    folder.write(TUNING, result())
    (folder.tuning(TUNING) / damage).write_bytes(b"{}")
    with pytest.raises(DataError, match="this fine-tuning is done again"):
        folder.read(TUNING)


def test_another_plan_or_another_folder_is_refused(tmp_path):
    folder = TuneFolder(tmp_path / "out")
    folder.make()
    folder.begin({"classes": {"cat": [1]}, "settings": {"lr": 0.1}})
    folder.make()
    folder.begin({"classes": {"cat": [1]}, "settings": {"lr": 0.1}})
    with pytest.raises(ConfigError, match="holds fine-tunings of another settings; choose another --out"):
        folder.begin({"classes": {"cat": [1]}, "settings": {"lr": 0.2}})
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(ConfigError, match="must be empty or hold fine-tunings, it holds 'out'"):
        TuneFolder(tmp_path).make()


def test_rows_have_a_value_a_seed_and_an_interval_over_photos():
    truth = truth_of(LABELS, present=("cat",))
    seeds = {TRAINED_DECODER: [result(40, 50, num_epochs=3, best_epoch=2), result(30, 45, num_epochs=3, best_epoch=1)]}
    clean, published = linear_rows(seeds, names=(LINEAR_EXACT_CLEAN, LINEAR_EXACT_PUBLISHED), truth=truth)
    iou = {right: 100 * right / (100 - right) for right in (30, 40, 45)}
    assert clean.protocol == LINEAR_EXACT_CLEAN and clean.values == pytest.approx((iou[40], iou[30]))
    assert published.values == pytest.approx((100, iou[45]))
    assert clean.details["epoch"] == [3, 3] and published.details["epoch"] == [2, 1]
    assert clean.interval == pytest.approx((clean.mean, clean.mean), rel=1e-5)  # both photos are the same
    assert truth.classes == ("background", "cat") and clean.details["class_iou_percent"] == pytest.approx([clean.mean] * 2)
    found = fraction_rows({1.0: seeds, 100.0: {**seeds, INITIAL_BACKBONE: seeds[TRAINED_DECODER]}}, truth=truth)
    assert [(row.protocol, row.subject.encoder) for row in found] == [
        ("finetune-fraction-100", TRAINED_DECODER),
        ("finetune-fraction-100", INITIAL_BACKBONE),
        ("finetune-fraction-1", TRAINED_DECODER),
    ]
    assert found[0].details["classes_without_a_label"] == [["dog"], ["dog"]]
