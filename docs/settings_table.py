"""A Sphinx directive `settings`: every setting with its type, default and meaning, from the configuration's dataclasses and their docstrings."""

import dataclasses
import sys
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective


class Settings(SphinxDirective):
    """One section of the page for each section of the configuration."""

    def run(self) -> list[nodes.Node]:
        """The sections, in the order of `Config`."""
        from mcdist.config import Config

        config = Config()
        sections = [(field.name, getattr(config, field.name)) for field in dataclasses.fields(config)]
        return [self._section(name, section) for name, section in sections if dataclasses.is_dataclass(section)]

    def _section(self, name: str, section: Any) -> nodes.section:
        made = nodes.section(ids=[name], names=[name])
        made += nodes.title("", name)
        made += self._paragraphs(" ".join((type(section).__doc__ or "").split()))
        entries = nodes.definition_list(classes=["settings"])
        meanings = _meanings(type(section))
        for field in dataclasses.fields(section):
            entries += self._entry(f"{name}.{field.name}", default=getattr(section, field.name), meaning=meanings.get(field.name, ""))
        made += entries
        return made

    def _entry(self, key: str, *, default: Any, meaning: str) -> nodes.definition_list_item:
        shown = nodes.inline("", "", nodes.Text(" = "), nodes.literal(text=repr(default)), classes=["default"])
        term = nodes.term("", "", nodes.literal(text=key), shown, ids=[key.replace(".", "-")])
        return nodes.definition_list_item("", term, nodes.definition("", *self._paragraphs(meaning)))

    def _paragraphs(self, text: str) -> list[nodes.Node]:
        return self.parse_text_to_nodes(text)


def _meanings(section: type) -> dict[str, str]:
    """The docstring below each field, on one line."""
    analyzer = ModuleAnalyzer.for_module(sys.modules[section.__module__].__name__)
    found = analyzer.find_attr_docs()
    return {attribute: " ".join(" ".join(lines).split()) for (owner, attribute), lines in found.items() if owner == section.__name__}


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("settings", Settings)
    return {"parallel_read_safe": True}
