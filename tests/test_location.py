"""Where shards are, and which locations are refused."""

from pathlib import Path
from typing import Any

import pytest

from mcdist.config import DataConfig
from mcdist.data.files.cache import ShardCache
from mcdist.data.files.cached import CachedFiles
from mcdist.data.readers.open import open_shards
from mcdist.errors import ConfigError
from mcdist.location import expand_variables, local_path

SECRETS = [
    "https://me:secret@host/shards",
    "https://secret@host/shards",
    "HTTPS://me:secret@host/shards",
    "s3://key:secret@bucket/shards",
    "https://host/shards?token=secret",
    "https://host/shards?secret",
    "https://host/shards#secret",
    "https://[secret@host/shards",
    "file://me:secret@host/shards",
]


@pytest.mark.parametrize(
    "location", ["shards/a", "/shards/a", "file:/shards/a b", "file:///shards/a%20b", "file://localhost/shards/a", "a:b/shards", "a@b?c#d"]
)
def test_paths_and_file_urls_are_local(location: str) -> None:
    wanted = Path("/shards/a b") if "b" in location and "file" in location else Path("/shards/a") if "file" in location else Path(location)
    assert local_path(location) == wanted


def test_only_environment_variables_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISK", "/disk")
    assert expand_variables("$DISK/a$(rm)~", key="data.stage_to") == Path("/disk/a$(rm)~")
    with pytest.raises(ConfigError, match=r"data.stage_to=\$NO_DISK/a names the environment variable NO_DISK, which is not set here"):
        expand_variables("$NO_DISK/a", key="data.stage_to")


@pytest.mark.parametrize("stage", [True, False])
@pytest.mark.parametrize("url", SECRETS)
def test_a_url_with_a_secret_is_refused_before_anything_else_and_not_repeated(url: str, stage: bool, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must be a URL without user, password, query and fragment") as caught:
        open_shards(url, stage_to=str(tmp_path / "here") if stage else "", cache_dir=str(tmp_path / "cache"))
    assert "secret" not in str(caught.value)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="must be a URL without") as caught:
        CachedFiles(url, cache=ShardCache(tmp_path / "cache", max_bytes=None))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["train", "val", "cache_dir", "stage_to"])
@pytest.mark.parametrize("url", SECRETS)
def test_no_configuration_holds_a_url_with_a_secret(url: str, key: str) -> None:
    others: dict[str, Any] = {"train": "shards/a", "stage_to": "/scratch"} | {key: url}
    with pytest.raises(ConfigError, match=f"data.{key} must be a URL without") as caught:
        DataConfig(**others)
    assert "secret" not in str(caught.value)


def test_a_file_url_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match="names the machine other; write file:///PATH"):
        local_path("file://other/shards")
