"""The linear probes: from features to classes by labelled photos. A supervised protocol: who mixes up two classes does not get away with it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcdist.errors import ConfigError, DataError
from mcdist.evaluate.metrics.labels import label_map
from mcdist.evaluate.protocols import linear
from mcdist.evaluate.protocols.linear import FastSwitches, Linear, SgdSwitches, fit_fast, fit_sgd, linear_clean, linear_published
from mcdist.evaluate.protocols.registry import check_needs
from mcdist.evaluate.truth import read_truth
from mcdist.evaluate.view import StoreView
from mcdist.records import Row
from mcdist.store.store import FeatureStore
from tests.evaluate.colour_world import CLASSES, EXTRACT, JUDGE, make_sample, make_store

PROBED = replace(EXTRACT, patches=True, decoded=True, label_maps=True)
SWAPPED = {"background": [0], "red": [2], "green": [1], "blue": [3]}
SHORT = replace(linear.PUBLISHED_SCHEDULE, num_epochs=8, batch=4, drops=(6,))
CLEAN = SgdSwitches(schedule=SHORT, standardise=True, checkpoint="the last epoch")
FAST = FastSwitches(schedule=SHORT)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureStore, FeatureStore]:
    folder = tmp_path_factory.mktemp("linear")
    judged = make_store(folder / "judged", samples=[make_sample(index) for index in range(6)], settings=PROBED)
    return judged, make_store(folder / "train", samples=[make_sample(index) for index in range(20, 34)], settings=PROBED)


def view_of(stores: tuple[FeatureStore, FeatureStore], *, train_classes: dict[str, list[int]] = CLASSES) -> StoreView:
    judged, train = (
        StoreView(store, dataset="colours", truth=read_truth(store, labels=label_map(classes).matched_to(label_map(CLASSES)), dataset="colours"))
        for store, classes in zip(stores, (CLASSES, train_classes), strict=True)
    )
    return replace(judged, train=train)


def first_row(view: StoreView, switches: SgdSwitches | FastSwitches, monkeypatch: pytest.MonkeyPatch) -> Row:
    """Of the trained encoder alone."""
    monkeypatch.setattr(linear, "SUBJECTS", ("trained decoder",))
    return Linear("linear", switches).judge(view)[0]


@pytest.mark.parametrize("switches", [CLEAN, FAST], ids=["clean", "fast"])
def test_features_that_know_the_classes_are_found_to(stores, switches, monkeypatch: pytest.MonkeyPatch) -> None:
    row = first_row(view_of(stores), switches, monkeypatch)
    assert row.mean > 65, "cells of 8 pixels leave the rest at the edges"
    assert row.subject.masks == "" and len(row.details["class_iou_percent"]) == 4
    low, high = row.interval or (0, 0)
    assert low < row.mean < high
    swapped = first_row(view_of(stores, train_classes=SWAPPED), switches, monkeypatch)
    assert max(swapped.details["class_iou_percent"][1:3]) < 5 and swapped.mean < row.mean / 1.5


def test_a_row_for_each_kind_of_features_and_one_fit_for_those_that_are_the_same(stores) -> None:
    rows = Linear("linear", FastSwitches(grid=4, num_draws=2)).judge(view_of(stores))
    assert [row.subject.encoder for row in rows] == ["trained decoder", "trained backbone", "initial backbone"]
    assert rows[0].values == rows[1].values, "the colour encoder has no decoder"


def test_the_fast_probe_is_near_the_slow_one(stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same descent on a sample of its pixels: near in its scores, and in its weights."""
    view = view_of(stores)
    slow, fast = (first_row(view, switches, monkeypatch).mean for switches in (CLEAN, FAST))
    assert fast == pytest.approx(slow, abs=2)
    features, maps = view.known_train.patches("trained decoder"), view.known_train.label_maps
    given: dict[str, Any] = {"maps": maps, "num_classes": 4, "size_px": 64}
    fits: tuple[Any, ...] = (fit_sgd(features, switches=CLEAN, **given), fit_fast(features, switches=FAST, **given))
    probes = [list(fit)[-1].probe for fit in fits]
    assert float((probes[0].weights - probes[1].weights).norm() / probes[0].weights.norm()) < 0.1


def test_published_takes_the_best_epoch_and_clean_the_last(stores, monkeypatch: pytest.MonkeyPatch) -> None:
    best = first_row(view_of(stores), replace(CLEAN, checkpoint="the best epoch on the judged photos"), monkeypatch)
    last = first_row(view_of(stores), CLEAN, monkeypatch)
    assert last.details["epoch"] == 8 and 1 <= best.details["epoch"] <= 8
    assert best.mean >= last.mean, "the slip can only help"
    published, clean = linear_published(JUDGE).switches, linear_clean(JUDGE).switches
    assert isinstance(published, SgdSwitches) and isinstance(clean, SgdSwitches)
    assert published.checkpoint == "the best epoch on the judged photos" and clean.checkpoint == "the last epoch"
    assert published.schedule.num_epochs == 60 and published.schedule.lr_of(24) == 0.1 and published.schedule.lr_of(25) == pytest.approx(0.01)


def test_everything_is_drawn_from_the_seed(stores, monkeypatch: pytest.MonkeyPatch) -> None:
    for switches in (replace(CLEAN, schedule=replace(SHORT, num_epochs=2)), replace(FAST, grid=2)):
        assert first_row(view_of(stores), switches, monkeypatch).values == first_row(view_of(stores), switches, monkeypatch).values


def test_weights_that_run_away_are_refused_in_one_sentence(stores) -> None:
    train = view_of(stores).known_train
    too_fast = replace(SHORT, lr=1e38)
    for epochs in (
        fit_sgd(train.patches("trained decoder"), maps=train.label_maps, num_classes=4, size_px=64, switches=replace(CLEAN, schedule=too_fast)),
        fit_fast(train.patches("trained decoder"), maps=train.label_maps, num_classes=4, size_px=64, switches=replace(FAST, schedule=too_fast)),
    ):
        with pytest.raises(DataError, match="are not finite after epoch 1: .* judge by maskcontrast-linear/clean"):
            list(epochs)


def test_stores_without_label_maps_are_refused(tmp_path: Path, stores) -> None:
    plain = make_store(tmp_path / "store", samples=[make_sample(0)])
    with pytest.raises(ConfigError, match="linear needs decoded and label maps and patches"):
        check_needs([Linear("linear", CLEAN)], store=view_of((plain, stores[1])))
