"""Content: which samples a shard folder holds, in which order, as a short digest that does not depend on where or in which format they are.

Cheap: a folder of our builder says in its manifest which photos it was made of (`options.items`: keys and sizes of their files), so nothing else
is read, whatever the number of photos. For folders of another origin the samples' keys are read from the indexes or the files' tables.
"""

import hashlib
import json
from dataclasses import dataclass

from mcdist.data.readers.reader import SampleReader
from mcdist.data.shards.digest import keys_digest
from mcdist.data.shards.manifest import Manifest

_NOT_CONTENT = ("shard_size", "ffcv_photo", "ffcv_lossless")
"""Builder's options that decide only how the samples are laid out in files."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a run remembers of the samples it trains on. Equal digests: the same samples in the same order. `where` is for people."""

    digest: str
    num_samples: int
    where: str


def content_of(reader: SampleReader) -> Content:
    """The content of the folder that `reader` reads. Moved, served from a URL, staged or converted to the other format it has the same digest.

    Raises:
        ShardError: the manifest lacks the items and an index or a file's table is damaged.
    """
    known = _digest_of_items(reader.manifest) if "items" in reader.manifest.options else keys_digest(reader)
    return Content(digest=known, num_samples=len(reader), where=reader.files.name)


def _digest_of_items(manifest: Manifest) -> str:
    """Of what the builder was given: photos and masks, the options that decide the samples' bytes, and which photos were left out."""
    options = {name: value for name, value in manifest.options.items() if name not in _NOT_CONTENT}
    content = [manifest.source, manifest.num_samples, options, [photo for photo, _ in manifest.skipped]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
