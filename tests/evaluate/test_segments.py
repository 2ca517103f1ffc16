"""The group head's segmentation: what is counted of it, what masks it predicts, and how it is judged."""

from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from torch.nn.functional import interpolate

from mcdist.data.pictures.resize import resize_nearest
from mcdist.errors import CheckpointError, ConfigError
from mcdist.evaluate.extract import segments
from mcdist.evaluate.extract.segments import foreground_margin, group_maps
from mcdist.evaluate.metrics.assign import assign_segments
from mcdist.records import Row, Subject
from mcdist.types import Embedded
from tests.evaluate.colour_world import CLASSES, EXTRACT, GroupEncoder, encoder_pair, judge_store, make_sample, make_store, panels_of, segments_of

SAMPLES = [make_sample(index) for index in range(9)]


def test_where_another_head_says_what_is_an_object_the_rest_is_background_and_each_pixel_of_it_has_a_group() -> None:
    groups = torch.randn(2, 4 + 3, 6, 5, generator=torch.Generator().manual_seed(0))
    foreground = torch.rand(2, 40, 40, generator=torch.Generator().manual_seed(1)) < 0.5
    found = group_maps(groups, num_groups=(3, 2), size_px=40, foreground=foreground)
    for number, logits in zip((3, 2), groups.split([4, 3], dim=1), strict=True):
        upsampled = torch.nn.functional.interpolate(logits[:, 1:], size=(40, 40), mode="bilinear", align_corners=False)
        assert torch.equal(found[number] > 0, foreground)
        agree = found[number] == torch.where(foreground, upsampled.argmax(dim=1) + 1, 0)
        assert agree.float().mean() > 0.999  # ties of rounding


def test_a_map_is_the_largest_of_the_upsampled_logits_whatever_the_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = torch.randn(2, 4 + 3, 5, 6, generator=torch.Generator().manual_seed(0))
    whole = group_maps(groups, num_groups=(3, 2), size_px=40)
    upsampled = interpolate(groups, size=(40, 40), mode="bilinear", align_corners=False)
    assert torch.equal(whole[3].long(), upsampled[:, :4].argmax(dim=1)) and torch.equal(whole[2].long(), upsampled[:, 4:].argmax(dim=1))
    monkeypatch.setattr(segments, "LOGITS_AT_ONCE", 500)
    assert all(torch.equal(banded, whole[number]) for number, banded in group_maps(groups, num_groups=(3, 2), size_px=40).items())


def test_the_margin_is_that_of_the_largest_set_over_background() -> None:
    groups = torch.tensor([[9.0, 1.0], [9.0, 1.0], [1.0, 2.0], [3.0, -1.0], [0.0, 0.5]]).view(1, 5, 1, 2)
    assert foreground_margin(groups, num_groups=(1, 2)).tolist() == [[[2.0, -1.5]]]


def test_each_set_is_counted_by_group_and_id_over_all_pixels_of_the_photos_own_size(tmp_path: Path) -> None:
    encoders = encoder_pair(trained=GroupEncoder())
    store = make_store(tmp_path / "store", samples=SAMPLES, encoders=encoders, settings=replace(EXTRACT, predicted_by="groups"))
    _, view = judge_store(store, classes=CLASSES)
    assert view.group_numbers == (1, 3)
    for number in (3, 1):
        counted = numpy.concatenate(list(view.segments(number))).sum(axis=0)
        expected = numpy.zeros((number + 1, 256), dtype=int)
        for sample in SAMPLES:
            images = interpolate(sample.photo[None], size=(64, 64), mode="bilinear", antialias=True) / 255
            groups = GroupEncoder().head(torch.nn.functional.avg_pool2d(images, 8)).groups
            assert groups is not None
            maps = group_maps(groups, num_groups=(3, 1), size_px=64)
            own_size = resize_nearest(maps[number][0].numpy(), height=48, width=64)
            numpy.add.at(expected, (own_size, segments_of(sample)), 1)
        assert not counted[:, 255].any()
        assert numpy.abs(counted[:, :255] - expected[:, :255]).sum() <= 20  # a logit on the edge may round the other way


