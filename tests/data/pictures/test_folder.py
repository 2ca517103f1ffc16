"""What is below a folder of photos is taken."""

from pathlib import Path

import pytest

from mcdist.data.pictures.folder import pictures_in
from mcdist.errors import DataError


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_linked_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    for name in ("photos/a.jpg", "photos/sub/b.JPEG", "photos/c.jfif", "photos/.hidden/x.jpg", "photos/.x.jpg", "elsewhere/b.png", "elsewhere/deep/c.webp"):
        touch(tmp_path / name)
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "sub" / "up").symlink_to(tmp_path / "photos")
    (tmp_path / "elsewhere" / "itself").symlink_to(tmp_path / "elsewhere")
    wanted = ["a.jpg", "c.jfif", "linked/b.png", "linked/deep/c.webp", "sub/b.JPEG"]
    assert pictures_in(tmp_path / "photos") == wanted


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "photos" / "locked" / "a.jpg")
    (tmp_path / "photos" / "broken").symlink_to(tmp_path / "nowhere", target_is_directory=True)
    assert pictures_in(tmp_path / "photos") == ["locked/a.jpg"], "a link to nothing is no folder"
    from os import scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(DataError, match=r"cannot read the folder .*locked \(Permission denied\); check its permissions"):
        pictures_in(tmp_path / "photos")
