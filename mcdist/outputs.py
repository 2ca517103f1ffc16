"""Outputs: what a run writes while it trains and after its evaluation. Only rank 0 writes; the other ranks take the same steps without writing."""

import copy
import json
import math
import uuid
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mcdist.config import Config
from mcdist.config.file import dump_config
from mcdist.config.keys import as_flat
from mcdist.data.readers.content import Content
from mcdist.disk.checkpoint import mark_best, prune, save_checkpoint
from mcdist.disk.saver import Saver
from mcdist.distributed import World
from mcdist.errors import ConfigError, McdistError, MissingExtraError
from mcdist.json_text import parse_json
from mcdist.machine.environment import describe_environment
from mcdist.ops.verdict import Verdict, verdict_for
from mcdist.ranks.agree import run_on_first
from mcdist.records import Evaluation, Record, Row
from mcdist.report.bad_samples import BadSamplesFile
from mcdist.report.console import Console
from mcdist.report.jsonl import MetricsFile
from mcdist.report.mlflow_sink import MlflowSink, default_tracking_uri
from mcdist.resilience.claim import Claim
from mcdist.run_dir import META_NAME, RunDir, list_checkpoints, name_of
from mcdist.train.monitor import group_collapse
from mcdist.train.state import TrainState

COLLAPSED_STEPS = 2
"""Log steps in a row with collapsed groups before they are told."""


