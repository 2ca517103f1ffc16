"""Freed memory is kept for reuse where malloc is glibc's and nobody else set it; everything else is left alone, and never fails."""

import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcdist.errors import ConfigError
from mcdist.machine import allocator
from mcdist.machine.allocator import VARIABLE, Allocator, find_allocator, keep_freed_memory

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not allocator.glibc_version(), reason="only glibc's malloc is set")

TOUCH = """
import ctypes, json, os, resource, sys
from mcdist.machine.allocator import keep_freed_memory
kept = keep_freed_memory(sys.argv[1])
libc, size = ctypes.CDLL(None), 48 * 2**20
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def touch():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    piece = libc.malloc(size)
    ctypes.memset(piece, 1, size)
    libc.free(piece)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults, variable = [touch() for _ in range(4)], os.environ.get("MCDIST_ALLOCATOR", "")
print(json.dumps({"faults": faults, "name": kept.name, "keeps": kept.keeps, "detail": kept.detail, "variable": variable}))
"""
"""Four times 48 MiB, beyond the largest threshold that glibc chooses by itself (32 MiB)."""


def clean(**more: str) -> dict[str, str]:
    """This environment without anything that sets an allocator."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "MCDIST_ALLOCATOR", "GLIBC_TUNABLES", "LD_PRELOAD"))}
    return ours | more


def touch(choice: str, **environment: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", TOUCH, choice], env=clean(**environment), capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def pages(num_bytes: int) -> int:
    return num_bytes // resource.getpagesize()


def test_a_large_piece_costs_page_faults_once_and_then_none() -> None:
    found = touch("auto")
    first, *later = found["faults"]
    assert found["keeps"] and str(found["name"]).startswith("glibc 2.")
    assert first > pages(40 * 2**20) and max(later) < 50


@pytest.mark.parametrize("how", [{"choice": "system"}, {"choice": "auto", VARIABLE: "system"}], ids=["setting", "variable"])
def test_system_leaves_malloc_as_it_is_and_tells_children(how: dict[str, str]) -> None:
    found = touch(**how)
    assert not found["keeps"] and found["detail"] == "left as it is, since MCDIST_ALLOCATOR=system"
    assert min(found["faults"]) > pages(40 * 2**20), "mapped anew each time"
    assert found["variable"] == "system", "workers started from here follow"


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({"MALLOC_TRIM_THRESHOLD_": "131072"}, "MALLOC_TRIM_THRESHOLD_"),
        ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=4:glibc.malloc.mmap_threshold=200000"}, "glibc.malloc.mmap_threshold"),
    ],
)
def test_settings_of_whoever_started_the_process_hold(environment: dict[str, str], names: str) -> None:
    found = touch("auto", **environment)
    assert (found["keeps"], found["detail"]) == (False, f"left as it is, since the environment sets {names}")
    assert min(found["faults"]) > pages(40 * 2**20)


def test_a_tunable_about_something_else_is_no_obstacle() -> None:
    assert find_allocator({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.cpu.x86_shstk=off"}).keeps
    assert not find_allocator({"GLIBC_TUNABLES": "glibc.malloc.top_pad=1"}).keeps


PRELOADED = """
#include <stddef.h>
extern void *__libc_malloc(size_t);
void *malloc(size_t size) { return __libc_malloc(size); }
int mallopt(int parameter, int value) { __builtin_trap(); }
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="compiles a library to preload")
def test_a_preloaded_allocator_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "other.c").write_text(PRELOADED)
    library = tmp_path / "libothermalloc.so.2"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, tmp_path / "other.c"], check=True)
    found = touch("auto", LD_PRELOAD=str(library))  # its mallopt would end the process
    assert (found["name"], found["keeps"], found["detail"]) == ("libothermalloc.so.2", False, "not glibc's malloc, so it is left as it is")


class _Without:
    """A C library without the functions named."""

    def __init__(self, *names: str) -> None:
        self.names, self.process = names, ctypes.PyDLL(None)

    def __call__(self, name: None) -> "_Without":
        return self

    def __getattr__(self, name: str) -> object:
        if name in self.names:
            raise AttributeError(name)
        return getattr(self.process, name)


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(os.environ) - set(clean()):
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("nothing_set")
def test_a_c_library_without_mallopt_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", _Without("mallopt"))
    assert keep_freed_memory() == Allocator(f"glibc {allocator.glibc_version()}", False, "it has no mallopt, so it is left as it is")


