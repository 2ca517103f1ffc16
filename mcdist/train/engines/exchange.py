"""Exchange: how DistributedDataParallel averages gradients over the ranks. A hook turns a bucket of gradients into their mean.

allreduce is DDP's own. bf16 sends half the bytes and rounds each gradient to 8 bits. powersgd sends two thin matrices for each weight
(Vogels et al. 2019, arXiv:1905.13727), which is approximate; what it left out of a gradient is added to the next one, and starts from
zero when a run is continued. ordered adds in the order of the ranks, so that the sum has the same bits whatever the buckets, the network
and the library: DDP lays its buckets out anew after the first step of a start, and an all-reduce may add in another order for each layout.
"""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState, powerSGD_hook
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from mcdist.choices import GradientExchange, require_choice
from mcdist.distributed import all_gather_flat

POWERSGD_RANK = 4
POWERSGD_FROM_STEP = 100
"""PowerSGD needs gradients that have calmed down, and buckets in their final layout."""


def register_exchange(ddp: DistributedDataParallel, *, name: GradientExchange) -> None:
    """Let `ddp` average gradients by `name`; auto is ordered where torch's deterministic algorithms are on, else allreduce.

    Raises:
        ConfigError: an unknown name.
    """
    require_choice("optim.gradient_exchange", name, choices=GradientExchange)
    if name == "auto":
        name = "ordered" if torch.are_deterministic_algorithms_enabled() else "allreduce"
    if name == "bf16":
        ddp.register_comm_hook(None, bf16_compress_hook)
    elif name == "powersgd":
        state = PowerSGDState(None, matrix_approximation_rank=POWERSGD_RANK, start_powerSGD_iter=POWERSGD_FROM_STEP)
        ddp.register_comm_hook(state, powersgd)
    elif name == "ordered":
        ddp.register_comm_hook(None, ordered)


def ordered(state: object, bucket: dist.GradBucket) -> Future[torch.Tensor]:
    """Mean over the ranks, added in their order: each rank adds up its share of the bucket and hands the sum round.

    Sends as many bytes as a ring all-reduce. Does not overlap with the backward pass.
    """
    gradients = bucket.buffer()
    num_ranks = dist.get_world_size()
    padded = gradients.new_zeros(-(-gradients.numel() // num_ranks) * num_ranks)
    padded[: gradients.numel()] = gradients
    received = torch.empty_like(padded)
    dist.all_to_all_single(received, padded)
    first, *others = received.view(num_ranks, -1)
    for other in others:
        first += other
    all_gather_flat(padded, first / num_ranks)
    gradients.copy_(padded[: gradients.numel()])
    return _done(gradients)


def powersgd(state: PowerSGDState, bucket: dist.GradBucket) -> Future[torch.Tensor]:
    """torch's PowerSGD. On the CPU one bucket after another: gloo's threads would start the later ones' collectives in any order."""
    future = powerSGD_hook(state, bucket)
    if bucket.buffer().device.type == "cpu":
        future.wait()
    return future


def _done(result: Tensor) -> Future[Tensor]:
    future: Future[Tensor] = Future(devices=[result.device] if result.device.type == "cuda" else None)
    future.set_result(result)
    return future
