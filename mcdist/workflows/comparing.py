"""The story of a comparison: evaluated runs, sorted into settings, side by side as a table or a page."""

from collections.abc import Sequence
from os.path import commonprefix
from pathlib import Path
from typing import Any, Literal, get_args

from mcdist.config.config import Config
from mcdist.config.file import load_run_config
from mcdist.config.keys import as_flat
from mcdist.config.science import BY_CONTENT, science_keys
from mcdist.errors import ConfigError, DataError
from mcdist.records import Evaluation
from mcdist.records.trainings import pooled, same_photos
from mcdist.report.comparison import Comparison, Setting, Training
from mcdist.report.jsonl import read_metrics
from mcdist.run_dir import RunDir

Format = Literal["table", "markdown", "latex", "csv", "json", "html"]
FORMAT_OF = {".md": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json", ".html": "html"}
"""The format that a file's name asks for."""
COMPARED_SECTIONS = ("data", "evaluate")
"""Sections that are no science of a training, but make its numbers another setting's."""
NOT_COMPARED = ("run.seed", "data.num_workers", "data.prefetch", "data.cache_dir", "data.cache_gib", "data.stage_to", "data.verify", "data.ffcv_cache")
"""Keys that change no number of a setting, or that tell its trainings apart."""


def compare_runs(folders: Sequence[Path]) -> Comparison:
    """Evaluated runs by setting: runs whose configurations differ by the seed alone are trainings of one. Settings keep the order given.

    Raises:
        ConfigError: a folder is given twice, holds no run, or one that is not evaluated.
        DataError: a file is damaged, or trainings of one setting have no row in common.
    """
    roots = [folder.resolve() for folder in folders]
    for folder, root in zip(folders, roots, strict=True):
        if roots.count(root) > 1:
            raise ConfigError(f"{folder} is given twice; name each run once")
    found: dict[str, list[tuple[Config, Training]]] = {}
    for root in roots:
        run_dir = RunDir(root)
        config = load_run_config(run_dir)
        found.setdefault(repr(_compared_values(config)), []).append((config, _training(run_dir, seed=config.run.seed)))
    settings = tuple(_setting([training for _, training in members]) for members in found.values())
    configs = [members[0][0] for members in found.values()]
    return Comparison(_named_apart(settings), config_differences=_differences(configs), notes=tuple(_notes(list(found.values()), settings=settings)))


def format_for(name: str, *, out: Path | None) -> Format:
    """The format asked for: by its name, or where that is empty by the file's; "table" on a terminal.

    Raises:
        ConfigError: no such format, or one that needs a file.
    """
    chosen = name or ("table" if out is None else FORMAT_OF.get(out.suffix, ""))
    if chosen not in get_args(Format):
        which = f"--format must be one of {', '.join(get_args(Format))}" if name else f"--out must end in one of {', '.join(FORMAT_OF)}, or name a --format"
        raise ConfigError(f"{which}, got {name or str(out)!r}")
    if chosen == "html" and out is None:
        raise ConfigError("--format html is a page, which needs a file: --out comparison.html")
    if chosen == "table" and out is not None:
        raise ConfigError("--format table is for a terminal; write a file as markdown, latex, csv, json or html")
    return chosen  # type: ignore[return-value]


def _compared_values(config: Config) -> dict[str, Any]:
    """Every value that makes a setting, without the places that hold content."""
    flat, science = as_flat(config), set(science_keys())
    return {
        key: value for key, value in flat.items() if key not in (*NOT_COMPARED, *BY_CONTENT) and (key in science or key.partition(".")[0] in COMPARED_SECTIONS)
    }


def _training(run_dir: RunDir, *, seed: int) -> Training:
    path = run_dir.evaluation
    if not path.is_file():
        raise ConfigError(f"{run_dir.root} is not evaluated: there is no {path.name}; run: mcdist evaluate {run_dir.root}")
    evaluation = Evaluation.from_json(path.read_text(encoding="utf-8"), where=str(path))
    return Training(run_dir.root.name, seed=seed, records=tuple(read_metrics(run_dir.metrics)), evaluation=evaluation)


def _setting(trainings: list[Training]) -> Setting:
    """Trainings in the order of their seeds, so that two settings are paired by seed; named by what their folders' names have in common."""
    ordered = tuple(sorted(trainings, key=lambda one: (one.seed, one.name)))
    common = commonprefix([one.name for one in ordered]).rstrip("_-. ") if len(ordered) > 1 else ordered[0].name
    try:
        return Setting(common or ordered[0].name, ordered, pooled([one.evaluation for one in ordered]))
    except DataError as error:
        raise DataError(f"{', '.join(one.name for one in ordered)}: {error}") from error


def _named_apart(settings: tuple[Setting, ...]) -> tuple[Setting, ...]:
    """The same settings, numbered where two have the same name."""
    names = [setting.name for setting in settings]
    return tuple(
        Setting(f"{setting.name} ({place})" if names.count(setting.name) > 1 else setting.name, setting.trainings, setting.evaluation)
        for place, setting in enumerate(settings, start=1)
    )


def _differences(configs: Sequence[Config]) -> dict[str, tuple[str, ...]]:
    """Each key that is not the same everywhere, with its value in each setting."""
    values = [_compared_values(config) for config in configs]
    keys = dict.fromkeys(key for one in values for key in one)
    return {key: tuple(str(one.get(key, "-")) for one in values) for key in keys if len({repr(one.get(key)) for one in values}) > 1}


def _notes(members: list[list[tuple[Config, Training]]], *, settings: tuple[Setting, ...]) -> list[str]:
    """What makes numbers less comparable than they look."""
    notes = []
    first = settings[0].evaluation
    for setting in settings[1:]:
        if not same_photos(first, other=setting.evaluation):
            notes.append(f"{setting.name} was not judged on the same photos as {settings[0].name}, or one of the two by an earlier mcdist: not paired by photo")
    for name in {name: None for setting in settings for name in setting.evaluation.protocols}:
        switches = [one.evaluation.protocols.get(name) for setting in settings for one in setting.trainings]
        known = [one for one in switches if one is not None]
        for key in sorted({key for one in known for key in one}):
            if len({repr(one.get(key)) for one in known}) > 1:
                notes.append(f"{name} was judged with another {key}: {', '.join(dict.fromkeys(str(one.get(key)) for one in known))}")
    for setting, trainings in zip(settings, members, strict=True):
        steps = sorted({one.evaluation.step for one in setting.trainings})
        if len(steps) > 1:
            notes.append(f"{setting.name}: trainings were judged after steps {', '.join(map(str, steps))}")
        seeds = [one.seed for one in setting.trainings]
        if len(set(seeds)) < len(seeds):
            notes.append(f"{setting.name}: trainings share a seed ({', '.join(map(str, seeds))}), so their spread says little")
        for key in BY_CONTENT:
            if len(given := {str(as_flat(config)[key]) for config, _ in trainings}) > 1:
                notes.append(f"{setting.name}: trainings have their own {key} ({', '.join(sorted(given))})")
    return notes
