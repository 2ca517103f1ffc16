"""Option groups: options that several commands share stand once, as the fields of a dataclass, and a command takes the dataclass as one argument.

typer reads a command's options from its signature. `spread` gives it the signature in which the dataclass is replaced by its fields, and builds the
dataclass when the command is called, so that the command's own code is ordinary, typed Python:

    @dataclass(frozen=True, slots=True)
    class Output:
        out: Annotated[Path, typer.Option("--out")]
        overwrite: Annotated[bool, typer.Option("--overwrite")] = False

    @app.command("make")
    @spread
    def make(name: str, output: Output) -> None: ...         # mcdist make NAME --out DIR [--overwrite]
"""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, get_type_hints


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """`command` as typer shall see it: each argument that is a dataclass becomes that dataclass's fields. Required options come first in the help."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if name != "return" and is_dataclass(hint)}

    def call(**given: Any) -> None:
        built = {name: group(**{field.name: given.pop(field.name) for field in fields(group)}) for name, group in groups.items()}
        command(**given, **built)

    own = inspect.signature(command).parameters.values()
    shown = [option for parameter in own for option in (_options_of(groups[parameter.name]) if parameter.name in groups else [parameter])]
    call.__doc__ = command.__doc__
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [option.replace(kind=option.KEYWORD_ONLY) for option in sorted(shown, key=lambda option: option.default is not option.empty)]
    )
    return call


def _options_of(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=_default_of(field), annotation=hints[field.name]) for field in fields(group)]


def _default_of(field: "Field[Any]") -> Any:
    return inspect.Parameter.empty if field.default is MISSING else field.default
