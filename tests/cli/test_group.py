"""mcdist group: a store or a run in, groups beside it and their numbers on the screen out; mistakes are one sentence."""

import re
from pathlib import Path

import numpy
import pytest

from mcdist.cli.group import KIND, GraphOptions
from mcdist.cli.main import main
from mcdist.groups.file import read_groups
from mcdist.groups.settings import GroupSettings
from mcdist.groups.source import find_store_of, store_digest
from mcdist.records.names import INITIAL_BACKBONE
from mcdist.records.names import UNIT_MEAN as POOLING
from mcdist.run_dir import RunDir
from mcdist.store.plan import StorePlan
from mcdist.store.store import FeatureStore
from mcdist.store.writer import StoreWriter, begin_store
from tests.groups.worlds import blobs

UNIT_MEAN = f"vectors/unit-mean/{INITIAL_BACKBONE}"
LAYOUT = {"photos": ["height"], "proposals": ["photo", "box", UNIT_MEAN, "vectors/zoom", "vectors/tiles"]}


def make_store(folder: Path, *, num_photos: int = 60, per_photo: int = 2, settings: str = "one") -> FeatureStore:
    """Objects of three planted kinds."""
    plan = StorePlan(checkpoint={"trained": "a" * 64}, data={"keys": "b" * 64}, settings={"name": settings}, num_photos=num_photos, chunk=16)
    writer = StoreWriter(folder, plan=begin_store(folder, plan=plan))
    vectors, _ = blobs(num_photos * per_photo, num_blobs=3)
    for place, photos in enumerate(plan.chunks):
        here = vectors[photos.start * per_photo : photos.stop * per_photo]
        objects: dict[str, numpy.ndarray] = {
            "photo": numpy.repeat(numpy.array(photos, dtype=numpy.int64), per_photo),
            "box": numpy.zeros((len(here), 4), dtype=numpy.float32),
            UNIT_MEAN: here,
            "vectors/zoom": here[:, ::-1].astype(numpy.float16),
            "vectors/tiles": here.reshape(-1, 2, 8).astype(numpy.float16),
        }
        heights: dict[str, numpy.ndarray] = {"height": numpy.array(photos, dtype=numpy.int32)}
        writer.write(place, {"photos": heights, "proposals": objects})
    return writer.finish(LAYOUT)


def group(*words: str) -> int:
    with pytest.raises(SystemExit) as leaving:
        main(["group", *words])
    return int(leaving.value.code or 0)


def test_the_options_defaults_are_those_of_the_settings_and_the_names() -> None:
    options, settings = GraphOptions(), GroupSettings()
    assert f"{POOLING}/{INITIAL_BACKBONE}" == KIND
    assert (options.neighbours, options.groups) == (",".join(map(str, settings.neighbours)), ",".join(map(str, settings.num_groups)))
    assert (options.tau, options.symmetry.value, options.search.value) == (settings.tau, settings.symmetry, settings.search)
    assert options.centre == settings.centre
    assert (options.extra_dims, options.seeds, options.subsamples, options.seed) == (
        settings.extra_dims,
        settings.num_seeds,
        settings.num_subsamples,
        settings.seed,
    )


def test_groups_of_a_store_lie_beside_it_and_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "store")
    assert group(str(store.folder), "--groups", "3,5", "--neighbours", "5,8") == 0
    groups = read_groups(tmp_path / "store-groups").check(store=store_digest(store), num_objects=120, where="")
    assert sorted(groups.grouping.of(3).spread.sizes) == [40, 40, 40]
    assert groups.source.excluded_by == "photo"
    printed = capsys.readouterr().out
    assert "120 objects, 120 distinct; without a direction: 0, isolated: 0" in printed
    assert "recall 1.000" in printed
    assert "pieces: " in printed
    assert "3 groups: entropy 1.00, largest 33 %, empty 0, without a group 0" in printed
    assert "sizes: 40, 40, 40" in printed
    assert "chosen: " in printed
    assert len([line for line in printed.splitlines() if " ± " in line]) == 4


