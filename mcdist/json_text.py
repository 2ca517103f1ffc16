"""JSON of files as plain values: `json.loads` whose every refusal is a ValueError. No torch here."""

import json
from typing import Any


def parse_json(content: str | bytes) -> Any:
    """The value of one JSON text.

    Raises:
        ValueError: not text, not JSON, or nested more deeply than the interpreter's stack goes (`json.loads` raises RecursionError there).
    """
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
