"""Comparison: several settings side by side, each trained once or several times; as lines for a table, a page and files for other programs."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rich import box
from rich.table import Table

from mcdist.records import Difference, Evaluation, Record, Row, difference
from mcdist.records.names import BASELINE
from mcdist.records.trainings import row_key, same_photos
from mcdist.report.table import baseline_of, clusters_text, interval_text, mean_and_std, metric_label, verdict_text

TableFormat = Literal["table", "markdown", "latex", "csv", "json"]


@dataclass(frozen=True, slots=True)
class Training:
    """One run: its folder's name, its seed, what it recorded, and the evaluation of it alone."""

    name: str
    seed: int
    records: tuple[Record, ...]
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class Setting:
    """One configuration but for the seed. `evaluation`: that of all its trainings (`records.trainings.pooled`)."""

    name: str
    trainings: tuple[Training, ...]
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class Line:
    """The rows that measured the same, one for each setting, None where it has none. `differences`: to the first setting's row, or with one setting alone
    to its frozen start; None where there is nothing to compare with."""

    rows: tuple[Row | None, ...]
    differences: tuple[Difference | None, ...]
    is_headline: bool

    @property
    def any_row(self) -> Row:
        """The first row there is."""
        return next(row for row in self.rows if row is not None)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`config_differences`: by configuration key, its value in each setting. `notes`: what makes the settings less comparable, a sentence each."""

    settings: tuple[Setting, ...]
    config_differences: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[Line, ...]:
        """In the order of the first setting's rows, then those that only others have; the headline's first."""
        tables = [{row_key(row): row for row in setting.evaluation.rows} for setting in self.settings]
        keys = list(dict.fromkeys(key for table in tables for key in table))
        first = self.settings[0].evaluation
        quoted = row_key(first.rows[first.headline]) if 0 <= first.headline < len(first.rows) else None
        keys.sort(key=lambda key: quoted is None or key[0] != quoted[0])
        return tuple(self._line([table.get(key) for table in tables], is_headline=key == quoted) for key in keys)

    @property
    def is_of_one_setting(self) -> bool:
        """Whether there is nothing to compare with but the frozen start."""
        return len(self.settings) == 1

    @property
    def difference_headings(self) -> tuple[str, ...]:
        """What each difference that is shown is, in words."""
        if self.is_of_one_setting:
            return (f"vs {BASELINE}",)
        return tuple(f"{setting.name} - {self.settings[0].name}" for setting in self.settings[1:])

    def _line(self, rows: Sequence[Row | None], *, is_headline: bool) -> Line:
        if self.is_of_one_setting:
            (row,) = rows
            assert row is not None
            baseline = baseline_of(self.settings[0].evaluation, row=row)
            found = None if baseline is None or row.subject.encoder == BASELINE else difference(row, baseline=baseline)
            return Line(tuple(rows), (found,), is_headline)
        first, compared = rows[0], []
        for row, setting in zip(rows[1:], self.settings[1:], strict=True):
            paired = same_photos(self.settings[0].evaluation, other=setting.evaluation)
            compared.append(None if row is None or first is None else difference(row, baseline=first, same_photos=paired))
        return Line(tuple(rows), tuple(compared), is_headline)


def comparison_text(comparison: Comparison, *, form: TableFormat) -> str:
    """The comparison as text of a format that other programs read; "table" is `comparison_table`'s business."""
    if form == "json":
        return json.dumps(_as_json(comparison), indent=1) + "\n"
    if form == "csv":
        return _csv(flat_records(comparison))
    header, body = _cells(comparison)
    return _latex(header, body, comparison=comparison) if form == "latex" else _markdown(header, body, comparison=comparison)


def comparison_table(comparison: Comparison) -> Table:
    """The table for a terminal."""
    header, body = _cells(comparison)
    table = Table(box=box.ROUNDED, header_style="bold cyan", border_style="bright_black", caption="\n".join(_explanations(comparison)), caption_justify="left")
    for place, name in enumerate(header):
        table.add_column(name, justify="right" if place >= _NUM_NAMES else "left", overflow="fold")
    for cells, line in zip(body, comparison.lines, strict=True):
        table.add_row(*cells, style="bold green" if line.is_headline else "")
    return table


