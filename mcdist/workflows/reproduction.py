"""The story of a reproduction: a row of the paper is set up, trained, judged and compared with what the paper reports.

Each step goes on where it was stopped and does nothing where it is done. Trainings are shared: rows that differ by their protocol alone are judged on the same
ones. What is less than the row (another network, fewer photos) is a reduced run: it is called one everywhere and never compared with the paper.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mcdist.building.folder.build import build_shards
from mcdist.building.pictures.treatment import Treatment
from mcdist.building.sources.voc import voc_folder, voc_source
from mcdist.config import Config
from mcdist.config.file import load_config, load_run_config, require_given_once
from mcdist.config.keys import as_flat
from mcdist.config.science import science_differences
from mcdist.data.shards.manifest import MANIFEST_NAME, read_manifest
from mcdist.errors import ConfigError, DataError, MachineError, McdistError
from mcdist.machine.matrix_rate import matrix_gflops
from mcdist.ranks.place import find_place
from mcdist.records import Evaluation
from mcdist.records import Row as EvaluationRow
from mcdist.records.names import MIOU, PROTOCOLS
from mcdist.report.progress import progress_bar
from mcdist.report.stages import Stages
from mcdist.reproduction.estimate import Estimate, estimate_row
from mcdist.reproduction.rows import PARTS, DataSet, PaperTable, Part, Row, Training, read_paper_table
from mcdist.reproduction.verdict import Verdict, judge_row
from mcdist.run import train_run
from mcdist.run_dir import RunDir, list_checkpoints, step_of, write_atomically
from mcdist.train.engines.engine import DTYPES
from mcdist.workflows.evaluation import evaluate_run

STAGES = ("shards", "training", "evaluation", "verdict")
OWN_KEYS = ("run.dir", "run.seed", "data.train", "data.val")
"""Settings that a reproduction sets itself."""
HARMLESS_KEYS = ("evaluate.batch", "evaluate.chunk", "evaluate.num_panels", "evaluate.every", "evaluate.every_photos", "evaluate.every_by")
"""Settings of an evaluation that change no score at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a person asked for, checked. `reduced`: in what it is less than the row, as far as settings say it."""

    row: Row
    training: Training
    data_set: DataSet
    tolerance: float
    root: Path
    out: Path
    num_seeds: int
    overrides: tuple[str, ...]
    reduced: tuple[str, ...]
    small: bool

    @property
    def parts(self) -> tuple[Part, ...]:
        """The shards that the row needs."""
        return tuple(part for part in PARTS if part in ("train", "val", self.row.fitted_on))

    def shards(self, part: Part) -> Path:
        """Where the shards of a part are, or where they are to be built: below `root`, else below `out`."""
        below = Path(self.training.data) / part
        return self.root / below if (self.root / below / MANIFEST_NAME).is_file() else self.out / "shards" / below

    def run_dir(self, seed: int) -> RunDir:
        """The training with this seed, which other rows of the same training share."""
        return RunDir(self.out / "trainings" / self.row.training / f"seed_{seed}")

    def config(self, seed: int) -> Config:
        """Of the training."""
        own = [f"run.seed={seed}"]
        config = load_config(self.training.path, overrides=[*self.training.settings, *self.overrides, *own])
        data = replace(config.data, train=str(self.shards("train").resolve()), val=str(self.shards("val").resolve()))
        return replace(config, run=replace(config.run, dir=str(self.run_dir(seed).root)), data=data)

    @property
    def judged_name(self) -> str:
        """Of the folder of an evaluation, which rows share that differ by what they quote of it."""
        name = self.row.protocol.replace("/", "_")
        fitted = f"-fitted_on_{self.row.fitted_on}" if self.row.fitted_on else ""
        return "-".join([f"{name}{fitted}", *(re.sub(r"[^\w.]+", "_", text) for text in self.row.evaluation)])

    @property
    def result(self) -> Path:
        """The verdict's file."""
        return self.out / "results" / f"{self.row.name}.json"


