"""Targets: readers of files from elsewhere, each with sound inputs to begin from. A target may raise McdistError and nothing else."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from PIL import Image
from safetensors.torch import save

from mcdist.building.pictures.mask import read_values
from mcdist.building.pictures.photo import read_photo
from mcdist.building.sources.coco.file import read_coco
from mcdist.building.sources.coco.rle import decode_segmentation
from mcdist.building.sources.tar import members_of
from mcdist.catalogue.names import Names
from mcdist.catalogue.names_file import NamesFile, names_text
from mcdist.config.config import Config
from mcdist.config.file import dump_config, load_config
from mcdist.data.pictures.coco_runs import mask_of_runs, runs_of, runs_of_mask, text_of_runs
from mcdist.data.pictures.png import encode_grey_png
from mcdist.data.shards.beton import read_beton
from mcdist.data.shards.index import index_name, parse_index
from mcdist.data.shards.manifest import parse_manifest
from mcdist.data.shards.sample import decode_grey, decode_photo
from mcdist.dataset.segments import read_photo_segments
from mcdist.disk.checkpoint import META_NAME, STATE_NAME, load_checkpoint, save_checkpoint
from mcdist.errors import DataError
from mcdist.model.backbones.weights import load_weights
from mcdist.records import Evaluation
from mcdist.report.jsonl import read_metrics
from mcdist.store.plan import StorePlan
from mcdist.store.store import FeatureStore
from mcdist.store.writer import StoreWriter, begin_store
from tests.makers.made_segments import made_segments
from tests.makers.tiny_betons import tiny_betons
from tests.makers.tiny_shards import draw_members, tiny_shards
from tests.records_world import make_evaluation

Read = Callable[[bytes], None]


@dataclass(frozen=True)
class Target:
    """`make(folder)`: sound inputs, and what reads one; `folder` is the target's own, and on a disk of memory where there is one."""

    name: str
    make: Callable[[Path], tuple[list[bytes], Read]]


def _manifest(folder: Path) -> tuple[list[bytes], Read]:
    tiny_shards(folder / "shards", 7)
    return [(folder / "shards/manifest.json").read_bytes()], lambda content: _ignore(parse_manifest(content, where="manifest.json"))


def _index(folder: Path) -> tuple[list[bytes], Read]:
    tiny_shards(folder / "shards", 5)
    shard = parse_manifest((folder / "shards/manifest.json").read_bytes(), where="manifest.json").shards[0]
    index = folder / "shards" / index_name(shard.name)
    return [index.read_bytes()], lambda content: _ignore(parse_index(content, shard=shard, where="index"))


def _grey_map(folder: Path) -> tuple[list[bytes], Read]:
    values = numpy.zeros((17, 23), dtype=numpy.uint8)
    values[3:9, 4:12] = 1
    palette = Image.fromarray(values, mode="P")
    palette.putpalette([0, 0, 0, 128, 0, 0])
    return [encode_grey_png(values), _saved(palette, "PNG"), draw_members(0)["mask.png"]], lambda content: _ignore(decode_grey(content, where="map"))


def _mask_file(folder: Path) -> tuple[list[bytes], Read]:
    values = numpy.zeros((17, 23), dtype=numpy.uint8)
    values[3:9, 4:12] = 255
    pictures = [Image.fromarray(values), Image.fromarray(values).convert("1"), Image.fromarray(values.astype(numpy.uint16))]
    return [_saved(picture, "PNG") for picture in pictures], _of_file(folder / "mask.png", read_values)


def _photo(folder: Path) -> tuple[list[bytes], Read]:
    return _photos(), lambda content: _ignore(decode_photo(content, where="photo"))


def _photo_file(folder: Path) -> tuple[list[bytes], Read]:
    return _photos(), _of_file(folder / "photo.jpg", read_photo)


def _photos() -> list[bytes]:
    pixels = numpy.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=numpy.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    plain, turned, progressive = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).save(plain, "JPEG")
    Image.fromarray(pixels).save(turned, "JPEG", exif=exif)
    Image.fromarray(pixels).save(progressive, "JPEG", progressive=True)
    grey = Image.fromarray(pixels[..., 0])
    return [
        plain.getvalue(),
        turned.getvalue(),
        progressive.getvalue(),
        _saved(grey, "JPEG"),
        _saved(Image.fromarray(pixels).convert("CMYK"), "JPEG"),
        _saved(grey, "PNG"),
    ]