class Outputs:
    """Metrics, MLflow and checkpoints of a run that trains."""

    def __init__(
        self, config: Config, run_dir: RunDir, state: TrainState, *, num_steps: int, content: Content | None, claim: Claim | None, console: Console
    ) -> None:
        """`num_steps`: of the whole run. `content`: the samples it trains on; `claim`: rank 0's hold of the run folder; both None on the other ranks."""
        self.config, self.run_dir, self.claim, self.console = config, run_dir, claim, console
        self.content = content
        self.world = state.world
        self.state, self.num_steps = state, num_steps
        self.saver = Saver(asynchronous=config.checkpoint.asynchronous)
        self.best = -math.inf
        """Of the checkpoints so far: the highest held-out score, or the lowest loss with its sign changed."""
        self.losses: list[float] = []
        self.held_out: float | None = None
        self.collapsed_steps = 0
        self.num_skipped = state.counters["nonfinite_steps"]
        self.metrics: MetricsFile | None = None
        self.bad_samples: BadSamplesFile | None = None
        self.mlflow: MlflowSink | None = None
        self.kernels = _kernel_verdict(config, world=self.world)
        self._files = ExitStack()

    def __enter__(self) -> "Outputs":
        if self.claim is not None:
            with self._files:
                self._open(self.claim)
                self._files = self._files.pop_all()  # they stay open, since nothing failed
        return self

    def _open(self, claim: Claim) -> None:
        claim.note(began_step=self.state.step)
        for path in list_checkpoints(self.run_dir.checkpoints):
            self.best = max(self.best, self._worth(_numbers_of(path)))
        with claim.fenced() as folder:
            self.metrics = self._files.enter_context(MetricsFile(self.run_dir.metrics, after_step=self.state.step, folder=folder))
            self.bad_samples = self._files.enter_context(closing(BadSamplesFile(self.run_dir.bad_samples, after_step=self.state.step, folder=folder)))
        self._write_facts(claim)
        self.mlflow = start_mlflow(self.config, self.run_dir, console=self.console)
        if self.mlflow is not None and self.mlflow.run_id is not None:
            *earlier, start = _starts(self.run_dir)
            claim.write(self.run_dir.environment, _as_json([*earlier, {**start, "mlflow_run_id": self.mlflow.run_id}]))
        if self.kernels is not None:
            self.metrics.write(self.kernels.records(step=self.state.step))

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        """A checkpoint that is being written is finished, whatever ends the run."""
        with self._files:
            try:
                self.saver.wait()
            except McdistError as error:
                if kind is None:
                    raise
                self.console.warn(str(error))
        if self.mlflow is not None and not self.is_replaced:
            stopped = "FINISHED" if self.state.step >= self.num_steps else "KILLED"
            self.mlflow.finish("FAILED" if kind else stopped)

    @property
    def is_replaced(self) -> bool:
        """Whether a newer attempt holds the run folder, as far as is known."""
        return self.claim is not None and self.claim.lost

    def log(self, records: list[Record]) -> None:
        """Metrics first: they are the truth; console and MLflow are views of them."""
        if not records or self.metrics is None:
            return
        self.metrics.write(records)
        self.console.update(records)
        values = {record.name: record.value for record in records}
        loss = values.get("loss/contrast", values["loss"])
        self.losses += [loss] if math.isfinite(loss) else []
        self._warn_of_skipped_steps(step=records[0].step)
        self._warn_of_collapse(values, step=records[0].step)
        if self.mlflow is not None and not self.is_replaced:
            self.mlflow.log(records)

    def log_held_out(self, records: list[Record], *, judged_by: str) -> None:
        """What a held-out slice gave, its score first: to the metrics, the console and MLflow, and for the next checkpoint."""
        assert self.metrics is not None
        self.metrics.write(records)
        score = records[0]
        self.held_out = score.value
        self.console.say(f"held out after step {score.step}: {score.value:.4g}{score.unit and ' ' + score.unit} ({judged_by})")
        if self.mlflow is not None and not self.is_replaced:
            self.mlflow.log(records)

    def _warn_of_skipped_steps(self, *, step: int) -> None:
        """Say how many steps were skipped since the last log step; nothing where none was."""
        total = self.state.counters["nonfinite_steps"]
        num_new, self.num_skipped = total - self.num_skipped, total
        if num_new:
            steps, theirs = ("step was", "its") if num_new == 1 else ("steps were", "their")
            self.console.warn(
                f"{num_new} {steps} skipped up to step {step}, {total} in this run: {theirs} loss or a gradient was not finite; "
                "nothing of a skipped step is kept"
            )

    def _warn_of_collapse(self, values: Mapping[str, float], *, step: int) -> None:
        """Say that the predicted groups look collapsed, once a spell, at its second log step: the first ones of a run may look like anything."""
        if "groups/entropy" not in values:
            return
        sign = group_collapse(values["groups/entropy"], values["groups/largest_share"], num_groups=min(self.config.groups.num_groups))
        self.collapsed_steps = self.collapsed_steps + 1 if sign else 0
        if self.collapsed_steps == COLLAPSED_STEPS:
            self.console.warn(
                f"the predicted groups look collapsed up to step {step}: {sign}; a lower optim.lr, loss.group_balance=inverse or more groups may help, and "
                "mcdist group shows whether the objects' own groups are sound"
            )

    def list_bad_samples(self, step: int, lines: list[str]) -> None:
        """Write down the samples that could not be read up to `step`, and warn of the first."""
        if self.claim is not None and self.bad_samples is not None:
            with self.claim.fenced():
                self.bad_samples.write(step, lines)
            reason = parse_json(lines[0])["reason"]
            self.console.warn(f"{len(lines)} samples could not be read and took part void everywhere, all in {self.run_dir.bad_samples}; the first: {reason}")

    def save(self, state: TrainState) -> None:
        """A checkpoint of this step, written beside the training; the newest few stay, and the best by the loss or the held-out score since the last save."""
        tensors = state.tensors()
        if self.claim is None:
            return
        loss = sum(self.losses) / len(self.losses) if self.losses else None
        scores = {"loss": loss, "held_out": self.held_out}
        worth = self._worth(scores)
        is_best, self.best = worth > self.best, max(worth, self.best)
        self.losses, self.held_out = [], None
        assert self.content is not None
        numbers = copy.deepcopy({**state.numbers(), **scores, "data": asdict(self.content)})
        self.saver.save(tensors, write=partial(self._write, numbers=numbers, is_best=is_best))

    def _worth(self, scores: Mapping[str, Any]) -> float:
        """By what the best checkpoint is chosen, larger is better; the least where that was not measured."""
        value = scores.get(self.config.checkpoint.best_by)
        if value is None:
            return -math.inf
        return float(value) if self.config.checkpoint.best_by == "held_out" else -float(value)

    def must_stop(self) -> bool:
        """Whether going on is of no use: a checkpoint could not be written, or a newer attempt holds the run folder. `finish_saving` says which."""
        return self.saver.has_failed or self.is_replaced

    def finish_saving(self) -> None:
        """All ranks wait until the last checkpoint is on the disk; what kept rank 0 from writing ends them all."""
        run_on_first(self._finish_saving, world=self.world)

    def _finish_saving(self) -> None:
        self.saver.wait()
        if self.claim is not None:
            self.claim.check()

    def _write(self, tensors: Mapping[str, Tensor], *, numbers: dict[str, Any], is_best: bool) -> None:
        """Runs beside the training."""
        assert self.claim is not None
        path = self.run_dir.checkpoints / name_of(numbers["step"])
        with self.claim.fenced() as folder:
            save_checkpoint(path, tensors=tensors, numbers=numbers, folder=folder)
            if is_best:
                mark_best(path, folder=folder)
        self.claim.note(saved_step=numbers["step"])
        prune(self.run_dir.checkpoints, keep=self.config.checkpoint.keep)

    def _write_facts(self, claim: Claim) -> None:
        world = self.world
        device = torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else "cpu"
        start = describe_environment(device=device, num_ranks=world.num_ranks, precision=self.config.optim.precision)
        if self.kernels is not None:
            start["gpu_kernels"] = str(self.kernels)
        earlier = _starts(self.run_dir)
        claim.write(self.run_dir.environment, _as_json([*earlier, {**start, "run_key": _run_key(earlier) or uuid.uuid4().hex}]))
        claim.write(self.run_dir.config, dump_config(self.config).encode())


