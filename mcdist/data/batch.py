"""Batch: the views of several photos as tensors, ready for a device, with what was redrawn, emptied and dropped counted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int16, Int64, UInt8
from torch import Tensor
from torch.utils.data import default_collate

from mcdist.data.views.draw import Colour
from mcdist.data.views.two_views import TwoViews


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch. Maps 0 background, i >= 1 object i of this photo, -1 void.

    Images come from the loader as 8-bit pixels, with the colour changes still to be made beside them, on the host;
    `mcdist.data.finish.finish` turns them into what an encoder takes: float32, normalised. Where views were made before (`mcdist.view_cache`), they are
    the backbone's features, and `finish` leaves them as they are.
    `indices`: sample index in the shard folder. `num_redrawn`: views (two a photo) that took more than one try. `num_emptied`: photos
    without an acceptable try, void everywhere. `num_dropped_objects`: objects beyond the limit of objects a photo. `num_bad`: samples that
    could not be read, black and void everywhere, in no other count; `bad` says which and why, one `BadSample.to_json` each.
    """

    query_images: UInt8[Tensor, "B 3 S S"] | Float[Tensor, "B 3 S S"] | Float[Tensor, "B C h w"]
    key_images: UInt8[Tensor, "B 3 S S"] | Float[Tensor, "B 3 S S"] | Float[Tensor, "B C h w"]
    query_instances: Int16[Tensor, "B S S"]
    key_instances: Int16[Tensor, "B S S"]
    indices: Int64[Tensor, " B"]
    num_redrawn: int
    num_emptied: int
    num_dropped_objects: int
    query_colours: tuple[Colour, ...] = ()
    key_colours: tuple[Colour, ...] = ()
    num_bad: int = 0
    bad: tuple[str, ...] = ()

    def to(self, device: torch.device, *, non_blocking: bool = False) -> "Batch":
        """The batch with every tensor on `device`."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory; DataLoader calls this by name."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        return replace(
            self,
            query_images=change(self.query_images),
            key_images=change(self.key_images),
            query_instances=change(self.query_instances),
            key_instances=change(self.key_instances),
            indices=change(self.indices),
        )


def collate(samples: Sequence[TwoViews]) -> Batch:
    """Stack the views of several photos, in the order given, and add up their counts."""
    return Batch(
        query_images=_stack_images([sample.query_image for sample in samples]),
        key_images=_stack_images([sample.key_image for sample in samples]),
        query_instances=default_collate([sample.query_instances for sample in samples]),
        key_instances=default_collate([sample.key_instances for sample in samples]),
        indices=torch.tensor([sample.index for sample in samples], dtype=torch.int64),
        num_redrawn=sum(sample.num_redrawn for sample in samples),
        num_emptied=sum(sample.emptied for sample in samples),
        num_dropped_objects=sum(sample.num_dropped_objects for sample in samples),
        query_colours=tuple(sample.query_colour for sample in samples),
        key_colours=tuple(sample.key_colour for sample in samples),
    )


def _stack_images(images: list[UInt8[Tensor, "3 S S"]]) -> UInt8[Tensor, "B 3 S S"]:
    """In the memory order that they have, so that each is one copy; torch's collate writes to shared memory where it runs in a worker."""
    return default_collate([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)
