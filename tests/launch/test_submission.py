"""The batch script, word for word; what comes from outside never becomes shell."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mcdist.errors import ConfigError, MissingExtraError
from mcdist.launch.cluster import Cluster
from mcdist.launch.submission import Request, batch_text

FOLDER = Path("/r/launch/0001")
GOLDEN = """#!/bin/bash

# Parameters
#SBATCH --account=vision
#SBATCH --comment='paper run 3'
#SBATCH --constraint='a100|h100'
#SBATCH --cpus-per-task=12
#SBATCH --exclude='node[3,7-9]'
#SBATCH --gpus-per-node=8
#SBATCH --job-name=mcdist-one
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --mem=480G
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=8
#SBATCH --open-mode=append
#SBATCH --output=/r/launch/0001/%j_0_log.out
#SBATCH --partition=gpu
#SBATCH --qos=long
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --time=1440

# setup
module load cuda
export PYTHONPATH=/r/launch/0001/code${PYTHONPATH:+:$PYTHONPATH} PYTHONSAFEPATH=1
PYTHON -m mcdist.launch.job prepare /r/launch/0001 || exit $?

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /r/launch/0001/%j_%t_log.out --open-mode=append --kill-on-bad-exit=1 --cpus-per-task=12 PYTHON -u -m mcdist.launch.job task /r/launch/0001


# teardown
exec PYTHON -m mcdist.launch.job settle /r/launch/0001 $?"""  # noqa: E501


def _request(folder: Path = FOLDER, **changes: Any) -> Request:
    return Request(name="mcdist-one", folder=folder, cluster=Cluster(**changes))


def _srun(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("srun "))


def test_the_script_holds_what_was_asked_for() -> None:
    asked: dict[str, Any] = dict(account="vision", comment="paper run 3", constraint="a100|h100", cpus_per_task=12, exclude="node[3,7-9]", gpus_per_node=8)
    asked |= dict(mem="480G", nodes=4, partition="gpu", qos="long", signal_delay_s=120, time="1-00", setup="module load cuda")
    assert batch_text(_request(**asked)).replace(sys.executable, "PYTHON") == GOLDEN


def test_what_was_not_asked_for_is_left_to_slurm() -> None:
    text = batch_text(_request())
    for word in ("partition", "account", "qos", "mem", "gpus", "cpus-per-task", "wckey", "dependency", "array"):
        assert f"--{word}" not in text


def test_an_array_has_its_own_logs_and_a_dependency_is_afterok() -> None:
    text = batch_text(Request(name="n", folder=FOLDER, cluster=Cluster(), num_elements=5, after="17"))
    assert "#SBATCH --array=0-4%5\n" in text and "#SBATCH --dependency=afterok:17\n" in text
    assert "%A_%a_%t_log.out" in _srun(text)


def test_a_container_is_pyxis_or_apptainer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    line = _srun(batch_text(_request(container="nvcr.io#nvidia/pytorch:24.10-py3")))
    assert f"'--container-image=nvcr.io#nvidia/pytorch:24.10-py3' --container-mounts={tmp_path}:{tmp_path} --container-workdir={tmp_path} python -u" in line
    line = _srun(batch_text(_request(container="/images/torch.sif")))
    assert f" apptainer exec --nv --bind {tmp_path} /images/torch.sif python -u -m mcdist.launch.job task" in line


def test_the_setup_is_the_users_own_shell_and_keeps_its_lines() -> None:
    assert "# setup\nmodule load cuda\nexport A='b c'\nexport PYTHONPATH" in batch_text(_request(setup="module load cuda\nexport A='b c'"))


@pytest.mark.parametrize("name", ["$(touch x)", "a;b", "a'b", 'a"b', "a`b`", "a\nb", "a%j", "a&b", "a|b"])
def test_a_run_folder_that_could_mean_something_to_slurm_or_a_shell_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="the path of a run folder on a cluster may contain only letters"):
        batch_text(_request(Path("/work") / name / "launch" / "0001"))


def test_without_submitit_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mcdist\[slurm\]'"):
        batch_text(_request())


def test_a_folder_with_spaces_reaches_the_shell_as_one_word(tmp_path: Path) -> None:
    folder = tmp_path / "my runs" / "launch" / "0001"
    text = batch_text(_request(folder))
    assert shlex.split(_srun(text))[-1] == str(folder)
    assert f"#SBATCH --output='{folder}/%j_0_log.out'" in text
    checked = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, timeout=30, check=False)
    assert checked.returncode == 0, checked.stderr
