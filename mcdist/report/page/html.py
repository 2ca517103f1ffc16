"""report.html: one self-contained file made from a run folder's files alone; each file may be missing.

Everything shown is escaped, since keys, paths and settings are untrusted text. Pictures and figures are part of the page, so nothing is fetched.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mcdist.errors import ConfigError, DataError
from mcdist.json_text import parse_json
from mcdist.records import Evaluation, Record, Row
from mcdist.records.names import BASELINE
from mcdist.records.object_map import ObjectMap
from mcdist.records.references import Reference, references_of
from mcdist.report import palette, table
from mcdist.report.bad_samples import read_bad_samples
from mcdist.report.jsonl import read_metrics
from mcdist.report.page import figures
from mcdist.report.page.picture import picture
from mcdist.report.page.rounds import choices, round_lines
from mcdist.report.page.templates import template
from mcdist.report.pictures.clusters import cluster_files, cluster_number
from mcdist.report.pictures.failures import failure_scores
from mcdist.report.pictures.neighbours import neighbour_files
from mcdist.report.pictures.panels import COLUMNS, panel_files, panel_key
from mcdist.report.pictures.retrieved import retrieved_strips
from mcdist.run_dir import RunDir, write_atomically
from mcdist.yaml_text import read_yaml

_COUNTS = (
    ("count/redrawn", "views drawn again (too little or too much foreground)"),
    ("count/emptied", "samples without usable foreground (void)"),
    ("count/dropped_objects", "objects left out (more than views.max_objects)"),
    ("count/bad_samples", "samples that could not be read (void everywhere)"),
    ("count/nonfinite_steps", "steps with a non-finite loss or gradient"),
)

_SHOWN_BAD_SAMPLES = 20


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a list of facts."""

    name: str
    value: str


def write_report(run_dir: RunDir) -> Path:
    """Write `run_dir.report` from the run's files and return its path.

    Raises:
        ConfigError: there is no such folder.
        DataError: a file that is there is damaged.
        MachineError: the report cannot be written.
    """
    if not run_dir.root.is_dir():
        raise ConfigError(f"expected a run's folder at {run_dir.root}, found none; train first: mcdist train CONFIG run.dir={run_dir.root}")
    write_atomically(run_dir.report, template("report.html.jinja").render(_content(run_dir)).encode())
    return run_dir.report


def _content(run_dir: RunDir) -> dict[str, Any]:
    records = read_metrics(run_dir.metrics)
    config_text = _text(run_dir.config)
    starts = _starts(run_dir.environment)
    evaluation = _evaluation(run_dir.evaluation)
    return {
        "name": run_dir.root.resolve().name,
        "setup": _setup(_sections(config_text)),
        "last_step": max((record.step for record in records), default=evaluation.step if evaluation else 0),
        "curves": [Markup(svg) for svg in figures.curves_svg(records)],
        "last_values": _last_values(records),
        "counts": _counts(records),
        "bad_samples": _bad_samples(read_bad_samples(run_dir.bad_samples)),
        "starts": [_start_facts(start) for start in starts],
        "config_text": config_text,
        "pictures": [picture(path, key=panel_key(path)) for path in panel_files(run_dir.panels)],
        "failures": [picture(path, key=panel_key(path), caption=f"mIoU of this photo {score:.1f} %") for path, score in failure_scores(run_dir.failures)],
        "typical": [picture(path, key=str(cluster_number(path))) for path in cluster_files(run_dir.clusters)],
        "neighbours": [picture(path, key=path.stem.removeprefix("object_").lstrip("0")) for path in neighbour_files(run_dir.neighbours)],
        "retrieved": [(one, picture(one.path, key=one.true_class)) for one in retrieved_strips(run_dir.retrieved)],
        "rounds": round_lines(run_dir.groups),
        "choices": choices(run_dir.groups, learnt=_sections(config_text).get("groups", {}).get("num_groups") or []),
        "START": BASELINE,
        **_mapped(run_dir.object_map),
        **_evaluated(evaluation),
    }


