"""The demo's shards: generated photos for training and for evaluation."""

from mcdist.building.sources.demo.source import demo_source
from mcdist.cli.shards.build_shards import build_folder_and_print
from mcdist.cli.shards.options import BuildOptions

SHARD_SIZE = 100
SIZE_PX = 128


def build_demo(options: BuildOptions, *, num_train: int, num_val: int, size_px: int = SIZE_PX, seed: int = 0) -> None:
    """Build `options.out`/train and `options.out`/val, and print what became of them."""
    train = demo_source("train", num_photos=num_train, size_px=size_px, seed=seed)
    val = demo_source("val", num_photos=num_val, size_px=size_px, seed=seed)
    for source in (train, val):
        build_folder_and_print(source, out=options.out / source.part, options=options)