def test_several_kinds_of_vectors_and_a_folder_of_its_own(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store")
    kinds = ("--kind", f"unit-mean/{INITIAL_BACKBONE}", "--kind", "vectors/zoom", "--exclude", "")
    assert group(str(store.folder), *kinds, "--groups", "3", "--subsamples", "0", "--out", str(tmp_path / "out")) == 0
    assert read_groups(tmp_path / "out").source.columns == (UNIT_MEAN, "vectors/zoom")
    assert not (tmp_path / "store-groups").exists()


def test_a_collapse_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "store", num_photos=3, per_photo=1)
    assert group(str(store.folder), "--groups", "6") == 0
    printed = capsys.readouterr().out
    assert "warning: each of the 3 objects is a group of its own: ask for fewer groups than that, or give more photos" in printed
    assert "    - ±    -" in printed
    assert "nan" not in printed


def test_of_many_groups_the_largest_sizes_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "store")
    assert group(str(store.folder), "--groups", "45", "--neighbours", "5", "--subsamples", "0") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "; sizes: " in line]
    assert line.partition("; sizes: ")[2].count(",") == 30
    assert " and 15 more down to " in line


def test_the_newest_store_of_a_run_is_taken(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run").create()
    run.config.write_text("")
    for step in (7, 30):
        make_store(run.features / f"step_{step:08d}-abc")
    assert find_store_of(run.root).folder.name == "step_00000030-abc"
    assert group(str(run.root), "--groups", "3", "--subsamples", "0") == 0
    assert (run.features / "step_00000030-abc-groups" / "groups.json").is_file()
    assert find_store_of(run.root).folder.name == "step_00000030-abc"  # groups are no store


def test_the_python_of_the_page_on_groups_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    make_store(tmp_path / "features")
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "docs" / "groups.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    exec(compile(block, "docs/groups.md", "exec"), {})
    assert re.fullmatch(r"(6|12|25) \([\d, ]+\)\n", capsys.readouterr().out)


def test_mistakes_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(make_store(tmp_path / "store").folder)
    run, twice = RunDir(tmp_path / "run").create(), RunDir(tmp_path / "twice").create()
    run.config.write_text("")
    twice.config.write_text("")
    for settings in ("one", "two"):
        make_store(twice.features / f"step_00000030-{settings}", settings=settings)
    one_photo = str(make_store(tmp_path / "one", num_photos=1).folder)
    none = str(make_store(tmp_path / "none", per_photo=0).folder)
    for words, code, sentence in [
        ((store, "--kind", "zooom"), 3, f"has no object vectors 'zooom' of proposals; it has: tiles, unit-mean/{INITIAL_BACKBONE}, zoom"),
        ((store, "--kind", "box"), 3, "has no object vectors 'box' of proposals; it has: tiles, unit-mean"),
        ((store, "--kind", "zoom", "--kind", "zoom"), 2, "must be one or more different ones, got zoom, zoom"),
        ((store, "--kind", "tiles"), 2, "column 'vectors/tiles' of proposals holds float16 (2, 8) a row, expected one vector; choose one of: tiles, unit-mean"),
        ((store, "--masks", "objects"), 3, "has no table 'objects'; it has: photos, proposals"),
        ((store, "--exclude", "foto"), 3, "has no column 'foto' of proposals; it has: box, photo"),
        ((store, "--exclude", "box"), 2, "column 'box' of proposals holds float32 (4,) a row, expected one whole number, such as photo"),
        ((store, "--groups", "6,x"), 2, "--groups must be whole numbers from 1 on with commas, such as 6,12,25, got '6,x'"),
        ((store, "--neighbours", "0"), 2, "neighbours must be different numbers of at least 1, got 0"),
        ((store, "--tau", "-1"), 2, "tau must be a number > 0, got -1.0"),
        ((str(tmp_path / "nowhere"),), 3, "expected a feature store at"),
        ((str(run.root),), 2, "has no feature store; make one with: mcdist embed"),
        ((str(twice.root),), 2, "has 2 feature stores of its newest step; name one: "),
        ((one_photo,), 3, "all of the 2 objects come from one photo"),
        ((none,), 3, "a graph needs at least one object, there is none; check that the photos have masks"),
    ]:
        assert group(*words) == code, words
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1
