"""The ground truth in a feature store, pixel by pixel, and a second store to fit probes on."""

from dataclasses import replace
from pathlib import Path

import numpy
import pytest

from mcdist.data.pictures.resize import resize_nearest
from mcdist.errors import ConfigError, DataError
from mcdist.evaluate.label_maps import LabelMaps
from mcdist.evaluate.metrics.labels import VOID_CLASS, label_map
from mcdist.evaluate.protocols.registry import check_needs
from mcdist.evaluate.truth import read_truth
from mcdist.evaluate.view import StoreView
from mcdist.records.names import TRAINED_DECODER
from mcdist.store.plan import StorePlan, differences
from tests.evaluate.colour_world import CLASSES, EXTRACT, ColourEncoder, encoder_pair, make_sample, make_store, segments_of
from tests.evaluate.test_protocols import PatchesEach

SIZES = ((48, 64), (64, 48), (50, 70), (48, 64), (90, 60), (48, 64), (60, 61))
"""Two chunks of five photos, of different sizes."""


def test_label_maps_are_the_ground_truth_at_its_own_size_and_at_any_other(tmp_path: Path) -> None:
    samples = [make_sample(index, height=height, width=width) for index, (height, width) in enumerate(SIZES)]
    labels = label_map(CLASSES)
    maps = LabelMaps(make_store(tmp_path / "store", samples=samples, settings=replace(EXTRACT, label_maps=True)), labels=labels)
    assert len(maps) == len(SIZES)
    for photo in (6, 0, 4, 5):
        expected = labels.apply(segments_of(samples[photo]))
        assert numpy.array_equal(maps.own_size(photo), expected)
        assert (expected == VOID_CLASS).any()
        assert maps.at_own_size(photo, square=numpy.zeros((64, 64))).shape == expected.shape
        square = maps.squares([photo, 1], size_px=20)
        assert square.shape == (2, 20, 20) and numpy.array_equal(square[0], resize_nearest(expected, height=20, width=20))


def test_a_store_without_label_maps_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no column 'id' of labels"):
        LabelMaps(make_store(tmp_path / "store", samples=[make_sample(0)]), labels=label_map(CLASSES))


def test_a_store_that_keeps_more_serves_and_one_that_keeps_less_does_not() -> None:
    def plan(**kept: object) -> StorePlan:
        return StorePlan(checkpoint={}, data={}, settings={"size_px": 64, **kept}, num_photos=1, chunk=1)

    more, less = plan(label_maps=True, decoded=True), plan(label_maps=False, decoded=False)
    assert not differences(more, wanted=less, at_least=("label_maps", "decoded"))
    assert not differences(plan(), wanted=less, at_least=("label_maps", "decoded")), "a store of before these settings"
    assert differences(less, wanted=more, at_least=("label_maps", "decoded")) == [
        "settings.decoded is False, expected True",
        "settings.label_maps is False, expected True",
    ]


class DecodedEncoder(ColourEncoder):
    """Says what its embedding is linear in: twice the colours."""

    def before_embedding(self, features):
        return 2 * features


def test_decoded_features_are_kept_where_they_are_asked_for(tmp_path: Path) -> None:
    settings = replace(EXTRACT, patches=True, decoded=True)
    view = StoreView(make_store(tmp_path / "store", samples=[make_sample(0)], settings=settings, encoders=encoder_pair(trained=DecodedEncoder())), dataset="x")
    assert view.has_decoded
    assert numpy.allclose(view.patches(TRAINED_DECODER).read(), 2 * view.patches("trained backbone").read(), atol=2e-3)


def test_a_probe_needs_a_second_store(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", samples=[make_sample(0)], settings=replace(EXTRACT, label_maps=True))
    view = StoreView(store, dataset="colours", truth=read_truth(store, labels=label_map(CLASSES), dataset="colours"))
    probe = PatchesEach(name="probe", needs=frozenset({"label maps", "train labels"}))
    with pytest.raises(ConfigError, match="probe needs train labels, colours offers label maps, objects, truth only; name .* --train-shards DIR"):
        check_needs([probe], store=view)
    check_needs([probe], store=replace(view, train=view))
    with pytest.raises(DataError, match="name their shards with --train-shards"):
        _ = view.known_train
