"""A run ready for use: its encoder, catalogue and names. `mcdist.load` gives it to programs, `mcdist segment` and `mcdist search` use it too."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import normalize

from mcdist import build
from mcdist.catalogue.catalogue import Catalogue
from mcdist.catalogue.classes import Classes
from mcdist.catalogue.facts import CatalogueFacts
from mcdist.catalogue.names_of_run import classes_of
from mcdist.choices import Device
from mcdist.config import Config
from mcdist.config.file import load_run_config
from mcdist.data.loader import read_sample
from mcdist.data.readers.reader import SampleReader
from mcdist.data.shards.manifest import DAMAGE
from mcdist.data.shards.raw_sample import INFO_MEMBER
from mcdist.disk.checkpoint import Checkpoint, find_checkpoint
from mcdist.errors import CheckpointError, ConfigError, DataError
from mcdist.evaluate.settings import ExtractSettings
from mcdist.json_text import parse_json
from mcdist.model.inference import quicken
from mcdist.run_dir import RunDir, name_of
from mcdist.segments.photo_files import NoPhoto, PhotoImage, Sizes, image_of, read_pixels
from mcdist.segments.segment_photos import find_in_batch
from mcdist.segments.segmented import Segment, SegmentedPhoto
from mcdist.segments.segmenter import Segmenter, at_own_size
from mcdist.trained import encoder_of

Photo = Path | str | Image.Image | UInt8[numpy.ndarray, "..."] | UInt8[Tensor, "..."]
"""A JPEG or PNG file, a PIL image, or pixels: an array [H, W, 3] or [H, W] (grey), or a tensor [3, H, W]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An object of the catalogue: its id, its photo's key and index in the data set, its box (top, left, bottom, right as shares), similarity and class."""

    object: int
    photo: str
    photo_index: int
    box: tuple[float, float, float, float]
    similarity: float
    cluster: int
    class_name: str


@dataclass(frozen=True, slots=True)
class SearchResult:
    """`segment`: what the point is in, None where that is background and the pixel's own embedding was searched with. `hits`: nearest first."""

    segment: Segment | None
    hits: tuple[Hit, ...]


