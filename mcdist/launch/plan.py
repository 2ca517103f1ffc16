"""Plan: from the words on the command line to submissions: the run's configuration, or a command in parts, as a JobSpec and its folder."""

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

from mcdist.config import Config
from mcdist.config.file import dump_config, load_config, require_given_once
from mcdist.config.presets import find_preset, presets_folder
from mcdist.config.science import check_same_science
from mcdist.data.division import num_micro_batches
from mcdist.data.order import check_division
from mcdist.data.shards.manifest import MANIFEST_NAME
from mcdist.errors import ConfigError
from mcdist.launch.cluster import Cluster
from mcdist.launch.spec import JobSpec, Work
from mcdist.run_dir import RunDir

DEMO = presets_folder() / "demo.yaml"
PARTS_ROOT = Path("runs/parts")
COMMANDS_IN_PARTS = (("shards", "build"), ("proposals", "make"), ("segment",))
MAX_TRIES = 3
"""Of a part, or of an evaluation; a training has its own setting."""
MAX_ELEMENTS = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """A submission before anything is written: `files` by name, for `folder`."""

    name: str
    folder: Path
    spec: JobSpec
    files: dict[str, str]
    num_elements: int = 0
    run_dirs: tuple[Path, ...] = ()


def plan_all(words: list[str], *, cluster: Cluster, array: int, sweep: list[str], evaluate: bool, commit: str) -> list[Plan]:
    """The submission that `words` ask for, and with `evaluate` the evaluation after it.

    Raises:
        ConfigError: options that do not go together, or as `plan_parts` and `plan_training`.
    """
    if array:
        if sweep or evaluate:
            raise ConfigError("--array splits the command after --; it cannot be combined with --sweep or --evaluate")
        if cluster.num_ranks > 1:
            raise ConfigError(f"--array gives each part one task, got --nodes and tasks for {cluster.num_ranks}; leave them out")
        return [plan_parts(words, num_parts=array, root=PARTS_ROOT, commit=commit)]
    named = bool(words) and "=" not in words[0]
    config, overrides = (find_preset(Path(words[0])), words[1:]) if named else (DEMO, words)
    require_given_once([*overrides, *sweep])
    training = plan_training(config, overrides=overrides, sweep=sweep, cluster=cluster, commit=commit)
    return [training, plan_evaluation(training, commit=commit)] if evaluate else [training]


def plan_training(config_path: Path, *, overrides: list[str], sweep: list[str], cluster: Cluster, commit: str) -> Plan:
    """A training, or with `sweep` an array of them. The configuration is checked here, on the login node, without torch.

    Raises:
        ConfigError: an unknown or wrong setting, a number of ranks that does not fit, a run folder of another experiment, or no data.
    """
    points = _points(sweep)
    works, files, run_dirs = [], {}, []
    first = load_config(config_path, overrides=overrides)
    folder = next_folder(Path(first.run.dir))
    for number, point in enumerate(points):
        config = load_config(config_path, overrides=[*overrides, *point])
        if point:
            config = replace(config, run=replace(config.run, dir=str(Path(first.run.dir) / ",".join(point).replace("/", "_"))))
        _check_ranks(config, num_ranks=cluster.num_ranks)
        check_same_science(config, RunDir(Path(config.run.dir)))
        name = f"config-{number}.yaml" if point else "config.yaml"
        files[name] = dump_config(config)
        run_dirs.append(Path(config.run.dir))
        argv = ("-m", "mcdist", "train", str(folder / name))
        works.append(Work(argv=argv, run_dir=str(run_dirs[-1].absolute()), prepare=shards_to_build(config, config_path=config_path)))
    spec = _spec(works, cluster=cluster, commit=commit, max_attempts=first.run.max_attempts_without_progress)
    return Plan(_job_name(Path(first.run.dir).name), folder, spec, files, num_elements=len(points) if sweep else 0, run_dirs=tuple(run_dirs))


def plan_parts(command: list[str], *, num_parts: int, root: Path, commit: str) -> Plan:
    """`command` in `num_parts` parts, an element of an array each: it gets --part K/N. The word `mcdist` before `shards build` may be left out."""
    words = command[1:] if command[:1] == ["mcdist"] else command
    name = next((name for name in COMMANDS_IN_PARTS if tuple(words[: len(name)]) == name), None)
    if name is None:
        raise ConfigError(
            "--array must be followed by `-- mcdist shards build ...`, `-- mcdist proposals make ...` or `-- mcdist segment ...`, "
            f"got {' '.join(command) or 'nothing'}; only these can be split"
        )
    if not 1 <= num_parts <= MAX_ELEMENTS:
        raise ConfigError(f"--array must be 1 to {MAX_ELEMENTS} parts, got {num_parts}")
    works = [Work(argv=("-m", "mcdist", *_part_of(words, f"{part}/{num_parts}")), run_dir="") for part in range(1, num_parts + 1)]
    spec = replace(_spec(works, cluster=Cluster(), commit=commit), requeue_failures=True)
    return Plan(_job_name("-".join(name)), next_folder(root), spec, {}, num_elements=num_parts)


