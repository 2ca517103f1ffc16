"""The copy of the code: what git tracks, with changes and new files, and nothing else; also without git."""

import subprocess
from pathlib import Path

from mcdist.launch.snapshot import commit_of, snapshot_files, take_snapshot


def _tree(folder: Path) -> Path:
    for name in ("mcdist/a.py", "mcdist/kernel.cpp", "shards/b.py", "launch/c.py", "configs/d.yaml", "docs/e.md", "mcdist/__pycache__/a.pyc"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_outside_git_it_is_the_packages_files(tmp_path: Path) -> None:
    assert snapshot_files(_tree(tmp_path)) == ["configs/d.yaml", "mcdist/a.py", "mcdist/kernel.cpp"]
    assert commit_of(tmp_path) == ""


def test_of_an_installed_package_nothing_of_its_neighbours_is_copied(tmp_path: Path) -> None:
    tree = _tree(tmp_path)
    (tree / "mcdist" / "configs" / "cluster").mkdir(parents=True)
    (tree / "mcdist" / "configs" / "cluster" / "gpu8.yaml").write_text("")
    assert snapshot_files(tree) == ["mcdist/a.py", "mcdist/configs/cluster/gpu8.yaml", "mcdist/kernel.cpp"]


def test_in_a_checkout_changes_and_new_files_are_in_it_and_ignored_ones_are_not(tmp_path: Path) -> None:
    tree = _tree(tmp_path / "tree")
    (tree / ".gitignore").write_text("__pycache__/\n")
    settings = ["-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "mcdist/a.py", "shards"], ["commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(tree), *settings, *words], check=True, capture_output=True, timeout=60)
    (tree / "mcdist" / "a.py").write_text("changed")
    copied = take_snapshot(tree, to=tmp_path / "code")
    assert sorted(str(path.relative_to(copied)) for path in copied.rglob("*") if path.is_file()) == [
        "configs/d.yaml",
        "mcdist/a.py",
        "mcdist/kernel.cpp",
    ]
    assert (copied / "mcdist" / "a.py").read_text() == "changed"
    assert commit_of(tree).endswith("+")
