"""Runs that are stopped, and the state that they leave."""

from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

from mcdist import run
from mcdist.run_dir import RunDir, list_checkpoints


def stop_after(monkeypatch: pytest.MonkeyPatch, num_asked: int) -> None:
    """Pretend that SIGTERM came just before the step after `num_asked` steps."""

    class Wish(run.StopWish):
        asked = 0

        def __call__(self) -> bool:
            Wish.asked += 1
            self.signal_number = 15 if Wish.asked >= num_asked else 0
            return bool(self.signal_number)

    monkeypatch.setattr(run, "StopWish", Wish)


def last_state(folder: str) -> dict[str, Tensor]:
    """The tensors of the newest checkpoint of a run."""
    return load_file(list_checkpoints(RunDir(Path(folder)).checkpoints)[-1] / "state.safetensors")
