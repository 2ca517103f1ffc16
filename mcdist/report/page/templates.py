"""Templates of the pages, by file name. Everything that they show is escaped unless it is Markup."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


@cache
def template(name: str) -> Template:
    """The template in the file `name` of this folder."""
    loader = FileSystemLoader(Path(__file__).parent, encoding="utf-8")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).get_template(name)
