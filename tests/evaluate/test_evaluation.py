import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from torch import nn

from mcdist.data.shards.sample import Sample
from mcdist.errors import CheckpointError, ConfigError, DataError
from mcdist.evaluate.settings import ExtractSettings
from mcdist.records import Evaluation, Panel, Row
from tests.evaluate.colour_world import CLASSES, EXTRACT, ColourEncoder, encoder_pair, judge_store, make_sample, make_store, panels_of, segments_of

Judged = tuple[Evaluation, list[Panel]]


def run(
    folder: Path,
    *,
    samples: Sequence[Sample] | None = None,
    trained: nn.Module | None = None,
    initial: nn.Module | None = None,
    classes: dict[str, list[int]] = CLASSES,
    extract: ExtractSettings = EXTRACT,
    protocols: Sequence[str] = (),
    **settings,
) -> Judged:
    samples = [make_sample(index) for index in range(12)] if samples is None else samples
    store = make_store(folder / "store", samples=samples, settings=extract, encoders=encoder_pair(trained=trained, initial=initial))
    judged, view = judge_store(store, classes=classes, protocols=protocols, **settings)
    return judged.evaluation, panels_of(judged, view, samples=samples)


def by_subject(evaluation: Evaluation) -> dict[tuple[str, str, str], Row]:
    return {(row.subject.masks, row.protocol, row.subject.encoder): row for row in evaluation.rows}


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    return run(tmp_path_factory.mktemp("colours"))


def test_features_that_tell_the_classes_apart_score_high_and_others_low(colours: Judged) -> None:
    evaluation, _ = colours
    score = {key: row.mean for key, row in by_subject(evaluation).items()}
    for protocol in ("maskcontrast-kmeans", "mean-embedding"):
        assert score["proposals", protocol, "trained"] > 93
        assert score["predicted", protocol, "trained"] > 75
        assert score["predicted", protocol, "initial"] < 60
    assert score["predicted", "maskcontrast-kmeans", "random labels"] < 65


def test_every_row_stands_on_the_same_objects(colours: Judged) -> None:
    evaluation, _ = colours
    assert len(evaluation.rows) == 2 * (2 * 4 + 3) + 1
    assert {row.details["num_objects"] for row in evaluation.rows} == {12}
    headline = evaluation.rows[evaluation.headline]
    assert (headline.subject.masks, headline.protocol, headline.subject.encoder) == ("predicted", "maskcontrast-kmeans", "trained")
    num_values = {row.subject.encoder: len(row.values) for row in evaluation.rows}
    assert num_values.pop("upper bound") == 1 and set(num_values.values()) == {2}
    assert {(row.metric, row.unit) for row in evaluation.rows} == {("mIoU", "%")}


def test_floors_are_below_and_the_ceiling_above_what_features_reach(colours: Judged) -> None:
    score = {key: row.mean for key, row in by_subject(colours[0]).items()}
    for masks in ("predicted", "proposals"):
        of = {encoder: score[masks, "maskcontrast-kmeans", encoder] for encoder in ("random labels", "random vectors", "trained", "upper bound")}
        assert max(of["random labels"], of["random vectors"]) < of["trained"] <= of["upper bound"] + 1e-9
    assert score["proposals", "maskcontrast-kmeans", "upper bound"] == 100  # the pixel too wide is void
    assert score["true", "maskcontrast-kmeans", "random labels"] == score["proposals", "maskcontrast-kmeans", "random labels"]


def test_the_confusion_counts_every_pixel_but_void(colours: Judged) -> None:
    evaluation, _ = colours
    not_void = sum(int((segments_of(make_sample(index)) != 255).sum()) for index in range(12))
    assert {int(numpy.sum(row.details["confusion"])) for row in evaluation.rows} == {not_void}


