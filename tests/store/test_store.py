"""The feature store: chunks appear whole, readers map them, and nothing that is damaged, foreign or hostile is read."""

import json
from dataclasses import replace
from pathlib import Path

import numpy
import pytest

from mcdist.errors import ConfigError, DataError, MachineError
from mcdist.store.names import array_name
from mcdist.store.plan import StorePlan, differences
from mcdist.store.store import FeatureStore
from mcdist.store.writer import StoreWriter, begin_store, find_store

PLAN = StorePlan(
    checkpoint={"trained": "a" * 64},
    data={"keys": "b" * 64},
    settings={"size_px": 64, "patches": False},
    num_photos=5,
    chunk=2,
    aliases=(("objects", "vectors/other", "vectors/one"),),
)
LAYOUT = {"photos": ["height"], "objects": ["photo", "vectors/one"]}


def tables_of(photos: range, *, per_photo: int = 3) -> dict[str, dict[str, numpy.ndarray]]:
    photo = numpy.repeat(numpy.array(photos, dtype=numpy.int64), per_photo)
    vectors = numpy.random.default_rng(photos.start).normal(size=(len(photo), 4)).astype(numpy.float32)
    return {"photos": {"height": numpy.array(photos, dtype=numpy.int32)}, "objects": {"photo": photo, "vectors/one": vectors}}


def make(folder: Path, *, plan: StorePlan = PLAN, per_photo: int = 3) -> FeatureStore:
    writer = StoreWriter(folder, plan=begin_store(folder, plan=plan))
    for place, photos in enumerate(plan.chunks):
        writer.write(place, tables_of(photos, per_photo=per_photo))
    return writer.finish(LAYOUT)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return make(tmp_path / "store")


def test_rows_come_back_in_photo_order_whole_by_chunk_and_by_place(store: FeatureStore) -> None:
    expected = {name: numpy.concatenate([tables_of(photos)["objects"][name] for photos in PLAN.chunks]) for name in LAYOUT["objects"]}
    assert (store.num_photos, store.num_rows("photos"), store.num_rows("objects")) == (5, 5, 15)
    for name, values in expected.items():
        column = store.column("objects", name)
        assert len(column) == 15
        assert numpy.array_equal(column.read(), values)
        assert numpy.array_equal(numpy.concatenate(list(column.chunks())), values)
        rows = numpy.array([14, 0, 6, 6, 3])
        assert numpy.array_equal(column.take(rows), values[rows])


def test_a_chunk_is_mapped_and_not_loaded(store: FeatureStore) -> None:
    assert [isinstance(chunk, numpy.memmap) for chunk in store.column("objects", "vectors/one").chunks()] == [True] * len(PLAN.chunks)


def test_an_alias_is_read_by_its_own_name_and_not_written(store: FeatureStore) -> None:
    assert numpy.array_equal(store.column("objects", "vectors/other").read(), store.column("objects", "vectors/one").read())
    assert not list(store.folder.glob("*/*other*"))
    assert "vectors/other" in store.columns("objects")


def test_no_objects_and_no_photos_are_stores_too(tmp_path: Path) -> None:
    empty = make(tmp_path / "empty", per_photo=0)
    assert empty.column("objects", "vectors/one").read().shape == (0, 4)
    nothing = make(tmp_path / "nothing", plan=replace(PLAN, num_photos=0))
    assert (nothing.num_photos, nothing.tables) == (0, ())


def test_an_unknown_column_names_those_that_are_there(store: FeatureStore) -> None:
    with pytest.raises(DataError, match="has no column 'vectors/two' of objects; it has: photo, vectors/one, vectors/other"):
        store.column("objects", "vectors/two")


def test_a_store_without_its_manifest_is_not_complete(tmp_path: Path) -> None:
    begin_store(tmp_path / "store", plan=PLAN)
    with pytest.raises(DataError, match="expected a feature store at .* found no complete one; make it with: mcdist embed RUN --out"):
        FeatureStore(tmp_path / "store")


