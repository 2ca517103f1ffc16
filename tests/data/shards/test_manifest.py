import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcdist.data.shards.manifest import MANIFEST_NAME, read_manifest
from mcdist.errors import ShardError
from tests.fixture_types import MakeShards


def _spoil(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / MANIFEST_NAME).read_text())
    change(content)
    (folder / MANIFEST_NAME).write_text(json.dumps(content))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["shards"][0].update(num_samples=-1),
        lambda content: content["shards"][0].update(num_samples=2),
        lambda content: content["shards"][0].update(num_bytes=10**30),
        lambda content: content["shards"][0].update(sha256="../../etc"),
        lambda content: content["shards"][0].update(index_sha256=""),
        lambda content: content.update(num_samples=4),
        lambda content: content.update(shards=2 * content["shards"]),
        lambda content: content["shards"][0].update(name="../elsewhere.tar"),
        lambda content: content["shards"][0].update(name="/etc/passwd"),
        lambda content: content.update(shards=3),
        lambda content: content.update(format="zip"),
        lambda content: content.pop("source"),
    ],
)
def test_a_hostile_manifest_is_one_sentence(make_shards: MakeShards, change: Callable[[dict[str, Any]], object]) -> None:
    folder = make_shards(3)
    _spoil(folder, change)
    with pytest.raises(ShardError, match="manifest.json is damaged") as caught:
        read_manifest(folder)
    assert "\n" not in str(caught.value)


def test_a_manifest_that_is_no_object_is_one_sentence(make_shards: MakeShards) -> None:
    folder = make_shards(3)
    (folder / MANIFEST_NAME).write_text("[1, 2]")
    with pytest.raises(ShardError, match="manifest.json is damaged"):
        read_manifest(folder)


def test_a_feature_store_is_not_called_shards_to_overwrite(make_shards: MakeShards) -> None:
    folder = make_shards(3)
    _spoil(folder, lambda content: content.update(schema_version=1, columns={}))
    with pytest.raises(ShardError, match="is that of a feature store; name the folder that mcdist shards build wrote"):
        read_manifest(folder)


@pytest.mark.parametrize("version", [1, 3])
def test_another_schema_version_says_what_to_do(make_shards: MakeShards, version: int) -> None:
    folder = make_shards(3)
    _spoil(folder, lambda content: content.update(schema_version=version))
    with pytest.raises(ShardError, match=f"schema version {version}, this mcdist reads 2; rebuild the shards with: mcdist shards build"):
        read_manifest(folder)
