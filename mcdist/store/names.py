"""Names in a feature store, and the files they stand for."""

import re

PLAN_NAME = "plan.json"
MANIFEST_NAME = "manifest.json"
PHOTOS = "photos"
"""The table with one row for each photo."""
VECTORS = "vectors/"
"""What the names of columns of object vectors begin with."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_\- ]*(/[A-Za-z0-9_-][A-Za-z0-9_\- ]*)*")


def check_name(name: str) -> str:
    """`name` itself; ValueError unless it consists of words joined by `/`. Manifests come from elsewhere: no name may leave the store's folder."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name of a table or column")
    return name


def chunk_name(place: int) -> str:
    """The folder of chunk `place`; names sort by place."""
    return f"chunk_{place:06d}"


def array_name(table: str, column: str) -> str:
    """The file of a column inside its chunk's folder."""
    return f"{check_name(table)}.{check_name(column).replace('/', '.').replace(' ', '_')}.npy"
