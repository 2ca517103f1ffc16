"""Classes: descriptions of data sets, which class has which ids in the ground truth. Those that come with mcdist are configs/classes/*.yaml.

A description is YAML of two keys, so that a data set needs no code:

    background: background        # the class that is no object; null where a data set has none, as street scenes
    classes:
      background: [0]             # name: ids of the ground truth, 0..254; ids that no class names are void
      cat: [8]
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcdist.choices import did_you_mean
from mcdist.config.presets import presets_folder
from mcdist.config.values import typed_value
from mcdist.errors import ConfigError
from mcdist.yaml_text import YamlMapping, read_yaml

KEYS = ("background", "classes")


@dataclass(frozen=True, slots=True)
class Classes:
    """`ids` of each class by its name, background first where there is one."""

    ids: dict[str, list[int]]
    has_background: bool = True


def known_classes() -> tuple[str, ...]:
    """Names of the descriptions that come with mcdist."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def find_classes(given: str | dict[str, list[int]], *, key: str) -> Classes:
    """What the setting `key` says: a mapping whose first class is background, the name of a description or the path of one.

    Raises:
        ConfigError: there is no such description, or it is not one.
    """
    if isinstance(given, dict):
        return Classes(given)
    named = _folder() / f"{given}.yaml"
    path = named if Path(given).name == given and named.is_file() else Path(given)
    return _read(path, key=key)


def _folder() -> Path:
    return presets_folder() / "classes"


def _read(path: Path, *, key: str) -> Classes:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        known = known_classes()
        raise ConfigError(
            f"{key} must be a mapping, the path of a description or one of {', '.join(known)}, got {str(path)!r}; {did_you_mean(path.stem, known)}".rstrip("; ")
        ) from error
    content = read_yaml(text, where=str(path))
    if not isinstance(content, YamlMapping) or set(content) != set(KEYS):
        found = ", ".join(content) if isinstance(content, YamlMapping) else type(content).__name__
        raise ConfigError(f"{path} must hold the keys {' and '.join(KEYS)}, got {found}; see the files in {_folder()}")
    ids = typed_value(content["classes"], kind=dict[str, list[int]], key="classes", where=str(path))
    return _ordered(ids, background=content["background"], path=path)


def _ordered(ids: dict[str, list[int]], *, background: Any, path: Path) -> Classes:
    """Background first."""
    if background is None:
        return Classes(ids, has_background=False)
    if background not in ids:
        raise ConfigError(f"background in {path} must be one of its classes or null, got {background!r}; classes: {', '.join(ids)}")
    return Classes({background: ids[background], **ids})
