"""Order: which sample when, over all ranks, as a pure function of a few whole numbers. Nobody else knows it.

The position in a run is one number: samples consumed over all ranks. So a run stops after any step and continues on any number of
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


def order(*, seed: int, epoch: int, num_samples: int, block: int, num_lanes: int) -> Int64[numpy.ndarray, " N"]:
    """A permutation of `0..num_samples-1`: position p of this epoch shows sample `order(...)[p]`.

    Consecutive blocks of `block` samples are shuffled and laid end to end; the result is cut into `num_lanes` contiguous runs; each
    lane shuffles its run inside windows of 4 blocks; position `p = j * num_lanes + l` takes lane l's j-th sample. So a lane reads a
    few blocks at a time, and caches fetch only what their lanes need.

    Stable for ever: shuffling is a stable argsort of the raw 64-bit words of numpy's Philox, seeded with
    `SeedSequence([stream, seed, epoch])`; both streams are fixed by numpy, its shuffling methods are not.

    Cost: 8 bytes a sample. Training never lays out a whole epoch: see EpochOrder.
    """
    epoch_order = EpochOrder(seed=seed, epoch=epoch, num_samples=num_samples, block=block, num_lanes=num_lanes)
    shown = numpy.empty(num_samples, dtype=numpy.int64)
    for lane in range(num_lanes):
        own = shown[lane::num_lanes]
        for window, start in enumerate(range(0, len(own), epoch_order.window)):
            own[start : start + epoch_order.window] = epoch_order.mixed(lane, window=window)
    return shown


class EpochOrder:
    """`order(...)` of one epoch, of which only the windows asked for are computed.

    Memory: 8 bytes a block, and one window of 4 blocks for each lane asked for. Philox counts, so that its words for a window are drawn
    without those before them. At a billion samples in blocks of 64 that is 125 MB; in blocks of 1,024 it is 8 MB.
    """

    def __init__(self, *, seed: int, epoch: int, num_samples: int, block: int, num_lanes: int) -> None:
        self.num_samples, self.num_lanes, self.block, self.window = num_samples, num_lanes, block, block * WINDOW_BLOCKS
        self._seed, self._epoch = seed, epoch
        num_blocks = -(-num_samples // block)
        self._blocks = numpy.argsort(_words(_STREAM_BLOCKS, seed, epoch, start=0, count=num_blocks), kind="stable")
        self._num_missing = num_blocks * block - num_samples
        self._gap = int(numpy.flatnonzero(self._blocks == num_blocks - 1)[0]) * block + block - self._num_missing
        self._current: dict[int, tuple[int, Int64[numpy.ndarray, " W"]]] = {}

    def at(self, positions: Int64[numpy.ndarray, " N"]) -> Int64[numpy.ndarray, " N"]:
        """`order(...)[positions]`. Cheap where the positions of each lane are in few windows, as those of a batch do."""
        places, lanes = numpy.divmod(positions, self.num_lanes)
        windows, offsets = numpy.divmod(places, self.window)
        shown = numpy.empty_like(positions)
        for lane, window in sorted(set(zip(lanes.tolist(), windows.tolist(), strict=True))):
            chosen = (lanes == lane) & (windows == window)
            shown[chosen] = self._kept(lane, window=window)[offsets[chosen]]
        return shown

    def mixed(self, lane: int, *, window: int) -> Int64[numpy.ndarray, " W"]:
        """The samples of one window of a lane, in the order in which they are shown."""
        size, longer = divmod(self.num_samples, self.num_lanes)
        lane_start = lane * size + min(lane, longer)
        lane_end = lane_start + size + (lane < longer)
        start = lane_start + window * self.window
        laid_out = numpy.arange(start, min(start + self.window, lane_end))
        laid_out[laid_out >= self._gap] += self._num_missing  # the last block may be short, and it may be anywhere
        samples = self._blocks[laid_out // self.block] * self.block + laid_out % self.block
        return samples[numpy.argsort(_words(_STREAM_WINDOWS, self._seed, self._epoch, start=start, count=len(samples)), kind="stable")]

    def _kept(self, lane: int, *, window: int) -> Int64[numpy.ndarray, " W"]:
        if self._current.get(lane, (-1,))[0] != window:
            self._current[lane] = (window, self.mixed(lane, window=window))
        return self._current[lane][1]


_epoch_order = lru_cache(maxsize=2)(EpochOrder)
"""A batch may straddle two epochs."""


def _words(stream: int, seed: int, epoch: int, *, start: int, count: int) -> UInt64[numpy.ndarray, " N"]:
    """Words `start..start+count-1` of a stream; Philox makes 4 words a count."""
    generator = numpy.random.Philox(numpy.random.SeedSequence([stream, seed, epoch]))
    generator.advance(start // 4)
    return generator.random_raw(start % 4 + count)[start % 4 :]


def check_division(*, global_batch: int, accumulation_steps: int, num_lanes: int, num_ranks: int) -> None:
    """Every rank gets the same number of lanes and equal micro-batches.

    Raises:
        ConfigError: it does not come out even; the message lists the numbers of ranks that do.
    """
    if num_lanes < 1 or accumulation_steps < 1 or global_batch < 1 or global_batch % num_lanes:
        raise ConfigError(f"data.num_lanes must be a divisor of optim.global_batch {global_batch}, got {num_lanes}; change one of the two")
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
            shown = _epoch_order(seed=seed, epoch=epoch, num_samples=num_samples, block=block, num_lanes=num_lanes)
            indices[epochs == epoch] = shown.at(positions[epochs == epoch])
        requests = [Request(epoch, index) for epoch, index in zip(epochs.tolist(), indices.tolist(), strict=True)]
        size = len(requests) // accumulation_steps
        yield from (requests[start : start + size] for start in range(0, len(requests), size))
