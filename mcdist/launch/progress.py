"""Progress: how many starts in a row a job ended badly without a new checkpoint. One line a start in the submission's attempts.jsonl.

The run's own record of its attempts (`mcdist.resilience.attempts`) is asked too: it knows of starts that lost their first node, and not of those that
ended before they held the run folder; this file knows the latter. Starts of earlier submissions do not count: whoever submits again asks for another try.
"""

import json
import time
from pathlib import Path

from mcdist.json_text import parse_json
from mcdist.launch.outcome import Fate, Outcome
from mcdist.launch.spec import JobStart, Work
from mcdist.resilience.attempts import attempts_without_progress
from mcdist.run_dir import RunDir, list_checkpoints, step_of


def newest_step(run_dir: str) -> int:
    """The step of the newest checkpoint, by its folder's name; -1 where there is none."""
    found = list_checkpoints(RunDir(Path(run_dir)).checkpoints) if run_dir else []
    return max((step for path in found if (step := step_of(path)) is not None), default=-1)


def note_start(folder: Path, *, start: JobStart, outcome: Outcome, work: Work) -> int:
    """Write down how a start ended; `num_without_progress` with it."""
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "job_id": start.job_id,
        "element": start.element,
        "restarts": start.restarts,
        "fate": outcome.fate.value,
        "reason": outcome.reason,
        "step": newest_step(work.run_dir),
    }
    with _path(folder).open("a") as file:
        file.write(json.dumps(line) + "\n")
    return num_without_progress(folder, start=start, work=work, num_starts=start.restarts + 1)


def num_without_progress(folder: Path, *, start: JobStart, work: Work, num_starts: int) -> int:
    """So many of the last of `num_starts` starts ended badly without a new checkpoint."""
    by_run = min(attempts_without_progress(Path(work.run_dir)), num_starts) if work.run_dir else 0
    return max(by_run, _noted(folder, element=start.element))


def _noted(folder: Path, *, element: int) -> int:
    try:
        lines = [parse_json(line) for line in _path(folder).read_text().splitlines() if line.endswith("}")]
    except OSError:
        return 0
    own = [line for line in lines if line["element"] == element]
    count = 0
    for line in reversed(own):
        if line["fate"] != Fate.again_if_progress or line["step"] != own[-1]["step"]:
            break
        count += 1
    return count


def _path(folder: Path) -> Path:
    return folder / "attempts.jsonl"
