"""The compiled library of the CPU's fused operators: built at first use from the C++ beside this file, then kept in the user's cache.

No header of torch or Python is needed, so it compiles in seconds, and ctypes calls it with plain pointers (which releases the GIL). A
machine without a compiler has no such library; `reason_missing` says why.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from functools import cache
from pathlib import Path

import numpy
import torch
from torch import Tensor

from mcdist.errors import MachineError

SOURCES = ("mask_contrast/native.cpp", "mask_pool/native.cpp", "joint_counts/native.cpp", "kmeans/native.cpp")
HEADERS = ("cells.h",)
FLAGS = ("-O3", "-std=c++17", "-fPIC", "-shared", "-fno-math-errno", "-Wno-psabi")
TRIES = (("-march=native", "-fopenmp"), ("-fopenmp",), ("-march=native",), ())
"""Flags to try in turn, since some compilers do not know all of them; without OpenMP the operators run on one core."""

FLAGS_VARIABLE = "MCDIST_CXXFLAGS"
"""Environment variable: further flags, after ours; `-mno-avx512f` builds for AVX2 on a machine that has AVX-512."""

COMPILE_TIMEOUT_S = 300
LANES_BYTES = 64
"""Rows of the library's operands are padded to a multiple of this: ROW_BYTES of cells.h. Its vectors may be shorter."""


class NoLibraryError(Exception):
    """The library cannot be built here; the message says why."""


def library() -> ctypes.CDLL:
    """The library; it is built if it does not exist yet.

    Raises:
        NoLibraryError: there is no compiler, or it failed.
    """
    loaded, reason = _attempt()
    if loaded is None:
        raise NoLibraryError(reason)
    return loaded


def reason_missing() -> str:
    """Why there is no library; empty if there is one."""
    return _attempt()[1]


def vector_bytes() -> int:
    """Bytes of a vector that the library computes with: 64 with AVX-512, 32 with AVX2, 16 with SSE and NEON.

    Raises:
        NoLibraryError: there is no library.
    """
    return int(library().mcdist_vector_bytes())


@cache
def _attempt() -> tuple[ctypes.CDLL | None, str]:
    try:
        return _load(), ""
    except (NoLibraryError, OSError) as error:
        return None, str(error)


def _load() -> ctypes.CDLL:
    folder, sources = cache_folder(), [Path(__file__).parent / name for name in SOURCES]
    if folder is None:
        warnings.warn(
            "the C++ operators are compiled at each start, which takes some seconds, since no cache folder can be used; name one that only you can write "
            "with MCDIST_CACHE_DIR",
            RuntimeWarning,
            stacklevel=2,
        )
        with tempfile.TemporaryDirectory(prefix="mcdist-") as private:
            return ctypes.CDLL(str(build_library(sources, path=Path(private) / "ops.so")))
    path = folder / f"ops-{_digest(_compiler())}.so"
    return ctypes.CDLL(str(path if path.is_file() else build_library(sources, path=path)))