def test_the_segmentation_is_judged_over_all_pixels_with_its_own_background(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", samples=SAMPLES, encoders=encoder_pair(trained=GroupEncoder()))
    judged, _ = judge_store(store, classes=CLASSES, protocols=["group-segments", "mean-embedding"])
    one, three = judged.evaluation.rows[:2]
    assert judged.painting is None and judged.evaluation.headline == 0 and judged.evaluation.has_truth
    assert (three.subject, three.num_clusters, three.details["matching"], len(three.values)) == (Subject("trained"), 3, "hungarian", 1)
    assert three.mean > 75 and three.details["num_empty"] == 0 and 60 < three.details["mask_iou_percent"] <= 100
    assert (one.num_clusters, one.details["matching"]) == (1, "hungarian") and one.mean < 50
    not_void = sum(int((segments_of(sample) != 255).sum()) for sample in SAMPLES)
    assert numpy.sum(three.details["confusion"]) == numpy.sum(one.details["confusion"]) == not_void


def test_masks_may_be_predicted_by_the_groups(tmp_path: Path) -> None:
    settings = replace(EXTRACT, predicted_by="groups")
    encoders = encoder_pair(trained=GroupEncoder())
    by_groups, by_saliency = (make_store(tmp_path / name, samples=SAMPLES, encoders=encoders, settings=one) for name, one in (("g", settings), ("s", EXTRACT)))
    judged, view = judge_store(by_groups, classes=CLASSES)
    assert judged.evaluation.settings["predicted_by"] == "groups" and judged.evaluation.settings["saliency_logit_min"] == 0.0
    assert judged.evaluation.rows[judged.evaluation.headline].mean > 75
    areas = [store.column("predicted", "area_px").read() for store in (by_groups, by_saliency)]
    assert (areas[0] > areas[1]).all()  # the same logit in this world, above 0 in place of 0.5
    panel = panels_of(judged, view, samples=SAMPLES)[0]
    assert int((panel.clusters != 0).sum()) == areas[0][0]


def test_the_background_row_is_background_whatever_it_covers_and_a_group_may_be_it_only_in_the_majority() -> None:
    confusion = numpy.array([[1, 90, 0], [80, 10, 5], [70, 0, 30]])
    assert assign_segments(confusion, matching="hungarian").tolist() == [0, 1, 2]
    assert assign_segments(confusion, matching="majority").tolist() == [0, 0, 0]


def test_without_a_group_head_the_protocol_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", samples=SAMPLES[:3])
    with pytest.raises(ConfigError, match="the protocol group-segments needs groups, colours offers objects, truth only"):
        judge_store(store, classes=CLASSES, protocols=["group-segments"])


class BrokenGroups(GroupEncoder):
    def head(self, features: torch.Tensor) -> Embedded:
        embedded = super().head(features)
        assert embedded.groups is not None
        return replace(embedded, groups=embedded.groups * torch.nan)


def test_groups_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="must be finite"):
        make_store(tmp_path / "store", samples=SAMPLES[:3], encoders=encoder_pair(trained=BrokenGroups()))


def test_without_ground_truth_no_segments_are_counted(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", samples=SAMPLES[:3], encoders=encoder_pair(trained=GroupEncoder()), settings=replace(EXTRACT, with_truth=False))
    assert not [name for name in store.columns("photos") if name.startswith("segments")]


def test_the_row_survives_as_plain_values(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", samples=SAMPLES, encoders=encoder_pair(trained=GroupEncoder()))
    judged, _ = judge_store(store, classes=CLASSES, protocols=["group-segments"])
    assert type(judged.evaluation).from_json(judged.evaluation.to_json(), where="here") == judged.evaluation
    assert all(isinstance(row, Row) for row in judged.evaluation.rows)
