"""A mistyped choice is an error in one sentence, for who uses the components as a library."""

import subprocess
import sys
from pathlib import Path

from tests.fixture_types import MakeShards

CODE = """
from pathlib import Path
from mcdist.config import Config, DataConfig
from mcdist.build import view_settings
from mcdist.data.loader import make_loader
from mcdist.data.readers.ffcv import FfcvReader
from mcdist.data.readers.open import open_shards
from mcdist.errors import ConfigError

folder = Path({folder!r})
run = dict(views=view_settings(Config()), seed=0, global_batch=2, accumulation_steps=1, rank=0, num_ranks=1, block=2, num_lanes=1, consumed=0, num_steps=1)
more = dict(num_workers=0, prefetch=1, pin_memory=False)
for call in (
    lambda: open_shards(folder, verify="opne"),
    lambda: open_shards(folder, ffcv_cache="opne"),
    lambda: FfcvReader(folder, cache="opne"),
    lambda: make_loader(open_shards(folder), **run, **more, decode="opne"),
    lambda: make_loader(open_shards(folder), **run, **more, bad_samples="opne"),
    lambda: DataConfig(bad_samples="ignore"),
):
    try:
        call()
    except ConfigError as error:
        print(error)
    else:
        print("no error")
"""


def test_a_mistyped_choice_is_an_error_where_types_are_not_checked(make_shards: MakeShards, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CODE.format(folder=str(make_shards(3)))], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "verify must be one of never, open, got 'opne'",
        "ffcv_cache must be one of os, process, got 'opne'",
        "cache must be one of os, process, got 'opne'",
        "decode must be one of exact, scaled, got 'opne'",
        "bad_samples must be one of error, skip, got 'opne'",
        "data.bad_samples must be one of error, skip, got 'ignore'",
    ]