def test_the_masks_are_scored_against_the_ground_truth(colours: Judged) -> None:
    evaluation, _ = colours
    assert evaluation.mask_iou_percent["proposals"] == 100  # the pixel too wide is void
    assert 60 < evaluation.mask_iou_percent["predicted"] < 100


def test_the_evaluation_survives_json(colours: Judged) -> None:
    evaluation, _ = colours
    text = evaluation.to_json()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert Evaluation.from_json(text, where="here") == evaluation


def test_panels_are_spread_evenly_and_show_classes_at_the_photos_own_size(colours: Judged) -> None:
    _, panels = colours
    assert [panel.key for panel in panels] == ["photo_0", "photo_4", "photo_10"]
    for panel in panels:
        sample = make_sample(int(panel.key.removeprefix("photo_")))
        assert panel.photo.shape == (48, 64, 3)
        assert panel.truth is not None and (panel.truth == segments_of(sample)).all()
        assert (panel.proposals == sample.instances.numpy()).all()
        assert panel.saliency.shape == panel.clusters.shape == (48, 64)
        assert 0 <= panel.saliency.min() < panel.saliency.max() <= 1
        assert (panel.clusters == panel.truth)[panel.truth != 255].mean() > 0.8


def test_the_same_evaluation_again_gives_the_same_numbers(tmp_path: Path, colours: Judged) -> None:
    assert run(tmp_path)[0].rows == colours[0].rows


def test_the_batch_changes_nothing_but_rounding(tmp_path: Path, colours: Judged) -> None:
    assert run(tmp_path, extract=replace(EXTRACT, batch=1))[0].rows == colours[0].rows


def test_a_part_of_the_data_set_is_named_as_such(tmp_path: Path) -> None:
    evaluation, _ = run(tmp_path, samples=[make_sample(index) for index in range(6)])
    assert (evaluation.num_photos, evaluation.num_photos_in_dataset, evaluation.settings["limit"]) == (6, 12, 6)


def test_an_object_too_small_for_the_resized_photo_is_background_and_counted(tmp_path: Path) -> None:
    speck = make_sample(0, height=480, width=640)
    speck.instances[400, 600] = 2
    evaluation, _ = run(tmp_path, samples=[speck, make_sample(1)], extract=replace(EXTRACT, size_px=32))
    assert evaluation.settings["counts"]["proposals: objects without a pixel after resizing"] == 1
    assert {row.details["num_objects"] for row in evaluation.rows if row.subject.masks == "proposals"} == {2}


def test_photos_without_a_predicted_object_are_counted_and_all_background(tmp_path: Path) -> None:
    grey = replace(make_sample(0), key="grey", photo=torch.full((3, 48, 64), 120, dtype=torch.uint8))
    evaluation, _ = run(tmp_path, samples=[make_sample(index) for index in range(6)] + [grey])
    assert evaluation.settings["counts"]["predicted: photos without an object"] == 1
    assert evaluation.rows[0].details["num_objects"] == 6
    assert evaluation.num_photos == 7


def test_no_predicted_object_anywhere_still_gives_a_table(tmp_path: Path) -> None:
    grey = replace(make_sample(0), photo=torch.full((3, 48, 64), 120, dtype=torch.uint8))
    evaluation, _ = run(tmp_path, samples=[grey])
    assert evaluation.rows[0].details["num_objects"] == 0
    assert evaluation.mask_iou_percent["predicted"] == 0


def test_a_class_the_ground_truth_never_shows_is_left_out_and_named(tmp_path: Path) -> None:
    evaluation, panels = run(tmp_path, samples=[make_sample(index) for index in range(9) if index % 3 != 1])
    assert evaluation.classes == ("background", "red", "blue")
    assert evaluation.settings["absent_classes"] == ["green"]
    assert {row.details["num_clusters"] for row in evaluation.rows} == {2}
    truths = [panel.truth for panel in panels if panel.truth is not None]
    assert len(truths) == len(panels) > 0
    assert set(numpy.unique(numpy.stack(truths))) <= {0, 1, 2, 255}


