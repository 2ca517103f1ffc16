"""Two builds at a time do not write to one folder."""

from pathlib import Path

from mcdist.building.folder.out import alone_in


def test_a_second_build_is_refused_while_the_first_lives(run, photos, tmp_path: Path) -> None:
    given = ("build", "folder", photos, "--masks", tmp_path / "masks", "--out", tmp_path / "out", "--workers", 1)
    (tmp_path / "out").mkdir()
    with alone_in(tmp_path / "out"):
        for options in ((), ("--overwrite",)):
            refused = run(*given, *options)
            assert refused.exit_code == 8
            assert refused.stderr.strip() == f"mcdist: another build is writing to {tmp_path / 'out'}; wait for it to end, or choose another --out"
    assert not list((tmp_path / "out").iterdir())
    assert run(*given).exit_code == 0
    assert run("verify", tmp_path / "out").exit_code == 0
