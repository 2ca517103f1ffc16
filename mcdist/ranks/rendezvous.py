"""Rendezvous: all ranks meet at one address within a bounded time, or each of them learns which ranks are missing.

Rank 0 listens (or torchrun's agent does), each rank writes down its host and its GPU, rank 0 decides. The names of an attempt are
its own: torchrun's restarted workers would else read the dead addresses of those before, and a job met by chance would be joined.
"""

import errno
import json
import os
import socket
import time
from dataclasses import dataclass
from datetime import timedelta

import torch.distributed as dist

from mcdist.errors import ConfigError, MachineError
from mcdist.ranks.place import Place

RESOLVE_WITHIN_S = 10.0
"""A name server may be slow while a node boots; a name that is wrong stays wrong."""
FAREWELL_S = 5.0
"""How long rank 0 stays after a failed meeting, so that the others read who is missing."""
MAX_NAMED = 16


@dataclass(frozen=True, slots=True)
class Guest:
    """What a rank writes down: its host's name and the identity of its GPU, empty on a CPU."""

    host: str
    gpu: str = ""


def meet(place: Place, *, gpu: str, timeout_s: int) -> dist.Store:
    """A store that all ranks of this attempt share, once all of them are there.

    `gpu`: what no other rank may also have (a UUID); empty on a CPU.

    Raises:
        MachineError: the address does not resolve, the port is taken, or ranks are missing after `timeout_s`; they are named.
        ConfigError: two processes have one rank, or two ranks one GPU.
    """
    until_s = time.monotonic() + timeout_s
    _resolve(place, until_s=until_s)
    store = dist.PrefixStore(f"mcdist/{place.session}", _connect(place, until_s=until_s, timeout_s=timeout_s))
    same_rank = store.add(f"started/{place.rank}", 1)
    host = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    if same_rank == 1:
        store.set(f"rank/{place.rank}", json.dumps([host, gpu]))
    else:
        other = json.loads(store.get(f"rank/{place.rank}"))[0]
        raise ConfigError(f"rank {place.rank} was started twice, on {other} and on {host}; give each process its own RANK, or let one launcher start them all")
    verdict = _judge(store, place, until_s=until_s, timeout_s=timeout_s) if place.rank == 0 else _hear(store, place, until_s=until_s, timeout_s=timeout_s)
    if verdict.get("config"):
        raise ConfigError(verdict["config"])
    if verdict.get("machine"):
        raise MachineError(f"rank {place.rank} on {host}: {verdict['machine']}")
    return store


def _resolve(place: Place, *, until_s: float) -> None:
    until_s = min(until_s, time.monotonic() + RESOLVE_WITHIN_S)
    while True:
        try:
            socket.getaddrinfo(place.address, place.port, type=socket.SOCK_STREAM)
        except OSError as error:
            if time.monotonic() > until_s or error.errno != socket.EAI_AGAIN:
                raise MachineError(
                    f"rank {place.rank} of {place.num_ranks}: the address of rank 0, {place.address}, does not resolve ({error.strerror}); "
                    "name an address that every node knows with MASTER_ADDR=HOST"
                ) from error
            time.sleep(0.2)
        else:
            return


def _connect(place: Place, *, until_s: float, timeout_s: int) -> dist.TCPStore:
    """The store at the place's address: rank 0 listens there first, unless the launcher does."""
    listens = place.rank == 0 and not place.store_is_served
    timeout = timedelta(seconds=max(1.0, timeout_s))
    if listens:
        descriptor = _listen(place).detach()
        return dist.TCPStore(place.address, place.port, is_master=True, wait_for_workers=False, timeout=timeout, master_listen_fd=descriptor)
    _wait_for_listener(place, until_s=until_s, timeout_s=timeout_s)
    try:
        return dist.TCPStore(place.address, place.port, is_master=False, wait_for_workers=False, timeout=timeout)
    except dist.DistError as error:
        raise MachineError(f"{_nobody(place, timeout_s=timeout_s)} ({str(error).splitlines()[0]})") from error


