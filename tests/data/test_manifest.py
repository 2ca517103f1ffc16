import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcdist.data.manifest import MANIFEST_NAME, read_manifest
from mcdist.errors import ShardError


def _spoil(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / MANIFEST_NAME).read_text())
    change(content)
    (folder / MANIFEST_NAME).write_text(json.dumps(content))


def _members(content: dict[str, Any], value: object) -> None:
    content["shards"][0]["samples"][0]["members"] = value


@pytest.mark.parametrize(
    "change",
    [
        lambda content: _members(content, ["jpg"]),
        lambda content: _members(content, {"jpg": [3]}),
        lambda content: _members(content, {"jpg": [0, 10**30]}),
        lambda content: _members(content, {"jpg": [-5, 10]}),
        lambda content: content["shards"][0].update(name="../elsewhere.tar"),
        lambda content: content["shards"][0].update(name="/etc/passwd"),
        lambda content: content.update(shards=3),
        lambda content: content.update(format="ffcv"),
        lambda content: content.pop("source"),
    ],
)
def test_a_hostile_manifest_is_one_sentence(make_shards: Callable[..., Path], change: Callable[[dict[str, Any]], object]) -> None:
    folder = make_shards(3)
    _spoil(folder, change)
    with pytest.raises(ShardError, match="manifest.json is damaged") as caught:
        read_manifest(folder)
    assert "\n" not in str(caught.value)


def test_a_manifest_that_is_no_object_is_one_sentence(make_shards: Callable[..., Path]) -> None:
    folder = make_shards(3)
    (folder / MANIFEST_NAME).write_text("[1, 2]")
    with pytest.raises(ShardError, match="manifest.json is damaged"):
        read_manifest(folder)


def test_another_schema_version_says_what_to_do(make_shards: Callable[..., Path]) -> None:
    folder = make_shards(3)
    _spoil(folder, lambda content: content.update(schema_version=2))
    with pytest.raises(ShardError, match="schema version 2, this mcdist reads 1; rebuild the shards"):
        read_manifest(folder)
