"""Order: which sample when, over all ranks, as a pure function of a few whole numbers. Nobody else knows it.

The position in a run is one number: samples consumed over all ranks. So a run stops after any step and goes on with any number of
ranks, and every sample is still seen exactly once an epoch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy
from jaxtyping import Int64, UInt64

from mcdist.errors import ConfigError

WINDOW_BLOCKS = 4
"""Blocks a lane mixes at a time: larger mixes better, smaller reads more nearly one after another."""

_STREAM_BLOCKS, _STREAM_WINDOWS = 1, 2


@dataclass(frozen=True, slots=True)
class Request:
    """One sample to make: the epoch enters the random parameters of its views, the index finds it in the shard folder."""

    epoch: int
    index: int


@lru_cache(maxsize=2)
def order(*, seed: int, epoch: int, num_samples: int, block: int, num_lanes: int) -> Int64[numpy.ndarray, " N"]:
    """A permutation of `0..num_samples-1`: position p of this epoch shows sample `order(...)[p]`. Read-only.

    Consecutive blocks of `block` samples are shuffled and laid end to end; the result is cut into `num_lanes` contiguous runs; each
    lane shuffles its run inside windows of 4 blocks; position `p = j * num_lanes + l` takes lane l's j-th sample. So a lane reads a
    few blocks at a time, and caches fetch only what their lanes need.

    Stable for ever: shuffling is a stable argsort of the raw 64-bit words of numpy's Philox, seeded with
    `SeedSequence([stream, seed, epoch])`; both streams are fixed by numpy, its shuffling methods are not.

    Cost: O(N log N) time, 8 N bytes; the last two epochs are kept.
    """
    blocks = numpy.argsort(_words(_STREAM_BLOCKS, seed, epoch, count=-(-num_samples // block)), kind="stable")
    laid_out = (blocks[:, None] * block + numpy.arange(block)).ravel()
    laid_out = laid_out[laid_out < num_samples]
    lane_sizes = (num_samples - 1 - numpy.arange(num_lanes)) // num_lanes + 1
    lane_starts = numpy.cumsum(lane_sizes) - lane_sizes
    lanes = numpy.repeat(numpy.arange(num_lanes), lane_sizes)
    windows = (numpy.arange(num_samples) - lane_starts[lanes]) // (block * WINDOW_BLOCKS)
    mixed = laid_out[numpy.lexsort((_words(_STREAM_WINDOWS, seed, epoch, count=num_samples), windows, lanes))]
    shown = numpy.empty(num_samples, dtype=numpy.int64)
    for lane, (start, size) in enumerate(zip(lane_starts, lane_sizes, strict=True)):
        shown[lane::num_lanes] = mixed[start : start + size]
    shown.flags.writeable = False
    return shown


def _words(stream: int, seed: int, epoch: int, *, count: int) -> UInt64[numpy.ndarray, " N"]:
    return numpy.random.Philox(numpy.random.SeedSequence([stream, seed, epoch])).random_raw(count)


def check_division(*, global_batch: int, accumulation_steps: int, num_lanes: int, num_ranks: int) -> None:
    """Every rank gets the same number of lanes and equal micro-batches.

    Raises:
        ConfigError: it does not come out even; the message lists the numbers of ranks that do.
    """
    if num_lanes < 1 or accumulation_steps < 1 or global_batch < 1 or global_batch % num_lanes:
        raise ConfigError(f"data.num_lanes wants a divisor of optim.global_batch {global_batch}, got {num_lanes}; change one of the two")
    fitting = [ranks for ranks in range(1, num_lanes + 1) if num_lanes % ranks == 0 and global_batch // ranks % accumulation_steps == 0]
    if num_ranks not in fitting:
        raise ConfigError(
            f"{num_ranks} ranks cannot share {num_lanes} lanes (data.num_lanes) and {global_batch} photos (optim.global_batch) in {accumulation_steps} equal "
            f"micro-batches (optim.accumulation_steps); numbers of ranks that can: {', '.join(map(str, fitting)) or 'none'}"
        )


def micro_batches(
    *,
    seed: int,
    num_samples: int,
    block: int,
    num_lanes: int,
    global_batch: int,
    accumulation_steps: int,
    rank: int,
    num_ranks: int,
    consumed: int,
    num_steps: int,
) -> Iterator[list[Request]]:
    """This rank's micro-batches from run position `consumed` on: `num_steps * accumulation_steps` lists of equal length.

    Step s covers run positions `consumed + s * global_batch` and the `global_batch - 1` after it; run position q is position
    `q % num_samples` of epoch `q // num_samples`. So a batch may straddle epochs: each sample comes exactly once an epoch and no
    batch is short. Position i of the global batch belongs to lane `i % num_lanes`, lane l to rank `l % num_ranks`; this rank's
    positions, ascending, are cut into `accumulation_steps` equal parts.

    Raises:
        ConfigError: as `check_division`.
    """
    check_division(global_batch=global_batch, accumulation_steps=accumulation_steps, num_lanes=num_lanes, num_ranks=num_ranks)
    # num_ranks divides num_lanes, so (i % num_lanes) % num_ranks is i % num_ranks
    own = numpy.arange(rank, global_batch, num_ranks, dtype=numpy.int64)
    for step in range(num_steps):
        epochs, positions = numpy.divmod(consumed + step * global_batch + own, num_samples)
        indices = numpy.empty_like(positions)
        for epoch in numpy.unique(epochs).tolist():
            shown = order(seed=seed, epoch=epoch, num_samples=num_samples, block=block, num_lanes=num_lanes)
            indices[epochs == epoch] = shown[positions[epochs == epoch]]
        requests = [Request(epoch, index) for epoch, index in zip(epochs.tolist(), indices.tolist(), strict=True)]
        size = len(requests) // accumulation_steps
        yield from (requests[start : start + size] for start in range(0, len(requests), size))
