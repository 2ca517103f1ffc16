"""A mistyped choice is an error in one sentence, for who uses the components as a library."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mcdist.build import view_settings
from mcdist.config import Config, DataConfig
from mcdist.data.photo_views import PhotoViews
from mcdist.data.readers.ffcv import FfcvReader
from mcdist.data.readers.open import open_shards
from mcdist.errors import ConfigError
from tests.fixture_types import MakeShards
from tests.makers.unchecked import make_unchecked, unchecked


def photo_views(folder: Path, **choice: str) -> None:
    """What `make_loader` hands both choices to."""
    make_unchecked(PhotoViews, open_shards(folder), views=view_settings(Config()), seed=0, **choice)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda folder: unchecked(open_shards)(folder, verify="opne"), "verify must be one of never, open, got 'opne'"),
        (lambda folder: unchecked(open_shards)(folder, ffcv_cache="opne"), "ffcv_cache must be one of os, process, got 'opne'"),
        (lambda folder: make_unchecked(FfcvReader, folder, cache="opne"), "cache must be one of os, process, got 'opne'"),
        (lambda folder: photo_views(folder, decode="opne"), "decode must be one of exact, scaled, got 'opne'"),
        (lambda folder: photo_views(folder, bad_samples="opne"), "bad_samples must be one of error, skip, got 'opne'"),
        (
            lambda folder: make_unchecked(DataConfig, bad_samples="ignore"),
            "data.bad_samples must be one of error, skip, got 'ignore'",
        ),
    ],
)
def test_a_mistyped_choice_is_an_error_where_types_are_not_checked(make_shards: MakeShards, call: Callable[[Path], object], said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{said}$"):
        call(make_shards(3))