def test_components_make_several_objects_a_photo(tmp_path: Path) -> None:
    left, right = make_sample(0), make_sample(1)
    photo, segments, instances = (torch.cat(pair, dim=-1) for pair in zip(*((s.photo, s.segments, s.instances) for s in (left, right)), strict=True))
    instances[:, 64:] *= 2
    pairs = [replace(left, photo=photo, segments=segments, instances=instances)] * 4
    evaluation, _ = run(tmp_path, samples=pairs, extract=replace(EXTRACT, objects="components", size_px=128), pca_dim=32)
    assert {(row.subject.masks, row.details["num_objects"]) for row in evaluation.rows} == {("predicted", 8), ("proposals", 8), ("true", 8)}
    assert by_subject(evaluation)["predicted", "maskcontrast-kmeans", "trained"].details["num_dims"] < 32
    assert evaluation.rows[evaluation.headline].mean > 75


def test_overclustering_matches_many_clusters_to_a_class(tmp_path: Path) -> None:
    evaluation, _ = run(tmp_path, num_clusters=(6,))
    assert {row.details["matching"] for row in evaluation.rows} == {"majority"}
    assert evaluation.rows[evaluation.headline].mean > 75


def test_several_numbers_of_clusters_have_rows_of_their_own_and_the_first_is_quoted(tmp_path: Path, colours: Judged) -> None:
    evaluation, _ = run(tmp_path, num_clusters=(0, 6, 3))
    assert [row.num_clusters for row in evaluation.rows[:5]] == [3] * 5 and {row.num_clusters for row in evaluation.rows} == {3, 6}  # 0 is 3: once
    assert {(row.num_clusters, row.details["matching"]) for row in evaluation.rows if row.subject.encoder != "upper bound"} == {
        (3, "hungarian"),
        (6, "majority"),
    }
    assert evaluation.rows[evaluation.headline].num_clusters == 3
    assert tuple(row for row in evaluation.rows if row.num_clusters == 3) == colours[0].rows


def test_the_switches_of_each_protocol_are_printed_with_the_result(colours: Judged) -> None:
    evaluation, _ = colours
    assert list(evaluation.protocols) == ["maskcontrast-kmeans", "mean-embedding"]
    assert evaluation.protocols["maskcontrast-kmeans"] == {
        "pooling": "logit-sum",
        "pca_dim": 2,
        "num_clusters": [0],
        "num_seeds": 2,
        "kmeans": "faiss",
        "num_iterations": 100,
        "num_starts": 20,
        "floors": True,
        "fitted_on": "the judged objects",
    }


def test_the_first_protocol_is_quoted(tmp_path: Path) -> None:
    evaluation, panels = run(tmp_path, protocols=["mean-embedding", "maskcontrast-kmeans"])
    assert evaluation.rows[evaluation.headline].protocol == "mean-embedding"
    clusters, _ = run(tmp_path / "clusters", protocols=["unlabelled-clusters"], num_clusters=(3,))
    assert not clusters.has_truth and clusters.classes == ("background", "cluster 1", "cluster 2", "cluster 3")


class BrokenEncoder(ColourEncoder):
    def backbone(self, image: torch.Tensor) -> torch.Tensor:
        return super().backbone(image) * torch.nan


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"classes": {}}, ConfigError, "evaluate.classes"),
        ({"samples": []}, DataError, "colours gave none"),
        ({"samples": [make_sample(0, with_segments=False)]}, DataError, "ground truth of photo_0"),
        ({"classes": {"background": [0], "cat": [77]}}, DataError, "show none; check the ids"),
        ({"initial": BrokenEncoder()}, CheckpointError, "embeddings of initial must be finite"),
        ({"trained": BrokenEncoder()}, CheckpointError, "must be finite"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_a_reason(tmp_path: Path, changes: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run(tmp_path, **changes)