def _kernel_verdict(config: Config, *, world: World) -> Verdict | None:
    """The verdict on the GPU kernels: that of the first rank which does not trust its own device, else rank 0's. Each decides before it waits."""
    own = verdict_for(world.device, implementation=config.ops.implementation)
    verdicts = [Verdict.from_json(text) for text in world.gather_texts([] if own is None else [own.to_json()])]
    return next((verdict for verdict in verdicts if not verdict.trusted), verdicts[0] if verdicts else None)


def publish(config: Config, run_dir: RunDir, evaluation: Evaluation) -> None:
    """Send the evaluation's numbers, the report and the pictures to the run's MLflow run, whose status and parameters stay as they are."""
    console = Console(mode="off", total_steps=0, samples_per_step=0)
    sink = start_mlflow(config, run_dir, console=console, only_adds=True)
    if sink is None:
        return
    rows = evaluation.rows if evaluation.has_truth else ()
    named = named_rows(rows)
    ends = {f"{name}/interval_{end}": (row, value) for name, row in named.items() for end, value in zip(("low", "high"), row.interval or (), strict=False)}
    sink.log([Record(evaluation.step, name, row.mean, row.unit) for name, row in named.items()])
    sink.log([Record(evaluation.step, name, value, row.unit) for name, (row, value) in ends.items()])
    folders = (run_dir.clusters, run_dir.failures, run_dir.neighbours, run_dir.retrieved)
    files = [run_dir.report, run_dir.evaluation, run_dir.config, *sorted(run_dir.panels.glob("*.png"))]
    sink.log_artifacts([*files, *(path for path in (*folders, run_dir.object_map) if path.exists())])
    sink.finish("FINISHED")