def _beton(folder: Path) -> tuple[list[bytes], Read]:
    tiny_betons(folder / "shards", 4)
    path = folder / "read.beton"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            read_beton(descriptor, where="beton")
        finally:
            os.close(descriptor)

    return [next((folder / "shards").glob("*.beton")).read_bytes()], read


def _tar(folder: Path) -> tuple[list[bytes], Read]:
    made = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=form) as tar:
            for name, content in (("a/" * 60 + "photo.jpg", b"x" * 700), ("b.png", b"y"), ("ünï.jpg", b"z" * 512)):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        made.append(file.getvalue())
    return made, _of_file(folder / "photos.tar", lambda path: list(members_of(path)))


def _coco_json(folder: Path) -> tuple[list[bytes], Read]:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 20, "height": 10}, {"id": 2, "file_name": "b/c.jpg", "width": 20, "height": 10}],
        "categories": [{"id": 3, "name": "cat", "supercategory": "animal"}],
        "annotations": [{"id": 9, "image_id": 1, "category_id": 3, "iscrowd": 0, "bbox": [1, 1, 4, 4], "area": 16, "segmentation": [[1, 1, 5, 1, 5, 5]]}],
    }
    return [json.dumps(content).encode(), json.dumps(content, indent=1).encode()], _of_file(folder / "instances.json", read_coco)


def _segmentation(folder: Path) -> tuple[list[bytes], Read]:
    sound = [[[1, 1, 15, 1, 15, 8, 2, 8]], {"size": [10, 20], "counts": [5, 10, 185]}, {"size": [10, 20], "counts": text_of_runs(runs_of_mask(_blob(20, 10)))}]

    def read(content: bytes) -> None:
        try:
            segmentation = json.loads(content)
        except (ValueError, RecursionError):
            return
        decode_segmentation(segmentation, width=20, height=10, where="annotation")

    return [json.dumps(one).encode() for one in sound], read


def _runs(folder: Path) -> tuple[list[bytes], Read]:
    def read(content: bytes) -> None:
        mask_of_runs(runs_of(content.decode("latin-1"), where="runs"), width=20, height=10, where="runs")

    return [text_of_runs(runs_of_mask(_blob(20, 10))).encode()], read


def _configuration(folder: Path) -> tuple[list[bytes], Read]:
    small = b"data: {train: a, num_workers: 0}\nviews: {size_px: 32}\nmodel: {backbone: resnet18, atrous_rates: [1, 2]}\nrun: {dir: out}\n"
    return [dump_config(Config()).encode(), small], _of_file(folder / "config.yaml", load_config)


def _checkpoint_meta(folder: Path) -> tuple[list[bytes], Read]:
    save_checkpoint(folder / "step_00000001", tensors={"a": torch.ones(3)}, numbers={"step": 1})
    return [(folder / "step_00000001" / META_NAME).read_bytes()], _of_file(folder / "step_00000001" / META_NAME, lambda path: load_checkpoint(path.parent))


def _checkpoint_state(folder: Path) -> tuple[list[bytes], Read]:
    """With a checksum that fits, as a hostile file has it."""
    place = folder / "step_00000001"
    save_checkpoint(place, tensors={"a": torch.ones(3), "b": torch.zeros(2, 2)}, numbers={"step": 1})
    meta = json.loads((place / META_NAME).read_bytes())

    def read(content: bytes) -> None:
        (place / STATE_NAME).write_bytes(content)
        (place / META_NAME).write_text(json.dumps({**meta, "sha256": hashlib.sha256(content).hexdigest(), "num_bytes": len(content)}))
        load_checkpoint(place)

    return [(place / STATE_NAME).read_bytes()], read


def _weights(suffix: str) -> Callable[[Path], tuple[list[bytes], Read]]:
    def make(folder: Path) -> tuple[list[bytes], Read]:
        tensors = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}
        saved = io.BytesIO()
        torch.save({"state_dict": {f"module.{name}": value for name, value in tensors.items()}, "epoch": 3}, saved)
        sound = save(tensors) if suffix == "safetensors" else saved.getvalue()
        return [sound], _of_file(folder / f"weights.{suffix}", lambda path: load_weights(torch.nn.Linear(3, 2), path=path, what="model.weights"))

    return make


