"""The story of a run: build, then for each step log and checkpoint; afterwards evaluate and report. Reading starts here."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import torch

from mcdist import build
from mcdist.checkpoint import list_checkpoints, load_checkpoint, load_newest, mark_best, name_of, prune, save_checkpoint
from mcdist.config import Config, as_flat, dump_config, load_config
from mcdist.data.loader import evaluation_samples
from mcdist.distributed import World, join_world, leave_world
from mcdist.environment import describe_environment
from mcdist.errors import ConfigError, MissingExtraError
from mcdist.evaluate.evaluation import evaluate
from mcdist.model.encoder import Encoder
from mcdist.records import Evaluation, Record
from mcdist.report.console import Console
from mcdist.report.html import write_report
from mcdist.report.jsonl import MetricsFile
from mcdist.report.mlflow_sink import MlflowSink, default_tracking_uri
from mcdist.report.panels import save_panels
from mcdist.run_dir import RunDir, write_atomically
from mcdist.stop import StopWish
from mcdist.train.loop import Progress, train
from mcdist.train.state import TrainState, load_module

SCIENCE_SECTIONS = ("views", "model", "loss", "optim")
EFFICIENCY_KEYS = ("loss.implementation", "optim.accumulation_steps", "optim.precision", "optim.compile", "optim.max_nonfinite")
PROGRESS_EVERY_S = 5.0
SCIENCE_KEYS = ("run.seed", "data.train", "data.block", "data.num_lanes", "checkpoint.init_from")


def train_run(config: Config) -> int:
    """Train `config` to its end, from where its run folder stands. Returns the exit code: 0, or 128 + the signal that stopped it."""
    world = join_world(device=config.run.device, timeout_s=config.run.rendezvous_timeout_s)
    try:
        return _train(config, world=world)
    finally:
        leave_world()


def _train(config: Config, *, world: World) -> int:
    build.prepare_process(config, world=world)
    folder = build.build_shards(config.data.train, key="data.train")
    loop = build.loop_settings(config, num_samples=len(folder))
    run_dir = RunDir(Path(config.run.dir)).create()
    _check_same_science(config, run_dir)
    state = build.build_state(config, world=world)

    with ExitStack() as stack:
        stop = stack.enter_context(StopWish())
        console = stack.enter_context(
            Console(
                mode=config.report.console if world.is_first else "off",
                total_steps=loop.num_steps,
                samples_per_step=loop.global_batch,
                log=run_dir.log if world.is_first else None,
            )
        )
        resume(state, run_dir, console=console)
        if state.step >= loop.num_steps:
            console.say(f"{run_dir.root} is trained: {state.step} of {loop.num_steps} steps; evaluate it with: mcdist evaluate {run_dir.root}")
            return 0
        console.header("mcdist train", facts=_facts(config, run_dir, state, num_samples=len(folder), num_steps=loop.num_steps))
        outputs = stack.enter_context(Outputs(config, run_dir, state, console=console))
        loader = build.build_batches(config, folder, world=world, consumed=state.samples_consumed, num_steps=loop.num_steps - state.step)
        batches = stack.enter_context(closing(iter(loader)))
        progress: Iterator[Progress] = train(state, batches, settings=loop, step=build.step_settings(config), should_stop=stop)
        for now in progress:
            outputs.log(now.records)
            if now.stopped or now.step == loop.num_steps or now.step % config.checkpoint.every_steps == 0:
                outputs.save(state)
        if state.step < loop.num_steps:
            console.say(f"stopped after step {state.step} of {loop.num_steps} and saved; the same command continues")
            return stop.exit_code
    return 0


def resume(state: TrainState, run_dir: RunDir, *, console: Console) -> None:
    """Continue from the newest whole checkpoint, if there is one; else keep the encoder as it starts, as the evaluation's baseline."""
    checkpoint = load_newest(run_dir.checkpoints, warn=console.warn)
    if checkpoint is not None:
        state.load(checkpoint.tensors, numbers=checkpoint.numbers)
        console.say(f"continuing {run_dir.root} after step {state.step}")
    elif state.engine.world.is_first:
        tensors = {f"query/{name}": tensor for name, tensor in state.query.state_dict().items()}
        save_checkpoint(run_dir.initial_checkpoint, tensors=tensors, numbers={"step": 0})
    state.engine.world.barrier()


