import json
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy
import pytest
import torch
from colour_world import CLASSES, SETTINGS, ColourEncoder, make_sample

from mcdist.data.shards.sample import Sample
from mcdist.errors import CheckpointError, ConfigError, DataError
from mcdist.evaluate.evaluation import evaluate
from mcdist.evaluate.subject import EncoderPair, PhotoSet
from mcdist.records import Evaluation, Panel


def run(
    num_photos: int = 12,
    *,
    samples: Iterable[Sample] | None = None,
    trained: ColourEncoder | None = None,
    initial: ColourEncoder | None = None,
    classes: dict[str, list[int]] = CLASSES,
    on_progress: Callable[[int], None] | None = None,
    **settings,
) -> tuple[Evaluation, list[Panel]]:
    photos = PhotoSet(samples or (make_sample(index) for index in range(num_photos)), dataset="colours", num_photos=12)
    encoders = EncoderPair(trained=trained or ColourEncoder(), initial=initial or ColourEncoder(blind=True), step=7, device=torch.device("cpu"))
    return evaluate(photos, encoders=encoders, settings=replace(SETTINGS, **settings), classes=classes, on_progress=on_progress)


@pytest.fixture(scope="module")
def colours() -> tuple[Evaluation, list[Panel]]:
    return run()


def test_features_that_tell_the_classes_apart_score_high_and_others_low(colours: tuple[Evaluation, list[Panel]]) -> None:
    evaluation, _ = colours
    score = {(row.masks, row.protocol, row.encoder): row.mean_percent for row in evaluation.scores}
    for protocol in ("maskcontrast-kmeans", "mean-embedding"):
        assert score["proposals", protocol, "trained"] > 93
        assert score["predicted", protocol, "trained"] > 75
        assert score["predicted", protocol, "initial"] < 60
    assert score["predicted", "maskcontrast-kmeans", "random labels"] < 65


def test_every_row_stands_on_the_same_objects(colours: tuple[Evaluation, list[Panel]]) -> None:
    evaluation, _ = colours
    assert len(evaluation.scores) == 2 * (2 * 4 + 1)
    assert {row.num_objects for row in evaluation.scores} == {12}
    headline = evaluation.scores[evaluation.headline]
    assert (headline.masks, headline.protocol, headline.encoder) == ("predicted", "maskcontrast-kmeans", "trained")
    assert all(len(row.miou_percent) == 2 for row in evaluation.scores)


def test_the_confusion_counts_every_pixel_but_void(colours: tuple[Evaluation, list[Panel]]) -> None:
    evaluation, _ = colours
    not_void = sum(int((make_sample(index).segments != 255).sum()) for index in range(12))
    assert {int(numpy.sum(row.confusion)) for row in evaluation.scores} == {not_void}


def test_the_masks_are_scored_against_the_ground_truth(colours: tuple[Evaluation, list[Panel]]) -> None:
    evaluation, _ = colours
    assert evaluation.mask_iou_percent["proposals"] == 100  # the pixel too wide is void
    assert 60 < evaluation.mask_iou_percent["predicted"] < 100


def test_the_evaluation_survives_json(colours: tuple[Evaluation, list[Panel]]) -> None:
    evaluation, _ = colours
    text = evaluation.to_json()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert Evaluation.from_json(text, where="here") == evaluation


def test_panels_are_spread_evenly_and_show_classes_at_the_photos_own_size(colours: tuple[Evaluation, list[Panel]]) -> None:
    _, panels = colours
    assert [panel.key for panel in panels] == ["photo_0", "photo_4", "photo_10"]
    for panel in panels:
        sample = make_sample(int(panel.key.removeprefix("photo_")))
        assert panel.photo.shape == (48, 64, 3)
        assert (panel.truth == sample.segments.numpy()).all()
        assert (panel.proposals == sample.instances.numpy()).all()
        assert panel.saliency.shape == panel.clusters.shape == (48, 64)
        assert 0 <= panel.saliency.min() < panel.saliency.max() <= 1
        assert (panel.clusters == panel.truth)[panel.truth != 255].mean() > 0.8


def test_the_same_evaluation_again_gives_the_same_numbers(colours: tuple[Evaluation, list[Panel]]) -> None:
    assert run()[0].scores == colours[0].scores


