"""MeanField: a photo's segments after every pixel has heard from every other, the louder the nearer they are and the more alike in colour.

Fully connected conditional random fields of Kraehenbuehl and Koltun, NIPS 2011: Q_i(l) is proportional to p_i(l)^alpha exp(sum_k w_k sum_j K_k(i, j)
Q_j(l)), with Potts' compatibilities and symmetrically normalised kernels, iterated. The kernel of colours runs on a permutohedral lattice, that of places
is a convolution. Any device; nothing to compile.
"""

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import conv2d

from mcdist.crf.lattice import PermutohedralLattice
from mcdist.crf.settings import CrfSettings

_NORM_MIN = 1e-20
_REACH = 4.0
"""Standard deviations after which the kernel of places is cut off."""
_POINTS_AT_ONCE = {"cpu": 1, "cuda": 2**23}
"""Pixels of one lattice: a GPU is faster with several photos in one, a CPU is not."""


def crf(log_probability: Float[Tensor, "B L H W"], *, photos: UInt8[Tensor, "B 3 H W"], settings: CrfSettings | None = None) -> Float[Tensor, "B L H W"]:
    """Probabilities of L labels after mean field, of each photo on its own.

    Args:
        log_probability: of each label at each pixel, up to a constant a pixel; two labels at least. On any device, as the photos.
        photos: RGB, 0..255.

    Returns:
        Probabilities, which sum to 1 over the labels; with 0 iterations those that came, to the power of alpha.

    Raises:
        ValueError: a single label, or a value that is not finite.
        DataError: the photo is too large for the lattice.

    Cost: O(B H W L) an iteration. Memory: about 200 bytes a pixel of a photo (a chunk of photos on a GPU), and three copies of the probabilities.
    """
    chosen = settings or CrfSettings()
    num_photos, num_labels, height, width = log_probability.shape
    if num_labels < 2:
        raise ValueError(f"a field needs two labels or more, got {num_labels}; give the background a label too")
    if not bool(torch.isfinite(log_probability).all()):
        raise ValueError("the field's log-probabilities must be finite; bound the probabilities from below before their logarithm")
    at_once = max(1, _POINTS_AT_ONCE.get(log_probability.device.type, 1) // (height * width))
    pairs = zip(log_probability.float().split(at_once), photos.split(at_once), strict=True)
    return torch.cat([_mean_field(chosen.alpha * one, photos=own, settings=chosen) for one, own in pairs]) if num_photos else log_probability.float()


def _mean_field(unary: Float[Tensor, "B L H W"], *, photos: UInt8[Tensor, "B 3 H W"], settings: CrfSettings) -> Float[Tensor, "B L H W"]:
    """All but the last label are filtered: kernels are linear and labels sum to 1, so that the last one's message follows from the others'."""
    kernels = [kernel for kernel in (_Near(settings), _Alike(photos, settings=settings)) if kernel.weight]
    total = _message(torch.ones_like(unary[:, :1]), kernels=kernels)
    found = unary.softmax(dim=1)
    for _ in range(settings.iterations):
        message = _message(found[:, :-1], kernels=kernels)
        found = torch.cat([unary[:, :-1] + message, unary[:, -1:] + total - message.sum(dim=1, keepdim=True)], dim=1).softmax(dim=1)
    return found


def _message(values: Float[Tensor, "B L H W"], *, kernels: "list[_Near | _Alike]") -> Float[Tensor, "B L H W"]:
    """What the kernels together say. They run on values by place, all labels of a pixel side by side."""
    by_place = values.permute(0, 2, 3, 1).contiguous()
    message = torch.zeros_like(by_place)
    for kernel in kernels:
        message.add_(kernel.message(by_place), alpha=kernel.weight)
    return message.permute(0, 3, 1, 2).contiguous()


class _Near:
    """exp(-|place_i - place_j|^2 / 2 near_px^2), a separable convolution."""

    def __init__(self, settings: CrfSettings) -> None:
        self.weight = settings.near_weight
        self.reach = math.ceil(_REACH * settings.near_px)
        self.line = torch.exp(-(torch.arange(-self.reach, self.reach + 1) ** 2) / (2 * settings.near_px**2)).float()
        self.norm: Float[Tensor, "1 H W 1"] | None = None

    def message(self, values: Float[Tensor, "B H W L"]) -> Float[Tensor, "B H W L"]:
        """norm K norm values."""
        if self.norm is None:
            self.norm = self._sums(torch.ones_like(values[:1, ..., :1])).clamp(min=_NORM_MIN).rsqrt()
        return self.norm * self._sums(self.norm * values)

    def _sums(self, values: Float[Tensor, "B H W L"]) -> Float[Tensor, "B H W L"]:
        num_labels, line = values.shape[3], self.line.to(values.device)
        down, across = (line.view(shape).expand(num_labels, 1, -1, -1) for shape in ((1, 1, -1, 1), (1, 1, 1, -1)))
        by_label = values.permute(0, 3, 1, 2)
        summed = conv2d(conv2d(by_label, down, padding=(self.reach, 0), groups=num_labels), across, padding=(0, self.reach), groups=num_labels)
        return summed.permute(0, 2, 3, 1)


class _Alike:
    """exp(-|place_i - place_j|^2 / 2 alike_px^2 - |colour_i - colour_j|^2 / 2 alike_colour^2), on the lattice."""

    def __init__(self, photos: UInt8[Tensor, "B 3 H W"], *, settings: CrfSettings) -> None:
        self.weight = settings.alike_weight
        num_photos, _, height, width = photos.shape
        rows, columns = torch.meshgrid(torch.arange(height, device=photos.device), torch.arange(width, device=photos.device), indexing="ij")
        places = torch.stack([columns, rows], dim=-1).float() / settings.alike_px
        colours = photos.permute(0, 2, 3, 1).float() / settings.alike_colour
        points = torch.cat([places.expand(num_photos, -1, -1, -1), colours], dim=-1).flatten(0, 2)
        self.lattice = PermutohedralLattice(points, num_sets=num_photos)
        self.lattice.weigh(self.lattice.filter(torch.ones_like(points[:, :1]))[:, 0].clamp(min=_NORM_MIN).rsqrt())

    def message(self, values: Float[Tensor, "B H W L"]) -> Float[Tensor, "B H W L"]:
        """norm K norm values."""
        return self.lattice.filter(values.flatten(0, 2)).view_as(values)