class Outputs:
    """What a run leaves behind while it trains: metrics, MLflow, checkpoints. Only rank 0 writes; the other ranks keep step."""

    def __init__(self, config: Config, run_dir: RunDir, state: TrainState, *, console: Console) -> None:
        self.config, self.run_dir, self.console = config, run_dir, console
        self.first = state.engine.world.is_first
        self.best_loss = float("inf")
        self.losses: list[float] = []
        self.metrics: MetricsFile | None = None
        self.mlflow: MlflowSink | None = None
        if self.first:
            for path in list_checkpoints(run_dir.checkpoints):
                self.best_loss = min(self.best_loss, _loss_of(path))
            self.metrics = MetricsFile(run_dir.metrics, after_step=state.step)
            self.mlflow = start_mlflow(config, run_dir, console=console)
            self._write_facts(state)

    def __enter__(self) -> "Outputs":
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if self.metrics is not None:
            self.metrics.close()
        if self.mlflow is not None:
            self.mlflow.finish("FAILED" if kind else "FINISHED")

    def log(self, records: list[Record]) -> None:
        """Metrics first: they are the truth; console and MLflow are views of them."""
        if not records or not self.first:
            return
        assert self.metrics is not None
        self.metrics.write(records)
        self.console.update(records)
        self.losses += [record.value for record in records if record.name == "loss/contrast"]
        if self.mlflow is not None:
            self.mlflow.log(records)

    def save(self, state: TrainState) -> None:
        """A checkpoint at this step; the newest few and the one with the lowest training loss since the last save stay."""
        if self.first:
            path = self.run_dir.checkpoints / name_of(state.step)
            loss = sum(self.losses) / len(self.losses) if self.losses else float("inf")
            save_checkpoint(path, tensors=state.tensors(), numbers={**state.numbers(), "loss": loss if self.losses else None})
            if loss < self.best_loss:
                self.best_loss = loss
                mark_best(path)
            prune(self.run_dir.checkpoints, keep=self.config.checkpoint.keep)
            self.losses = []
        state.engine.world.barrier()

    def _write_facts(self, state: TrainState) -> None:
        world = state.engine.world
        device = torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else "cpu"
        start = describe_environment(device=device, num_ranks=world.num_ranks, precision=self.config.optim.precision)
        if self.mlflow is not None:
            start["mlflow_run_id"] = self.mlflow.run_id
        starts = [*_starts(self.run_dir), start]
        write_atomically(self.run_dir.environment, json.dumps(starts, indent=1).encode() + b"\n")
        write_atomically(self.run_dir.config, dump_config(self.config).encode())


def evaluate_run(run_dir: RunDir, *, overrides: list[str], which: str) -> Evaluation:
    """Cluster the run's embeddings beside its baselines' on the validation shards; writes evaluation.json, panels and report.html."""
    if not run_dir.config.is_file():
        raise ConfigError(f"expected a run at {run_dir.root} (its {run_dir.config.name}), found none; train first: mcdist train CONFIG run.dir={run_dir.root}")
    config = load_config(run_dir.config, overrides=overrides)
    world = join_world(device=config.run.device, timeout_s=config.run.rendezvous_timeout_s)
    build.prepare_process(config, world=world)
    folder = build.build_shards(config.data.val, key="data.val")
    trained = build.find_checkpoint(run_dir.root, which=which)
    initial = load_checkpoint(run_dir.initial_checkpoint)
    settings = config.evaluate
    with Console(mode=config.report.console, total_steps=min(settings.limit or len(folder), len(folder)), samples_per_step=1) as console:
        console.say(f"evaluating {run_dir.root} after step {trained.numbers['step']} on {config.data.val}")
        evaluation, panels = evaluate(
            evaluation_samples(folder, limit=settings.limit),
            trained=_encoder(config, trained.tensors, world=world),
            initial=_encoder(config, initial.tensors, world=world),
            classes={name: list(ids) for name, ids in settings.classes.items()},
            dataset=config.data.val,
            num_photos_in_dataset=len(folder),
            step=int(trained.numbers["step"]),
            device=world.device,
            size_px=settings.size_px,
            batch=settings.batch,
            objects=settings.objects,
            component_area_min=settings.component_area_min,
            pca_dim=settings.pca_dim,
            mean_embedding_pca_dim=settings.mean_embedding_pca_dim,
            num_clusters=settings.num_clusters,
            num_seeds=settings.num_seeds,
            num_panels=settings.num_panels,
            on_progress=_photo_progress(console),
        )
    write_atomically(run_dir.evaluation, evaluation.to_json().encode())
    save_panels(panels, run_dir.panels, classes=evaluation.classes)
    write_report(run_dir)
    publish(config, run_dir, evaluation)
    return evaluation


