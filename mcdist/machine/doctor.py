"""Doctor: what this machine has, what is missing, and the line that installs it. It never fails: what cannot be examined is a finding too.

Each package is imported in a process of its own, all at once: a broken binary cannot stop the doctor, and one that hangs is ended.
"""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mcdist.machine.allocator import find_allocator
from mcdist.machine.cores import cpu_limit, num_compute_cores, num_cores
from mcdist.machine.waiting import wait_briefly

Status = Literal["ok", "missing", "broken"]

PROBE_TIMEOUT_S = 120
TRIAL_TIMEOUT_S = 400
"""For the GPU kernels' trial, which compiles them."""

GIBIBYTE = 1024**3

DEBIAN_PARTS = "apt install g++ python3-dev pkg-config libturbojpeg0-dev libopencv-dev"
"""The packages of Debian and Ubuntu that FFCV is built with."""

TORCH_CODE = """
import torch
count = torch.cuda.device_count()
names = ", ".join(f"{torch.cuda.get_device_name(i)} {torch.cuda.get_device_properties(i).total_memory / 2**30:.0f} GiB" for i in range(count))
print(f"CUDA {torch.version.cuda}: {names}" if count else "")
"""

KERNELS_CODE = """
import torch, warnings
warnings.simplefilter("ignore")
from mcdist.ops.verdict import verdict_on
verdicts = [verdict_on(i) for i in range(torch.cuda.device_count())]
print("; ".join(f"cuda:{i}, {verdict}" for i, verdict in enumerate(verdicts) if not verdict.trusted))
"""
"""Prints the devices whose kernels are not trusted, with the numbers; an empty line where all are."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of `name` on this machine: its status, what was seen (`detail`) and what to type (`remedy`, "" where nothing is needed)."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Everything that mcdist can use, in reading order: the machine, then each package.

    Costs about as much as the slowest import; the first call on a machine also builds the C++ operators and tries the GPU kernels.
    """
    with ThreadPoolExecutor() as pool:
        torch_says = pool.submit(_run_python, TORCH_CODE)
        probes: dict[str, Callable[[], Finding]] = {
            "Python": _python,
            "CPU": _processor,
            "memory": _memory,
            "allocator": _allocator,
            "threads": _threads,
            "disk": _disk,
            "torch": lambda: _torch(torch_says.result()),
            "CUDA": lambda: _gpu(torch_says.result()),
            "C++ operators": _operators,
            "Triton": _triton,
            "GPU kernels": lambda: _kernels(torch_says.result()),
            "FAISS CPU": _faiss_cpu,
            "FAISS GPU": _faiss_gpu,
            "FFCV": _ffcv,
            "DeepSpeed": _deepspeed,
            "MLflow": _mlflow,
            "submitit": _submitit,
            "pycocotools": _pycocotools,
            "timm": _timm,
            "ONNX Runtime": _onnxruntime,
            "OpenCV": _opencv,
            "SLURM": _slurm,
        }
        return list(pool.map(_examine, probes, probes.values()))


def _examine(name: str, probe: Callable[[], Finding]) -> Finding:
    """The probe's finding. A probe that raises is a finding too: people call the doctor when something is already wrong."""
    try:
        return probe()
    except Exception as error:
        return Finding(name, "broken", f"could not be examined: {type(error).__name__}: {error}", "report it")


def _python() -> Finding:
    return Finding("Python", "ok", f"{platform.python_version()} on {platform.platform(terse=True)} {platform.machine()}")


def _processor() -> Finding:
    limit = cpu_limit()
    held = "" if limit is None else f"; a control group allows {limit:g} cores' worth of time"
    return Finding("CPU", "ok", f"{num_cores()} of {os.cpu_count()} cores usable, {num_compute_cores()} threads a training{held}")


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Finding("memory", "ok", f"{total / GIBIBYTE:.1f} GiB")


def _allocator() -> Finding:
    """Whose malloc this is, and whether mcdist sets it to keep what is freed."""
    found = find_allocator(os.environ)
    return Finding("allocator", "ok", f"{found.name}: {found.detail}")