def _listen(place: Place) -> socket.socket:
    """Bound to the named address alone where it is this host's own, so that what meets on one machine is not open to the network."""
    family, _, _, _, address = socket.getaddrinfo(place.address, place.port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        try:
            listener.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:  # behind a translated address: listen wherever they may come from
                raise
            listener.bind(("::" if family == socket.AF_INET6 else "", place.port))
        listener.listen(socket.SOMAXCONN)
    except OSError as error:
        listener.close()
        remedy = "torchrun --master-port" if place.launcher == "torchrun" else "MASTER_PORT=PORT"
        raise MachineError(
            f"rank 0 cannot listen at {place.address}:{place.port} for the other {place.num_ranks - 1} ranks ({error.strerror}); "
            f"if the port is in use, choose another: {remedy}"
        ) from error
    return listener


def _wait_for_listener(place: Place, *, until_s: float, timeout_s: int) -> None:
    """Knock until somebody opens; torch's own attempts would fill the log."""
    while True:
        left_s = until_s - time.monotonic()
        try:
            socket.create_connection((place.address, place.port), timeout=max(0.1, min(5.0, left_s))).close()
        except OSError as error:
            if left_s <= 0:
                raise MachineError(f"{_nobody(place, timeout_s=timeout_s)} ({error.strerror or error})") from error
            time.sleep(0.1)
        else:
            return


def _judge(store: dist.Store, place: Place, *, until_s: float, timeout_s: int) -> dict[str, str]:
    """Rank 0: wait for everyone, look for contradictions, and publish the verdict."""
    here = list(range(place.num_ranks))
    try:
        store.wait([f"rank/{rank}" for rank in here], timedelta(seconds=max(0.1, until_s - time.monotonic())))
    except dist.DistError:
        verdict = {"machine": _missing(store, place, timeout_s=timeout_s)}
    else:
        verdict = {"config": _gpu_trouble({rank: _guest(store, rank) for rank in here})}
    store.set("verdict", json.dumps(verdict))
    if any(verdict.values()):
        _stay_for_the_others(store, place)
    return verdict


def _hear(store: dist.Store, place: Place, *, until_s: float, timeout_s: int) -> dict[str, str]:
    """Another rank: rank 0's verdict, or, where that does not come in time, what can be seen from here."""
    try:
        store.wait(["verdict"], timedelta(seconds=max(0.1, until_s - time.monotonic())))
        verdict: dict[str, str] = json.loads(store.get("verdict"))
        store.add("heard", 1)
        return verdict
    except dist.DistError as error:
        try:
            seen = {"machine": _missing(store, place, timeout_s=timeout_s)}
            store.add("heard", 1)
            return seen
        except dist.DistError:
            raise MachineError(f"rank {place.rank}: rank 0 at {place.address}:{place.port} left while the ranks were meeting; see its own message") from error


def _stay_for_the_others(store: dist.Store, place: Place) -> None:
    num_others = sum(store.check([f"rank/{rank}"]) for rank in range(1, place.num_ranks))
    until_s = time.monotonic() + FAREWELL_S
    while store.add("heard", 0) < num_others and time.monotonic() < until_s:
        time.sleep(0.05)


def _missing(store: dist.Store, place: Place, *, timeout_s: int) -> str:
    guests = {rank: _guest(store, rank) for rank in range(place.num_ranks) if store.check([f"rank/{rank}"])}
    missing = [rank for rank in range(place.num_ranks) if rank not in guests]
    if not missing:
        return f"all {place.num_ranks} ranks came, but rank 0 did not say so within {timeout_s} s; is its machine overloaded? see run.rendezvous_timeout_s"
    hosts = sorted({guest.host for guest in guests.values()})
    return (
        f"{len(missing)} of {place.num_ranks} ranks did not come to {place.address}:{place.port} within {timeout_s} s: rank {_shortened(missing)}; "
        f"those that came run on {_shortened(hosts)}; see the missing ranks' own output, and run.rendezvous_timeout_s if they only need longer"
    )


def _nobody(place: Place, *, timeout_s: int) -> str:
    return (
        f"rank {place.rank} of {place.num_ranks} on {socket.gethostname()}: rank 0 is missing, nobody answered at {place.address}:{place.port} "
        f"within {timeout_s} s; see that rank 0 started and that this host can reach it"
    )


def _gpu_trouble(guests: dict[int, Guest]) -> str:
    """What is wrong where two ranks have one GPU, or some have none; empty where nothing is."""
    without = [rank for rank, guest in guests.items() if not guest.gpu]
    if 0 < len(without) < len(guests):
        hosts = sorted({guests[rank].host for rank in without})
        return (
            f"{len(guests) - len(without)} of {len(guests)} ranks have a GPU, rank {_shortened(without)} on {_shortened(hosts)} found none; "
            "ask for GPUs on every node (--gpus-per-node), see mcdist doctor there, or set run.device=cpu"
        )
    first_of: dict[Guest, int] = {}
    for rank, guest in guests.items():
        other = first_of.setdefault(guest, rank)
        if guest.gpu and other != rank:
            num_ranks = sum(one.host == guest.host for one in guests.values())
            num_gpus = len({one.gpu for one in guests.values() if one.host == guest.host})
            return (
                f"ranks {other} and {rank} both run on the GPU {guest.gpu} of {guest.host}: {num_ranks} ranks there share {num_gpus} GPUs; "
                "start one rank a GPU (srun --ntasks-per-node, torchrun --nproc-per-node), or set run.device=cpu"
            )
    return ""


def _guest(store: dist.Store, rank: int) -> Guest:
    return Guest(*json.loads(store.get(f"rank/{rank}")))


def _shortened(items: list[int] | list[str]) -> str:
    more = f" and {len(items) - MAX_NAMED} more" if len(items) > MAX_NAMED else ""
    return ", ".join(str(item) for item in items[:MAX_NAMED]) + more