def test_a_chunk_that_a_killed_writer_left_half_done_is_written_again(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    writer = StoreWriter(folder, plan=begin_store(folder, plan=PLAN))
    writer.write(0, tables_of(PLAN.chunks[0]))
    (folder / ".chunk_000001.4711").mkdir()
    (folder / ".chunk_000001.4711" / "photos.height.npy").write_bytes(b"\x93NUMPY")
    assert begin_store(folder, plan=PLAN) == PLAN
    assert [writer.has(place) for place in range(3)] == [True, False, False]
    writer.write(0, tables_of(range(7, 9)))  # another process was faster: its chunk stays
    for place in (1, 2):
        writer.write(place, tables_of(PLAN.chunks[place]))
    assert writer.finish(LAYOUT).column("photos", "height").read().tolist() == [0, 1, 2, 3, 4]


def test_a_store_of_other_things_is_refused_with_the_difference(store: FeatureStore) -> None:
    other = replace(PLAN, settings={"size_px": 512, "patches": False}, checkpoint={"trained": "c" * 64})
    found = "checkpoint.trained is aaaaaaaaaaaa…, expected cccccccccccc…; settings.size_px is 64, expected 512"
    with pytest.raises(ConfigError, match=f"made of something else: {found}; choose another folder"):
        begin_store(store.folder, plan=other)
    assert find_store([store.folder], plan=other) is None


def test_a_store_with_more_than_is_asked_for_serves_but_not_the_other_way_round() -> None:
    with_patches = replace(PLAN, settings={"size_px": 64, "patches": True})
    assert differences(with_patches, wanted=PLAN, at_least=("patches",)) == []
    assert differences(with_patches, wanted=PLAN) == ["settings.patches is True, expected False"]
    assert differences(PLAN, wanted=with_patches, at_least=("patches",)) == ["settings.patches is False, expected True"]


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match="holds other files, expected an empty folder or a feature store"):
        begin_store(tmp_path, plan=PLAN)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot create the folder of the feature store .*/file/store: Not a directory"):
        begin_store(tmp_path / "file" / "store", plan=PLAN)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        lambda path: path.write_bytes(b"no array"),
        lambda path: numpy.save(path, numpy.zeros((7, 4), dtype=numpy.float32)),
        lambda path: numpy.save(path, numpy.zeros((6, 4), dtype=numpy.float64)),
        lambda path: numpy.save(path, numpy.array([{"a": 1}] * 6), allow_pickle=True),
    ],
)
def test_a_damaged_array_is_one_sentence_with_its_place(store: FeatureStore, change) -> None:
    change(store.folder / "chunk_000001" / array_name("objects", "vectors/one"))
    with pytest.raises(DataError, match=r"chunk_000001/objects.vectors.one.npy is damaged .* run the command that made it again"):
        store.column("objects", "vectors/one").read()


HOSTILE = [
    {"columns": {"../../etc": {"height": ["<i4", []]}}},
    {"columns": {"photos": {"../../passwd": ["<i4", []]}}},
    {"columns": {"photos": {"height": ["O", []]}, "objects": {}}},
    {"columns": {"photos": {"height": ["<i4", [-1]]}, "objects": {}}},
    {"columns": {"photos": {"height": ["<i4", [2**40, 2**40]]}, "objects": {}}},
    {"columns": 3},
    {"rows": []},
    {"rows": [{"photos": -1, "objects": 0}] * 3},
    {"chunk": 0},
    {"chunk": "2"},
    {"num_photos": -5},
    {"aliases": [["objects", "../x", "photo"]]},
    {"checkpoint": 3},
    {"settings": None},
]


@pytest.mark.parametrize("change", HOSTILE)
def test_a_manifest_from_elsewhere_is_checked(store: FeatureStore, change: dict) -> None:
    path = store.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match="manifest.json is damaged"):
        FeatureStore(store.folder)
    assert find_store([store.folder], plan=PLAN) is None


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "3", '{"schema_version": {}}'])
def test_a_manifest_that_is_none_is_refused(store: FeatureStore, text: str) -> None:
    (store.folder / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest.json (is damaged|has schema version \{\})"):
        FeatureStore(store.folder)


def test_a_store_of_a_later_mcdist_names_both_versions(store: FeatureStore) -> None:
    path = store.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 9}))
    with pytest.raises(DataError, match="has schema version 9, this mcdist reads 1; delete the folder and run mcdist embed again"):
        FeatureStore(store.folder)


def test_a_disk_that_refuses_is_one_sentence_and_the_rest_is_intact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = StoreWriter(tmp_path / "store", plan=begin_store(tmp_path / "store", plan=PLAN))
    writer.write(0, tables_of(PLAN.chunks[0]))

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.lib.format.write_array", full)
    with pytest.raises(MachineError, match="cannot write chunk_000001 .* No space left on device; free some space and run the same command again"):
        writer.write(1, tables_of(PLAN.chunks[1]))
    assert sorted(path.name for path in writer.folder.iterdir()) == ["chunk_000000", "plan.json"]


def test_a_shard_folder_is_not_called_a_store_to_delete(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"schema_version": 2, "shards": []}))
    with pytest.raises(DataError, match="expected a feature store at .*, found a shard folder") as caught:
        FeatureStore(tmp_path)
    assert "delete" not in str(caught.value)
