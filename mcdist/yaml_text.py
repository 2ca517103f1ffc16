"""YAML 1.2 as plain values with line numbers: the one place where mcdist reads and writes YAML. No torch here.

Only true and false are booleans (`mlflow: off` is text), 1e-4 is a number, a date is text, and a key is the text that is written.
Merge keys (`<<: *base`) work. What is easily a slip is an error: a key that is written twice, and a tag other than YAML's own simple types.
"""

import io
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from mcdist.errors import ConfigError, first_line

_TAG = "tag:yaml.org,2002:"
_BRACKETS = re.compile(r"[\[\]{}]")
LENGTH_MAX = 2**20
DEPTH_MAX = 50
_SCALARS = frozenset(_TAG + name for name in ("str", "null", "bool", "int", "float"))
_OTHER_IN_YAML_1_1 = re.compile(r"y|yes|n|no|on|off|[-+]?\d[\d_]*(:[0-5]?\d)+(\.\d*)?", re.IGNORECASE)
"""Text that readers of YAML 1.1 take for a boolean or a number in base 60."""


class YamlMapping(dict[str, Any]):
    """A mapping as it was read: a dict that also knows the line of each key."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}


def read_yaml(text: str, *, where: str) -> Any:
    """The value of one YAML document: YamlMapping, list, str, int, float, bool or None; None for an empty document.

    Args:
        where: what messages call the text; the line follows it, `configs/voc.yaml:14`.

    Raises:
        ConfigError: not YAML, a key that is written twice, a key that is no text, or a tag that would make another object.
    """
    _check_extent(text, where=where)
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(text)
        return None if node is None else _Reader(yaml, where=where).value(node)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(filter(None, (error.context, error.problem)))
        raise ConfigError(f"{where}:{mark.line + 1 if mark else 1} is not YAML: {problem}") from error
    except (YAMLError, RecursionError) as error:
        raise ConfigError(f"{where}:1 is not YAML: {first_line(error)}") from error


def _check_extent(text: str, *, where: str) -> None:
    """The parser's time grows with the square of the depth of brackets, so what no person writes is refused before it."""
    if len(text) > LENGTH_MAX:
        raise ConfigError(
            f"{where} must have at most {LENGTH_MAX:,} characters, it has {len(text):,}; a configuration holds only what differs from the defaults"
        )
    depth = 0
    for bracket in _BRACKETS.findall(text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        if depth > DEPTH_MAX:
            raise ConfigError(f"{where} must have brackets at most {DEPTH_MAX} deep, it has more; is one of them not closed?")


def write_yaml(content: dict[str, Any]) -> str:
    """`content` as YAML that versions 1.1 and 1.2 read alike, one key a line, in the given order."""
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.allow_unicode = True
    yaml.width = 4096
    yaml.representer.add_representer(str, _represent_text)
    yaml.representer.add_representer(float, _represent_number)
    text = io.StringIO()
    yaml.dump(content, text)
    return text.getvalue()


class _Reader:
    """Turns a document's nodes into values. A node that several aliases name is read once."""

    def __init__(self, yaml: YAML, *, where: str) -> None:
        self._yaml, self._where = yaml, where
        self._values: dict[int, Any] = {}
        self._open: set[int] = set()

    def value(self, node: Node) -> Any:
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            raise ConfigError(f"{self._place(node)} contains itself by an alias; write its content out")
        if id(node) not in self._values:
            self._open.add(id(node))
            self._values[id(node)] = self._collection(node)
            self._open.remove(id(node))
        return self._values[id(node)]

    def _collection(self, node: Node) -> Any:
        if isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
            return [self.value(item) for item in node.value]
        if isinstance(node, MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node)
        raise self._wrong_tag(node)

    def _mapping(self, node: MappingNode) -> YamlMapping:
        found, own = YamlMapping(), YamlMapping()
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                for source in reversed(self._merged(value_node)):
                    found.update(source)
                    found.lines.update(source.lines)
                continue
            key = self._key(key_node)
            if key in own:
                raise ConfigError(f"the key {key!r} is written twice, in {self._where}:{own.lines[key]} and {self._place(key_node)}; remove one of the two")
            own[key], own.lines[key] = self.value(value_node), key_node.start_mark.line + 1
        found.update(own)
        found.lines.update(own.lines)
        return found

    def _merged(self, node: Node) -> list[YamlMapping]:
        """The mappings that `<<: node` merges; the first one wins."""
        value = self.value(node)
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, YamlMapping) for source in sources):
            raise ConfigError(f"{self._place(node)}: `<<` must merge a mapping or a list of mappings, got {value!r}")
        return sources

    def _key(self, node: Node) -> str:
        if not isinstance(node, ScalarNode):
            raise ConfigError(f"{self._place(node)}: a key must be text, got a list or a mapping")
        return str(node.value)

    def _scalar(self, node: ScalarNode) -> Any:
        if node.tag == _TAG + "timestamp":
            return node.value
        if node.tag not in _SCALARS:
            raise self._wrong_tag(node)
        try:
            return self._yaml.constructor.construct_object(node)
        except (YAMLError, ValueError, KeyError) as error:
            raise ConfigError(f"{self._place(node)}: {node.value[:60]!r} is not a value that YAML allows here ({first_line(error)})") from error

    def _wrong_tag(self, node: Node) -> ConfigError:
        return ConfigError(f"{self._place(node)}: the tag {node.tag} is not allowed; write text, numbers, true, false, lists and mappings without tags")

    def _place(self, node: Node) -> str:
        return f"{self._where}:{node.start_mark.line + 1}"


def _represent_text(representer: Any, text: str) -> Any:
    style = "'" if _OTHER_IN_YAML_1_1.fullmatch(text) else None if text.isprintable() else '"'
    return representer.represent_scalar(_TAG + "str", text, style=style)


def _represent_number(representer: Any, number: float) -> Any:
    """With a point, without which YAML 1.1 takes 1e-09 for text."""
    text = repr(number)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return representer.represent_scalar(_TAG + "float", {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(text, text))
