"""FFCV, for the tests that need it: it is built from source, so it may be absent."""

import importlib
import warnings
from types import ModuleType

import pytest

FFCV_REMEDY = "`make test` builds it where libturbojpeg0-dev, libopencv-dev, pkg-config and g++ are there, and installs those as root on Debian and Ubuntu"


def ffcv_or_skip() -> ModuleType:
    """FFCV, or a skip that says why. Its import may fail in a shared library, long after pip was content."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its import warns of its own affairs
            for part in ("fields", "loader", "writer"):
                importlib.import_module(f"ffcv.{part}")
            return importlib.import_module("ffcv")
    except ImportError as error:
        pytest.skip(f"FFCV is not to be had here ({error}); {FFCV_REMEDY}")
