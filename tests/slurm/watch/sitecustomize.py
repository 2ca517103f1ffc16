"""On the path of the jobs of these tests: training writes down the samples it is about to train on, and takes its time over each step.

Python imports this by itself at its start. It does nothing but where MCDIST_TEST_SEEN names a folder, and only when `mcdist.build` is imported.
"""

import importlib.abc
import importlib.machinery
import json
import os
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
            for batch in self.loader:
                file.write(json.dumps({**self.facts, "indices": batch.indices.tolist(), "time_s": time.time()}) + "\n")
                file.flush()
                time.sleep(float(os.environ.get("MCDIST_TEST_STEP_S", "0")))
                yield batch


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

        spec.loader.exec_module = watch
        return spec


if SEEN:
    sys.meta_path.insert(0, Hook())
