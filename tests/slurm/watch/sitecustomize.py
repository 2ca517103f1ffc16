"""On the path of the jobs of these tests: training writes down the samples it is about to train on, and takes its time over each step.

Python imports this by itself at its start. It does nothing but where MCDIST_TEST_SEEN names a folder, and only when `mcdist.build` is imported.
MCDIST_TEST_FAULT=raise:1:5 has rank 1 fail before its sixth batch of the first start; kill:1:5 has it killed, as by the kernel for want of memory;
part:2/3 has the second of three parts of an array fail at its first start.
"""

import importlib.abc
import importlib.machinery
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

SEEN = os.environ.get("MCDIST_TEST_SEEN")


class Watched:
    """Passes the loader's batches on; a line each: rank, ranks, the samples consumed before this start, and the indices."""

    def __init__(self, loader: Any, *, path: Path, facts: dict[str, int]) -> None:
        self.loader, self.path, self.facts = loader, path, facts

    def __iter__(self) -> Any:
        with self.path.open("a") as file:
            for number, batch in enumerate(self.loader):
                fail_where_told(self.facts["rank"], number)
                file.write(json.dumps({**self.facts, "indices": batch.indices.tolist(), "time_s": time.time()}) + "\n")
                file.flush()
                time.sleep(step_s())
                yield batch


def step_s() -> float:
    """How much longer each step of this start takes: MCDIST_TEST_STEP_S lists it start by start; the last one counts for all later ones."""
    listed = [float(text) for text in os.environ.get("MCDIST_TEST_STEP_S", "0").split(",")]
    return listed[min(int(os.environ.get("SLURM_RESTART_COUNT", "0")), len(listed) - 1)]


def fail_where_told(rank: int, number: int) -> None:
    """The fault this test wants, in the job's first start only."""
    kind, _, place = os.environ.get("MCDIST_TEST_FAULT", "").partition(":")
    if place != f"{rank}:{number}" or os.environ.get("SLURM_RESTART_COUNT", "0") != "0":
        return
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError("a fault that this test wants")


class Hook(importlib.abc.MetaPathFinder):
    """Finds mcdist.build as everyone does, and puts a watch on its loader."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> Any:
        if name != "mcdist.build":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec is not None and spec.loader is not None
        execute = spec.loader.exec_module

        def watch(module: Any) -> None:
            execute(module)
            make = module.build_batches

            def build_batches(*arguments: Any, world: Any, consumed: int, **options: Any) -> Watched:
                start = f"{os.environ.get('SLURM_JOB_ID', 'local')}.{os.environ.get('SLURM_RESTART_COUNT', '0')}"
                facts = {"rank": world.rank, "num_ranks": world.num_ranks, "consumed": consumed}
                loader = make(*arguments, world=world, consumed=consumed, **options)
                return Watched(loader, path=Path(str(SEEN)) / f"{start}.{time.time_ns()}.{world.rank}", facts=facts)

            module.build_batches = build_batches

        spec.loader.exec_module = watch  # type: ignore[method-assign]  # this one import of this one module is watched
        return spec


def fail_as_a_part() -> None:
    """The work of an array's element, told by its arguments."""
    kind, _, part = os.environ.get("MCDIST_TEST_FAULT", "").partition(":")
    if kind == "part" and part in sys.orig_argv and "-m" in sys.orig_argv and os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
        os._exit(1)


if SEEN:
    fail_as_a_part()
    sys.meta_path.insert(0, Hook())