def test_the_batch_changes_nothing_but_rounding(colours: tuple[Evaluation, list[Panel]]) -> None:
    assert run(batch=1)[0].scores == colours[0].scores


def test_a_part_of_the_data_set_is_named_as_such() -> None:
    evaluation, _ = run(num_photos=6)
    assert (evaluation.num_photos, evaluation.num_photos_in_dataset, evaluation.settings["limit"]) == (6, 12, 6)


def test_an_object_too_small_for_the_resized_photo_is_background_and_counted() -> None:
    speck = make_sample(0, height=480, width=640)
    speck.instances[400, 600] = 2
    evaluation, _ = run(samples=[speck, make_sample(1)], size_px=32)
    assert evaluation.settings["counts"]["proposals: objects without a pixel after resizing"] == 1
    assert {row.num_objects for row in evaluation.scores if row.masks == "proposals"} == {2}


def test_photos_without_a_predicted_object_are_counted_and_all_background() -> None:
    grey = replace(make_sample(0), key="grey", photo=torch.full((3, 48, 64), 120, dtype=torch.uint8))
    evaluation, _ = run(samples=[make_sample(index) for index in range(6)] + [grey])
    assert evaluation.settings["counts"]["predicted: photos without an object"] == 1
    assert evaluation.scores[0].num_objects == 6
    assert evaluation.num_photos == 7


def test_no_predicted_object_anywhere_still_gives_a_table() -> None:
    grey = replace(make_sample(0), photo=torch.full((3, 48, 64), 120, dtype=torch.uint8))
    evaluation, _ = run(samples=[grey])
    assert evaluation.scores[0].num_objects == 0
    assert evaluation.mask_iou_percent["predicted"] == 0


def test_a_class_the_ground_truth_never_shows_is_left_out_and_named() -> None:
    evaluation, panels = run(samples=[make_sample(index) for index in range(9) if index % 3 != 1])
    assert evaluation.classes == ("background", "red", "blue")
    assert evaluation.settings["absent_classes"] == ["green"]
    assert evaluation.settings["kmeans"]["num_clusters"] == 2
    assert set(numpy.unique(numpy.stack([panel.truth for panel in panels]))) <= {0, 1, 2, 255}


def test_components_make_several_objects_a_photo() -> None:
    left, right = make_sample(0), make_sample(1)
    photo, segments, instances = (torch.cat(pair, dim=-1) for pair in zip(*((s.photo, s.segments, s.instances) for s in (left, right)), strict=True))
    instances[:, 64:] *= 2
    pairs = [replace(left, photo=photo, segments=segments, instances=instances)] * 4
    evaluation, _ = run(samples=pairs, objects="components", size_px=128, pca_dim=32)
    assert {(row.masks, row.num_objects) for row in evaluation.scores} == {("predicted", 8), ("proposals", 8)}
    assert evaluation.settings["pca_dim_fewer"]["predicted / maskcontrast-kmeans / trained"] < 32
    assert evaluation.scores[evaluation.headline].mean_percent > 75


def test_overclustering_matches_many_clusters_to_a_class() -> None:
    evaluation, _ = run(num_clusters=6)
    assert evaluation.settings["matching"] == "majority"
    assert evaluation.scores[evaluation.headline].mean_percent > 75


def test_progress_is_told_after_each_batch() -> None:
    heard: list[int] = []
    run(on_progress=heard.append)
    assert heard == [5, 10, 12]


class BrokenEncoder(ColourEncoder):
    def backbone(self, image: torch.Tensor) -> torch.Tensor:
        return super().backbone(image) * torch.nan


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"classes": {}}, ConfigError, "evaluate.classes"),
        ({"samples": iter([])}, DataError, "colours gave none"),
        ({"samples": [make_sample(0, with_segments=False)]}, DataError, "ground truth of photo_0"),
        ({"classes": {"background": [0], "cat": [77]}}, DataError, "show none; check the ids"),
        ({"initial": BrokenEncoder()}, CheckpointError, "those of initial"),
        ({"trained": BrokenEncoder()}, CheckpointError, "not finite|are not"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_a_reason(changes: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run(**changes)