def publish(config: Config, run_dir: RunDir, evaluation: Evaluation) -> None:
    """The evaluation's numbers, the report and the pictures into the run's MLflow run."""
    console = Console(mode="off", total_steps=0, samples_per_step=0)
    sink = start_mlflow(config, run_dir, console=console)
    if sink is None:
        return
    sink.log(
        [
            Record(evaluation.step, f"evaluation/{score.masks}/{score.protocol}/{score.encoder}/miou_percent".replace(" ", "_"), score.mean_percent, "%")
            for score in evaluation.scores
        ]
    )
    sink.log_artifacts([run_dir.report, run_dir.evaluation, run_dir.config, *sorted(run_dir.panels.glob("*.png"))])
    sink.finish("FINISHED")


def start_mlflow(config: Config, run_dir: RunDir, *, console: Console) -> MlflowSink | None:
    """The run's MLflow run: a new one, or the one its last start opened. None where tracking is off or, with `auto`, not installed."""
    if config.report.mlflow == "off":
        return None
    earlier = [start["mlflow_run_id"] for start in _starts(run_dir) if "mlflow_run_id" in start]
    try:
        return MlflowSink.start(
            uri=config.report.mlflow_uri or default_tracking_uri(run_dir.mlflow_database),
            experiment=config.report.mlflow_experiment,
            run_name=run_dir.root.name,
            run_id=earlier[-1] if earlier else None,
            parameters=as_flat(config),
            warn=console.warn,
        )
    except MissingExtraError as error:
        if config.report.mlflow == "on":
            raise
        console.say(f"not tracking with MLflow: {error}")
        return None


def _photo_progress(console: Console) -> Callable[[int], None]:
    """Tells the console about the photos done, every few seconds."""
    began_s = time.perf_counter()
    last_s = began_s

    def on_progress(num_done: int) -> None:
        nonlocal last_s
        now_s = time.perf_counter()
        if now_s - last_s >= PROGRESS_EVERY_S:
            last_s = now_s
            console.update([Record(num_done, "images_per_s", num_done / (now_s - began_s), "1/s")])

    return on_progress


def _facts(config: Config, run_dir: RunDir, state: TrainState, *, num_samples: int, num_steps: int) -> dict[str, str]:
    world = state.engine.world
    num_parameters = sum(parameter.numel() for parameter in state.query.parameters() if parameter.requires_grad)
    return {
        "run": str(run_dir.root),
        "data": f"{config.data.train}, {num_samples:,} photos",
        "model": f"{config.model.backbone} ({config.model.weights}), {num_parameters / 1e6:.1f} M trainable parameters",
        "device": f"{world.num_ranks} x {world.device}, {config.optim.precision}",
        "steps": f"{num_steps:,} of {config.optim.global_batch} photos, {config.optim.epochs} epochs",
    }


def _encoder(config: Config, tensors: dict[str, torch.Tensor], *, world: World) -> Encoder:
    encoder = build.build_encoder(config.model, pretrained=False)
    load_module(encoder, tensors, prefix="query/")
    return encoder.to(world.device).eval()


def _check_same_science(config: Config, run_dir: RunDir) -> None:
    """A run folder holds one experiment: only efficiency and orchestration may change between its starts."""
    if not run_dir.config.is_file() or not list_checkpoints(run_dir.checkpoints):
        return
    before, now = as_flat(load_config(run_dir.config)), as_flat(config)
    science = [key for key in now if key in SCIENCE_KEYS or (key.partition(".")[0] in SCIENCE_SECTIONS and key not in EFFICIENCY_KEYS)]
    changed = [f"{key}: {before.get(key)} -> {now[key]}" for key in science if before.get(key) != now[key]]
    if changed:
        raise ConfigError(
            f"{run_dir.root} holds a run with other settings ({'; '.join(changed)}); give this one its own folder with run.dir=PATH, "
            f"or start from its weights with checkpoint.init_from={run_dir.root}"
        )


def _starts(run_dir: RunDir) -> list[dict[str, Any]]:
    try:
        starts = json.loads(run_dir.environment.read_text())
    except (OSError, ValueError):
        return []
    return [start for start in starts if isinstance(start, dict)] if isinstance(starts, list) else []


def _loss_of(path: Path) -> float:
    try:
        loss = json.loads((path / "meta.json").read_text()).get("loss")
    except (OSError, ValueError):
        return float("inf")
    return float(loss) if loss is not None else float("inf")
