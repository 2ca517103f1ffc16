"""Rows: the lines of the paper's tables, read from configs/paper/rows.yaml. Every number of the paper is there and none is in code."""

from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from mcdist.choices import did_you_mean
from mcdist.config.presets import PAPER, presets_folder
from mcdist.config.values import typed_value
from mcdist.errors import ConfigError
from mcdist.yaml_text import YamlMapping, read_yaml

Part = Literal["train", "probe", "memory", "val"]
"""Shards of a data set: what is trained on, what a probe is fitted on, what retrieval remembers, what is judged."""
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Photos:
    """One list of photos: `photos` of them in ImageSets/Segmentation/SPLIT.txt. `keep_empty`: those without any mask stay."""

    split: str
    photos: int
    keep_empty: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """VOC 2012 with one kind of masks, whose folder has one of the names `masks`."""

    masks: tuple[str, ...]
    parts: dict[Part, Photos]


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """CONFIG.yaml in `folder`, the table's own, with `settings` over it, on the data set `data`."""

    config: str
    data: str
    settings: tuple[str, ...]
    folder: Path

    @property
    def path(self) -> Path:
        """Of the configuration."""
        return self.folder / f"{self.config}.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the paper.

    `line` says which. Judged is the row of `protocol` for `encoder` under `masks` (empty: whole photos), fitted on the part `fitted_on` where it needs one,
    with the settings `evaluation`. `paper`: what the paper reports, in % of mIoU; None where the table does not know it, and `origin` says where it is from.
    `assumed`: what the paper is silent about, or the notes are. `unjudged`: why a result cannot be compared, whatever it is; empty where it can.
    """

    name: str
    line: str
    training: str
    kind: str
    protocol: str
    origin: str
    paper: float | None
    fitted_on: str = ""
    encoder: str = "trained"
    masks: str = ""
    evaluation: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    unjudged: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Arithmetic of one photo, in GFLOP: of a training step, and of one encoder's look at a photo to be judged; and GFLOP/s that were measured."""

    train_gflop: float
    evaluate_gflop: float
    measured_gflops: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """All of the file. `tolerances` and `departures` are by the kind of a row; `small_training` and `small_evaluation` are the settings of a reduced run."""

    source: str
    costs: Costs
    data: dict[str, DataSet]
    trainings: dict[str, Training]
    small_training: tuple[str, ...]
    small_evaluation: tuple[str, ...]
    tolerances: dict[str, float]
    departures: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rows: dict[str, Row]

    def row(self, name: str) -> Row:
        """The row; ConfigError names the nearest where there is none."""
        if name not in self.rows:
            raise ConfigError(f"unknown row {name!r} of the paper; {did_you_mean(name, tuple(self.rows))}rows: {', '.join(self.rows)}")
        return self.rows[name]


def paper_folder() -> Path:
    """The folder of the rows and of their configurations."""
    return presets_folder() / PAPER


