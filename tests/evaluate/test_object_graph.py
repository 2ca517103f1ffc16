"""The graph protocol: every row by the same graph, and a stated rule for objects that it cannot place."""

from dataclasses import replace
from pathlib import Path

import torch

from mcdist.evaluate.protocols.clustered_row import miou_row
from mcdist.evaluate.table_names import PHOTO
from mcdist.groups.find import find_groups
from mcdist.groups.graph.rows import ArrayRows
from mcdist.groups.settings import GroupSettings
from mcdist.records.names import UNIT_MEAN
from mcdist.types import Embedded
from tests.evaluate.colour_world import CLASSES, EXTRACT, ColourEncoder, encoder_pair, judge_store, make_sample, make_store


class NarrowEncoder(ColourEncoder):
    """All its vectors point into one corner, as features after a ReLU do."""

    def head(self, features: torch.Tensor) -> Embedded:
        embedded = super().head(features)
        return Embedded(features=embedded.features + torch.tensor([6.0, 1.0, 0.0]).view(3, 1, 1), saliency=embedded.saliency)


def judged_rows(folder: Path, *, samples, settings=EXTRACT, **changes):
    store = make_store(folder / "store", samples=samples, settings=settings)
    judged, _ = judge_store(store, classes=CLASSES, protocols=["object-graph"], **changes)
    return judged


def test_features_that_tell_the_classes_apart_score_high_and_others_low(tmp_path: Path) -> None:
    judged = judged_rows(tmp_path, samples=[make_sample(index) for index in range(30)], num_clusters=(0, 6))
    score = {(row.subject.masks, row.subject.encoder, row.num_clusters): row.mean for row in judged.evaluation.rows}
    assert len(score) == 2 * 2 * 4 and {number for *_, number in score} == {3, 6}
    assert score["proposals", "trained", 3] > 93 and score["proposals", "initial", 3] < 60
    quoted = judged.evaluation.rows[judged.evaluation.headline]
    assert (quoted.subject.encoder, quoted.subject.masks, quoted.num_clusters, len(quoted.values)) == ("trained", "predicted", 3, 2)
    assert judged.painting is not None and len(judged.painting.class_of_object) == 30


def test_the_groups_are_those_that_a_training_would_make(tmp_path: Path) -> None:
    samples = [make_sample(index) for index in range(40)]
    store = make_store(tmp_path / "store", samples=samples, encoders=encoder_pair(trained=NarrowEncoder()))
    judged, view = judge_store(store, classes=CLASSES, protocols=["object-graph"], num_clusters=(5,), num_seeds=1)
    row = next(row for row in judged.evaluation.rows if (row.subject.masks, row.subject.encoder) == ("proposals", "trained"))
    vectors = view.vectors(row.subject, pooling=UNIT_MEAN).numpy()
    found = find_groups([ArrayRows(vectors)], source_of=store.column("proposals", PHOTO).read(), settings=GroupSettings(num_groups=(5,), num_seeds=1))
    group = found.of(5).group
    counts = view.known_truth.counts["proposals"]
    expected = miou_row(row.protocol, row.subject, counts=counts, num_clusters=5, num_seeds=1, clusters_of=lambda seed: group, facts={})
    assert row.details["confusion"] == expected.details["confusion"]


def test_a_vector_without_a_direction_counts_as_outside_of_all_objects(tmp_path: Path) -> None:
    # grey everywhere: the embedding, colour about its mean, is zero there, but the proposals hold an object
    grey = replace(make_sample(0), key="grey", photo=torch.full((3, 48, 64), 120, dtype=torch.uint8))
    judged = judged_rows(tmp_path, samples=[*(make_sample(index) for index in range(9)), grey])
    row = next(row for row in judged.evaluation.rows if (row.subject.masks, row.subject.encoder) == ("proposals", "trained"))
    assert (row.details["num_objects"], row.details["num_ungrouped"]) == (10, 1)


def test_no_object_one_object_and_objects_of_one_photo_give_a_table(tmp_path: Path) -> None:
    grey = replace(make_sample(0), photo=torch.full((3, 48, 64), 120, dtype=torch.uint8))
    none = judged_rows(tmp_path / "none", samples=[grey])
    assert none.evaluation.rows[0].details["num_objects"] == 0
    left, right = make_sample(0), make_sample(1)
    photo, segments, instances = (torch.cat(pair, dim=-1) for pair in zip(*((s.photo, s.segments, s.instances) for s in (left, right)), strict=True))
    instances[:, 64:] *= 2
    one_photo = replace(left, photo=photo, segments=segments, instances=instances)
    judged = judged_rows(tmp_path / "one", samples=[one_photo], settings=replace(EXTRACT, objects="components", size_px=128))
    assert {(row.details["num_objects"], row.details["num_ungrouped"]) for row in judged.evaluation.rows if row.subject.encoder == "trained"} == {(2, 0)}
