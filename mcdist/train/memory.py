"""Memory: the most that this process and its device held, in GiB, and its page faults."""

import resource
import sys
from pathlib import Path

import torch

KIB_PER_GIB = 2**20
BYTES_PER_GIB = 2**30


def read_peaks(device: torch.device) -> dict[str, float]:
    """By record name: `memory_resident_gib`, since the process began; on CUDA also `memory_device_gib`, allocated since the last call.

    Loader workers are processes of their own and not included. Does not wait for the device.
    """
    peaks = {"memory_resident_gib": peak_resident_gib()}
    if device.type == "cuda":
        peaks["memory_device_gib"] = torch.cuda.max_memory_allocated(device) / BYTES_PER_GIB
        torch.cuda.reset_peak_memory_stats(device)
    return peaks


def page_faults() -> int:
    """Pages that the system gave this process since it began, without reading a disk. Threads count, loader workers do not."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def peak_resident_gib() -> float:
    """The kernel's high-water mark; getrusage where there is no /proc, since there a child starts with its parent's peak."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / KIB_PER_GIB
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (BYTES_PER_GIB if sys.platform == "darwin" else KIB_PER_GIB)