def _threads() -> Finding:
    """How the threads of torch wait for each other."""
    return Finding("threads", "ok", f"waiting for each other: {wait_briefly(dict(os.environ)).detail}")


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    if free < GIBIBYTE:
        return Finding("disk", "broken", f"{free / GIBIBYTE:.1f} GiB free in this folder", "free some space, or choose another disk with run.dir=PATH")
    return Finding("disk", "ok", f"{free / GIBIBYTE:.1f} GiB free in this folder")


def _torch(said: Finding) -> Finding:
    version = _version("torch")
    if version is None:
        return Finding("torch", "missing", "not installed", "pip install torch torchvision")
    if said.status != "ok":
        return Finding("torch", "broken", f"{version} is installed but cannot be imported: {said.detail}", "pip install --force-reinstall torch torchvision")
    return Finding("torch", "ok", version)


def _gpu(said: Finding) -> Finding:
    """Asks torch, since a device that torch cannot use is of no use; the driver's answer explains why."""
    if said.status != "ok":
        return Finding("CUDA", "broken", "unknown, since torch cannot be imported", "see the line of torch")
    if said.detail:
        return Finding("CUDA", "ok", said.detail)
    driver = _first_line(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"])
    if driver is None:
        return Finding("CUDA", "missing", "this machine has no NVIDIA driver; mcdist runs on the CPU", "a GPU and its driver")
    return Finding("CUDA", "broken", f"the driver sees {driver}, but torch does not", "install the torch build that fits this driver")


def _operators() -> Finding:
    """Builds them if that was not done yet, which takes some seconds once."""
    said = _run_python("from mcdist.ops.native import reason_missing, vector_bytes; print(reason_missing() or vector_bytes())")
    if said.status == "ok" and said.detail.isdecimal():
        return Finding("C++ operators", "ok", f"compiled for vectors of {said.detail} bytes; on the CPU the loss is fused")
    detail = said.detail if said.status == "broken" else f"the loss runs in plain torch, several times slower: {said.detail}"
    return Finding("C++ operators", "broken" if said.status == "broken" else "missing", detail, "a C++ compiler: apt install g++")


def _triton() -> Finding:
    return _package("Triton", distribution="triton", code="import triton", remedy="pip install triton (comes with torch on Linux)")


def _kernels(said: Finding) -> Finding:
    """The trial that `implementation=auto` makes, or the verdict that is kept of it."""
    if said.status != "ok" or not said.detail:
        return Finding("GPU kernels", "missing", "there is no CUDA device to try them on", "a GPU and its driver")
    if _version("triton") is None:
        return Finding("GPU kernels", "missing", "Triton is not installed", "pip install triton")
    found = _run_python(KERNELS_CODE, timeout_s=TRIAL_TIMEOUT_S)
    if found.status == "ok" and not found.detail:
        return Finding("GPU kernels", "ok", "they agree with plain torch on every device here")
    remedy = "nothing is needed, training uses the slower compact operators; to try again, delete verdict-*.json in mcdist's cache folder"
    return Finding("GPU kernels", "broken", found.detail, remedy)


def _faiss_cpu() -> Finding:
    """Either of the two packages will do, since faiss-gpu contains the CPU code too."""
    if _version("faiss-gpu"):
        return _package("FAISS CPU", distribution="faiss-gpu", code="import faiss", remedy="pip install --force-reinstall faiss-gpu")
    return _package("FAISS CPU", distribution="faiss-cpu", code="import faiss", remedy="pip install 'mcdist[faiss-cpu]'")


def _faiss_gpu() -> Finding:
    remedy = "pip uninstall faiss-cpu; pip install 'mcdist[faiss-gpu]' (the two exclude each other)"
    if not _version("faiss-gpu"):
        return Finding("FAISS GPU", "missing", "not installed; clustering runs on the CPU", remedy)
    if _version("faiss-cpu"):
        return Finding(
            "FAISS GPU",
            "broken",
            "faiss-cpu is installed over it",
            "pip uninstall faiss-cpu faiss-gpu; pip install 'mcdist[faiss-gpu]'",
        )
    seen = _run_python("import faiss; print(faiss.get_num_gpus())")
    if seen.status == "ok" and seen.detail == "0":
        return Finding("FAISS GPU", "missing", f"{_version('faiss-gpu')} finds no GPU; clustering runs on the CPU", "a GPU and its driver")
    detail = f"{_version('faiss-gpu')}, {seen.detail} GPU(s)" if seen.status == "ok" else seen.detail
    return Finding("FAISS GPU", seen.status, detail, "" if seen.status == "ok" else remedy)


def _ffcv() -> Finding:
    """mcdist builds and reads FFCV files without it; it serves people who open them with FFCV's own Loader, and the tests."""
    return _package("FFCV", distribution="ffcv", code="import ffcv", remedy=f"{DEBIAN_PARTS}; pip install 'mcdist[ffcv]'")


def _deepspeed() -> Finding:
    return _package("DeepSpeed", distribution="deepspeed", code="", remedy="pip install 'mcdist[deepspeed]'")


def _mlflow() -> Finding:
    return _package("MLflow", distribution="mlflow", code="", remedy="pip install 'mcdist[mlflow]'")


def _submitit() -> Finding:
    return _package("submitit", distribution="submitit", code="import submitit", remedy="pip install 'mcdist[slurm]'")


def _pycocotools() -> Finding:
    return _package("pycocotools", distribution="pycocotools", code="import pycocotools.mask", remedy="pip install 'mcdist[coco]'")


def _timm() -> Finding:
    """It has the ViTs for the proposal methods on patch features."""
    return _package("timm", distribution="timm", code="", remedy="pip install 'mcdist[vit]'")


def _onnxruntime() -> Finding:
    """It runs saliency networks as proposal methods; onnxruntime-gpu installs into the same folder."""
    distribution = "onnxruntime-gpu" if _version("onnxruntime-gpu") else "onnxruntime"
    return _package("ONNX Runtime", distribution=distribution, code="import onnxruntime", remedy="pip install 'mcdist[saliency]'")


def _opencv() -> Finding:
    """It computes the optical flow of the proposal method motion. Two packages install cv2; FFCV requires the one with windows."""
    distribution = "opencv-python" if _version("opencv-python") else "opencv-python-headless"
    return _package("OpenCV", distribution=distribution, code="import cv2", remedy="pip install 'mcdist[motion]'")


def _slurm() -> Finding:
    """The cluster's own command; without it, jobs run as processes on this machine."""
    if shutil.which("sinfo") is None:
        return Finding("SLURM", "missing", "there is no sinfo on the PATH, so jobs cannot be submitted", "log in to the cluster's login node")
    said = _first_line(["sinfo", "--version"])
    if said is None:
        return Finding("SLURM", "broken", "sinfo is installed but does not answer", "ask the cluster's administrator")
    return Finding("SLURM", "ok", said)


def _package(name: str, *, distribution: str, code: str, remedy: str) -> Finding:
    """Whether a package is installed and `code`, which imports it, runs. `code` is empty for packages whose import compiles things."""
    version = _version(distribution)
    if version is None:
        return Finding(name, "missing", "not installed", remedy)
    seen = _run_python(code) if code else Finding(name, "ok", "")
    if seen.status != "ok":
        return Finding(name, "broken", f"{version} is installed but cannot be imported: {seen.detail}", remedy)
    return Finding(name, "ok", version)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _run_python(code: str, *, timeout_s: float | None = None) -> Finding:
    """Run `code` in a fresh interpreter that sees no file of this folder: its last line of output, or of its error."""
    limit_s = PROBE_TIMEOUT_S if timeout_s is None else timeout_s
    try:
        done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return Finding("", "broken", f"no answer within {limit_s} s")
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    if done.returncode < 0:
        return Finding("", "broken", f"stopped by signal {-done.returncode}")
    return Finding("", "ok" if done.returncode == 0 else "broken", lines[-1] if lines else "")


def _first_line(command: list[str]) -> str | None:
    """The first line that a command prints; None if it is absent, fails, prints nothing or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.strip().splitlines()
    return lines[0] if done.returncode == 0 and lines else None
