"""Protocols on feature maps: what a perfect, a swapped, an absent and an empty answer score, and that a naive implementation gives the same."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch.nn.functional import interpolate, normalize

from mcdist.data.shards.sample import Sample
from mcdist.errors import ConfigError, DataError
from mcdist.evaluate.inputs import INPUTS
from mcdist.evaluate.probes.centroid_probe import Centroids
from mcdist.evaluate.probes.logistic import LinearClassifier
from mcdist.evaluate.protocols import patch_pieces as pieces_module
from mcdist.evaluate.protocols.patch_makers import PATCH_MAKERS
from mcdist.evaluate.protocols.patch_pieces import patch_pieces
from mcdist.evaluate.protocols.protocol import switches_of
from mcdist.evaluate.protocols.registry import make_protocols
from mcdist.evaluate.protocols.scene_probes import Probes
from mcdist.evaluate.protocols.ten_switches import TenSwitches
from mcdist.evaluate.view import StoreView
from mcdist.records.names import PATCH_PROTOCOLS
from tests.evaluate.colour_world import JUDGE
from tests.evaluate.patch_world import PALETTE, PATCHES, band_sample, make_view, row_of

pytest.importorskip("faiss")

SUPERVISED = ("linear-100/clean", "hummingbird/clean", "knn-probe/clean", "logreg-probe/clean")
TEN = (
    "resize",
    "scored_at",
    "fitted_on",
    "subsampling",
    "scaling",
    "num_clusters",
    "matching",
    "absent_classes",
    "flip_and_crf",
    "label_choice",
)


def bands(num: int, *, first: int = 0, **options: Any) -> list[Sample]:
    return [band_sample(first + index, **options) for index in range(num)]


def fast(name: str, **changes: Any) -> Any:
    """A protocol, with fewer or larger steps where it takes many."""
    protocol: Any = make_protocols([name], settings=JUDGE)[0]
    if name.startswith("linear-100"):
        changes = {"schedule": replace(protocol.switches.schedule, lr=2.0, num_epochs=10, batch=4, drops=(8,)), "label_px": 16, **changes}
    if name.startswith("scene-probes"):
        changes = {"round_steps": 20, "num_rounds": 3, "lr": 0.1, "batch": 4, "label_px": 16, **changes}
    if name.startswith("logreg"):
        changes = {"inverse_penalties": (1e-2, 10.0), **changes}
    return replace(protocol, switches=replace(protocol.switches, **changes))


def score(protocol: Any, view: StoreView, *, metric: str = "mIoU", encoder: str = "trained backbone") -> float:
    rows = protocol.judge(view)
    assert {row.protocol for row in rows} == {protocol.name}
    return next(row.mean for row in rows if row.subject.encoder == encoder and row.metric == metric)


@pytest.fixture(scope="module")
def perfect(tmp_path_factory: pytest.TempPathFactory) -> StoreView:
    settings = replace(PATCHES, mirrored=True)
    return make_view(tmp_path_factory.mktemp("perfect"), judged=bands(6), fitted=bands(12, first=50), settings=settings)


def test_every_protocol_prints_all_ten_switches() -> None:
    assert tuple(PATCH_MAKERS) == PATCH_PROTOCOLS
    for protocol in make_protocols(PATCH_PROTOCOLS, settings=JUDGE):
        assert isinstance(protocol.switches, TenSwitches)
        switches = switches_of(protocol)
        assert tuple(switches)[:10] == TEN and all(switches[name] not in ("", None) for name in TEN)


def test_a_name_without_its_end_is_both_protocols() -> None:
    names = [protocol.name for protocol in make_protocols(["hummingbird", "hummingbird/clean"], settings=JUDGE)]
    assert names == ["hummingbird/published", "hummingbird/clean"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> StoreView:
    """Each photo shows one class: nothing depends on how logits fall off between patches."""
    samples = [band_sample(index, labels=[index % 4]) for index in range(12)]
    return make_view(tmp_path_factory.mktemp("whole"), judged=samples[:6], fitted=samples, settings=replace(PATCHES, mirrored=True))


@pytest.mark.parametrize("name", ["hummingbird/clean", "knn-probe/clean", "logreg-probe/clean", "overcluster-classes/clean"])
def test_perfect_features_score_100(name: str, perfect: StoreView) -> None:
    assert score(fast(name), perfect) == pytest.approx(100, abs=0.01)


def test_the_linear_probe_scores_100_where_it_can(whole: StoreView) -> None:
    assert score(fast("linear-100/clean"), whole) == pytest.approx(100, abs=0.01)


def test_scenes_have_both_probes_with_the_mirrored_photo_and_without(whole: StoreView) -> None:
    rows = {row.metric: row for row in fast("scene-probes/clean").judge(whole) if row.subject.encoder == "trained backbone"}
    assert list(rows) == ["cluster mIoU", "cluster mIoU with flip", "linear mIoU", "linear mIoU with flip"]
    assert [rows["linear mIoU"].mean, rows["linear mIoU with flip"].mean] == pytest.approx([100, 100], abs=0.01)
    assert rows["cluster mIoU"].num_clusters == 4 and rows["linear mIoU"].num_clusters == 0
    assert rows["linear mIoU"].details["steps"] == 60


@pytest.mark.parametrize("name", SUPERVISED)
def test_a_predictor_that_swaps_two_classes_does_not_get_100(name: str, tmp_path: Path) -> None:
    """The photos to fit on have red and green the wrong way round."""
    swapped = [0, 2, 1, 3]
    wrong = [band_sample(index, labels=ids, truth=[swapped[one] for one in ids]) for index, ids in enumerate([[0, 1, 2, 3], [3, 2, 1, 0]] * 4)]
    view = make_view(tmp_path, judged=bands(4), fitted=wrong)
    assert score(fast(name), view) < 60


def test_the_published_matching_of_hummingbird_forgives_the_swap_and_says_so(tmp_path: Path) -> None:
    swapped = [0, 2, 1, 3]
    wrong = [band_sample(index, labels=[0, 1, 2, 3], truth=[swapped[one] for one in (0, 1, 2, 3)]) for index in range(4)]
    view = make_view(tmp_path, judged=bands(4), fitted=wrong)
    published, clean = fast("hummingbird/clean", match_predictions=True), fast("hummingbird/clean")
    assert score(published, view) == pytest.approx(100, abs=0.01) and score(clean, view) < 60
    row = next(row for row in published.judge(view) if row.subject.encoder == "trained backbone")
    assert row.details["classes_renamed_by_matching"] == {"red": "green", "green": "red"}


def test_the_cluster_probe_scores_100_with_centroids_in_any_order(whole: StoreView) -> None:
    centroids = Centroids(normalize(torch.tensor([PALETTE[one] for one in (2, 0, 3, 1)]).float(), dim=1))
    probes = Probes(centroids, LinearClassifier(torch.zeros(3, 4), torch.zeros(4)))
    counts = fast("scene-probes/clean")._cluster_counts(patch_pieces(whole, encoder="trained backbone"), probes, num_classes=4)
    assert counts.miou_percent(absent="left out") == pytest.approx(100)


def test_clusters_may_have_any_order_and_a_blind_encoder_is_far_from_100(perfect: StoreView) -> None:
    protocol = fast("overcluster-classes/clean")
    assert protocol.switches.num_seeds == 2
    rows = {row.subject.encoder: row for row in protocol.judge(perfect)}
    assert rows["trained backbone"].values == pytest.approx((100, 100))
    assert rows["initial"].mean < 30
    assert rows["trained backbone"].details["num_patches"] == rows["trained backbone"].details["num_clustered"] == 6 * 64
    assert rows["trained backbone"].interval == pytest.approx((100, 100))


def test_with_fewer_patches_than_clusters_each_patch_is_one(tmp_path: Path) -> None:
    view = make_view(tmp_path, judged=bands(2))
    row = row_of(view, protocol="overcluster-500/clean")
    assert row.details["num_clusters"] == 128 and row.mean == pytest.approx(100)


def test_a_class_that_the_truth_never_shows_is_left_out_or_counts_zero(tmp_path: Path) -> None:
    some = [[0, 1, 1, 2], [2, 1, 0, 0], [0, 2, 1, 0]]
    view = make_view(tmp_path, judged=[band_sample(index, labels=ids) for index, ids in enumerate(some)], fitted=bands(8, first=9))
    assert score(fast("hummingbird/clean"), view) == pytest.approx(100, abs=0.01)
    assert score(fast("hummingbird/clean", absent_classes="zero"), view) == pytest.approx(75, abs=0.01)
    assert score(fast("hummingbird/clean", absent_classes="zero if predicted"), view) == pytest.approx(100, abs=0.01)
    row = next(row for row in fast("hummingbird/clean").judge(view) if row.subject.encoder == "trained backbone")
    assert len(row.details["class_iou_percent"]) == len(view.known_truth.classes) == 3


def test_void_counts_nowhere_and_teaches_nothing(tmp_path: Path) -> None:
    judged = [band_sample(index, labels=[0, 1, 2, 3], truth=[255, 1, 2, 3]) for index in range(3)]
    fitted = [band_sample(9 + index, labels=[0, 1, 2, 3], truth=[0, 1, 255, 3]) for index in range(4)] + bands(6, first=30)
    view = make_view(tmp_path, judged=judged, fitted=fitted)
    for protocol in (fast("hummingbird/clean"), fast("knn-probe/clean"), fast("logreg-probe/clean", inverse_penalties=(10.0,))):
        assert score(protocol, view) == pytest.approx(100, abs=0.01), protocol.name
    row = next(row for row in fast("knn-probe/clean").judge(view) if row.subject.encoder == "trained backbone")
    assert sum(map(sum, row.details["confusion"])) == 3 * 64 * 48


def test_the_published_knn_probe_predicts_void_and_counts_it_as_a_class(tmp_path: Path) -> None:
    half = [band_sample(index, labels=[0, 0, 1, 1]) for index in range(10)]
    for sample in half:
        assert sample.segments is not None
        sample.segments[::2, 32:] = 255  # every second row of red: void is no majority, but wins half of the pixels
    view = make_view(tmp_path, judged=[band_sample(50, labels=[0, 0, 1, 1])], fitted=half)
    published, clean = fast("knn-probe/clean", void_predicted=True, absent_classes="zero if predicted"), fast("knn-probe/clean")
    assert score(published, view) == pytest.approx((100 + 50 + 0) / 3)
    row = next(row for row in published.judge(view) if row.subject.encoder == "trained backbone")
    assert row.details["void_predicted_percent"] == pytest.approx(25)
    assert score(clean, view) == pytest.approx((100 + 50) / 2)


@pytest.mark.parametrize(
    "name", ["overcluster-300/published", "linear-100/published", "hummingbird/published", "knn-probe/published", "scene-probes/published"]
)
def test_a_published_protocol_refuses_photos_of_another_size_or_input(name: str, perfect: StoreView) -> None:
    protocol = make_protocols([name], settings=JUDGE)[0]
    with pytest.raises(ConfigError, match=rf"{name} is defined for photos under .*, or judge by {name.split('/')[0]}/clean"):
        protocol.judge(perfect)


def test_photos_of_another_input_are_refused_by_clean_protocols() -> None:
    protocol: Any = make_protocols(["knn-probe/clean"], settings=JUDGE)[0]
    with pytest.raises(ConfigError, match="they are under evaluate.input=stego evaluate.size_px=320; set evaluate.input=plain$"):
        protocol.terms.check(protocol.name, photo_input="stego", size_px=320)
    protocol.terms.check(protocol.name, photo_input="plain", size_px=320)
    assert {protocol.terms.input for protocol in map(fast, PATCH_PROTOCOLS)} == set(INPUTS)


def test_one_photo_to_fit_on_is_too_few_to_hold_a_tenth_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="which takes at least 2, got 1; name more with --train-shards"):
        fast("logreg-probe/clean").judge(make_view(tmp_path, judged=bands(1), fitted=bands(1)))


def test_the_best_epoch_is_chosen_by_the_judged_photos_only_where_the_name_says_so(perfect: StoreView) -> None:
    slow = {"schedule": replace(fast("linear-100/clean").switches.schedule, num_epochs=4, lr=0.5, drops=())}
    rows = [protocol.judge(perfect)[0] for protocol in (fast("linear-100/clean", **slow), fast("linear-100/clean", best_epoch=True, **slow))]
    assert rows[0].details["miou_percent_of_epochs"] == [] and rows[0].details["epoch"] == 4
    of_epochs = rows[1].details["miou_percent_of_epochs"]
    assert len(of_epochs) == 4 and rows[1].mean == max(of_epochs) and of_epochs[rows[1].details["epoch"] - 1] == max(of_epochs)


def test_encoders_with_the_same_maps_are_judged_once_and_have_a_row_each(perfect: StoreView, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []
    protocol = fast("hummingbird/clean")
    before = type(protocol)._judge
    monkeypatch.setattr(type(protocol), "_judge", lambda self, store, encoder: judged.append(encoder) or before(self, store, encoder))
    rows = protocol.judge(perfect)
    assert [row.subject.encoder for row in rows] == ["trained", "trained backbone", "initial", "initial backbone"] == judged
    assert protocol.quote(rows) == 0


@pytest.mark.parametrize("name", [*SUPERVISED, "overcluster-classes/clean"])
def test_the_size_of_pieces_does_not_change_the_result(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = make_view(tmp_path, judged=bands(3, noise=60), fitted=bands(5, first=20, noise=60))
    whole = fast(name).judge(view)
    monkeypatch.setattr(pieces_module, "PIECE_VALUES", 1)
    cut = fast(name).judge(view)
    for one, other in zip(whole, cut, strict=True):
        assert one.values == pytest.approx(other.values, abs=0.05)


def naive_hummingbird(judged: Sequence[tuple[numpy.ndarray, numpy.ndarray]], fitted: Sequence[tuple[numpy.ndarray, numpy.ndarray]], *, k: int) -> float:
    """All patches in memory, all pairs compared, torch's own upsampling, sets of pixels: no code in common with the protocol."""
    keys, labels = [], []
    for features, truth in fitted:
        height, width, _ = features.shape
        side = truth.shape[0] // height
        for row in range(height):
            for column in range(width):
                patch = truth[row * side : (row + 1) * side, column * side : (column + 1) * side]
                if (patch != 255).any():
                    keys.append(features[row, column])
                    labels.append([(patch == one).sum() / (patch != 255).sum() for one in range(4)])
    memory, frequencies = normalize(torch.tensor(numpy.array(keys)).double(), dim=1), torch.tensor(numpy.array(labels)).double()
    pairs = []
    for features, truth in judged:
        height, width, dims = features.shape
        cosines = normalize(torch.tensor(features).double().reshape(-1, dims), dim=1) @ memory.T
        near = cosines.topk(k, dim=1)
        votes = (torch.softmax(near.values / 0.02, dim=1)[..., None] * frequencies[near.indices]).sum(dim=1).view(height, width, 4)
        predicted = interpolate(votes.permute(2, 0, 1)[None], size=truth.shape, mode="bilinear")[0].argmax(dim=0).numpy()
        pairs += list(zip(predicted[truth != 255].tolist(), truth[truth != 255].tolist(), strict=True))
    ious = []
    for one in range(4):
        true, found = {place for place, pair in enumerate(pairs) if pair[1] == one}, {place for place, pair in enumerate(pairs) if pair[0] == one}
        if true:
            ious.append(len(true & found) / len(true | found))
    return 100 * sum(ious) / len(ious)