class LoadedRun:
    """A run with its catalogue. Names are read anew for each photo, so that what a person names meanwhile counts."""

    def __init__(self, run_dir: RunDir, *, config: Config, catalogue: Catalogue, segmenter: Segmenter) -> None:
        """See `load_run`."""
        self.run_dir, self.config, self.catalogue, self.segmenter = run_dir, config, catalogue, segmenter
        self._reader: list[SampleReader] = []

    @property
    def classes(self) -> Classes:
        """The classes that the run's names make of its clusters now."""
        return classes_of(self.run_dir, catalogue=self.catalogue)

    def segment(self, photo: Photo, *, window_px: int = 0) -> SegmentedPhoto:
        """The segments of a photo, at its own size. With `window_px` a larger photo is seen through overlapping windows of so many of its pixels.

        Raises:
            DataError: the photo cannot be read.
        """
        ready = self._ready(photo, window_px=window_px)
        found = find_in_batch(self.segmenter, photos=[ready], wanted=[True])[0]
        assert found is not None, "a photo that was read has a list of objects"
        return at_own_size(found, classes=self.classes, height=ready.height, width=ready.width)

    def embed(self, photo: Photo) -> Float[Tensor, "D h w"]:
        """The unit embedding of each cell of a photo, which is resized to evaluate.size_px squared: h = w = size_px / stride.

        Raises:
            DataError: the photo cannot be read.
        """
        return normalize(self.segmenter.look(self._ready(photo).image[None]).features[0], dim=0)

    def search(self, photo: Photo, xy: tuple[int, int], *, num: int = 12) -> SearchResult:
        """The objects of the catalogue nearest to what is in column x of row y: to the segment there, or to the pixel's embedding where there is none.

        Raises:
            ConfigError: the point is not two numbers, or not in the photo.
            DataError: the photo cannot be read.
            MissingExtraError: no FAISS is installed.
        """
        x, y = point_of(xy)
        if type(num) is not int or num < 1:
            raise ConfigError(f"num must be a whole number of at least 1, got {num!r}")
        ready = self._ready(photo)
        if not (0 <= x < ready.width and 0 <= y < ready.height):
            raise ConfigError(
                f"the point must be in the photo, of {ready.width} x {ready.height} px (x 0..{ready.width - 1}, y 0..{ready.height - 1}); got {x},{y}"
            )
        looked = self.segmenter.look(ready.image[None])
        size_px, classes = self.segmenter.settings.size_px, self.classes
        found = self.segmenter.find(looked, height=size_px, width=size_px)[0]
        segment = at_own_size(found, classes=classes, height=ready.height, width=ready.width).at(x, y)
        vector = _at(looked.features[0], x=(x + 0.5) / ready.width, y=(y + 0.5) / ready.height) if segment is None else segment.vector
        return SearchResult(segment, self._hits(vector, classes=classes, num=num))

    def photo(self, index: int) -> UInt8[numpy.ndarray, "H W 3"]:
        """A photo of the catalogue, by its index in the data set.

        Raises:
            ConfigError, ShardError: the shards that the catalogue was made of are gone or damaged.
        """
        return read_sample(self._shards(), index).photo.permute(1, 2, 0).numpy()

    def photo_path(self, index: int) -> str:
        """The path of a photo of the catalogue below the folder that its shards were built of; empty where the shards do not say, or are gone."""
        try:
            path = parse_json(self._shards().members(index)[INFO_MEMBER])["photo"]
        except (ConfigError, DataError, *DAMAGE):
            return ""
        return path if isinstance(path, str) else ""

    def _shards(self) -> SampleReader:
        if not self._reader:
            location = self.run_dir.moved(self.catalogue.facts.dataset, was=Path(self.config.run.dir))
            self._reader.append(build.open_reader(location, key="data.train", data=self.config.data))
        return self._reader[0]

    def _hits(self, vector: Float[numpy.ndarray, " D"], *, classes: Classes, num: int) -> tuple[Hit, ...]:
        objects = self.catalogue.objects
        rows, similarity = self.catalogue.search(vector, num=num)
        labelled = classes.assign(objects.vector[rows])
        return tuple(
            Hit(
                object=int(row),
                photo=self.catalogue.photos[objects.photo[row]],
                photo_index=int(objects.photo[row]),
                box=tuple(objects.box[row].tolist()),
                similarity=float(similarity[place]),
                cluster=int(labelled.cluster[place]),
                class_name=classes.names[int(labelled.class_id[place])],
            )
            for place, row in enumerate(rows)
        )

    def _ready(self, photo: Photo, *, window_px: int = 0) -> PhotoImage:
        settings, stride = self.segmenter.settings, self.segmenter.encoder.backbone.stride
        sizes = Sizes(size_px=settings.size_px, stride=stride, window_px=window_px, with_shown=False)
        return image_of(pixels_at(Path(photo)) if isinstance(photo, str | Path) else pixels_of(photo), sizes=sizes)


def load_run(run: Path | str, *, checkpoint: str = "", device: Device = "auto") -> LoadedRun:
    """The run folder `run`, of the checkpoint that its catalogue was made of; see `mcdist.load`.

    Raises:
        ConfigError: no such run, or `checkpoint` is another than the catalogue's.
        DataError: the run has no catalogue, or it is damaged.
        CheckpointError: the catalogue's checkpoint is gone or damaged.
    """
    run_dir = RunDir(Path(run))
    config = load_run_config(run_dir)
    chosen = torch.device("cuda" if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else "cpu")
    return ready_run(config, run_dir, checkpoint=checkpoint, device=chosen)


