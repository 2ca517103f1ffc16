"""Fixtures of the whole suite: the devices present, one thread, the shared photographs, repeatable properties."""

import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from mcdist.data.views.draw import ViewSettings
from tests.fixture_types import MakeShards, MakeViewSettings, MembersOf, RelistShard, ShardsAt
from tests.makers.mlflow_store import copy_store, make_store
from tests.makers.tiny_shards import draw_members, relist, tiny_shards

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


@pytest.fixture
def make_shards(tmp_path: Path) -> MakeShards:
    """`tiny_shards` into a fresh folder."""
    return partial(tiny_shards, tmp_path / "shards")


@pytest.fixture(scope="session")
def shards_at() -> ShardsAt:
    """`tiny_shards` itself, for folders that outlive a test."""
    return tiny_shards


@pytest.fixture(scope="session")
def relist_shard() -> RelistShard:
    """`relist`, for folders whose index says what no builder would."""
    return relist


@pytest.fixture(scope="session")
def members_of() -> MembersOf:
    """`draw_members`, to be changed for a sample."""
    return draw_members


@pytest.fixture(scope="session")
def mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """`copy_store` of one empty MLflow database: from where it shall be to its tracking URI."""
    pytest.importorskip("mlflow")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = make_store(tmp_path_factory.mktemp("mlflow") / "mlflow.db")
    return lambda database: copy_store(made, database=database)


@pytest.fixture(scope="session")
def view_settings() -> MakeViewSettings:
    """The paper's settings at 32 px, with any of them changed."""
    defaults: dict[str, Any] = dict(
        size_px=32,
        crop_scale_min=0.2,
        crop_scale_max=1.0,
        flip_probability=0.5,
        jitter_probability=0.8,
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.1,
        grey_probability=0.2,
        blur_probability=0.0,
        foreground_min=0.01,
        foreground_max=0.99,
        max_redraws=10,
        max_objects=8,
    )
    return lambda **changes: ViewSettings(**{**defaults, **changes})
