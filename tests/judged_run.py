"""A run's evaluation, for the tests of whole runs."""

from pathlib import Path

from mcdist.records import Evaluation
from mcdist.run_dir import RunDir
from mcdist.workflows.evaluation import evaluate_run


def judged(run_dir: RunDir, *, overrides: list[str], which: str, store: Path | None = None) -> Evaluation:
    """`evaluate_run` in a process on its own, which always judges."""
    evaluation = evaluate_run(run_dir, overrides=overrides, which=which, store=store)
    assert evaluation is not None
    return evaluation