def ready_run(
    config: Config, run_dir: RunDir, *, checkpoint: str = "", device: torch.device, before: Callable[[Catalogue], None] = lambda catalogue: None
) -> LoadedRun:
    """`load_run` of a configuration that was read, on a device that was chosen. `before` is called with the catalogue, before the encoder is read."""
    catalogue = Catalogue.open(run_dir)
    before(catalogue)
    found = _checkpoint_of(catalogue.facts, run_dir=run_dir, which=checkpoint)
    settings = ExtractSettings(**catalogue.facts.settings)
    encoder = encoder_of(config, found.tensors, device=device)
    build.check_size("evaluate.size_px", settings.size_px, encoder=encoder, backbone=config.model.backbone)
    segmenter = Segmenter(
        quicken(encoder, size_px=settings.size_px),
        settings=settings,
        num_groups=tuple(build.head_groups(config)),
        device=device,
    )
    return LoadedRun(run_dir, config=config, catalogue=catalogue, segmenter=segmenter)


def pixels_at(path: Path) -> UInt8[numpy.ndarray, "H W 3"]:
    """The pixels of a photo file, upright, RGB; DataError where it cannot be read."""
    read = read_pixels(path)
    if isinstance(read, NoPhoto):
        raise DataError(f"the photo {path} {read.reason}")
    return read


def pixels_of(photo: object) -> UInt8[numpy.ndarray, "H W 3"]:
    """The pixels of a photo in memory, upright, RGB.

    Raises:
        DataError: it has another type or shape.
    """
    if isinstance(photo, Image.Image):
        return numpy.array(ImageOps.exif_transpose(photo).convert("RGB"))
    if not isinstance(photo, numpy.ndarray | Tensor):
        raise DataError(f"a photo must be a path, a PIL image, an array [H, W, 3] or [H, W], or a tensor [3, H, W]; got {type(photo).__name__}")
    photo = photo.detach().cpu() if isinstance(photo, Tensor) else photo
    array = photo.permute(1, 2, 0).numpy() if isinstance(photo, Tensor) and photo.ndim == 3 else numpy.asarray(photo)
    if array.ndim == 2:
        array = numpy.repeat(array[..., None], 3, axis=2)
    if array.dtype != numpy.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise DataError(f"a photo must be uint8, an array [H, W, 3] or [H, W] or a tensor [3, H, W]; got {array.dtype} {tuple(photo.shape)}")
    return numpy.array(array)


def point_of(xy: object) -> tuple[int, int]:
    """The pixel (x, y), whole numbers of any kind."""
    try:
        x, y = (operator.index(value) for value in xy)  # type: ignore[attr-defined]  # what is no sequence is refused below
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the point must be two whole numbers (x, y), in px from the top left, such as (120, 80); got {xy!r}") from error
    return x, y


def _checkpoint_of(facts: CatalogueFacts, *, run_dir: RunDir, which: str) -> Checkpoint:
    """The checkpoint that the catalogue was made of, whatever the run has learnt since."""
    remedy = f"make the catalogue again: mcdist cluster {run_dir.root} --overwrite"
    for name in (which,) if which else (name_of(facts.step), "best", "newest"):
        try:
            found = find_checkpoint(run_dir.root, which=name)
        except CheckpointError:
            if which:
                raise
            continue
        if found.numbers["sha256"] == facts.checkpoint:
            return found
        if which:
            raise ConfigError(
                f"{run_dir.catalogue} is of another checkpoint (step {facts.step}) than {which} (step {found.numbers['step']}); "
                f"leave out --checkpoint, or make a catalogue of this one: mcdist cluster {run_dir.root} --checkpoint {which} --overwrite"
            )
    raise CheckpointError(f"{run_dir.catalogue} is of the checkpoint after step {facts.step}, which {run_dir.root} does not hold any more; {remedy}")


def _at(features: Float[Tensor, "D h w"], *, x: float, y: float) -> Float[numpy.ndarray, " D"]:
    """The unit embedding at a point, given as shares of the photo: features upsampled bilinearly (align_corners=False)."""
    point = torch.tensor([[[[2 * x - 1, 2 * y - 1]]]], device=features.device, dtype=features.dtype)
    sampled = torch.nn.functional.grid_sample(features[None], point, mode="bilinear", padding_mode="border", align_corners=False)
    return normalize(sampled[0, :, 0, 0], dim=0).cpu().numpy()
