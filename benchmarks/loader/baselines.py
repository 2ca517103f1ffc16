"""Other loaders of two views, each a function that opens an endless run of batches, written as its own documents advise.

A function imports its library itself: each is measured in a process that holds nothing of the others.
"""

import random
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from torch import Tensor

from benchmarks.loader.source import Seen, Source

SCALE = (0.2, 1.0)
JITTER = (0.4, 0.4, 0.4, 0.1)
JITTER_PROBABILITY, GREY_PROBABILITY = 0.8, 0.2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def decode_alone(source: Source, batch: int, size_px: int, num_workers: int) -> Iterator[Seen]:
    """The ceiling: libjpeg-turbo, and nothing else."""
    import simplejpeg

    photos = [path.read_bytes() for path in sorted(source.photos.iterdir())]
    for start in count(step=batch):
        for place in range(start, start + batch):
            simplejpeg.decode_jpeg(photos[place % len(photos)])
        yield Seen(batch)


def paper_style(source: Source, batch: int, size_px: int, num_workers: int) -> Iterator[Seen]:
    """Files, Pillow, torchvision's first transforms: how such loaders are mostly written."""
    import numpy
    import torch
    from PIL import Image
    from torchvision import transforms
    from torchvision.transforms import InterpolationMode, functional

    jitter = transforms.RandomApply([transforms.ColorJitter(*JITTER)], JITTER_PROBABILITY)
    colour = transforms.Compose([jitter, transforms.RandomGrayscale(GREY_PROBABILITY), transforms.ToTensor(), transforms.Normalize(MEAN, STD)])

    def view(photo: Image.Image, mask: Image.Image) -> tuple[Tensor, Tensor]:
        crop = transforms.RandomResizedCrop.get_params(photo, scale=list(SCALE), ratio=[3 / 4, 4 / 3])
        photo = functional.resized_crop(photo, *crop, [size_px, size_px], InterpolationMode.BILINEAR)
        mask = functional.resized_crop(mask, *crop, [size_px, size_px], InterpolationMode.NEAREST)
        if random.random() < 0.5:
            photo, mask = functional.hflip(photo), functional.hflip(mask)
        return colour(photo), torch.from_numpy(numpy.array(mask)).long()

    class Files(torch.utils.data.Dataset):
        paths = sorted(source.photos.iterdir())

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, index: int) -> tuple[Tensor, ...]:
            photo = Image.open(self.paths[index]).convert("RGB")
            mask = Image.open(source.masks / f"{self.paths[index].stem}.png")
            return (*view(photo, mask), *view(photo, mask))

    loader = torch.utils.data.DataLoader(
        Files(),
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        multiprocessing_context=_fork(num_workers),
    )
    yield from _endless(loader)


def _v2_two_views(size_px: int) -> Callable[[bytes, bytes], tuple[Tensor, ...]]:
    """Of a JPEG and a PNG: torchvision's decoders and second transforms, on tensors."""
    import torch
    from torchvision import tv_tensors
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomResizedCrop(size_px, scale=SCALE, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(*JITTER)], JITTER_PROBABILITY),
            v2.RandomGrayscale(GREY_PROBABILITY),
            v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )

    def pixels(content: bytes, mode: ImageReadMode) -> Tensor:
        return decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode=mode)

    def two_views(photo: bytes, mask: bytes) -> tuple[Tensor, ...]:
        both = tv_tensors.Image(pixels(photo, ImageReadMode.RGB)), tv_tensors.Mask(pixels(mask, ImageReadMode.GRAY)[0])
        return tuple(part.as_subclass(Tensor) for view in (transform(*both), transform(*both)) for part in view)

    return two_views


def webdataset_v2(source: Source, batch: int, size_px: int, num_workers: int) -> Iterator[Seen]:
    """WebDataset's own reader."""
    import torch
    import webdataset

    two_views = _v2_two_views(size_px)
    shards = [str(path) for path in sorted(source.webdataset.glob("*.tar"))]
    dataset = webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).shuffle(64)
    dataset = dataset.map(lambda sample: two_views(sample["jpg"], sample["mask.png"])).batched(batch, partial=False)
    yield from _endless(torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=num_workers, multiprocessing_context=_fork(num_workers)))