def _mapped(path: Path) -> dict[str, Any]:
    """The map of objects: a figure for each encoder, and the colours of its classes."""
    text = _text(path)
    if not text:
        return {"object_map": None, "map_figures": [], "map_legend": []}
    found = ObjectMap.from_json(text, where=str(path))
    shown = sorted(set(found.class_of))
    colours = palette.class_colours(len(found.classes))
    return {
        "object_map": found,
        "map_figures": [Markup(figures.object_map_svg(found, projection=projection)) for projection in found.projections],
        "map_legend": [(found.classes[index], colours[index]) for index in shown],
    }


def _evaluated(evaluation: Evaluation | None) -> dict[str, Any]:
    if evaluation is None:
        return {"evaluation": None, "legend": [], "columns": COLUMNS}
    if not evaluation.has_truth:
        return _clustered(evaluation)
    row = table.headline(evaluation)
    groups = table.evaluation_groups(evaluation)
    return {
        "evaluation": evaluation,
        "columns": COLUMNS,
        "headline": row,
        "groups": groups,
        "beside": [compared for compared in groups[0].rows if not compared.is_headline] if groups and row else [],
        "mean_and_std": table.mean_and_std,
        "interval_text": table.interval_text,
        "references": _references(groups),
        "clusters": _matched_clusters(evaluation, row=row),
        "difference_text": table.difference_text,
        "verdict": table.verdict,
        "compared_headline": next((compared for compared in groups[0].rows if compared.is_headline), None) if groups else None,
        "legend": list(zip(evaluation.classes, palette.class_colours(len(evaluation.classes)), strict=True))[1:],
        "bars": Markup(figures.class_bars_svg(evaluation)),
        "confusion": Markup(figures.confusion_svg(evaluation)),
        "evaluation_facts": _evaluation_facts(evaluation),
        "BASELINE": BASELINE,
    }


def _matched_clusters(evaluation: Evaluation, *, row: Row | None) -> dict[str, tuple[str, str, int]]:
    """Of each cluster of the headline, by its number on the page: the class that it was matched with, that class's colour, and its objects."""
    if row is None:
        return {}
    colours = palette.class_colours(len(evaluation.classes))
    matched = zip(row.details.get("class_of_cluster", []), row.details.get("cluster_sizes", []), strict=False)
    known = range(len(evaluation.classes))
    return {str(number): (evaluation.classes[index], colours[index], size) for number, (index, size) in enumerate(matched, start=1) if index in known}


def _references(groups: tuple[table.Group, ...]) -> dict[int, tuple[Reference, ...]]:
    """What papers report, by the place of the first group of their protocol."""
    first: dict[str, int] = {}
    for place, group in enumerate(groups):
        first.setdefault(group.protocol, place)
    return {place: found for protocol, place in first.items() if (found := references_of(protocol))}


def _clustered(evaluation: Evaluation) -> dict[str, Any]:
    """Without ground truth: clusters by number, their sizes and measures."""
    quoted = evaluation.rows[evaluation.headline]
    colours = palette.class_colours(len(evaluation.classes))
    return {
        "evaluation": evaluation,
        "columns": COLUMNS[:-1],
        "headline": None,
        "quoted": quoted,
        "cluster_rows": table.cluster_rows(evaluation),
        "legend": list(zip(evaluation.classes, colours, strict=True))[1:],
        "sizes": {number: (size, colours[number]) for number, size in enumerate(quoted.details["sizes"], start=1)},
        "bars": "",
        "confusion": "",
        "evaluation_facts": _evaluation_facts(evaluation),
    }


def _evaluation_facts(evaluation: Evaluation) -> list[Fact]:
    settings = [Fact(key, str(value)) for key, value in evaluation.settings.items()]
    protocols = [Fact(name, table.switches_text(switches)) for name, switches in evaluation.protocols.items()]
    return [*settings, *protocols, *_clustered_with(evaluation), Fact("time", _duration(evaluation.wall_s))]


def _clustered_with(evaluation: Evaluation) -> list[Fact]:
    """What the rows say about their own clustering, each once: how the number of clusters was chosen, and dimensions fewer than asked for."""
    facts: dict[tuple[str, str], str] = {}
    for row in evaluation.rows:
        if "chosen_by" in row.details:
            facts[row.protocol, "num_clusters"] = f"{row.num_clusters}, by {row.details['chosen_by']}"
        asked = evaluation.protocols.get(row.protocol, {}).get("pca_dim", 0)
        if row.details.get("num_dims", asked) < asked:
            facts[row.protocol, f"dimensions of {row.subject.masks}, {row.subject.encoder}"] = f"{row.details['num_dims']} of {asked}"
    return [Fact(f"{protocol}, {name}", value) for (protocol, name), value in facts.items()]


