"""Nearest: which objects are nearest to a few others, before and after training. It shows what training changed, and reads no label."""

import numpy
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from mcdist.evaluate.protocols.typical import drawn_objects
from mcdist.evaluate.table_names import PHOTO, vectors_of
from mcdist.evaluate.view import StoreView
from mcdist.records import Neighbours
from mcdist.records.names import BASELINE, PREDICTED, PROPOSALS, TRAINED, UNIT_MEAN

NUM_SHOWN, NUM_NEIGHBOURS = 6, 5


def nearest_objects(store: StoreView) -> tuple[Neighbours, ...]:
    """NUM_SHOWN objects, drawn at random from as many photos, and NUM_NEIGHBOURS of other photos nearest to each by the cosine of unit means.

    Of the masks that came with the photos, or of the predicted ones where those show fewer than two photos. Fewer where there are fewer.
    """
    if not {BASELINE, TRAINED} <= set(store.encoders):
        return ()  # a backbone alone: nothing was trained
    for masks in (PROPOSALS, PREDICTED):
        photo_of = store.store.column(masks, PHOTO).read() if store.num_objects(masks) else numpy.zeros(0, dtype=numpy.int64)
        if len(numpy.unique(photo_of)) > 1:
            chosen = drawn_objects(photo_of, num=NUM_SHOWN)
            before, after = (_nearest(store, masks=masks, encoder=encoder, chosen=chosen, photo_of=photo_of) for encoder in (BASELINE, TRAINED))
            examples = store.examples(masks, rows=chosen.tolist())
            return tuple(
                Neighbours(example, store.examples(masks, rows=old), store.examples(masks, rows=new))
                for example, old, new in zip(examples, before, after, strict=True)
            )
    return ()


def _nearest(store: StoreView, *, masks: str, encoder: str, chosen: Int[numpy.ndarray, " shown"], photo_of: Int[numpy.ndarray, " O"]) -> list[list[int]]:
    """For each chosen object the nearest ones, as rows of the table. The vectors are read chunk by chunk."""
    column = store.store.column(masks, vectors_of(UNIT_MEAN, encoder))
    targets = _unit(column.take(chosen))
    cosines = torch.cat([_unit(chunk) @ targets.T for chunk in column.chunks()]).T.numpy()
    cosines[photo_of[chosen][:, None] == photo_of[None]] = -numpy.inf
    order = numpy.argsort(-cosines, axis=1, kind="stable")[:, :NUM_NEIGHBOURS]
    return [[int(row) for row in rows if numpy.isfinite(cosines[place, row])] for place, rows in enumerate(order)]


def _unit(vectors: numpy.ndarray) -> Float[Tensor, "R D"]:
    return normalize(torch.from_numpy(numpy.array(vectors, dtype=numpy.float32)), dim=1)
