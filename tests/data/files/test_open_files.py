from pathlib import Path

import pytest

from mcdist.data.files.files import LocalFiles
from mcdist.data.files.open import expand_variables, local_path, open_files
from mcdist.errors import ConfigError


@pytest.mark.parametrize("location", ["shards/a", "/shards/a", "file:/shards/a b", "file:///shards/a%20b", "file://localhost/shards/a", "a:b/shards"])
def test_paths_and_file_urls_are_local(location: str) -> None:
    files = open_files(location, cache_dir="", cache_gib=1.0, stage_to="", verify="never")
    assert isinstance(files, LocalFiles)
    assert files.folder == (Path("/shards/a b") if "b" in location and "file" in location else Path("/shards/a") if "file" in location else Path(location))


def test_only_environment_variables_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISK", "/disk")
    assert expand_variables("$DISK/a$(rm)~", key="data.stage_to") == Path("/disk/a$(rm)~")
    with pytest.raises(ConfigError, match=r"data.stage_to=\$NO_DISK/a names the environment variable NO_DISK, which is not set here"):
        expand_variables("$NO_DISK/a", key="data.stage_to")


@pytest.mark.parametrize("url", ["https://me:secret@host/shards", "https://host/shards?token=secret", "https://host/shards#part"])
def test_a_url_with_a_secret_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match=r"https://host/... wants a plain URL") as caught:
        open_files(url, cache_dir="", cache_gib=1.0, stage_to="", verify="never")
    assert "secret" not in str(caught.value)


def test_a_file_url_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match="names the machine other; write file:///PATH"):
        local_path("file://other/shards")
