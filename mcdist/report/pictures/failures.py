"""Failures: panels of the photos that a result is worst on, with the score of each."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from mcdist.errors import DataError, reason
from mcdist.json_text import parse_json
from mcdist.records import Panel
from mcdist.report.pictures.panels import panel_files, save_panels
from mcdist.run_dir import write_atomically

SCORES_NAME = "scores.json"


def save_failures(panels: Iterable[Panel], folder: Path, *, scores: Sequence[float], classes: tuple[str, ...]) -> list[Path]:
    """Write the panels, and the mIoU in % of each by its file name; remove those of an earlier evaluation. Makes no folder where there is none to show."""
    if not scores and not folder.exists():
        return []
    written = save_panels(panels, folder, classes=classes)
    by_name = {path.name: round(score, 1) for path, score in zip(written, scores, strict=True)}
    write_atomically(folder / SCORES_NAME, json.dumps(by_name, indent=1).encode())
    return written


def failure_scores(folder: Path) -> list[tuple[Path, float]]:
    """The panels with their scores, lowest first; none where there is no folder.

    Raises:
        DataError: the scores are damaged.
    """
    path = folder / SCORES_NAME
    try:
        scores = {str(name): float(score) for name, score in parse_json(path.read_bytes()).items()}
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} does not hold the scores of photos ({reason(error)}); run: mcdist evaluate RUN") from error
    return [(panel, scores[panel.name]) for panel in panel_files(folder) if panel.name in scores]
