"""Colour: brightness, contrast, saturation, hue, grey and blur of many images at once, each by its own amounts in its own order.

In turn k every image takes its k-th operation: the images are sorted by it, so that each operation runs once, on one contiguous part.
Which image takes what is known on the host, so nothing waits for the device.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mcdist.data.views.draw import Colour

GREY_WEIGHTS = (0.2989, 0.587, 0.114)
"""ITU-R BT.601, as torchvision rounds it."""
TINY = 1e-9
BLUR_WIDTH_SHARE = 0.1
"""A blur looks at this share of the image's width, as in SimCLR."""

Images = Float[Tensor, "N 3 H W"]
Amounts = Float[Tensor, "N 1 1 1"]


@dataclass(frozen=True, slots=True)
class _Turn:
    """One operation an image. `order`: the rows of the turn before, sorted by operation; `groups`: which rows then take which."""

    order: list[int]
    groups: list[tuple[str, slice]]
    amounts: list[float]

    @property
    def rearranges(self) -> bool:
        """False where all rows stay in their places."""
        return self.order != list(range(len(self.order)))


def change_colours(images: Images, *, colours: Sequence[Colour]) -> Images:
    """Image i in 0..1 after `colours[i]`, again in 0..1. May write into `images`."""
    if len(images) != len(colours):
        raise ValueError(f"{len(images)} images need as many colour changes, got {len(colours)}")
    turns = _plan(colours)
    orders = torch.tensor([turn.order for turn in turns]).to(images.device, non_blocking=True)
    amounts = torch.tensor([turn.amounts for turn in turns]).to(images.device, non_blocking=True)[..., None, None, None]
    for turn, order, own in zip(turns, orders, amounts, strict=True):
        images = images.index_select(0, order) if turn.rearranges else images
        for name, rows in turn.groups:
            OPERATIONS[name](images[rows], own[rows])
    return images


def _plan(colours: Sequence[Colour]) -> list[_Turn]:
    """Turn k holds every image's k-th operation; the last turn has none and brings the images back into their order."""
    operations = [colour.operations for colour in colours]
    places, turns = list(range(len(colours))), []
    for number in range(max(map(len, operations), default=0)):
        due = [operations[place][number] if number < len(operations[place]) else ("", 0.0) for place in places]
        order = sorted(range(len(due)), key=lambda row: due[row][0])
        places, due = [places[row] for row in order], [due[row] for row in order]
        turns.append(_Turn(order, _groups([name for name, _ in due]), [amount for _, amount in due]))
    return [*turns, _Turn(sorted(range(len(places)), key=places.__getitem__), [], [0.0] * len(places))]


def _groups(names: list[str]) -> list[tuple[str, slice]]:
    """Where each operation's rows begin and end."""
    starts = [row for row, name in enumerate(names) if row == 0 or name != names[row - 1]]
    return [(names[start], slice(start, end)) for start, end in zip(starts, [*starts[1:], len(names)], strict=True) if names[start]]


def _grey(images: Images) -> Float[Tensor, "N 1 H W"]:
    red, green, blue = GREY_WEIGHTS
    return (images[:, :1] * red).add_(images[:, 1:2], alpha=green).add_(images[:, 2:], alpha=blue)


def _brightness(images: Images, amounts: Amounts) -> None:
    images.mul_(amounts).clamp_(0, 1)


def _contrast(images: Images, amounts: Amounts) -> None:
    mean = _grey(images).mean((1, 2, 3), keepdim=True)
    images.mul_(amounts).add_(mean * (1 - amounts)).clamp_(0, 1)


def _saturation(images: Images, amounts: Amounts) -> None:
    grey = _grey(images)
    images.mul_(amounts).add_(grey.mul_(1 - amounts)).clamp_(0, 1)


def _hue(images: Images, amounts: Amounts) -> None:
    """Turn the hue by `amounts` of the full circle; brightest and darkest colour of each pixel keep their values.

    With M, m the largest and smallest colour and c = M - m, the hue is |h| = 1 + (g + b - r - m) / c sixths of the circle away from red, on
    green's side where g >= b; a colour at n sixths is m + c clip(2 - d, 0, 1), d its distance from h round the circle. Neither masks nor
    cases: torch's comparisons and `where` take five times an addition's time on a CPU.
    """
    red, green, blue = images.unbind(1)
    darkest = torch.minimum(torch.minimum(red, green), blue)
    chroma = torch.maximum(torch.maximum(red, green), blue).sub_(darkest)
    sixths = (green + blue).sub_(red).sub_(darkest).div_(chroma.clamp_min(TINY)).add_(1)
    turned = sixths.copysign_(green - blue).div_(6).add_(amounts[:, 0])
    for channel, place in zip((red, green, blue), (0, 1 / 3, -1 / 3), strict=True):
        torch.sub(turned, place, out=channel)
    images.sub_(images.round()).abs_().mul_(-6).add_(2).clamp_(0, 1)
    images.mul_(chroma[:, None]).add_(darkest[:, None])


def _to_grey(images: Images, amounts: Amounts) -> None:
    images.copy_(_grey(images).expand_as(images))


def _blur(images: Images, amounts: Amounts) -> None:
    """Gaussian of standard deviation `amounts` pixels, mirrored at the borders."""
    half = int(images.shape[-1] * BLUR_WIDTH_SHARE) // 2
    offsets = torch.arange(-half, half + 1, device=images.device)
    weights = (-0.5 * (offsets / amounts[:, 0, 0]).square()).softmax(1).repeat_interleave(3, dim=0)
    planes = functional.pad(images, (half, half, half, half), mode="reflect").flatten(0, 1)[None]
    rows = functional.conv2d(planes, weights[:, None, None, :], groups=len(weights))
    images.copy_(functional.conv2d(rows, weights[:, None, :, None], groups=len(weights)).view_as(images))


OPERATIONS: dict[str, Callable[[Images, Amounts], None]] = {
    "brightness": _brightness,
    "contrast": _contrast,
    "saturation": _saturation,
    "hue": _hue,
    "grey": _to_grey,
    "blur": _blur,
}
"""Each writes into its images."""