def make_order(
    name: str, *, data: Path, out: Path, num_seeds: int, overrides: Sequence[str], small: bool, table: PaperTable | None = None
) -> tuple[Order, PaperTable]:
    """Check what was asked for.

    `overrides` that change speed alone are taken as they are; others, and `small`, make a reduced run.

    Raises:
        ConfigError: no such row or setting, no training to judge, or several ranks.
    """
    table = table or read_paper_table()
    row = table.row(name)
    if find_place().num_ranks > 1:
        training = table.trainings[row.training]
        raise ConfigError(
            f"mcdist reproduce is one process; train on several devices with torchrun -m mcdist train {training.path} run.dir=DIR data.train=SHARDS, with the "
            f"folders that mcdist reproduce {name} --plan names, then give the same mcdist reproduce again"
        )
    if num_seeds < 1:
        raise ConfigError(f"--seeds must be at least 1, got {num_seeds}")
    require_given_once(overrides)
    for override in overrides:
        if override.partition("=")[0] in OWN_KEYS:
            raise ConfigError(f"mcdist reproduce sets {override.partition('=')[0]} itself, got {override}; use --data, --out and --seeds")
    training = table.trainings[row.training]
    smaller_training, smaller_evaluation = (table.small_training, table.small_evaluation) if small else ((), ())
    order = Order(
        row=row,
        training=training,
        data_set=table.data[training.data],
        tolerance=table.tolerances[row.kind],
        root=data,
        out=out,
        num_seeds=num_seeds,
        overrides=_merged(smaller_training, smaller_evaluation, overrides),
        reduced=(),
        small=small,
    )
    return replace(order, reduced=_less_than_row(order)), table