def _evaluation(path: Path) -> Evaluation | None:
    text = _text(path)
    return Evaluation.from_json(text, where=str(path)) if text else None


def _text(path: Path) -> str:
    """The file's text; empty where there is no file."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path} for the report: {getattr(error, 'strerror', None) or 'it is not text'}; restore or remove it") from error


def _sections(config_text: str) -> dict[str, dict[str, Any]]:
    """The configuration as plain sections; none if it is not YAML, since the report shows its text anyway."""
    try:
        content = read_yaml(config_text, where="config.yaml")
    except ConfigError:
        return {}
    return {key: value for key, value in content.items() if isinstance(value, dict)} if isinstance(content, dict) else {}


def _setup(sections: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the first sentence says about the run; a missing key is None."""
    wanted = {
        "backbone": ("model", "backbone"),
        "weights": ("model", "weights"),
        "decoder": ("model", "decoder"),
        "train": ("data", "train"),
        "global_batch": ("optim", "global_batch"),
        "epochs": ("optim", "epochs"),
    }
    setup = {name: sections.get(section, {}).get(key) for name, (section, key) in wanted.items()}
    return {**setup, "train": Path(str(setup["train"])).name if setup["train"] else None}


def _starts(path: Path) -> list[dict[str, Any]]:
    text = _text(path)
    try:
        content = parse_json(text) if text else []
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); restore or remove it") from error
    listed = content if isinstance(content, list) else [content]
    return [start for start in listed if isinstance(start, dict)]


def _start_facts(start: dict[str, Any]) -> list[Fact]:
    """One start of the run. Missing keys are left out, unknown keys are shown unchanged."""
    known = ("time", "command", "commit", "host_cpu", "num_cores", "memory_gib", "device", "num_ranks", "precision", "gpu_kernels", "versions")
    labels = {"host_cpu": "processor", "num_cores": "cores", "memory_gib": "memory", "num_ranks": "ranks", "gpu_kernels": "GPU kernels"}
    ordered = [key for key in known if key in start] + [key for key in start if key not in known]
    return [Fact(labels.get(key, key), _shown(key, start[key])) for key in ordered]


def _shown(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return f"{value:.1f} GiB" if key == "memory_gib" and isinstance(value, int | float) else str(value)


def _counts(records: list[Record]) -> list[Fact]:
    """The last value of each cumulative count."""
    last = {record.name: record.value for record in records if record.name.startswith("count/")}
    labels = {**{name: name.removeprefix("count/").replace("_", " ") for name in last}, **dict(_COUNTS)}
    return [Fact(label, f"{last[name]:,.0f}") for name, label in labels.items() if name in last]


def _bad_samples(listed: list[dict[str, Any]]) -> list[Fact]:
    """Each sample once, though it may have occurred in every epoch; only the first few."""
    by_place = {(line["shard"], line["index"]): line for line in listed}
    facts = [Fact(f"{line['shard']}, {line['key'] or line['index']}", str(line["reason"])) for line in by_place.values()]
    left = len(facts) - _SHOWN_BAD_SAMPLES
    return facts[:_SHOWN_BAD_SAMPLES] + ([Fact(f"{left:,} more", "see bad_samples.jsonl")] if left > 0 else [])


def _last_values(records: list[Record]) -> list[Fact]:
    last = {record.name: record for record in records}
    wanted = {
        "loss": "loss",
        "accuracy_percent": "pixels that pick their own object",
        "groups/accuracy_percent": "cells that name their object's group",
        "images_per_s": "images a second",
        "memory_resident_gib": "peak memory of a process",
        "memory_device_gib": "peak memory of a device",
    }
    facts = [(label, last[name]) for name, label in wanted.items() if name in last]
    return [Fact(label, f"{record.value:,.3g}{' ' + record.unit if record.unit in ('%', 'GiB') else ''}") for label, record in facts]


def _duration(seconds: float) -> str:
    minutes, rest_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest_s:02d} s" if minutes else f"{rest_s} s"