def _names(folder: Path) -> tuple[list[bytes], Read]:
    points = numpy.eye(4, dtype=numpy.float32)
    nothing = Names(catalogue="key", num_clusters=4, num_objects=9)
    named = nothing.name(0, "cat").name(1, "dog").merge(2, into=1).split(3, centroids=points[:2]).reject([1, 5]).undo()
    file = NamesFile(folder / "names.json", catalogue="key", num_clusters=4, num_objects=9, num_dims=4)
    return [names_text(named).encode(), names_text(nothing).encode()], _of_file(file.path, lambda path: file.read())


def _segments(folder: Path) -> tuple[list[bytes], Read]:
    made_segments(folder, num_photos=2)
    sound = [path.read_bytes() for path in sorted((folder / "segmented").rglob("photo*.json"))]

    def read(path: Path) -> None:
        photo = read_photo_segments(path)
        for segment in photo.segments:
            photo.mask(segment)

    return sound, _of_file(folder / "photo.json", read)


def _evaluation(folder: Path) -> tuple[list[bytes], Read]:
    def read(content: bytes) -> None:
        Evaluation.from_json(_text(content), where="evaluation.json")

    return [make_evaluation(50.0, 40.0).to_json().encode()], read


def _metrics(folder: Path) -> tuple[list[bytes], Read]:
    sound = b'{"step": 1, "name": "loss", "value": 2.5, "unit": ""}\n{"step": 2, "name": "loss", "value": 2.25, "unit": ""}\n'
    return [sound], _of_file(folder / "metrics.jsonl", read_metrics)


def _made_store(folder: Path) -> Path:
    plan = StorePlan(checkpoint={"step": 3}, data={"digest": "abc"}, settings={"size_px": 8}, num_photos=3, chunk=2, aliases=(("objects", "b", "a"),))
    writer = StoreWriter(folder, plan=begin_store(folder, plan=plan))
    for place, photos in enumerate(plan.chunks):
        vectors = numpy.ones((len(photos), 4), dtype=numpy.float32)
        writer.write(
            place, {"photos": {"height": numpy.array(photos, dtype=numpy.int32)}, "objects": {"photo": numpy.array(photos, dtype=numpy.int64), "a": vectors}}
        )
    writer.finish({"photos": ["height"], "objects": ["photo", "a"]})
    return folder


def _store_manifest(folder: Path) -> tuple[list[bytes], Read]:
    store = _made_store(folder / "store")

    def read(path: Path) -> None:
        opened = FeatureStore(path.parent)
        for table in opened.tables:
            for column in opened.columns(table):
                opened.column(table, column).read()

    return [(store / "manifest.json").read_bytes()], _of_file(store / "manifest.json", read)


def _store_array(folder: Path) -> tuple[list[bytes], Read]:
    store = _made_store(folder / "store")
    array = sorted(store.rglob("*.npy"))[0]

    def read(path: Path) -> None:
        opened = FeatureStore(store)
        for table in opened.tables:
            for column in opened.columns(table):
                opened.column(table, column).read()

    return [array.read_bytes()], _of_file(array, read)


def _blob(width: int, height: int) -> numpy.ndarray:
    mask = numpy.zeros((height, width), dtype=bool)
    mask[2:7, 3:12] = True
    return mask


def _ignore(value: object) -> None:
    """What was read does not matter."""


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DataError("not text") from error


def _of_file(path: Path, read: Callable[[Path], object]) -> Read:
    def of(content: bytes) -> None:
        path.write_bytes(content)
        read(path)

    return of


def _saved(picture: Image.Image, form: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, format=form)
    return file.getvalue()


TARGETS = (
    Target("manifest", _manifest),
    Target("index", _index),
    Target("beton", _beton),
    Target("tar", _tar),
    Target("grey map", _grey_map),
    Target("mask file", _mask_file),
    Target("photo", _photo),
    Target("photo file", _photo_file),
    Target("COCO json", _coco_json),
    Target("COCO segmentation", _segmentation),
    Target("run lengths", _runs),
    Target("configuration", _configuration),
    Target("checkpoint meta", _checkpoint_meta),
    Target("checkpoint state", _checkpoint_state),
    Target("weights, safetensors", _weights("safetensors")),
    Target("weights, pth", _weights("pth")),
    Target("feature store manifest", _store_manifest),
    Target("feature store array", _store_array),
    Target("names", _names),
    Target("segments", _segments),
    Target("evaluation", _evaluation),
    Target("metrics", _metrics),
)
"""In the order of the table in docs/reliability.md."""
