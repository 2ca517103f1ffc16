"""Functions without the run-time check of types that the suite puts around them, for tests of what a caller without that check is told."""

import inspect
from collections.abc import Callable
from typing import Any


def unchecked(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as it is written. What it calls is still checked."""
    return inspect.unwrap(function)


def make_unchecked(kind: type[Any], *arguments: Any, **options: Any) -> Any:
    """An instance of `kind` whose __init__ is not checked."""
    made = object.__new__(kind)
    unchecked(kind.__init__)(made, *arguments, **options)
    return made
