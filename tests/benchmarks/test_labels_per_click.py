"""The scripted person and the probe, on worlds where the right answer is known."""

import json

import numpy
import pytest
import torch

from benchmarks.naming.figure import draw
from benchmarks.naming.labels_per_click import LabelledMap, Objects, fitted_probe, miou_of_classes, miou_of_probes, named_by_majority
from mcdist.evaluate.metrics.labels import VOID_CLASS
from tests.catalogue.worlds import axis_clusters, near_axes

NAMES = ("background", "cat", "dog")


def objects(axes: list[int], *, classes: list[int]) -> Objects:
    """Objects near some axes, each of 100 pixels of one class; 1,000 pixels of background outside."""
    histograms = 100 * numpy.eye(3, dtype=numpy.int64)[classes]
    return Objects(vectors=near_axes(axes), histograms=histograms, outside=numpy.array([1000, 0, 0]))


def test_with_every_cluster_named_the_labels_are_right_and_with_fewer_the_rest_is_background():
    train = objects([0, 0, 0, 1, 1, 2], classes=[1, 1, 2, 2, 2, 1])
    val = objects([0, 1, 2], classes=[1, 2, 1])
    everything = named_by_majority(axis_clusters(3), train=train, num_names=3, names=NAMES)
    assert miou_of_classes(everything, val=val, names=NAMES) == pytest.approx(100)
    largest = named_by_majority(axis_clusters(3), train=train, num_names=1, names=NAMES)
    assert everything.names[1:3] == ("cat", "dog") and largest.names[1] == "cat"
    assert miou_of_classes(largest, val=val, names=NAMES) == pytest.approx(100 * (1000 / 1200 + 1 / 2 + 0) / 3)


def test_a_cluster_of_background_is_named_so_and_one_of_void_alone_has_no_name():
    train = objects([0, 1, 2], classes=[0, 1, 2])
    train.histograms[2] = 0
    named = named_by_majority(axis_clusters(3), train=train, num_names=3, names=NAMES)
    assert named.names[: named.num_named] == ("background", "cat") and named.class_of[0] == 0


def maps(num_photos: int, *, seed: int) -> list[LabelledMap]:
    """Photos of 8 x 8 cells whose feature says the class of its pixels; a row is void."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(num_photos):
        cells = torch.randint(0, 3, (8, 8), generator=generator)
        truth = cells.repeat_interleave(4, dim=0).repeat_interleave(4, dim=1)
        truth[0] = VOID_CLASS
        features = torch.nn.functional.one_hot(cells, 3).permute(2, 0, 1).float() + 0.05 * torch.randn(3, 8, 8, generator=generator)
        made.append(LabelledMap(features.half(), truth))
    return made


def test_the_probe_learns_what_the_features_say():
    probe = fitted_probe(maps(5, seed=0), num_classes=3)
    assert (probe.classes(maps(1, seed=1)[0])[2::4, 2::4] == maps(1, seed=1)[0].truth[2::4, 2::4]).all()
    (score,) = miou_of_probes([probe], photos=iter(maps(3, seed=1)), num_classes=3)
    assert score > 70, "edges between random cells are blurred, their centres are not"


def test_the_figure_has_a_panel_for_each_data_set(tmp_path):
    pytest.importorskip("matplotlib")
    row = {"shape": "made up", "p20": 1.0, "median": 2.0, "p80": 3.0}
    rows = [{**row, "provider": provider, "mode": str(number)} for provider in ("names, as many clusters", "by hand") for number in (5, 10)]
    draw([rows, json.loads(json.dumps(rows))], path=tmp_path / "figure.png")
    assert 5_000 < (tmp_path / "figure.png").stat().st_size < 200_000