def read_paper_table(path: Path | None = None) -> PaperTable:
    """The table in `path`, or the one that comes with mcdist.

    Raises:
        ConfigError: it cannot be read, or a key is missing, unknown or of another type; a row names a training, a data set or a tolerance that is not there.
    """
    path = path or paper_folder() / "rows.yaml"
    try:
        content = read_yaml(path.read_text(encoding="utf-8"), where=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the table of the paper's rows {path} ({error}); it comes with mcdist, or name another with --table FILE") from error
    top = _section(content, keys=("source", "costs", "data", "trainings", "small", "tolerances", "departures", "rows"), where=str(path))
    small = _section(top["small"], keys=("training", "evaluation"), where=f"small in {path}")
    table = PaperTable(
        source=typed_value(top["source"], kind=str, key="source", where=str(path)),
        costs=_filled(Costs, top["costs"], where=f"costs in {path}"),
        data={name: _data_set(found, where=f"data.{name} in {path}") for name, found in _mapping(top["data"], where=f"data in {path}").items()},
        trainings={
            name: _filled(Training, found, where=f"trainings.{name} in {path}", folder=path.parent)
            for name, found in _mapping(top["trainings"], where=f"trainings in {path}").items()
        },
        small_training=_texts(small["training"], where=f"small.training in {path}"),
        small_evaluation=_texts(small["evaluation"], where=f"small.evaluation in {path}"),
        tolerances={
            kind: typed_value(points, kind=float, key=kind, where=str(path))
            for kind, points in _mapping(top["tolerances"], where=f"tolerances in {path}").items()
        },
        departures={
            kind: _texts(lines, where=f"departures.{kind} in {path}") for kind, lines in _mapping(top["departures"], where=f"departures in {path}").items()
        },
        rows={name: _row(name, found, where=f"rows.{name} in {path}") for name, found in _mapping(top["rows"], where=f"rows in {path}").items()},
    )
    _check_names(table, path=path)
    return table


def _check_names(table: PaperTable, *, path: Path) -> None:
    for name, training in table.trainings.items():
        if training.data not in table.data:
            raise ConfigError(f"trainings.{name} in {path} names the data set {training.data!r}, there are: {', '.join(table.data)}")
    for row in table.rows.values():
        for key, value, known in (("training", row.training, table.trainings), ("kind", row.kind, table.tolerances), ("fitted_on", row.fitted_on, PARTS)):
            if value and value not in known:
                raise ConfigError(f"rows.{row.name}.{key} in {path} must be one of {', '.join(known)}, got {value!r}")


def _data_set(content: Any, *, where: str) -> DataSet:
    found = _section(content, keys=("masks", *PARTS), where=where)
    return DataSet(masks=_texts(found["masks"], where=where), parts={part: _filled(Photos, found[part], where=f"{part} of {where}") for part in PARTS})


def _row(name: str, content: Any, *, where: str) -> Row:
    """`from` is a word of Python, so the field is called origin."""
    found = dict(_mapping(content, where=where))
    if "from" in found:
        found["origin"] = found.pop("from")
    return _filled(Row, found, where=where, name=name)


Kind = TypeVar("Kind")


def _filled(kind: type[Kind], content: Any, *, where: str, **given: Any) -> Kind:
    """A dataclass of what the mapping holds: text, numbers, lists of texts. A field without a default must be there."""
    found = _mapping(content, where=where)
    known: dict[str, Field[Any]] = {one.name: one for one in fields(kind) if one.name not in given}  # type: ignore[arg-type]
    if unknown := [key for key in found if key not in known]:
        raise ConfigError(f"unknown key {unknown[0]!r} in {where}; {did_you_mean(unknown[0], tuple(known))}keys: {', '.join(known)}")
    if missing := [name for name, one in known.items() if one.default is MISSING and name not in found]:
        raise ConfigError(f"{where} lacks {missing[0]}; keys: {', '.join(known)}")
    values = {key: _typed(value, kind=known[key].type, key=key, where=where) for key, value in found.items()}
    return kind(**given, **values)


def _typed(value: Any, *, kind: Any, key: str, where: str) -> Any:
    if kind == tuple[str, ...]:
        return _texts(value, where=f"{key} of {where}")
    if kind == float | None:
        return None if value is None else typed_value(value, kind=float, key=key, where=where)
    return typed_value(value, kind=kind, key=key, where=where)


def _texts(value: Any, *, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ConfigError(f"{where} must be a list of texts, got {value!r}")
    return tuple(value)


def _mapping(content: Any, *, where: str) -> dict[str, Any]:
    if not isinstance(content, YamlMapping | dict):
        raise ConfigError(f"{where} must be a mapping, got {type(content).__name__}")
    return content


def _section(content: Any, *, keys: tuple[str, ...], where: str) -> dict[str, Any]:
    found = _mapping(content, where=where)
    if set(found) != set(keys):
        raise ConfigError(f"{where} must have the keys {', '.join(keys)}, got {', '.join(found)}")
    return found