def plan_lines(order: Order, *, table: PaperTable) -> list[str]:
    """The steps, the photos and the time, without doing anything but two matrix products."""
    config = order.config(0)
    photos = {part: order.data_set.parts[part].photos for part in order.parts}
    lines = [f"{order.row.name}: {order.row.line}", *_titled(order), ""]
    for part in order.parts:
        folder, wanted = order.shards(part), order.data_set.parts[part]
        there = (folder / MANIFEST_NAME).is_file()
        if there:
            photos[part] = _num_photos(folder)
        what = f"{photos[part]:,} photos, there" if there else f"to be built of {wanted.split}.txt: {wanted.photos:,} photos"
        lines.append(f"shards, {part}: {folder} ({what})")
    steps = -(-config.optim.epochs * photos["train"] // config.optim.global_batch)
    for seed in range(order.num_seeds):
        lines.append(
            f"training, seed {seed}: {steps:,} steps of {config.optim.global_batch} photos, {config.optim.epochs} epochs, into {order.run_dir(seed).root}"
        )
    lines.append(f"evaluation: {order.row.protocol}, {order.row.encoder}" + (f", fitted on {order.row.fitted_on}" if order.row.fitted_on else ""))
    judged = sum(num for part, num in photos.items() if part != "train")
    estimate = estimate_row(table.costs, num_photos=photos["train"], epochs=config.optim.epochs, num_seeds=order.num_seeds, judged_photos=judged)
    return [*lines, *_time_lines(estimate, order=order, table=table, config=config)]


def reproduce(order: Order, *, table: PaperTable) -> Verdict | int:
    """Run the row, or go on with it. The verdict, or the exit code of the signal that stopped its training.

    Raises:
        ConfigError, DataError, CheckpointError, MachineError: as building, training and evaluating.
    """
    stages = Stages(STAGES)
    if reason := _hopeless(order):
        stages.say(f"{order.row.name} cannot be judged, so nothing is trained: {reason}")
        return _written(order, judge_row(order.row, values=(), tolerance=order.tolerance, reduced=order.reduced), table=table)
    for line in _titled(order):
        stages.say(line)
    with stages.stage("shards"):
        fewer = tuple(line for part in order.parts if (line := _prepared(order, part=part, say=stages.say)))
    if fewer and not order.small:
        raise DataError(f"{'; '.join(fewer)}: that is not the paper's data; give the whole of VOC 2012, or go on with a reduced run: --small")
    order = replace(order, reduced=(*order.reduced, *fewer))
    with stages.stage("training"):
        for seed in range(order.num_seeds):
            if code := train_run(order.config(seed)):
                return code
    with stages.stage("evaluation"):
        evaluations = [_evaluated(order, seed=seed) for seed in range(order.num_seeds)]
    with stages.stage("verdict"):
        problem = next((text for one in evaluations if (text := _lack_of(one, row=order.row))), "")
        values = [] if problem else [_rows_for(one, row=order.row)[0].mean for one in evaluations]
        verdict = judge_row(order.row, values=values, tolerance=order.tolerance, reduced=order.reduced, problem=problem)
        return _written(order, verdict, table=table)


def verdict_lines(verdict: Verdict, *, table: PaperTable) -> list[str]:
    """The verdict in words, with what makes the numbers less comparable than they look."""
    row = table.rows[verdict.row]
    paper = "not in the table" if verdict.paper is None else f"{verdict.paper:.1f}"
    title = f"REDUCED RUN of {row.name}, not the paper's row" if verdict.reduced else row.name
    lines = [f"{title}: {row.line}", f"paper   {paper} mIoU ({table.source}; {row.origin})", f"ours    {verdict.ours}; tolerance {verdict.tolerance:g} points"]
    if verdict.values:
        lines += [f"assumed {text}" for text in row.assumed] + [f"differs {text}" for text in table.departures.get(row.kind, ())]
    return [*lines, f"verdict {verdict.word}: {verdict.reason}"]


def _merged(*settings: Sequence[str]) -> tuple[str, ...]:
    """The later ones win."""
    found = {text.partition("=")[0]: text for several in settings for text in several}
    return tuple(found.values())


def _less_than_row(order: Order) -> tuple[str, ...]:
    """Settings that are not the row's own and change a score."""
    row = load_config(order.training.path, overrides=list(order.training.settings))
    asked = load_config(order.training.path, overrides=[*order.training.settings, *order.overrides])
    changed = science_differences(row, asked)
    own, ours = as_flat(row), as_flat(asked)
    changed |= {key: f"{own[key]} -> {ours[key]}" for key in own if key.startswith("evaluate.") and key not in HARMLESS_KEYS and own[key] != ours[key]}
    if order.small:
        return (f"--small, in which {len(changed)} settings are not the row's",)
    return tuple(f"{key}: {change}" for key, change in changed.items())


def _hopeless(order: Order) -> str:
    """Why no training could be judged, where that is known before it. A reduced run shows the steps of such a row, if mcdist evaluate has its protocol."""
    row = order.row
    if row.protocol not in PROTOCOLS:
        return row.unjudged or f"mcdist evaluate has no protocol {row.protocol}"
    if order.reduced:
        return ""
    return row.unjudged or (f"the paper's number is not in the table ({row.origin})" if row.paper is None else "")


def _titled(order: Order) -> list[str]:
    return [f"REDUCED RUN, not the paper's row, and never compared with it: {'; '.join(order.reduced)}"] if order.reduced else []


def _prepared(order: Order, *, part: Part, say: Callable[[str], None]) -> str:
    """Build the shards of a part where there are none. What is missing of the paper's photos, empty where they are whole."""
    folder, wanted = order.shards(part), order.data_set.parts[part]
    if not (folder / MANIFEST_NAME).is_file():
        _build(order, part=part)
    found = _num_photos(folder)
    say(f"      {part}: {found:,} photos in {folder}")
    return "" if found == wanted.photos else f"{part} has {found:,} photos, the paper's {wanted.split} {wanted.photos:,}"


def _num_photos(folder: Path) -> int:
    """Of the list that shards were built of: those without a mask were left out."""
    manifest = read_manifest(folder)
    return manifest.num_samples + len(manifest.skipped)


def _build(order: Order, *, part: Part) -> None:
    wanted, out = order.data_set.parts[part], order.shards(part)
    try:
        voc = voc_folder(order.root)
    except DataError as error:
        raise DataError(f"expected shards in {order.root / order.training.data / part}, or VOC 2012 to build them of; {error}") from error
    masks = next((name for name in order.data_set.masks if (voc / name).is_dir()), order.data_set.masks[0])
    split = wanted.split
    if order.small and not (voc / "ImageSets" / "Segmentation" / f"{split}.txt").is_file():
        split = order.data_set.parts["train"].split
    source = voc_source(order.root, split=split, proposals=masks, treatment=Treatment(keep_empty=wanted.keep_empty))
    _make(out.parent)
    with progress_bar(f"Building shards, {part}", total=len(source.items)) as tick:
        build_shards(source, folder=out, tick=tick)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"cannot make the folder {folder}: {error.strerror}; choose another --out") from error


