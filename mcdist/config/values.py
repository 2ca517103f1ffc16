"""Values: what was written for a setting, checked against the setting's type and never converted from one type to another."""

from typing import Any, Literal, get_origin

from mcdist.choices import require_choice
from mcdist.config.checks import INT_LIMIT
from mcdist.errors import ConfigError

_EXPECTED: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list[str]: "a list of names, such as [optim.lr]",
    list[int]: "a list of whole numbers, such as [1, 2]",
    int | list[int]: "a whole number or a list of whole numbers, such as [0, 12, 25]",
    dict[str, list[int]]: "a mapping of names to lists of whole numbers, such as {cat: [8]}",
    str | dict[str, list[int]]: "a name, a path, or a mapping of names to lists of whole numbers, such as {cat: [8]}",
    dict[str, Any]: "a mapping",
}


def typed_value(value: Any, *, kind: Any, key: str, where: str) -> Any:
    """`value` as a setting of type `kind`: itself, a float of a whole number, or plain lists and dicts of what YAML gave.

    Raises:
        ConfigError: the value is of another type or none of the choices, or one of its elements is of another type; the message names key and place.
    """
    if get_origin(kind) is Literal:
        require_choice(f"{key} in {where}", value, choices=kind)
        return value
    if kind is float and _is_whole(value) and abs(value) < INT_LIMIT:
        return float(value)
    if not _fits(value, kind):
        quoted = f"; quote it to make it text: '{value}'" if kind is str and isinstance(value, bool | int | float) else ""
        raise ConfigError(f"{key} in {where} must be {_EXPECTED[kind]}, got {_shown(value)}{quoted}")
    return _plain(value)


def _fits(value: Any, kind: Any) -> bool:
    if kind == int | list[int]:
        return _is_whole(value) or _fits(value, list[int])
    if kind == str | dict[str, list[int]]:
        return isinstance(value, str) or _fits(value, dict[str, list[int]])
    if kind == list[int]:
        return isinstance(value, list) and all(_is_whole(item) for item in value)
    if kind == list[str]:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind == dict[str, list[int]]:
        return isinstance(value, dict) and all(_fits(items, list[int]) for items in value.values())
    if kind == dict[str, Any]:
        return isinstance(value, dict)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """Fresh lists and dicts, so that no two settings share one through an alias."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _shown(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
