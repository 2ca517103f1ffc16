"""The providers of pipeline.py by name: this loader on each of its formats, and the others."""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.loader.baselines import dali_cpu, decode_alone, ffcv_two_crops, paper_style, streaming_v2, webdataset_v2
from benchmarks.loader.source import Seen, Source

ENDLESS_STEPS = 10**6


@dataclass(frozen=True, slots=True)
class Provider:
    """`needs`: modules without which it is left out. `open(source, batch, size_px, num_workers)` starts it."""

    open: Callable[[Source, int, int, int], Iterator[Seen]]
    needs: tuple[str, ...] = ()
    workers: bool = True

    def missing(self) -> str | None:
        """The first module that is not installed."""
        return next((module for module in self.needs if not is_installed(module)), None)


def is_installed(module: str) -> bool:
    """Whether it could be imported; it is not."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def mcdist_views(source: Source, batch: int, size_px: int, num_workers: int) -> Iterator[Seen]:
    """This loader on WebDataset shards: 8-bit views and maps; their colour is the device's work."""
    from mcdist.data.readers.webdataset import WebDatasetReader

    return _mcdist(WebDatasetReader(source.webdataset), batch, size_px, num_workers, finished=False)


def mcdist_finished(source: Source, batch: int, size_px: int, num_workers: int) -> Iterator[Seen]:
    """The same, and colour and normalisation too, on the CPU, in the main process."""
    from mcdist.data.readers.webdataset import WebDatasetReader

    return _mcdist(WebDatasetReader(source.webdataset), batch, size_px, num_workers, finished=True)


def mcdist_ffcv_jpg(source: Source, batch: int, size_px: int, num_workers: int) -> Iterator[Seen]:
    """This loader on FFCV shards that keep JPEGs."""
    from mcdist.data.readers.open import open_shards

    return _mcdist(open_shards(source.ffcv("jpg")), batch, size_px, num_workers, finished=False)


def mcdist_ffcv_raw(source: Source, batch: int, size_px: int, num_workers: int) -> Iterator[Seen]:
    """This loader on FFCV shards that keep pixels."""
    from mcdist.data.readers.open import open_shards

    return _mcdist(open_shards(source.ffcv("raw")), batch, size_px, num_workers, finished=False)


def _mcdist(reader: Any, batch: int, size_px: int, num_workers: int, *, finished: bool) -> Iterator[Seen]:
    from mcdist.config import DataConfig, ViewsConfig
    from mcdist.data.finish import finish
    from mcdist.data.loader import make_loader
    from mcdist.data.views.draw import ViewSettings
    from mcdist.types import IMAGENET_MEAN, IMAGENET_STD

    views = ViewsConfig(size_px=size_px)
    loader = make_loader(
        reader,
        views=ViewSettings(**{name: getattr(views, name) for name in ViewSettings.__dataclass_fields__}),
        seed=0,
        global_batch=batch,
        accumulation_steps=1,
        rank=0,
        num_ranks=1,
        block=DataConfig().block,
        num_lanes=1,
        consumed=0,
        num_steps=ENDLESS_STEPS,
        num_workers=num_workers,
        prefetch=DataConfig().prefetch,
        pin_memory=False,
    )
    for made in loader:
        ready = finish(made, mean=IMAGENET_MEAN, std=IMAGENET_STD) if finished else made
        yield Seen(batch, (ready.query_images, ready.key_images), (ready.query_instances, ready.key_instances))


CEILING, PAPER = "libjpeg-turbo decode", "PIL + torchvision"
PROVIDERS = {
    CEILING: Provider(decode_alone, workers=False),
    PAPER: Provider(paper_style),
    "webdataset + v2": Provider(webdataset_v2, needs=("webdataset",)),
    "streaming + v2": Provider(streaming_v2, needs=("streaming",)),
    "DALI on the CPU": Provider(dali_cpu, needs=("nvidia.dali",)),
    "FFCV two crops, no map": Provider(ffcv_two_crops, needs=("ffcv",)),
    "mcdist": Provider(mcdist_views),
    "mcdist + colour": Provider(mcdist_finished),
    "mcdist FFCV jpg": Provider(mcdist_ffcv_jpg),
    "mcdist FFCV raw": Provider(mcdist_ffcv_raw),
}