def named_rows(rows: tuple[Row, ...]) -> dict[str, Row]:
    """Each row under a name of its own: of rows that differ by their number of clusters the first has the plain name, the others theirs with it."""
    named: dict[str, Row] = {}
    for row in rows:
        plain = _row_name(row, protocol=row.protocol)
        named[_row_name(row, protocol=f"{row.protocol}-{row.num_clusters}") if plain in named else plain] = row
    return named


def _row_name(row: Row, *, protocol: str) -> str:
    metric = f"{row.metric.lower()}_percent" if row.unit == "%" else row.metric
    return f"evaluation/{row.subject.masks or 'photos'}/{protocol}/{row.subject.encoder}/{metric}".replace(" ", "_")


def start_mlflow(config: Config, run_dir: RunDir, *, console: Console, only_adds: bool = False) -> MlflowSink | None:
    """The run's MLflow run: a new one, or the one its last start opened. None where tracking is off or, with `auto`, not possible.

    `only_adds` is for what comes after the training: a run that is there keeps its status and its parameters.
    """
    if config.report.mlflow == "off":
        return None
    if not config.report.mlflow_uri and (odd := sorted(set("?%#") & set(str(run_dir.root.resolve())))):
        problem = f"MLflow's database cannot be in {run_dir.root}, whose path contains {odd[0]!r}; set report.mlflow_uri, or choose another run.dir"
        if config.report.mlflow == "on":
            raise ConfigError(problem)
        console.warn(f"not tracking with MLflow: {problem}")
        return None
    starts = _starts(run_dir)
    earlier = [start["mlflow_run_id"] for start in starts if start.get("mlflow_run_id")]
    try:
        return MlflowSink.start(
            uri=config.report.mlflow_uri or default_tracking_uri(run_dir.mlflow_database),
            experiment=config.report.mlflow_experiment,
            run_name=run_dir.root.name,
            run_id=earlier[-1] if earlier else None,
            key=_run_key(starts),
            parameters=as_flat(config),
            only_adds=only_adds,
            warn=console.warn,
        )
    except MissingExtraError as error:
        if config.report.mlflow == "on":
            raise
        tell = console.say if isinstance(error.__cause__, ModuleNotFoundError) else console.warn
        tell(f"not tracking with MLflow: {error}")
        return None


def header_facts(config: Config, run_dir: RunDir, state: TrainState, *, num_samples: int, num_steps: int) -> dict[str, str]:
    """What the console shows before the first step."""
    world = state.world
    num_parameters = sum(parameter.numel() for parameter in state.query.parameters() if parameter.requires_grad)
    return {
        "run": str(run_dir.root),
        "data": f"{config.data.train}, {num_samples:,} photos",
        "model": f"{config.model.backbone} ({config.model.weights}), {num_parameters:,} trainable parameters",
        "device": f"{world.num_ranks} x {world.device}, {config.optim.precision}",
        "steps": f"{num_steps:,} of {config.optim.global_batch} photos, {config.optim.epochs} epochs",
    }


def _run_key(starts: list[dict[str, Any]]) -> str:
    """The run's name at the tracker, the same in all its starts; empty where no start has one."""
    return next((start["run_key"] for start in starts if str(start.get("run_key", "")).isalnum()), "")


def _as_json(starts: list[dict[str, Any]]) -> bytes:
    return json.dumps(starts, indent=1).encode() + b"\n"


def _starts(run_dir: RunDir) -> list[dict[str, Any]]:
    try:
        starts = parse_json(run_dir.environment.read_text())
    except (OSError, ValueError):
        return []
    return [start for start in starts if isinstance(start, dict)] if isinstance(starts, list) else []


def _numbers_of(path: Path) -> dict[str, Any]:
    """A checkpoint's numbers; none where they cannot be read."""
    try:
        numbers = parse_json((path / META_NAME).read_text())
    except (OSError, ValueError):
        return {}
    return numbers if isinstance(numbers, dict) else {}
