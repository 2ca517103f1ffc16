"""The mark of a test that starts a server. It may run again, up to twice, where the server was away or late; a comparison that fails never does."""

import queue
import subprocess

import pytest

from mcdist.errors import MachineError


class LateError(TimeoutError):
    """What a test waits for did not come in time."""


starts_a_server = pytest.mark.flaky(reruns=2, reruns_delay=5, only_rerun=[TimeoutError, subprocess.TimeoutExpired, queue.Empty, ConnectionError, MachineError])
