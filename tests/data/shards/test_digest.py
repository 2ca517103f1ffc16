"""Digests of shards: by key for the same samples anywhere, by content for the same bytes."""

import numpy

from mcdist.data.pictures.png import encode_map
from mcdist.data.readers.open import open_shards
from mcdist.data.shards.digest import bytes_digest, keys_digest
from tests.fixture_types import MembersOf, ShardsAt
from tests.makers.tiny_betons import tiny_betons


def test_the_keys_digest_depends_on_samples_and_order_alone(shards_at: ShardsAt, tmp_path, members_of: MembersOf):
    one, same = open_shards(shards_at(tmp_path / "one", 7)), open_shards(shards_at(tmp_path / "same", 7, shard_size=3))
    betons = open_shards(tiny_betons(tmp_path / "betons", 7))
    assert keys_digest(one) == keys_digest(same) == keys_digest(betons)
    assert keys_digest(one) != keys_digest(open_shards(shards_at(tmp_path / "fewer", 6)))

    class Reader:
        def __init__(self, keys):
            self.keys = keys

        def __len__(self):
            return len(self.keys)

        def key(self, index):
            return self.keys[index]

    assert keys_digest(Reader(["a", "b"])) != keys_digest(Reader(["b", "a"]))
    assert keys_digest(Reader(["ab", "c"])) != keys_digest(Reader(["a", "bc"]))


def test_the_bytes_digest_sees_other_masks_of_the_same_photos(shards_at: ShardsAt, tmp_path, members_of: MembersOf):
    def with_other_masks(index):
        return {**members_of(index), "mask.png": encode_map(numpy.ones((40, 52), dtype=numpy.int16))}

    one = open_shards(shards_at(tmp_path / "one", 4))
    other = open_shards(shards_at(tmp_path / "other", 4, members_of=with_other_masks))
    assert keys_digest(one) == keys_digest(other)
    assert bytes_digest(one.manifest) != bytes_digest(other.manifest)
    assert bytes_digest(one.manifest) == bytes_digest(open_shards(shards_at(tmp_path / "copy", 4)).manifest)
