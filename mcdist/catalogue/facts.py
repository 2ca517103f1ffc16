"""CatalogueFacts: what a catalogue was made of, in plain JSON values."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueFacts:
    """`key`: 16 hexadecimal digits of the catalogue's content; names of clusters are of one key. `checkpoint`: SHA-256 of the trained encoder's checkpoint,
    of `step`. `dataset`: the location of the shards, and `samples` their digest. `settings`: how photos became objects (`ExtractSettings`).

    `standing_out`: groups that stand out in the objects' graph, 0 where that was not asked for. `agreement`: see `Fitted`; None where it is not known.
    """

    key: str
    checkpoint: str
    step: int
    dataset: str
    samples: str
    settings: dict[str, Any]
    seed: int
    pca_dim: int
    standing_out: int
    agreement: float | None
