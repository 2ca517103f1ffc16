"""Allocator: glibc's malloc keeps the memory that torch frees, for the next tensor. No torch here: it is set before torch allocates.

As glibc starts, each large tensor is mapped when it is made and unmapped when it is freed, and the system clears its pages anew: hundreds of
thousands of page faults a step (docs/performance.md). Only glibc's own malloc is set, and only where nobody else has: an allocator that was
preloaded, a setting of glibc's in the environment and a system without mallopt stay as they are.
"""

import ctypes
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mcdist.choices import AllocatorChoice, require_choice

VARIABLE = "MCDIST_ALLOCATOR"
"""Environment variable: auto or system. It holds for every command and worker; `run.allocator` can only turn the setting off for a run."""

MMAP_THRESHOLD_BYTES = 2**30
"""Smaller pieces come from the heap, which is kept; larger ones are mapped and returned when they are freed."""
TRIM_THRESHOLD_BYTES = 2**30
"""The heap shrinks once so much is free at its end."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""glibc's malloc.h."""

_GLIBC_FILES = re.compile(r"libc(\.so\.6|-2\.\d+\.so)")
_GLIBC_NAMES = ("mmap_threshold", "trim_threshold", "top_pad", "mmap_max")
_GLIBC_VARIABLES = {f"MALLOC_{name.upper()}_" for name in _GLIBC_NAMES}


@dataclass(frozen=True, slots=True)
class Allocator:
    """`name`: whose malloc this process calls. `keeps`: freed memory is kept for reuse. `detail`: how it is set, or why it is left as it is."""

    name: str
    keeps: bool
    detail: str


class _SymbolOwner(ctypes.Structure):
    """Dl_info of dlfcn.h."""

    _fields_ = (("file", ctypes.c_char_p), ("base", ctypes.c_void_p), ("symbol", ctypes.c_char_p), ("address", ctypes.c_void_p))


def keep_freed_memory(choice: AllocatorChoice = "auto") -> Allocator:
    """Set glibc's malloc to keep what is freed; `system`, here or in the environment, leaves it alone, in processes started from here too.

    It holds for all of the process and cannot be undone, and calling it again changes nothing. Never an error where it cannot be set.

    Raises:
        ConfigError: `choice` or MCDIST_ALLOCATOR is not one of its choices.
    """
    require_choice("run.allocator", choice, choices=AllocatorChoice)
    if choice == "system":
        os.environ[VARIABLE] = choice
    found = find_allocator(os.environ)
    return _set_thresholds(found) if found.keeps else found


def find_allocator(environment: Mapping[str, str]) -> Allocator:
    """What `keep_freed_memory` would leave this process with. Changes nothing.

    Raises:
        ConfigError: MCDIST_ALLOCATOR is not one of its choices.
    """
    asked = environment.get(VARIABLE, "") or "auto"
    require_choice(VARIABLE, asked, choices=AllocatorChoice)
    owner, version = owner_of_malloc(), glibc_version()
    name = f"glibc {version}" if version and _GLIBC_FILES.fullmatch(owner) else owner or sys.platform
    if not name.startswith("glibc"):
        return Allocator(name, False, "not glibc's malloc, so it is left as it is")
    if asked == "system":
        return Allocator(name, False, f"left as it is, since {VARIABLE}=system")
    if set_elsewhere := names_in_environment(environment):
        return Allocator(name, False, f"left as it is, since the environment sets {', '.join(set_elsewhere)}")
    return Allocator(name, True, f"keeps freed pieces of up to {MMAP_THRESHOLD_BYTES >> 20:,} MiB for reuse")


def owner_of_malloc() -> str:
    """File name of the library whose malloc this process calls, such as libc.so.6 or libjemalloc.so.2; empty where that cannot be found out."""
    try:
        process, owner = ctypes.CDLL(None), _SymbolOwner()
        found = process.dladdr(ctypes.cast(process.malloc, ctypes.c_void_p), ctypes.byref(owner))
    except (AttributeError, OSError, TypeError):
        return ""
    return Path(os.fsdecode(owner.file)).name if found and owner.file else ""


def glibc_version() -> str:
    """Such as 2.36; empty on musl and on other systems than Linux."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, ValueError, OSError):
        return ""
    return version if name == "glibc" else ""


def names_in_environment(environment: Mapping[str, str]) -> list[str]:
    """Settings of glibc's malloc about keeping memory that the environment has: whoever started the process chose them."""
    tunables = [pair.partition("=")[0] for pair in environment.get("GLIBC_TUNABLES", "").split(":")]
    return [*sorted(_GLIBC_VARIABLES & set(environment)), *(name for name in tunables if name.removeprefix("glibc.malloc.") in _GLIBC_NAMES)]


def _set_thresholds(found: Allocator) -> Allocator:
    try:
        mallopt = ctypes.CDLL(None).mallopt
        taken = [mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES), mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)]
    except (AttributeError, OSError):
        return Allocator(found.name, False, "it has no mallopt, so it is left as it is")
    return found if all(taken) else Allocator(found.name, False, "mallopt refused the thresholds")
