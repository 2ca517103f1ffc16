"""The command line, whether or not this machine has SLURM: every test brings a path of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mcdist.cli.main import app
from tests.fixture_types import MakeShards

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "launch" / "slurm.py"
TIMEOUT_S = 300

Launch = Callable[..., Result]
LaunchScript = Callable[..., "subprocess.CompletedProcess[str]"]


def _stub(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder of stand-ins for SLURM's commands: empty, so there is no SLURM. git is what else is needed of the path."""
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def _environment(path: Path) -> dict[str, str]:
    """This process's, without what a cluster or the tests set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "MCDIST"))}
    return {**kept, "PATH": str(path), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@pytest.fixture
def launch(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """mcdist launch WORDS... in an empty folder, in this process."""
    environment = _environment(path)
    for name in os.environ.keys() - environment.keys():
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def run(*words: str, code: int = 0) -> Result:
        done = CliRunner().invoke(app, ["launch", *words])
        assert done.exit_code == code, f"{done.output}\n{done.exception}"
        return done

    return run


@pytest.fixture
def launch_script(tmp_path: Path, path: Path) -> LaunchScript:
    """python launch/slurm.py WORDS... in an empty folder."""

    def run(*words: str, code: int = 0, python: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, *python, str(SCRIPT), *words]
        done = subprocess.run(
            command, env=_environment(path), cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def config(tmp_path: Path, make_shards: MakeShards) -> list[str]:
    """Words that train something tiny."""
    (tmp_path / "config.yaml").write_text(
        """
data: {num_workers: 0, block: 2, num_lanes: 4}
views: {size_px: 16, max_objects: 2}
model: {backbone: resnet18, num_stages: 3, norm: group, decoder: linear, embedding_dim: 4, bank_size: 8}
optim: {global_batch: 8, epochs: 1}
run: {device: cpu, num_threads: 1, dir: run}
report: {mlflow: "off", console: "off"}
"""
    )
    return [str(tmp_path / "config.yaml"), f"data.train={make_shards(16)}"]


def test_a_dry_run_prints_the_script_and_writes_nothing(launch_script: LaunchScript, config: list[str], tmp_path: Path) -> None:
    said = launch_script("--nodes", "4", "--partition", "gpu", "--dry-run", *config).stdout
    assert said.startswith("#!/bin/bash\n") and "#SBATCH --nodes=4\n" in said and f"{tmp_path}/run/launch/0001" in said
    assert not (tmp_path / "run").exists()


def test_a_wrong_setting_fails_at_once_and_torch_is_not_imported(launch_script: LaunchScript, config: list[str], tmp_path: Path) -> None:
    done = launch_script("--nodes", "4", *config, "optim.lrr=1", code=2, python=("-X", "importtime"))
    assert "did you mean 'optim.lr'" in done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "mcdist.config" in imported and "torch" not in imported and "submitit" not in imported


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--nodes", "3"), "3 ranks cannot share"),
        (("--time", "soon"), "--time must be minutes"),
        (("--cluster", "mars"), "--cluster must be auto, local or one of"),
        (("--cluster", "lcoal"), "got 'lcoal'; did you mean 'local'?"),
        (("optim.lr=1", "optim.lr=2"), "optim.lr is set twice"),
        (("optim.lr=2", "--sweep=optim.lr=1,2"), "optim.lr is set twice"),
        (("--sweep", "optim.lr"), "--sweep must be key=a,b,c"),
        (("--array", "2", "--nodes", "4"), "--array gives each part one task"),
        (("--nodes", "2", "run.dir=runs/$(touch x)", "--dry-run"), "the path of a run folder on a cluster may contain only letters"),
        (("data.train=nowhere",), "expected a shard folder at nowhere"),
        (("data.train=",), "data.train is not set"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(launch: Launch, config: list[str], tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    overrides = [word for word in words if "=" in word]
    options = [word for word in words if "=" not in word]
    replaced = {word.partition("=")[0] for word in overrides}
    assert message in launch(*options, *(word for word in config if word.partition("=")[0] not in replaced), *overrides, code=2).stderr
    assert not (tmp_path / "run").exists() and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("text", ["$(touch x)", "`touch x`", "a; touch x", "a'; touch x; '", 'a"b', "a\nb"])
def test_a_hostile_setting_stays_in_the_configuration_and_out_of_the_script(launch: Launch, config: list[str], tmp_path: Path, text: str) -> None:
    said = launch("--nodes", "2", "--dry-run", *config, f"report.mlflow_experiment={text!r}").stdout
    assert "touch" not in said and text not in said


def test_only_building_shards_proposing_masks_and_segmenting_are_run_in_parts(launch: Launch) -> None:
    assert "only these can be split" in launch("--array", "2", "--", "rm", "-rf", "x", code=2).stderr
    assert "--array=0-2" in launch("--array", "3", "--dry-run", "--", "shards", "build", "demo", "--out", "d").stdout
    assert "--array=0-3" in launch("--array", "4", "--dry-run", "--", "mcdist", "segment", "runs/mine", "photos", "--out", "d").stdout
    assert "only these can be split" in launch("--array", "2", "--", "mcdist", "train", "x", code=2).stderr


def test_an_installed_but_dead_slurm_is_none(launch_script: LaunchScript, path: Path, tmp_path: Path) -> None:
    _stub(path, "sbatch", "exit 1")
    _stub(path, "scontrol", "echo 'Slurmctld(primary) at ctl is DOWN'; exit 1")
    small = ("shards", "build", "demo", "--out", str(tmp_path / "demo"), "--num-train", "4", "--num-val", "4", "--size-px", "32", "--workers", "1")
    said = launch_script("--array", "1", "--", *small).stdout
    assert said.startswith("SLURM is installed here, but its controller does not answer: the job runs here, as local processes (1 ranks)\n")
    assert (tmp_path / "demo" / "train" / "manifest.json").is_file()


def test_without_slurm_the_job_runs_as_two_local_processes_from_its_own_copy_of_the_code(
    launch_script: LaunchScript, config: list[str], tmp_path: Path
) -> None:
    assert launch_script("--nodes", "2", *config).stdout.startswith("there is no sbatch here: the job runs here, as local processes (2 ranks)\n")
    assert [path.name for path in sorted((tmp_path / "run" / "checkpoints").iterdir()) if path.name.startswith("step")] == ["step_00000002"]
    assert (tmp_path / "run" / "launch" / "0001" / "code" / "mcdist" / "run.py").is_file()
    assert '"num_ranks": 2' in (tmp_path / "run" / "environment.json").read_text()


def _cluster(path: Path) -> None:
    """SLURM's commands, as far as a submission needs them."""
    _stub(path, "scontrol", "echo 'Slurmctld(primary) at ctl is UP'")
    _stub(path, "sinfo", "echo 'main*|1:00:00|2|gpu:2(S:0)|n1'; echo 'main*|1:00:00|2|gpu:2(S:0)|n2'")
    _stub(path, "squeue", "exit 1")
    _stub(path, "sbatch", f"/bin/cp $1 {path}/submitted; echo 'Submitted batch job 17'")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--nodes", "4"), "--nodes 4 is more than partition main has: 2 nodes"),
        (("--gpus-per-node", "4"), "--gpus-per-node 4 is more than partition main has: 2 GPUs a node"),
        (("--time", "2:00:00"), "--time in minutes 120 is more than partition main has: 60 minutes"),
        (("--partition", "other"), "--partition other is not one of this cluster's: main"),
    ],
)
def test_what_no_partition_can_give_is_refused(launch: Launch, config: list[str], path: Path, words: tuple[str, ...], message: str) -> None:
    _cluster(path)
    assert message in launch(*words, *config, code=2).stderr
    assert not (path / "submitted").exists()


