"""Cores: how many this process may use, by its affinity and by its container's limit, and how many of them should compute side by side. No torch.

A container with a limit of half a core still sees every core of its host. As many threads as the host has cores would spend the container's share in
milliseconds and then be stopped, all of them, for the rest of each period.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = "sys/fs/cgroup"
"""Where Linux mounts the control groups, below the root folder."""
CPU_CONTROLLERS = ("cpu,cpuacct", "cpu")
"""What version 1 calls the mount of its cpu controller."""


def num_cores(root: Path = Path("/")) -> int:
    """Cores that this process may use: those of its affinity, or fewer where its control groups allow less time. At least 1.

    `root`: where `proc` and `sys` are; another folder than / is for tests.
    """
    return _limited(len(_affinity()), root=root)


def num_compute_cores(root: Path = Path("/")) -> int:
    """Threads with which a product of matrices is fastest: one a physical core, of a hybrid processor its fast cores alone. 1 to `num_cores`.

    The threads of such a product have equal parts and wait for the last: two that share a core have no more than one, and a slow core holds up the fast ones.
    """
    usable = _affinity()
    fast = usable & _listed(root / "sys/devices/cpu_core/cpus") or usable
    return _limited(len({_core_of(cpu, root=root) for cpu in fast}), root=root)


def cpu_limit(root: Path = Path("/")) -> float | None:
    """Cores' worth of time that the control groups allow this process, such as 0.5; None without a limit or where the system has no such groups."""
    limits = [limit for folder in _groups(root) if (limit := _limit_of(folder)) is not None]
    return min(limits, default=None)


def _limited(num: int, *, root: Path) -> int:
    """Rounded to the nearest whole core."""
    limit = cpu_limit(root)
    return max(1, num if limit is None else min(num, round(limit)))


def _affinity() -> set[int]:
    return set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _core_of(cpu: int, *, root: Path) -> int:
    """The first of the logical processors that share a physical core; itself where the system does not say."""
    return min(_listed(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"), default=cpu)


def _listed(path: Path) -> set[int]:
    """Numbers of a list of the kernel's, such as 0-3,8. Empty where there is none."""
    try:
        ranges = [part.split("-") for part in path.read_text().strip().split(",") if part]
        return {number for ends in ranges for number in range(int(ends[0]), int(ends[-1]) + 1)}
    except (OSError, ValueError):
        return set()


def _groups(root: Path) -> Iterator[Path]:
    """Folders of this process's control groups and all above them: each may limit it. Version 2 has one tree, version 1 one for its cpu controller."""
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        mounts = [""] if not controllers else [mount for mount in CPU_CONTROLLERS if "cpu" in controllers.split(",")]
        for mount in mounts:
            top = root / CGROUPS / mount
            inside = PurePosixPath(path.lstrip("/"))
            # A container may see the path that its group has on the host, which does not exist inside; the mount itself is then its group.
            yield from (top / part for part in (inside, *inside.parents) if ".." not in part.parts)


def _limit_of(folder: Path) -> float | None:
    """Version 2: cpu.max holds "quota period", or "max period". Version 1: two files, a quota of -1 being none. Both in microseconds."""
    quota, _, period = " ".join(_lines(folder / "cpu.max")).partition(" ")
    if not quota:
        quota, period = ("".join(_lines(folder / f"cpu.cfs_{name}_us")) for name in ("quota", "period"))
    try:
        return float(quota) / float(period) if float(quota) > 0 and float(period) > 0 else None
    except ValueError:  # "max", or no such file
        return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
