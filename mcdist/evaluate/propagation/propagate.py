"""Propagation: labels follow features through a video, frame by frame, in memory that does not depend on the video's length."""

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from mcdist.errors import DataError
from mcdist.evaluate.propagation.settings import PropagationSettings
from mcdist.evaluate.propagation.windows import Window, windows_of


class Propagation:
    """The context of a video, the first frame and the last ones, and what the next frame's labels are by it.

    Memory: (1 + num_last) frames of features and labels on the grid, and the scores of one tile.
    """

    def __init__(self, *, settings: PropagationSettings, keep_first: bool = True) -> None:
        """`keep_first`: whether the first frame stays in the context. It does where its labels are given, not found."""
        self.settings, self.keep_first = settings, keep_first
        self._features: list[Float[Tensor, "h w D"]] = []
        self._labels: list[Float[Tensor, "h w C"]] = []
        self._windows: tuple[Window, ...] = ()

    @property
    def has_begun(self) -> bool:
        """Whether there is a context."""
        return bool(self._features)

    def begin(self, features: Float[Tensor, "D h w"], *, labels: Float[Tensor, "C h w"]) -> None:
        """The first frame: its features, of any length, and its soft labels on the same grid."""
        self._features, self._labels = [], []
        height, width = features.shape[1:]
        self._windows = windows_of(height, width, radius=self.settings.radius, shape=self.settings.shape, device=features.device)
        self.add(features, labels=labels)

    def add(self, features: Float[Tensor, "D h w"], *, labels: Float[Tensor, "C h1 w1"]) -> None:
        """A frame joins the context; beyond 1 + num_last (or num_last) the oldest one leaves it."""
        _check(features, labels=labels)
        self._features.append(_unit(features))
        self._labels.append(labels.permute(1, 2, 0).contiguous())
        first = int(self.keep_first)
        if len(self._features) > self.settings.num_last + first:
            del self._features[first], self._labels[first]

    def labels_of(self, features: Float[Tensor, "D h w"]) -> Float[Tensor, "C h w"]:
        """Soft labels of a frame by the context, which stays as it is.

        Raises:
            DataError: the grid is another one than the first frame's, or a feature is not finite.
        """
        queries = _unit(features)
        if queries.shape != self._features[0].shape:
            raise DataError(f"all frames of a video must have one size, the first gave features of {_size(self._features[0])}, this one {_size(queries)}")
        found = queries.new_empty((*queries.shape[:2], self._labels[0].shape[2]))
        for window in self._windows:
            found[window.rows, window.columns] = self._tile(queries[window.rows, window.columns], window=window)
        return found.permute(2, 0, 1)

    def _tile(self, queries: Float[Tensor, "t u D"], *, window: Window) -> Float[Tensor, "t u C"]:
        """One product of a tile's cells with all that they may look at in the context."""
        keys, labels = (
            torch.stack([frame[window.key_rows, window.key_columns] for frame in frames]).flatten(0, 2) for frames in (self._features, self._labels)
        )
        cosines = queries.flatten(0, 1) @ keys.T
        cosines.view(len(cosines), len(self._features), -1).masked_fill_(~window.allowed[:, None], -torch.inf)
        nearest, places = cosines.topk(min(self.settings.num_nearest, cosines.shape[1]), dim=1, sorted=False)
        weights = torch.softmax(nearest / self.settings.temperature, dim=1)
        return (weights[:, None] @ labels[places])[:, 0].view(*queries.shape[:2], -1)


def propagate(
    features: Iterable[Float[Tensor, "D h w"]], *, labels: Float[Tensor, "C h w"], settings: PropagationSettings | None = None
) -> Iterator[Float[Tensor, "C h w"]]:
    """Soft labels of each frame of a video, the first one's being `labels`; frames are taken one by one.

    Raises:
        DataError: as `Propagation.labels_of`.
    """
    propagation = Propagation(settings=settings or PropagationSettings())
    for place, frame in enumerate(features):
        if place == 0:
            propagation.begin(frame, labels=labels)
            found = labels
        else:
            found = propagation.labels_of(frame)
            propagation.add(frame, labels=found)
        yield found


def steady_labels(
    frames: Iterable[tuple[Float[Tensor, "D h w"], Float[Tensor, "C h w"]]], *, memory: float = 0.5, settings: PropagationSettings | None = None
) -> Iterator[Float[Tensor, "C h w"]]:
    """Soft labels that do not flicker: each frame's own ones, mixed with those that the frames before hand on to it.

    A frame's labels become (1 - memory) x own + memory x propagated, and are handed on in turn, so that a frame's say falls off geometrically. No frame
    is a truth here: the context is the last frames alone. With memory 0 every frame is its own.

    Args:
        frames: of each frame the features, and its own soft labels on the same grid, of the same channels in every frame.
        memory: 0..1, of what comes from before.

    Raises:
        DataError: as `Propagation.labels_of`.
        ValueError: `memory` is out of range.
    """
    if not 0 <= memory <= 1:
        raise ValueError(f"memory must be within 0..1, got {memory}")
    propagation = Propagation(settings=settings or PropagationSettings(), keep_first=False)
    for place, (features, own) in enumerate(frames):
        if place == 0:
            propagation.begin(features, labels=own)
            yield own
            continue
        _check(features, labels=own)
        steady = (1 - memory) * own + memory * propagation.labels_of(features)
        propagation.add(features, labels=steady)
        yield steady


def soft_labels(numbers: Int[Tensor, "H W"], *, num_objects: int, height: int, width: int) -> Float[Tensor, "C h w"]:
    """One channel for background and for each of 1..num_objects, on a grid, by the nearest pixel. A number beyond them (void) belongs to no channel."""
    on_grid = interpolate(numbers[None, None].float(), size=(height, width), mode="nearest-exact")[0, 0].long()
    return (on_grid[None] == torch.arange(num_objects + 1, device=numbers.device)[:, None, None]).float()


def hard_labels(labels: Float[Tensor, "C h w"], *, upsampled: tuple[int, int], size: tuple[int, int], stretch: bool = True) -> Int[Tensor, "H W"]:
    """The channel of each pixel: soft labels bilinearly at `upsampled`, each channel stretched to 0..1, the largest, then the nearest pixel at `size`.

    A channel that is 0 everywhere stays so: an object that left no label is found nowhere.
    """
    large = interpolate(labels[None], size=upsampled, mode="bilinear", align_corners=False)[0]
    if stretch:
        low, high = large.amin(dim=(1, 2), keepdim=True), large.amax(dim=(1, 2), keepdim=True)
        large = torch.where(high > 0, (large - low) / (high - low).clamp(min=torch.finfo(large.dtype).tiny), large)
    numbers = large.argmax(dim=0)
    return interpolate(numbers[None, None].float(), size=size, mode="nearest-exact")[0, 0].long()


def _unit(features: Float[Tensor, "D h w"]) -> Float[Tensor, "h w D"]:
    if not bool(torch.isfinite(features).all()):
        raise DataError("the features of a frame must be finite, they are not; propagate those of an earlier checkpoint")
    return normalize(features.float(), dim=0).permute(1, 2, 0).contiguous()


def _check(features: Float[Tensor, "D h w"], *, labels: Float[Tensor, "C h1 w1"]) -> None:
    if features.shape[1:] != labels.shape[1:]:
        raise DataError(f"labels must be on the grid of the features, {_size(features[0])}, got {_size(labels[0])}")


def _size(grid: Tensor) -> str:
    return f"{grid.shape[1]} x {grid.shape[0]}"
