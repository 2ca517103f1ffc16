"""The scripted person and the probe, on worlds where the right answer is known."""

import json

import numpy
import pytest

from benchmarks.naming import probe
from benchmarks.naming.figure import draw
from benchmarks.naming.labels_per_click import AS_MANY, LARGEST, markdown, miou_of_classes, named_by_majority, scores_of_names
from benchmarks.naming.objects import Objects
from benchmarks.naming.probe import LabelledMap, fitted_probe, miou_of_probes
from mcdist.evaluate.metrics.labels import VOID_CLASS
from tests.catalogue.worlds import axis_clusters, near_axes

NAMES = ("background", "cat", "dog")


def objects(axes: list[int], *, classes: list[int]) -> Objects:
    """Objects near some axes, each of 100 pixels of one class; 1,000 pixels of background outside."""
    histograms = 100 * numpy.eye(3, dtype=numpy.int64)[classes]
    return Objects(vectors=near_axes(axes), photo_of=numpy.arange(len(axes)), histograms=histograms, outside=numpy.array([1000, 0, 0]))


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


def test_every_run_and_seed_gives_a_score_and_more_names_than_clusters_give_none():
    train, val = objects([0, 0, 1, 1, 2] * 24, classes=[1, 1, 2, 2, 1] * 24), objects([0, 1, 2], classes=[1, 2, 1])
    scores = scores_of_names([(train, val), (train, val)], names=NAMES, seeds=3)
    assert {number: len(values) for (provider, number), values in scores.items() if provider == AS_MANY} == dict.fromkeys((5, 10, 20, 50, 100), 6)
    assert scores[AS_MANY, 5] == pytest.approx([100] * 6)
    assert {number for provider, number in scores if provider == LARGEST} == {5, 10}, "12 clusters is what 120 objects get at most"


def maps(num_photos: int, *, seed: int, noise: float = 0.05) -> list[LabelledMap]:
    """Photos of 8 x 8 cells whose feature says the class of its pixels; a row of pixels is void."""
    generator = numpy.random.default_rng(seed)
    made = []
    for _ in range(num_photos):
        cells = generator.integers(0, 3, (8, 8))
        truth = cells.repeat(4, axis=0).repeat(4, axis=1).astype(numpy.uint8)
        truth[0] = VOID_CLASS
        features = numpy.eye(3)[cells] + noise * generator.normal(size=(8, 8, 3))
        made.append(LabelledMap(features.astype(numpy.float16), truth))
    return made


def test_the_probe_learns_what_the_features_say_and_comes_to_its_end():
    fitted = fitted_probe(maps(5, seed=0), num_classes=3)
    assert (fitted.classes(maps(1, seed=1)[0])[2::4, 2::4] == maps(1, seed=1)[0].truth[2::4, 2::4]).all()
    assert fitted.classifier.converged
    (score,) = miou_of_probes([fitted], photos=iter(maps(3, seed=1)), num_classes=3)
    assert score > 70, "edges between random cells are blurred, their centres are not"


def test_the_probe_takes_the_strength_that_photos_held_out_favour(monkeypatch):
    monkeypatch.setattr(probe, "DECAYS", (1e6, 1e-2))
    assert fitted_probe(maps(6, seed=0), num_classes=3).decay == 1e-2, "with so much L2 all cells have the most frequent class"


def test_a_row_of_the_table_is_a_provider_with_mean_and_spread():
    row = {"shape": "made up", "mean": 12.34, "std": 1.26}
    lines = markdown([{**row, "provider": "names", "mode": "5"}, {**row, "provider": "names", "mode": "10"}, {**row, "provider": "hand", "mode": "5"}])
    assert lines.splitlines()[-2:] == ["| names | 12.3 ± 1.3 | 12.3 ± 1.3 |", "| hand | 12.3 ± 1.3 |  |"]


def test_the_figure_has_a_panel_for_each_data_set(tmp_path):
    pytest.importorskip("matplotlib")
    row = {"shape": "made up", "mean": 2.0, "std": 1.0}
    rows = [{**row, "provider": provider, "mode": str(number)} for provider in ("names, as many clusters", "by hand") for number in (5, 10)]
    draw([rows, json.loads(json.dumps(rows))], path=tmp_path / "figure.png")
    assert 5_000 < (tmp_path / "figure.png").stat().st_size < 200_000
