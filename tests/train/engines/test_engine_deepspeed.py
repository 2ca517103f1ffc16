"""EngineDeepSpeed in a process of its own, since DeepSpeed keeps a process group and a device for good: quiet, alone, and absent in one line."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mcdist.distributed import World
from mcdist.errors import MissingExtraError
from mcdist.train.engines.deepspeed import import_deepspeed
from tests.makers.many_ranks import skip_without_deepspeed

CODE = """
import os, sys
import torch
torch.set_num_threads(1)
from tests.train.engines.engine_case import make_state, take_steps
from mcdist.distributed import World
from mcdist.ranks.join import leave_world

state = make_state("zero_2", world=World(0, 1, torch.device("cpu")))
curve = take_steps(state, seeds=range(2))
leave_world()
assert curve[1]["skipped"] == 0.0 and "LOCAL_RANK" not in os.environ and "DS_ACCELERATOR" not in os.environ
sys.exit(7)
"""


def test_where_deepspeed_is_not_installed_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(MissingExtraError, match=r"optim.engine=deepspeed needs the package deepspeed .* run: pip install 'mcdist\[deepspeed\]', or set"):
        import_deepspeed(World(0, 1, torch.device("cpu")))


@pytest.mark.slow
def test_one_rank_trains_without_a_launcher_and_deepspeed_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without_deepspeed()
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK", "DS_ACCELERATOR"):
        monkeypatch.delenv(name, raising=False)
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[3])!r})\n{CODE}"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=300, cwd=tmp_path, check=False)
    assert done.returncode == 7, done.stdout + done.stderr
    assert done.stdout == ""
    assert "deepspeed" not in done.stderr.lower()
