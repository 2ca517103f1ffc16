"""docs/formats.md says enough: a shard folder is read by a reader written from it alone, and by plain webdataset. Neither uses mcdist."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import webdataset

from mcdist.data.readers.webdataset import WebDatasetReader
from tests.fixture_types import MakeShards, MembersOf


def read_folder(folder: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Every sample of a shard folder as (key, bytes by member name), in order; ValueError where the folder is not as it says."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    if (manifest["schema_version"], manifest["format"]) != (2, "webdataset"):
        raise ValueError("another schema version or format")
    for shard in manifest["shards"]:
        index_bytes = (folder / (shard["name"].removesuffix(".tar") + ".index.json")).read_bytes()
        if hashlib.sha256(index_bytes).hexdigest() != shard["index_sha256"]:
            raise ValueError("an index of another build")
        index = json.loads(index_bytes)
        if (index["schema_version"], index["shard"], len(index["keys"])) != (2, shard["name"], shard["num_samples"]):
            raise ValueError("an index of another shard")
        with (folder / shard["name"]).open("rb") as tar:
            for place, key in enumerate(index["keys"]):
                members = {}
                for name, extents in index["members"].items():
                    if extents[place] is not None:
                        offset, size = extents[place]
                        tar.seek(offset)
                        members[name] = tar.read(size)
                        if len(members[name]) != size:
                            raise ValueError("a truncated tar")
                yield key, members


@pytest.fixture
def folder(make_shards: MakeShards, members_of: MembersOf) -> Path:
    """Twelve samples in three shards, every other one without ground truth."""
    return make_shards(12, members_of=lambda index: {name: content for name, content in members_of(index).items() if index % 2 or name != "seg.png"})


def test_a_reader_written_from_the_document_finds_what_was_written(folder: Path, members_of: MembersOf) -> None:
    samples = list(read_folder(folder))
    assert [key for key, _ in samples] == [f"photo_{index:04d}" for index in range(12)]
    for index, (_, members) in enumerate(samples):
        assert members == {name: content for name, content in members_of(index).items() if index % 2 or name != "seg.png"}


def test_it_finds_what_our_reader_finds(folder: Path) -> None:
    reader = WebDatasetReader(folder)
    for index, (key, members) in enumerate(read_folder(folder)):
        raw = reader.read(index, with_segments=True)
        assert (raw.key, raw.photo, raw.instances, raw.segments) == (key, members["png"], members["mask.png"], members.get("seg.png"))


def test_it_notices_an_index_of_another_build(folder: Path) -> None:
    path = folder / "shard-0001.index.json"
    path.write_bytes(path.read_bytes().replace(b"photo_0005", b"photo_1005"))
    with pytest.raises(ValueError, match="another build"):
        list(read_folder(folder))


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves its tars open
def test_plain_webdataset_reads_the_same_samples(folder: Path) -> None:
    tars = sorted(str(path) for path in folder.glob("*.tar"))
    found = [
        (sample["__key__"], {name: content for name, content in sample.items() if not name.startswith("__")})
        for sample in webdataset.WebDataset(tars, shardshuffle=False)
    ]
    assert found == list(read_folder(folder))