def test_slurms_own_words_are_shown_where_it_refuses(launch: Launch, config: list[str], path: Path) -> None:
    _cluster(path)
    _stub(path, "sbatch", "echo 'sbatch: error: Batch job submission failed: Invalid account' >&2; exit 1")
    assert "SLURM refused the job: sbatch: error: Batch job submission failed: Invalid account" in launch("--nodes", "2", *config, code=7).stderr


def test_what_is_submitted_is_what_a_dry_run_shows(launch: Launch, config: list[str], path: Path, tmp_path: Path) -> None:
    _cluster(path)
    shown = launch("--nodes", "2", "--dry-run", *config).stdout
    assert "submitted job 17 (mcdist-run)" in launch("--nodes", "2", *config).stdout
    assert (path / "submitted").read_text() == shown == (tmp_path / "run" / "launch" / "0001" / "submission.sh").read_text()


def test_a_second_job_on_one_run_folder_is_refused(launch: Launch, config: list[str], path: Path) -> None:
    _cluster(path)
    launch("--nodes", "2", *config)
    _stub(path, "squeue", "echo 'PENDING|(Priority)'")
    assert "/run is PENDING ((Priority)); wait for it, end it with: scancel 17" in launch("--nodes", "2", *config, code=2).stderr


def test_a_sweep_is_an_array_with_a_run_folder_each(launch: Launch, config: list[str], path: Path, tmp_path: Path) -> None:
    _cluster(path)
    launch("--nodes", "2", "--sweep", "optim.lr=0.1,0.2", "--sweep", "run.seed=1,2", *config)
    assert "#SBATCH --array=0-3%4\n" in (path / "submitted").read_text()
    resolved = [path.read_text() for path in sorted((tmp_path / "run" / "launch" / "0001").glob("config-*.yaml"))]
    assert [("dir: run/optim.lr=0.1,run.seed=1" in text, "lr: 0.2" in text) for text in resolved] == [
        (True, False),
        (False, False),
        (False, True),
        (False, True),
    ]
