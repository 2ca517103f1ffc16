"""Fetched: a network with weights from a hub, or one sentence on why they could not be had."""

from collections.abc import Callable
from urllib.error import URLError

from torch import nn

from mcdist.errors import MachineError


def fetched(make: Callable[[], nn.Module], *, name: str) -> nn.Module:
    """make(), which downloads.

    Raises:
        MachineError: the weights cannot be fetched.
    """
    try:
        return make()
    except (URLError, OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MachineError(f"could not get the weights of {name} ({reason}); fetch them elsewhere and give weights=PATH (docs/backbones.md)") from error
