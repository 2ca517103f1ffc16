"""Config files: YAML and `key=value` hold differences, and become a Config.

Precedence: defaults < file < key=value. An unknown key or a wrong type is an error that names file, line and the nearest key.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mcdist.config.config import Config
from mcdist.config.keys import check_key, kinds_of_settings, section_names
from mcdist.config.values import typed_value
from mcdist.errors import ConfigError
from mcdist.run_dir import RunDir
from mcdist.yaml_text import YamlMapping, read_yaml, write_yaml


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it was given, checked: its dotted key and its value."""

    key: str
    value: Any


def load_config(path: Path, *, overrides: list[str] | None = None) -> Config:
    """Defaults < `path` < `overrides` (each `section.key=value`, value in YAML).

    Raises:
        ConfigError: no such file, not YAML, an unknown key, a wrong type or a value out of range: with place and nearest key.
    """
    settings = [*_settings_of_file(path), *map(_setting_of_argument, overrides or [])]
    try:
        return _changed(Config(), settings)
    except ConfigError as error:
        raise ConfigError(f"{error} (in {path} or an argument)") from error


def config_of(overrides: list[str]) -> Config:
    """Defaults < `overrides`, where there is no file; ConfigError as `load_config`."""
    return _changed(Config(), map(_setting_of_argument, overrides))


def load_run_config(run_dir: RunDir, *, overrides: list[str] | None = None) -> Config:
    """The configuration that a run saved, with overrides; ConfigError where `run_dir` is not a run.

    Shards inside the run's folder, such as those of a discovery, are found there although the folder was moved.
    """
    config = load_config(run_dir.require().config, overrides=overrides)
    train, val = (run_dir.moved(location, was=Path(config.run.dir)) for location in (config.data.train, config.data.val))
    return replace(config, data=replace(config.data, train=train, val=val))


def require_given_once(overrides: Iterable[str]) -> None:
    """Raise ConfigError where two of a person's `section.key=value` set the same key: one of them would be lost without a word."""
    first: dict[str, str] = {}
    for override in overrides:
        key = override.partition("=")[0]
        if key in first:
            raise ConfigError(f"{key} is set twice, by {first[key]!r} and by {override!r}; give it once")
        first[key] = override


def dump_config(config: Config) -> str:
    """The whole configuration as YAML, every key written out."""
    return write_yaml(asdict(config))


def _changed(config: Config, settings: Iterable[Setting]) -> Config:
    """The configuration with the settings over it, the last of each key; everything is checked at the end, together."""
    whole: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {}
    for setting in settings:
        section, _, key = setting.key.partition(".")
        if key:
            sections.setdefault(section, {})[key] = setting.value
        else:
            whole[section] = setting.value
    return replace(config, **whole, **{name: replace(getattr(config, name), **values) for name, values in sections.items()})


def _settings_of_file(path: Path) -> Iterator[Setting]:
    content = read_yaml(_read(path), where=str(path))
    if content is None:
        return
    if not isinstance(content, YamlMapping):
        raise ConfigError(f"{path}:1 must hold sections like `model:`, got {type(content).__name__}")
    for name, value in content.items():
        where = f"{path}:{content.lines[name]}"
        if isinstance(value, YamlMapping) and name != "deepspeed":
            for key, inner in value.items():
                yield _checked(f"{name}.{key}", inner, where=f"{path}:{value.lines[key]}")
        elif name in section_names():
            got = "nothing" if value is None else repr(value)
            raise ConfigError(f"the section {name} in {where} must hold settings, got {got}; write them below it or remove the line")
        else:
            yield _checked(name, value, where=where)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ConfigError(f"cannot read the configuration {path}: {reason}; the ones that come with mcdist are in configs/") from error


def _setting_of_argument(argument: str) -> Setting:
    where = f"the argument {argument!r}"
    key, separator, text = argument.partition("=")
    if not separator:
        raise ConfigError(f"{where} must have the form section.key=value")
    check_key(key, where=where)
    value = read_yaml(text, where=where) if text else ""
    if isinstance(value, str) and not text.lstrip().startswith(("'", '"')):
        value = text.strip()  # as typed: a shell has read it already, and ` #` begins no comment here
    return _checked(key, value, where=where)


def _checked(key: str, value: Any, *, where: str) -> Setting:
    check_key(key, where=where)
    return Setting(key, typed_value(value, kind=kinds_of_settings()[key], key=key, where=where))
