"""mcdist installed from a wheel, without its clone: one import name, its presets and sources with it, and every command works from an empty folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 600
TINY = ["optim.epochs=1", "optim.global_batch=8", "data.num_lanes=8", "views.size_px=32", "run.num_threads=1", "evaluate.size_px=32", "evaluate.num_seeds=1"]

pytestmark = pytest.mark.slow


def files_of_the_tree() -> list[str]:
    """What git tracks or does not ignore, as far as it is there."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the tree: a build writes into the folder that it builds."""
    if not (ROOT / ".git").exists():
        pytest.skip("this tree is no git checkout, so it is not known which files belong to it")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in files_of_the_tree():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-w", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    return next(out.glob("mcdist-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of an environment that has the wheel; its dependencies are those of this environment, below it on the path."""
    environment = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=TIMEOUT_S)
    python = environment / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
    subprocess.run(command, check=True, timeout=TIMEOUT_S)
    site = next(environment.glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands run: empty at first."""
    return tmp_path_factory.mktemp("elsewhere")


def run(program: Path, *words: str, folder: Path, code: int = 0) -> str:
    """What `program WORDS...` prints in `folder`, where nothing of the clone is on the path."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SLURM", "MCDIST"))} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(program), *words], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_wheel_holds_one_import_name_and_every_file_that_mcdist_reads(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"mcdist"}
    tree = files_of_the_tree()
    expected = {name for name in tree if name.startswith("mcdist/")} | {f"mcdist/{name}" for name in tree if name.startswith("configs/")}
    assert expected <= names


@pytest.mark.parametrize("name", ["launch", "shards", "configs", "benchmarks", "tests"])
def test_names_that_others_use_are_not_taken(installed: Path, folder: Path, name: str) -> None:
    assert f"No module named '{name}'" in run(installed / "python", "-c", f"import {name}", folder=folder, code=1)


def test_the_code_is_the_wheels(installed: Path, folder: Path) -> None:
    assert str(installed.parent) in run(installed / "python", "-c", "import mcdist; print(mcdist.__file__)", folder=folder)


def test_the_demo_runs_to_its_report(installed: Path, folder: Path) -> None:
    said = run(installed / "mcdist", "demo", "--out", "demo", "--num-train", "16", "--num-val", "12", "--workers", "1", *TINY, folder=folder)
    assert "report: demo/run/report.html" in said
    assert (folder / "demo" / "run" / "report.html").stat().st_size > 10_000
    assert sorted(path.name for path in folder.iterdir()) == ["demo"]


def test_a_builder_explains_itself(installed: Path, folder: Path) -> None:
    assert "--num-train" in run(installed / "mcdist", "shards", "build", "demo", "--help", folder=folder)


def test_a_preset_is_found_by_its_name_and_a_dry_run_prints_the_script(installed: Path, folder: Path) -> None:
    pytest.importorskip("submitit")
    before = sorted(folder.rglob("*"))
    for config in ("configs/demo.yaml", "demo"):
        script = run(installed / "mcdist", "launch", "--dry-run", "--cluster", "gpu8", config, folder=folder)
        assert script.startswith("#!/bin/bash\n") and "#SBATCH --gpus-per-node=8\n" in script
    assert "presets: demo, demo_contrast, photos" in run(installed / "mcdist", "train", "dmeo", folder=folder, code=2)
    assert sorted(folder.rglob("*")) == before


def test_a_job_runs_from_a_copy_of_mcdist_alone(installed: Path, folder: Path) -> None:
    shards = ["--num-train", "16", "--num-val", "12", "--workers", "1"]
    run(installed / "mcdist", "shards", "build", "demo", "--out", "data", *shards, folder=folder)
    settings = [*TINY, "data.train=data/train", "data.val=data/val", "run.dir=job", "report.console=off"]
    run(installed / "mcdist", "launch", "--cluster", "local", "demo", *settings, folder=folder)
    code = folder / "job" / "launch" / "0001" / "code"
    assert [path.name for path in code.iterdir()] == ["mcdist"]
    assert (code / "mcdist" / "configs" / "demo.yaml").is_file()
    assert (folder / "job" / "checkpoints" / "step_00000002").is_dir()


def test_parts_of_a_command_run_from_the_copy_too(installed: Path, folder: Path) -> None:
    command = ["mcdist", "shards", "build", "demo", "--out", "parts", "--num-train", "4", "--num-val", "2", "--shard-size", "2", "--workers", "1"]
    run(installed / "mcdist", "launch", "--cluster", "local", "--array", "2", "--", *command, folder=folder)
    assert (folder / "parts" / "train" / "manifest.json").is_file()
