"""Videos: a frame that is unsure is what the frames before it were; frames are done in order, and a stopped video is done again from its start."""

from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from mcdist.catalogue.classes import Classes
from mcdist.errors import ConfigError
from mcdist.loading import load_run
from mcdist.run_dir import RunDir
from mcdist.segments.segment_photos import videos_of
from mcdist.segments.segmenter import FoundObjects, Looked, Segmenter
from mcdist.segments.steady import SeenFrame, own_labels, steady_frames
from mcdist.workflows.segmenting import Segmented, segment_run

GRID = 8


@pytest.fixture(scope="module")
def segmenter_and_classes(run_dir: RunDir) -> tuple[Segmenter, Classes]:
    run = load_run(run_dir.root, device="cpu")
    return run.segmenter, run.classes


def frames(segmenter: Segmenter, classes: Classes, *, clusters: list[int | None], weight: float) -> list[SeenFrame[int]]:
    """Frames of one object, the left half: the first ones surely of the first cluster, the last one rather of another; None for a frame without it."""
    side = segmenter.settings.size_px
    features = torch.zeros(1, classes.clusters.num_dims, GRID, GRID)
    features[:, 0, :, : GRID // 2], features[:, 1, :, GRID // 2 :] = 1, 1
    objects = numpy.zeros((side, side), dtype=numpy.int16)
    objects[:, : side // 2] = 1
    made = []
    for place, cluster in enumerate(clusters):
        shares = classes.clusters.centroids[clusters[0] or 0] * (1 - weight) + classes.clusters.centroids[cluster or 0] * weight
        vector = (shares + classes.clusters.mean)[None].astype(numpy.float32)
        shown = objects if cluster is not None else numpy.zeros_like(objects)
        made.append(SeenFrame(place, Looked(features, torch.zeros(1, GRID, GRID)), FoundObjects(shown, vector)))
    return made


def found_clusters(segmenter: Segmenter, classes: Classes, made: list[SeenFrame[int]], *, memory: float) -> list[int]:
    done = list(steady_frames(made, segmenter=segmenter, classes=classes, memory=memory))
    assert [place for place, _ in done] == list(range(len(made)))
    assert all(objects.probabilities is not None and objects.objects.max() == 1 for _, objects in done)
    return [int(classes.label(objects.probabilities).cluster[0]) for _, objects in done if objects.probabilities is not None]


def test_an_unsure_frame_keeps_the_label_of_the_frames_before(segmenter_and_classes: tuple[Segmenter, Classes]) -> None:
    segmenter, classes = segmenter_and_classes
    made = frames(segmenter, classes, clusters=[0, 0, 0, 1], weight=0.55)
    assert found_clusters(segmenter, classes, made, memory=0.0) == [0, 0, 0, 1]
    assert found_clusters(segmenter, classes, made, memory=0.5) == [0, 0, 0, 0]


def test_a_frame_that_misses_the_object_still_has_it(segmenter_and_classes: tuple[Segmenter, Classes]) -> None:
    segmenter, classes = segmenter_and_classes
    made = frames(segmenter, classes, clusters=[0, 0, None], weight=0.0)
    *_, (_, last) = steady_frames(made, segmenter=segmenter, classes=classes, memory=0.75)
    side = segmenter.settings.size_px
    assert (last.objects[:, : side // 2 - side // GRID] == 1).all() and not last.objects[:, side // 2 + side // GRID :].any()


def test_own_labels_are_shares_of_each_cell(segmenter_and_classes: tuple[Segmenter, Classes]) -> None:
    segmenter, classes = segmenter_and_classes
    seen = frames(segmenter, classes, clusters=[0], weight=0.0)[0]
    labels = own_labels(seen.found, classes=classes, height=GRID, width=GRID)
    assert labels.shape == (1 + len(classes.leaves), GRID, GRID)
    assert torch.allclose(labels.sum(dim=0), torch.ones(GRID, GRID), atol=1e-6)
    assert (labels[0, :, : GRID // 2] == 0).all() and (labels[0, :, GRID // 2 :] == 1).all()


def test_each_folder_is_a_video_in_the_order_of_its_names() -> None:
    assert videos_of(("a/1.jpg", "a.jpg", "a/b/1.jpg", "a/0.jpg")) == [[1], [3, 0], [2]]


def segment(run_dir: RunDir, photos: Path, out: Path, **options) -> Segmented:
    return segment_run(run_dir, [photos], out=out, device="cpu", num_workers=0, video=True, **options)


def files_of(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_a_stopped_video_is_done_again_and_parts_share_whole_videos(run_dir: RunDir, tmp_path: Path) -> None:
    random = numpy.random.default_rng(0)
    for name in ("one/0.png", "one/1.png", "one/2.png", "one/3.png", "one/4.png", "two/0.png", "two/1.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40, 52, 3), dtype=numpy.uint8)).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "one" / "1.png").write_bytes(b"no photo")
    photos, out = tmp_path / "photos", tmp_path / "out"
    whole = segment(run_dir, photos, out).done
    assert (whole.num_made, list(whole.reasons)) == (6, ["one/1.png"])
    before = files_of(out)
    (out / "segments" / "two" / "1.png.json").unlink()
    again = segment(run_dir, photos, out).done
    assert (again.num_kept, again.num_made, list(again.reasons)) == (4, 2, ["one/1.png"])
    assert files_of(out) == before
    for part in (2, 1):
        segment(run_dir, photos, tmp_path / "parts", part=part, num_parts=2)
    parts = {name: content for name, content in files_of(tmp_path / "parts").items() if not name.startswith("not_segmented")}
    assert parts == {name: content for name, content in before.items() if not name.startswith("not_segmented")}
    with pytest.raises(ConfigError, match="video is True there, False was asked for"):
        segment_run(run_dir, [photos], out=out, device="cpu", num_workers=0)
    with pytest.raises(ConfigError, match="--video and --window exclude each other"):
        segment(run_dir, photos, out, window_px=20)


def test_a_label_of_given_confidences_is_that_of_the_vector_itself(segmenter_and_classes: tuple[Segmenter, Classes]) -> None:
    _, classes = segmenter_and_classes
    vectors = numpy.random.default_rng(0).standard_normal((20, classes.clusters.num_dims), dtype=numpy.float32)
    named = replace(classes, names=("background", "a", "b"), num_named=3, class_of={leaf: 1 + leaf % 2 for leaf in classes.leaves})
    one, other = named.assign(vectors), named.label(named.leaf_probabilities(vectors))
    for column in ("cluster", "class_id", "second", "second_class_id"):
        assert numpy.array_equal(getattr(one, column), getattr(other, column)), column
    assert one.confidence == pytest.approx(other.confidence, abs=1e-6) and one.second_confidence == pytest.approx(other.second_confidence, abs=1e-6)
