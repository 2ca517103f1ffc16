"""Photos alone become shards in one command: the masks are proposed first, and what proposed them is kept in every sample."""

import json
import tarfile


def test_photos_alone_become_shards_with_the_masks_a_method_proposes(run, photos, tmp_path):
    result = run("build", "folder", photos, "--proposals", "barrier_distance", "--option", "threshold=0.3", "--out", tmp_path / "out", "--workers", 1)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out_masks" / "proposals.json").is_file()
    samples = list(tar_members(tmp_path / "out"))
    info = json.loads(next(content for name, content in samples if name.endswith(".json")))
    assert info["proposals"]["method"] == "barrier_distance"
    assert info["proposals"]["parameters"]["threshold"] == "0.3"
    again = run("build", "folder", photos, "--proposals", "barrier_distance", "--option", "threshold=0.3", "--out", tmp_path / "out", "--workers", 1)
    assert again.exit_code == 0, again.output
    assert "complete already" in again.output


def test_neither_masks_nor_a_method_is_one_sentence(run, photos, tmp_path):
    result = run("build", "folder", photos, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "expected --masks DIR, or --proposals METHOD" in result.output


def tar_members(folder):
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            yield from ((member.name, tar.extractfile(member).read()) for member in tar)