def test_hummingbird_gives_the_number_of_a_naive_implementation(tmp_path: Path) -> None:
    judged, fitted = bands(4, noise=90), bands(6, first=20, noise=90)
    for sample in fitted[:3]:
        assert sample.segments is not None
        sample.segments[:20, :30] = 255
    view = make_view(tmp_path, judged=judged, fitted=fitted)

    def pairs(samples: Sequence[Sample], store: StoreView) -> list[tuple[numpy.ndarray, numpy.ndarray]]:
        features = store.patches("trained backbone").read().astype(numpy.float32)
        return [(one, sample.segments.numpy()) for one, sample in zip(features, samples, strict=True) if sample.segments is not None]

    expected = naive_hummingbird(pairs(judged, view), pairs(fitted, view.known_train), k=30)
    assert 30 < expected < 99.9
    assert score(fast("hummingbird/clean"), view) == pytest.approx(expected, abs=0.1)


def test_the_memory_is_bounded_by_its_size(tmp_path: Path) -> None:
    view = make_view(tmp_path, judged=bands(2), fitted=bands(8, first=20))
    for size, expected in ((100, 96), (8, 8), (5, 5), (10**6, 8 * 64)):
        rows = fast("hummingbird/clean", memory_size=size).judge(view)
        assert rows[0].details["num_memory"] == expected
