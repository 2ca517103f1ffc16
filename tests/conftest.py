"""Fixtures of the whole suite: the devices present, one thread, the shared photographs, repeatable properties."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
ROOT = Path(__file__).parent.parent

settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("repeatable")
torch.set_num_threads(1)


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device this machine has, one after another."""
    return torch.device(request.param)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photographs beside the checkout, never in it; another folder by MCDIST_SHARED."""
    folder = Path(os.environ.get("MCDIST_SHARED", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no photographs at {folder}; MCDIST_SHARED names another folder")
    return folder
