"""Masks already on disk become proposals, cleaned as the paper has it."""

import json
from itertools import groupby

import numpy
import pytest

from mcdist.data.pictures.coco_runs import mask_of_runs
from mcdist.errors import DataError
from mcdist.proposals.files import DAMAGED, MISSING, OTHER_SIZE, make
from mcdist.proposals.proposal import CannotProposeError
from tests.proposals.proposal_pictures import save

PHOTO = numpy.zeros((60, 80, 3), dtype=numpy.uint8)


def two_squares() -> numpy.ndarray:
    """A large and a small square, and a speck of less than 1 %."""
    mask = numpy.zeros((60, 80), dtype=bool)
    mask[5:35, 5:35] = mask[40:55, 60:75] = mask[2:5, 70:73] = True
    return mask


def runs_of_mask(mask: numpy.ndarray) -> list[int]:
    """COCO's run lengths by definition: of 0s and 1s by turns, column by column, the first of 0s."""
    runs = [len(list(run)) for _, run in groupby(mask.T.ravel().tolist())]
    return [0, *runs] if mask[0, 0] else runs


def propose(folder, **options):
    return make(masks=str(folder), **options)([PHOTO], names=["a/p.jpg"])[0]


@pytest.mark.parametrize("suffix", ["png", "npy"])
def test_a_saliency_map_is_cut_at_a_half_and_specks_go(tmp_path, suffix):
    saliency = numpy.where(two_squares(), 0.7, 0.4)
    if suffix == "png":
        save(tmp_path / "a" / "p.png", (255 * saliency).astype(numpy.uint8))
    else:
        (tmp_path / "a").mkdir()
        numpy.save(tmp_path / "a" / "p.npy", saliency)
    proposal = propose(tmp_path)
    assert proposal.num_objects == 1
    assert (proposal.instances > 0).sum() == 30 * 30 + 15 * 15
    assert proposal.confidence is not None
    split = propose(tmp_path, split=True)
    assert [(split.instances == number).sum() for number in (1, 2)] == [900, 225]
    assert not propose(tmp_path, threshold=0.75).instances.any()


def test_less_than_one_percent_is_nothing(tmp_path):
    mask = numpy.zeros((60, 80), dtype=numpy.uint8)
    mask[10:15, 10:15] = 255
    save(tmp_path / "a" / "p.png", mask)
    assert not propose(tmp_path).instances.any()


def test_an_instance_map_keeps_its_objects_and_its_void(tmp_path):
    mask = numpy.zeros((60, 80), dtype=numpy.uint8)
    mask[5:35, 5:35], mask[5:35, 35:60], mask[0] = 1, 2, 255
    save(tmp_path / "a" / "p.png", mask)
    instances = propose(tmp_path).instances
    assert sorted(numpy.unique(instances)) == [-1, 0, 1, 2]
    assert (instances == 2).sum() == 30 * 25


@pytest.mark.parametrize("form", ["list", "coco"])
def test_scored_run_lengths_are_flattened_by_score(tmp_path, form):
    low, high = numpy.zeros((60, 80), dtype=bool), numpy.zeros((60, 80), dtype=bool)
    low[5:40, 5:40], high[20:50, 20:50] = True, True
    entries = [
        {"file_name": "a/p.jpg", "segmentation": {"size": [60, 80], "counts": runs_of_mask(mask)}, "score": score} for mask, score in ((low, 0.4), (high, 0.9))
    ]
    content: object = entries
    if form == "coco":
        content = {"images": [{"id": 7, "file_name": "a/p.jpg"}], "annotations": [{**entry, "image_id": 7} for entry in entries]}
    (tmp_path / "p.json").write_text(json.dumps(content))
    instances = propose(tmp_path / "p.json").instances
    assert (instances == 1).sum() == 900
    assert (instances == 2).sum() == 35 * 35 - 20 * 20


@pytest.mark.parametrize(
    ("write", "outcome"),
    [
        (lambda folder: save(folder / "b.png", numpy.ones((60, 80), dtype=numpy.uint8)), MISSING),
        (lambda folder: save(folder / "a" / "p.png", numpy.ones((59, 80), dtype=numpy.uint8)), OTHER_SIZE),
        (lambda folder: (folder / "a").mkdir() or (folder / "a" / "p.png").write_bytes(b"\x89PNG\r\n\x1a\nnone"), DAMAGED),
        (lambda folder: (folder / "a").mkdir() or (folder / "a" / "p.npy").write_bytes(b"none"), DAMAGED),
    ],
)
def test_a_mask_that_does_not_fit_is_an_outcome_of_its_photo(tmp_path, write, outcome):
    write(tmp_path)
    with pytest.raises(CannotProposeError) as caught:
        propose(tmp_path)
    assert caught.value.outcome == outcome


def test_an_npy_that_holds_code_is_never_run(tmp_path):
    (tmp_path / "a").mkdir()
    numpy.save(tmp_path / "a" / "p.npy", numpy.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(CannotProposeError, match="cannot be read"):
        propose(tmp_path)


def test_run_lengths_survive_there_and_back():
    random = numpy.random.default_rng(0)
    for _ in range(50):
        mask = random.random((random.integers(1, 8), random.integers(1, 8))) < random.random()
        runs = runs_of_mask(mask)
        assert numpy.array_equal(mask_of_runs(runs, width=mask.shape[1], height=mask.shape[0], where="here"), mask)
    with pytest.raises(DataError, match="do not add up"):
        mask_of_runs([3, 4], width=2, height=3, where="here")