@pytest.mark.usefixtures("nothing_set")
def test_a_mallopt_that_refuses_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "MMAP_THRESHOLD_BYTES", 2**30)
    refusing = _Without()
    monkeypatch.setattr(refusing, "mallopt", lambda parameter, value: 0, raising=False)
    monkeypatch.setattr(ctypes, "CDLL", refusing)
    assert keep_freed_memory() == Allocator(f"glibc {allocator.glibc_version()}", False, "mallopt refused the thresholds")


@pytest.mark.usefixtures("nothing_set")
def test_musl_and_systems_that_do_not_say_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_set_thresholds", lambda found: pytest.fail("it must not be set"))
    monkeypatch.setattr(ctypes, "CDLL", _Without("dladdr"))
    assert keep_freed_memory() == Allocator(sys.platform, False, "not glibc's malloc, so it is left as it is")
    monkeypatch.undo()
    monkeypatch.setattr(allocator, "glibc_version", lambda: "")
    monkeypatch.setattr(allocator, "owner_of_malloc", lambda: "libc.musl-x86_64.so.1")
    assert keep_freed_memory() == Allocator("libc.musl-x86_64.so.1", False, "not glibc's malloc, so it is left as it is")


def _raise_value_error(name: str) -> str:
    raise ValueError("unrecognized configuration name")


@pytest.mark.parametrize("answer", [_raise_value_error, lambda name: None, lambda name: ""], ids=["unknown name", "nothing", "empty"])
def test_a_system_that_does_not_know_glibc_has_no_version_of_it(answer: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "confstr", answer)
    assert allocator.glibc_version() == ""


def test_a_typo_names_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    typo = subprocess.run([sys.executable, "-c", TOUCH, "jemalloc"], env=clean(), capture_output=True, text=True, check=False)
    assert "ConfigError: run.allocator must be one of auto, system, got 'jemalloc'" in typo.stderr
    monkeypatch.setenv(VARIABLE, "sytem")
    with pytest.raises(ConfigError, match="MCDIST_ALLOCATOR must be one of auto, system, got 'sytem'"):
        keep_freed_memory()


def test_it_imports_no_torch() -> None:
    code = "import sys, mcdist.machine.allocator; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


ENTRIES = """
import ctypes, json, os, resource
from pathlib import Path
from types import SimpleNamespace
from typer.testing import CliRunner
from benchmarks.harness import command
from mcdist import build
from mcdist.building.folder.build import _begin_worker
from mcdist.cli.main import app
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.data.loader import start_worker
from mcdist.proposals.folder import worker

worker.Worker = lambda task: None
command.typer.Typer.__call__ = lambda app, **_: None
config, alone = load_config(Path("configs/demo.yaml"), overrides=[]), build.World(0, 1, build.torch.device("cpu"))
libc, size = ctypes.CDLL(None), 48 * 2**20
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    piece = libc.malloc(size)
    ctypes.memset(piece, 1, size)
    libc.free(piece)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def second_touch(enter):
    reader, writer = os.pipe()
    if not os.fork():
        enter()
        faults()
        os.write(writer, str(faults()).encode())
        os._exit(0)
    os.wait()
    return int(os.read(reader, 20))

print(json.dumps({
    "nothing": second_touch(lambda: None),
    "run": second_touch(lambda: build.prepare_process(config, world=alone)),
    "data worker": second_touch(lambda: start_worker(0)),
    "building worker": second_touch(_begin_worker),
    "proposal worker": second_touch(lambda: worker.begin(None)),
    "proposals": second_touch(lambda: CliRunner().invoke(app, ["proposals", "list"])),
    "shards": second_touch(lambda: CliRunner().invoke(app, ["shards", "build", "--help"])),
    "benchmark": second_touch(lambda: command.run(lambda: None)),
}))
"""
"""Each entry in a process of its own: the page faults of a second piece of 48 MiB after it."""


def test_every_entry_point_and_worker_keeps_freed_memory() -> None:
    done = subprocess.run([sys.executable, "-c", ENTRIES], env=clean(PYTHONPATH=str(ROOT)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("nothing") > pages(40 * 2**20)
    assert {name: faults for name, faults in found.items() if faults > 50} == {}