def streaming_v2(source: Source, batch: int, size_px: int, num_workers: int) -> Iterator[Seen]:
    """MosaicML's StreamingDataset, from a local folder."""
    import torch
    from streaming import StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()
    two_views = _v2_two_views(size_px)

    class Views(StreamingDataset):
        def __getitem__(self, index: int) -> tuple[Tensor, ...]:
            sample = super().__getitem__(index)
            return two_views(sample["photo"], sample["mask"])

    dataset = Views(local=str(source.streaming), shuffle=True, batch_size=batch)
    context = _fork(num_workers)
    yield from _endless(torch.utils.data.DataLoader(dataset, batch_size=batch, num_workers=num_workers, drop_last=True, multiprocessing_context=context))


def dali_cpu(source: Source, batch: int, size_px: int, num_workers: int) -> Iterator[Seen]:
    """DALI on the CPU, from files; threads instead of processes. Its jitter has one order for all."""
    import torch
    from nvidia.dali import fn, pipeline_def, types

    paths = sorted(source.photos.iterdir())
    masks = [str(source.masks / f"{path.stem}.png") for path in paths]
    reading = {"random_shuffle": True, "seed": 0, "initial_fill": len(paths)}

    @pipeline_def(batch_size=batch, num_threads=max(1, num_workers), device_id=None)
    def two_views() -> Any:
        photo_bytes, _ = fn.readers.file(files=[str(path) for path in paths], name="photos", **reading)
        mask_bytes, _ = fn.readers.file(files=masks, name="masks", **reading)
        photo, mask = fn.decoders.image(photo_bytes), fn.decoders.image(mask_bytes, output_type=types.GRAY)
        return (*view(photo, mask), *view(photo, mask))

    def view(photo: Any, mask: Any) -> tuple[Any, Any]:
        anchor, shape = fn.random_crop_generator(photo.shape(), random_area=SCALE, random_aspect_ratio=(3 / 4, 4 / 3))
        crop = {"start": anchor, "shape": shape, "axes": (0, 1)}
        image = fn.resize(fn.slice(photo, **crop), size=(size_px, size_px), interp_type=types.INTERP_LINEAR, antialias=True)
        mapped = fn.resize(fn.slice(mask, **crop), size=(size_px, size_px), interp_type=types.INTERP_NN)
        mirror, jittered = fn.random.coin_flip(), fn.random.coin_flip(probability=JITTER_PROBABILITY)
        factors = [1 + jittered * fn.random.uniform(range=(-strength, strength)) for strength in JITTER[:3]]
        hue = jittered * fn.random.uniform(range=(-360 * JITTER[3], 360 * JITTER[3]))
        grey = fn.random.coin_flip(probability=GREY_PROBABILITY)
        image = fn.color_twist(image, brightness=factors[0], contrast=factors[1], saturation=factors[2] * (1 - grey), hue=hue)
        mean, std = ([255 * value for value in values] for values in (MEAN, STD))
        return fn.crop_mirror_normalize(image, mirror=mirror, mean=mean, std=std, output_layout="CHW"), fn.flip(mapped, horizontal=mirror)

    pipeline = two_views()
    pipeline.build()
    while True:
        query, query_map, key, key_map = (torch.from_numpy(output.as_array()) for output in pipeline.run())
        yield Seen(batch, (query, key), (query_map[..., 0], key_map[..., 0]))


def ffcv_two_crops(source: Source, batch: int, size_px: int, num_workers: int) -> Iterator[Seen]:
    """FFCV's own loader and crops, photos only: a crop that photo and map share is documented nowhere. Threads instead of processes."""
    from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomHorizontalFlip, ToTensor, ToTorchImage

    pipelines = {
        name: [RandomResizedCropRGBImageDecoder((size_px, size_px), scale=SCALE), RandomHorizontalFlip(), ToTensor(), ToTorchImage()]
        for name in ("first", "second")
    }
    loader = Loader(str(source.two_crops), batch_size=batch, num_workers=max(1, num_workers), order=OrderOption.RANDOM, os_cache=True, pipelines=pipelines)
    while True:
        for first, second in loader:
            yield Seen(len(first), (first, second))


def _endless(loader: Any) -> Iterator[Seen]:
    while True:
        for query, query_map, key, key_map in loader:
            yield Seen(len(query), (query, key), (query_map, key_map))


def _fork(num_workers: int) -> str | None:
    """Their datasets are local classes, which only a forked worker finds."""
    return "fork" if num_workers else None