def _evaluated(order: Order, *, seed: int) -> Evaluation:
    """The row's evaluation of one training: the one that is there, if it is of the same checkpoint and settings."""
    run_dir, overrides = order.run_dir(seed), list(order.row.evaluation)
    folder = run_dir.transferred(order.judged_name)
    if folder.evaluation.is_file() and folder.config.is_file():
        try:
            found = Evaluation.from_json(folder.evaluation.read_text(encoding="utf-8"), where=str(folder.evaluation))
            if found.step == _newest_step(run_dir) and load_config(folder.config) == load_run_config(run_dir, overrides=overrides):
                return found
        except McdistError:
            pass  # half a file, or one of an earlier mcdist: judged once more
    train_shards = str(order.shards(_part(order.row.fitted_on))) if order.row.fitted_on else ""
    evaluation = evaluate_run(
        run_dir, overrides=overrides, which="newest", protocols=(order.row.protocol,), train_shards=train_shards, transfer=order.judged_name
    )
    assert evaluation is not None  # this is the only rank
    return evaluation


def _part(name: str) -> Part:
    return next(part for part in PARTS if part == name)


def _newest_step(run_dir: RunDir) -> int:
    return max((step_of(found) or 0 for found in list_checkpoints(run_dir.checkpoints)), default=0)


def _rows_for(evaluation: Evaluation, *, row: Row) -> list[EvaluationRow]:
    """What the evaluation says about the paper's line."""
    return [
        one
        for one in evaluation.rows
        if (one.protocol, one.metric, one.subject.encoder) == (row.protocol, MIOU, row.encoder) and one.subject.masks == row.masks and one.values
    ]


def _lack_of(evaluation: Evaluation, *, row: Row) -> str:
    """Why an evaluation says nothing about the line, as where a network predicts no mask; empty where it does."""
    if _rows_for(evaluation, row=row):
        return ""
    subjects = ", ".join(sorted({f"{one.subject.encoder} under {one.subject.masks or 'no masks'}" for one in evaluation.rows}))
    return f"the evaluation has no row of {row.protocol} for {row.encoder} under {row.masks or 'no masks'}; it has: {subjects}"


def _written(order: Order, verdict: Verdict, *, table: PaperTable) -> Verdict:
    _make(order.result.parent)
    text = json.dumps({**verdict.to_json(), "source": table.source, "trainings": [str(order.run_dir(seed).root) for seed in range(order.num_seeds)]}, indent=1)
    write_atomically(order.result, text.encode() + b"\n")
    return verdict


def _time_lines(estimate: Estimate, *, order: Order, table: PaperTable, config: Config) -> list[str]:
    """Hours by calculation; none of a reduced run, whose network is another one."""
    if order.reduced:
        return ["time: not calculated, since this is not the row's network"]
    hours = estimate.hours(gflops=table.costs.measured_gflops)
    lines = [
        f"arithmetic: {estimate.train_pflop:.1f} PFLOP of training ({estimate.trained_photos:,} photos), {estimate.evaluate_pflop:.1f} of evaluation",
        f"time, a calculation: {hours:.1f} h at {table.costs.measured_gflops:.0f} GFLOP/s, which two CPU cores reached (docs/reproduction.md)",
    ]
    if config.run.device != "cpu" and torch.cuda.is_available():
        most = matrix_gflops(torch.device("cuda"), dtype=DTYPES[config.optim.precision])
        fewest = estimate.hours(gflops=most)
        lines.append(f"at least {fewest:.1f} h on this GPU: at the {most:,.0f} GFLOP/s of its plain matrix products, which no training reaches")
    return lines