def cache_folder() -> Path | None:
    """Where the library is kept: $MCDIST_CACHE_DIR, else `mcdist` in the user's cache folder. None if others could write there, since it is code."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("MCDIST_CACHE_DIR") or Path(base) / "mcdist")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.stat()
    except OSError:
        return None
    return folder if facts.st_uid == os.getuid() and not facts.st_mode & 0o022 and os.access(folder, os.W_OK) else None


def _compiler() -> str:
    for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise NoLibraryError("no C++ compiler found (looked for $CXX, c++, g++, clang++); install one, e.g. apt-get install g++")


def _digest(compiler: str) -> str:
    """A digest of everything that the machine code depends on, since machines of several kinds may share a home folder."""
    facts = Path(compiler).stat()
    about = [compiler, str(facts.st_size), str(facts.st_mtime_ns), repr((FLAGS, TRIES, _user_flags())), platform.machine(), _processor()]
    texts = [(Path(__file__).parent / name).read_text() for name in (*SOURCES, *HEADERS)]
    return hashlib.sha256("\0".join(about + texts).encode()).hexdigest()[:20]


def _user_flags() -> list[str]:
    return os.environ.get(FLAGS_VARIABLE, "").split()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def build_library(sources: list[Path], *, path: Path, flags: tuple[str, ...] = ()) -> Path:
    """Compile C++ sources to the shared library `path`, with further `flags`; written beside it and renamed, since several processes may do so at once.

    Raises:
        NoLibraryError: there is no compiler, or it failed.
    """
    compiler = _compiler()
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    reason = ""
    try:
        for extra in TRIES:
            try:
                command = [compiler, *FLAGS, *extra, *_user_flags(), *flags, *map(str, sources), "-o", str(beside)]
                done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False)
            except subprocess.TimeoutExpired:
                raise NoLibraryError(f"{compiler} did not finish in {COMPILE_TIMEOUT_S} s") from None
            if done.returncode == 0:
                return beside.replace(path)
            said = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[:200])
            reason = reason or said or f"exit code {done.returncode}"
    finally:
        beside.unlink(missing_ok=True)
    raise NoLibraryError(f"{compiler} could not compile the operators: {reason}")


def call(name: str, *arguments: object) -> None:
    """Call a function of the library with as many threads as torch uses. Tensors are passed as pointers, None as a null pointer.

    Raises:
        MachineError: memory ran out.
    """
    function = getattr(library(), name)
    given = [_argument(argument) for argument in arguments]
    if function(*given, ctypes.c_int(torch.get_num_threads())) != 0:
        raise MachineError(f"no memory left in {name}; lower optim.global_batch or model.bank_size, or raise optim.accumulation_steps")


def _argument(value: object) -> object:
    if value is None:
        return ctypes.c_void_p(None)
    if isinstance(value, Tensor):
        assert value.device.type == "cpu" and value.is_contiguous()
        return ctypes.c_void_p(value.data_ptr())
    if isinstance(value, float):
        return ctypes.c_double(value)
    return value


def pointer(array: numpy.ndarray) -> ctypes.c_void_p:
    """Where a contiguous array of numpy begins, which may be read-only; the caller keeps the array."""
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


def int64s(*numbers: int) -> "ctypes.Array[ctypes.c_int64]":
    """Sizes, as the library takes them."""
    return (ctypes.c_int64 * len(numbers))(*numbers)


def whole_lanes(length: int, *, dtype: torch.dtype) -> int:
    """`length` rounded up to whole rows of the library."""
    lanes = LANES_BYTES // dtype.itemsize
    return -(-length // lanes) * lanes


def in_lanes(features_BDhw: Tensor) -> Tensor:
    """`[B, h, w, D']`, each vector padded with zeros to a whole row and aligned to LANES_BYTES."""
    B, D, h, w = features_BDhw.shape
    padded = aligned_zeros(B, h, w, whole_lanes(D, dtype=features_BDhw.dtype), dtype=features_BDhw.dtype)
    padded[..., :D] = features_BDhw.permute(0, 2, 3, 1)
    return padded


def aligned_zeros(*shape: int, dtype: torch.dtype) -> Tensor:
    """Zeros that start at a multiple of LANES_BYTES. Torch aligns its tensors on a CPU to that; the assertion makes sure."""
    zeros = torch.zeros(shape, dtype=dtype)
    assert zeros.data_ptr() % LANES_BYTES == 0 or not zeros.numel()
    return zeros


def map_for_library(instances_BHW: Tensor) -> Tensor:
    """The instance map, contiguous and as int16 or int32; values beyond int32 are clipped to it, and are no objects either."""
    if instances_BHW.dtype != torch.int16:
        limits = torch.iinfo(torch.int32)
        instances_BHW = instances_BHW.clamp(max(-1, torch.iinfo(instances_BHW.dtype).min), min(limits.max, torch.iinfo(instances_BHW.dtype).max)).to(
            torch.int32
        )
    return instances_BHW.contiguous()


def suffix(dtype: torch.dtype, instances_BHW: Tensor) -> str:
    """The end of the name of the function for these types."""
    return f"{'float' if dtype == torch.float32 else 'double'}_{'int16' if instances_BHW.dtype == torch.int16 else 'int32'}"
