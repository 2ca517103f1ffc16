"""A run sees the same from tars and from FFCV files: order, samples, geometry, maps, and pixels."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from mcdist.building.convert import convert_shards
from mcdist.building.folder.build import build_shards
from mcdist.building.folder.split import without_items
from mcdist.building.pictures.treatment import Treatment
from mcdist.building.source import Source
from mcdist.building.sources.coco.plan import CocoFiles, Labels, coco_source
from mcdist.building.sources.demo.source import demo_source
from mcdist.building.sources.voc import voc_source
from mcdist.building.writers.pack import Packing
from mcdist.data.batch import Batch
from mcdist.data.loader import make_loader
from mcdist.data.readers.open import open_shards
from mcdist.data.readers.reader import SampleReader
from tests.fixture_types import MakeViewSettings

RUN = dict(seed=3, global_batch=8, accumulation_steps=2, block=4, num_lanes=4, num_steps=4, num_workers=0, prefetch=2, pin_memory=False)


@dataclass(frozen=True, slots=True)
class Folders:
    """The same samples in each way of keeping them."""

    tars: Path
    betons: dict[str, Path]


def first(source: Source, *, num: int) -> Source:
    """The source's first photos alone."""
    whole = without_items(source)
    object.__setattr__(whole, "items", source.items[:num])
    return whole


def folders_of(source: Source, *, out: Path) -> Folders:
    build_shards(first(source, num=22), folder=out / "tars", shard_size=6, max_skipped_share=0.5)
    for mode in ("jpg", "raw", "smart"):
        convert_shards(out / "tars", out=out / mode, packing=Packing(mode))
    return Folders(out / "tars", {mode: out / mode for mode in ("jpg", "raw", "smart")})


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return folders_of(demo_source("train", num_photos=22, size_px=96, seed=0), out=tmp_path_factory.mktemp("generated"))


@pytest.fixture(scope="module")
def coco(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    root = shared_data / "coco128"
    files = CocoFiles(root / "train2017", root / "annotations" / "instances_train2017.json", "annotations", None, None, None, Labels.auto, 0.0)
    return folders_of(coco_source(files, treatment=Treatment()), out=tmp_path_factory.mktemp("coco"))


@pytest.fixture(scope="module")
def voc(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    source = voc_source(
        shared_data / "voc_animals",
        split="trainaug",
        proposals="saliency_supervised",
        treatment=Treatment(),
        with_labels=True,
        ids_file=None,
        hold_out=0,
        part="train",
    )
    return folders_of(source, out=tmp_path_factory.mktemp("voc"))


def seen(reader: SampleReader, view_settings: MakeViewSettings, *, rank: int = 0, num_ranks: int = 1, consumed: int = 0, **changes) -> list[Batch]:
    return list(make_loader(reader, views=view_settings(size_px=64), rank=rank, num_ranks=num_ranks, consumed=consumed, **{**RUN, **changes}))


def assert_same(tars: list[Batch], betons: list[Batch]) -> None:
    assert len(tars) == len(betons) > 0
    for one, other in zip(tars, betons, strict=True):
        assert torch.equal(one.indices, other.indices)
        assert torch.equal(one.query_instances, other.query_instances) and torch.equal(one.key_instances, other.key_instances), "the geometry is drawn alike"
        assert one.query_colours == other.query_colours and one.key_colours == other.key_colours
        assert torch.equal(one.query_images, other.query_images) and torch.equal(one.key_images, other.key_images), "one decoder, whoever keeps the photo"


@pytest.mark.parametrize("mode", ["jpg", "raw", "smart"])
@pytest.mark.parametrize("cache", ["os", "process"])
@pytest.mark.parametrize("photos", ["generated", "coco", "voc"])
def test_a_run_sees_the_same_from_both_formats(photos, mode, cache, view_settings: MakeViewSettings, request):
    folders = request.getfixturevalue(photos)
    tars, betons = open_shards(folders.tars), open_shards(folders.betons[mode], ffcv_cache=cache)
    assert [tars.key(index) for index in range(len(tars))] == [betons.key(index) for index in range(len(betons))]
    assert_same(seen(tars, view_settings), seen(betons, view_settings))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_sees_its_part_of_it(generated, rank, view_settings: MakeViewSettings):
    tars, betons = open_shards(generated.tars), open_shards(generated.betons["raw"])
    assert_same(seen(tars, view_settings, rank=rank, num_ranks=2), seen(betons, view_settings, rank=rank, num_ranks=2))


def test_a_run_that_began_on_tars_goes_on_with_ffcv_files(generated, view_settings: MakeViewSettings):
    whole = seen(open_shards(generated.tars), view_settings)
    rest = seen(open_shards(generated.betons["raw"]), view_settings, consumed=2 * 8, num_steps=2)
    assert_same(whole[4:], rest)


@pytest.mark.parametrize("cache", ["os", "process"])
def test_worker_processes_see_the_same(generated, cache, view_settings: MakeViewSettings):
    alone = seen(open_shards(generated.tars), view_settings)
    assert_same(alone, seen(open_shards(generated.betons["raw"], ffcv_cache=cache), view_settings, num_workers=1))
