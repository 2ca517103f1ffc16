"""One part of a build, for a task of a job array: every N-th shard. The part that finds all others finished writes the manifest.

Shards do not depend on each other, so parts share nothing but the folder, and the folder comes out as one build would make it, byte for byte.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from mcdist.building.folder.build import Built, Plan, Tick, complete_plan, run_jobs
from mcdist.building.folder.out import open_folder
from mcdist.data.shards.manifest import MANIFEST_NAME
from mcdist.errors import MachineError


@dataclass(frozen=True, slots=True)
class PartBuilt:
    """A part that is done while others are not: its number of shards, and how many shards of others are missing."""

    folder: Path
    part: int
    num_parts: int
    num_shards: int
    num_missing: int


def build_part(plan: Plan, *, folder: Path, part: int, num_parts: int, num_workers: int, tick: Tick) -> Built | PartBuilt:
    """Build the shards K, K + N, K + 2 N, ... of `plan` (K = `part` of N = `num_parts`), and complete the folder if they were the last missing.

    How many photos were skipped is judged when the folder is completed. Raises as `build_shards`.
    """
    existing = open_folder(folder, source=plan.source.name, format=plan.format, options=plan.options, overwrite=False)
    if existing is None:
        own = replace(plan, jobs=plan.jobs[part - 1 :: num_parts], max_skipped_share=1.0)
        run_jobs(own, num_workers=num_workers, tick=tick)
        num_missing = sum(not job.sidecar.exists() for job in plan.jobs)
        if num_missing and not (folder / MANIFEST_NAME).is_file():
            return PartBuilt(folder, part, num_parts, num_shards=len(own.jobs), num_missing=num_missing)
    try:
        return complete_plan(plan, folder=folder, num_workers=num_workers, overwrite=False, tick=lambda _: None)
    except MachineError:
        if not (folder / MANIFEST_NAME).is_file():
            raise
        return complete_plan(plan, folder=folder, num_workers=num_workers, overwrite=False, tick=lambda _: None)  # another part completed it meanwhile