def _part_of(words: list[str], part: str) -> list[str]:
    """`shards build` takes it before the builder's name, since builders have parts of other kinds."""
    at = 2 if words[0] == "shards" else len(words)
    return [*words[:at], "--part", part, *words[at:]]


def plan_evaluation(training: Plan, *, commit: str) -> Plan:
    """The evaluation of what `training` trains, to run when it has ended well."""
    works = [Work(argv=("-m", "mcdist", "evaluate", str(run_dir)), run_dir="") for run_dir in training.run_dirs]
    folder = training.folder.with_name(f"{training.folder.name}-evaluate")
    spec = _spec(works, cluster=Cluster(), commit=commit)
    return Plan(f"{training.name}-evaluate", folder, spec, {}, num_elements=training.num_elements)


def next_folder(root: Path) -> Path:
    """The folder of the next submission for the run folder `root`: launch/0001, launch/0002, ..."""
    launch = RunDir(root.absolute()).launch
    numbers = [int(path.name) for path in launch.iterdir() if path.name.isdecimal()] if launch.is_dir() else []
    return launch / f"{max(numbers, default=0) + 1:04d}"


def shards_to_build(config: Config, *, config_path: Path) -> tuple[str, ...]:
    """The command that builds the demo's shards where they are missing; () where nothing is to be built.

    Raises:
        ConfigError: other shards are missing.
    """
    missing = [(key, path) for key, path in (("data.train", config.data.train), ("data.val", config.data.val)) if path and not _is_there(path)]
    if not config.data.train:
        raise ConfigError("data.train is not set; name a shard folder: data.train=DIR (build one with: mcdist shards build ...)")
    if not missing:
        return ()
    train, val = Path(config.data.train), Path(config.data.val)
    if config_path.resolve() == DEMO and train.name == "train" and val == train.with_name("val"):
        return ("-m", "mcdist", "shards", "build", "demo", "--out", str(train.parent))
    key, path = missing[0]
    raise ConfigError(f"expected a shard folder at {path} ({key}), found no {MANIFEST_NAME} there; build it first: mcdist shards build ... --out {path}")


def _is_there(path: str) -> bool:
    """URLs and paths with a variable are the nodes' own to find."""
    return "://" in path or "$" in path or (Path(path) / MANIFEST_NAME).is_file()


def _points(sweep: list[str]) -> list[list[str]]:
    """The overrides of each element: all combinations of key=a,b,c."""
    axes = []
    for axis in sweep:
        key, separator, values = axis.partition("=")
        if not separator or not key or not all(values.split(",")):
            raise ConfigError(f"--sweep must be key=a,b,c, got {axis!r}")
        if key == "run.dir":
            raise ConfigError("--sweep gives each run a folder of its own below run.dir; sweep over another key")
        axes.append([f"{key}={value}" for value in values.split(",")])
    points = [list(point) for point in itertools.product(*axes)]
    if len(points) > MAX_ELEMENTS:
        raise ConfigError(f"--sweep makes {len(points)} runs, at most {MAX_ELEMENTS} are submitted at once; sweep over less")
    return points


def _check_ranks(config: Config, *, num_ranks: int) -> None:
    optim, num_lanes = config.optim, config.data.num_lanes
    shared = {"global_batch": optim.global_batch, "num_lanes": num_lanes, "num_ranks": num_ranks}
    num = num_micro_batches(micro_batch=optim.micro_batch, accumulation_steps=optim.accumulation_steps, **shared)
    check_division(accumulation_steps=num, **shared)


def _spec(works: list[Work], *, cluster: Cluster, commit: str, max_attempts: int = MAX_TRIES) -> JobSpec:
    return JobSpec(
        works=tuple(works),
        num_tasks=cluster.num_ranks,
        requeue_failures=False,
        max_attempts=max_attempts,
        commit=commit,
    )


def _job_name(text: str) -> str:
    return "mcdist-" + "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_.-") else "_" for sign in text)[:60]
