"""Join: the processes that a launcher started become a World, each on its own device, within a bounded time."""

import os
import socket
import time
from datetime import timedelta

import torch
import torch.distributed as dist

from mcdist.distributed import World
from mcdist.errors import ConfigError, MachineError, first_line
from mcdist.machine.cores import num_compute_cores
from mcdist.ranks.place import Place, find_place
from mcdist.ranks.rendezvous import meet

_MET: dict[Place, list[dist.PrefixStore]] = {}
"""The stores of this process's meetings: `mcdist evaluate --transfer` joins its ranks once for each data set."""


def join_world(*, device: str, timeout_s: int, collective_timeout_s: int = 600, network_interface: str = "") -> World:
    """Join the ranks that a launcher (torchrun, srun, submitit, deepspeed) announced in the environment, or be alone.

    CPU tensors travel by gloo, CUDA tensors by NCCL. `timeout_s` bounds how long the ranks may take to meet, `collective_timeout_s` any one
    collective afterwards; `network_interface` names the interface both libraries use, empty leaves it to them.

    Raises:
        ConfigError: device=cuda on a machine without one, a half-set launcher environment, two ranks on one GPU, or no such interface.
        MachineError: the ranks did not meet in time (those missing are named), or the port is taken.
    """
    place = find_place()
    chosen = _device(device, place=place)
    if place.num_ranks == 1:
        return World(0, 1, chosen, num_cores=_cores_of(place))
    _use_interface(network_interface)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    began_s = time.monotonic()
    store = meet(place, gpu=_gpu_identity(chosen), timeout_s=timeout_s, before=_MET.get(place, ()))
    _MET[place] = [*_MET.get(place, ()), store]
    left_s = max(5.0, timeout_s - (time.monotonic() - began_s))
    world = World(place.rank, place.num_ranks, chosen, place.local_rank, place.ranks_here, _cores_of(place))
    backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, store=store, rank=place.rank, world_size=place.num_ranks, timeout=timedelta(seconds=left_s))
        world.sum(torch.zeros(1, device=chosen))  # connections may be made at the first collective
        _set_timeout(timedelta(seconds=collective_timeout_s))
    except RuntimeError as error:
        leave_world()
        raise MachineError(
            f"rank {place.rank} met the other {place.num_ranks - 1} ranks at {place.address}:{place.port}, but {backend} could not connect them within "
            f"{timeout_s} s ({first_line(error)}); where nodes have several networks, name one: run.network_interface=NAME (here: {_interfaces()})"
        ) from error
    return world


def leave_world() -> None:
    """End the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _device(name: str, *, place: Place) -> torch.device:
    """The device of this rank among those torch really sees: SLURM may show a task every GPU of its node, or only its own."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError("run.device=cuda, but torch finds no CUDA device here; use run.device=cpu or auto, see: mcdist doctor")
    if name == "cpu" or not available:
        return torch.device("cpu")
    return torch.device("cuda", place.local_rank % torch.cuda.device_count())


def _cores_of(place: Place) -> int:
    """Its own cores where SLURM said how many, else an equal part of those that should compute here."""
    usable = num_compute_cores()
    return min(usable, place.num_cores) if place.num_cores else max(1, usable // place.ranks_here)


def _gpu_identity(device: torch.device) -> str:
    """What identifies this GPU among those of its host, whatever CUDA_VISIBLE_DEVICES calls it; empty on a CPU."""
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else ""


def _use_interface(name: str) -> None:
    if not name:
        return
    if name not in _interfaces().split(", "):
        raise ConfigError(f"run.network_interface={name}: this host ({socket.gethostname()}) has no such network interface; it has {_interfaces()}")
    os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = name


def _interfaces() -> str:
    return ", ".join(name for _, name in socket.if_nameindex())


def _set_timeout(timeout: timedelta) -> None:
    """torch names this function in public since 2.13 or so; before, it had an underscore."""
    change = getattr(dist, "set_timeout", None) or dist.distributed_c10d._set_pg_timeout
    change(timeout)
