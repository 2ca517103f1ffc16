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
            for member in tar:
                content = tar.extractfile(member)
                assert content is not None, member.name
                yield member.name, content.read()


def test_overwriting_shards_replaces_no_masks(run, photos, tmp_path):
    masks = sorted((tmp_path / "masks").iterdir())
    before = [path.read_bytes() for path in masks]
    given = ("build", "folder", photos, "--masks", tmp_path / "masks", "--proposals", "frequency_tuned", "--out", tmp_path / "out", "--workers", 1)
    refused = run(*given, "--overwrite")
    assert refused.exit_code == 2
    assert "found files that mcdist did not propose; choose another" in refused.output
    assert [path.read_bytes() for path in masks] == before


def test_the_working_folder_as_out_has_its_masks_beside_it(run, photos, tmp_path, monkeypatch):
    (tmp_path / "here" / "inside").mkdir(parents=True)
    for name, out in (("here", "."), ("here/inside", "..")):
        monkeypatch.chdir(tmp_path / name)
        given = ("--proposals", "frequency_tuned", "--out", out, "--workers", 1)
        assert run("build", "folder", photos, *given).exit_code == 0
    assert (tmp_path / "here_masks" / "proposals.json").is_file()
    assert not (tmp_path / "here" / ".._masks").exists()


def test_masks_are_not_proposed_into_the_folder_of_photos(run, photos, tmp_path):
    refused = run("build", "folder", photos, "--proposals", "frequency_tuned", "--out", photos / "mine", "--workers", 1)
    assert refused.exit_code == 2
    assert "and the folder of photos" in refused.output and "must be apart" in refused.output
    assert not list(photos.glob("mine*"))