def flat_records(comparison: Comparison) -> list[dict[str, Any]]:
    """One flat record for each row of each setting, in full precision; what is not known is None."""
    records = []
    for line in comparison.lines:
        padded = line.differences if comparison.is_of_one_setting else (None, *line.differences)
        for setting, row, found in zip(comparison.settings, line.rows, padded, strict=True):
            if row is not None:
                records.append(_flat(setting, row=row, found=found))
    return records


_NUM_NAMES = 4
"""Columns of text before those of numbers."""


def _flat(setting: Setting, *, row: Row, found: Difference | None) -> dict[str, Any]:
    low, high = row.interval or (None, None)
    difference_low, difference_high = (found.interval if found is not None else None) or (None, None)
    return {
        "setting": setting.name,
        "num_trainings": len(setting.trainings),
        "masks": row.subject.masks,
        "protocol": row.protocol,
        "num_clusters": row.num_clusters,
        "encoder": row.subject.encoder,
        "metric": row.metric,
        "unit": row.unit,
        "mean": row.mean,
        "std": row.std,
        "num_values": len(row.values),
        "interval_low": low,
        "interval_high": high,
        "difference": None if found is None else found.mean,
        "difference_std": None if found is None else found.std,
        "difference_low": difference_low,
        "difference_high": difference_high,
        "verdict": "" if found is None else found.word,
    }


def _as_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "format": "mcdist comparison 1",
        "settings": [
            {"name": setting.name, "trainings": [{"name": one.name, "seed": one.seed} for one in setting.trainings]} for setting in comparison.settings
        ],
        "difference_to": BASELINE if comparison.is_of_one_setting else comparison.settings[0].name,
        "config_differences": {key: list(values) for key, values in comparison.config_differences.items()},
        "notes": list(comparison.notes),
        "rows": flat_records(comparison),
    }


def _cells(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Heading and lines of the table that people read."""
    header = ["masks", "protocol", "encoder", "metric", *(setting.name for setting in comparison.settings), *comparison.difference_headings]
    return header, [_line_cells(line) for line in comparison.lines]


def _line_cells(line: Line) -> list[str]:
    row = line.any_row
    protocol = ", ".join(filter(None, (row.protocol, clusters_text(row), str(row.details.get("pooling", "")))))
    values = ["" if one is None else " ".join(filter(None, (mean_and_std(one), interval_text(one.interval, unit=one.unit)))) for one in line.rows]
    return [row.subject.masks or "-", protocol, row.subject.encoder, metric_label(row), *values, *(difference_cell(found, row=row) for found in line.differences)]


def difference_cell(found: Difference | None, *, row: Row) -> str:
    """`+5.6 ± 1.2 [3.1, 8.0] clear`; empty where there is nothing to compare with."""
    return "" if found is None else verdict_text(found, unit=row.unit)


def _explanations(comparison: Comparison) -> list[str]:
    most = max(len(setting.trainings) for setting in comparison.settings)
    over = "trainings (each the mean over its clusterings), where a setting has several, else over clusterings" if most > 1 else "clusterings of one training"
    to = f"each setting's {BASELINE}" if comparison.is_of_one_setting else f"{comparison.settings[0].name}, paired by seed and photo where both have the same"
    counts = ", ".join(f"{setting.name}: {len(setting.trainings)}" for setting in comparison.settings)
    return [
        f"mean ± standard deviation over {over}; [95 % over photos]; differences to {to}; trainings: {counts}",
        *comparison.notes,
    ]


def _markdown(header: list[str], body: list[list[str]], *, comparison: Comparison) -> str:
    rule = ["---" if place < _NUM_NAMES else "---:" for place in range(len(header))]
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |" for cells in (header, rule, *body)]
    return "\n".join([*lines, "", *(f"{text}." for text in _explanations(comparison)), ""])


_LATEX = {"\\": r"\textbackslash{}", **{sign: f"\\{sign}" for sign in "&%$#_{}"}, "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}


def _latex(header: list[str], body: list[list[str]], *, comparison: Comparison) -> str:
    """A tabular of the booktabs package."""
    form = "l" * _NUM_NAMES + "r" * (len(header) - _NUM_NAMES)
    rows = [" & ".join("".join(_LATEX.get(sign, sign) for sign in cell) for cell in cells) + r" \\" for cells in (header, *body)]
    comments = [f"% {text}".replace("\n", " ") for text in _explanations(comparison)]
    return "\n".join([*comments, rf"\begin{{tabular}}{{{form}}}", r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule", r"\end{tabular}", ""])


def _csv(records: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()
