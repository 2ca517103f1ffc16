"""saliency_network: any trained saliency network (ONNX or TorchScript), given by its file.

How a network expects a photo to be prepared is its layout, as its authors published it. What the file itself determines, its input's
size, is read from the file.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, UInt8

from mcdist.errors import ConfigError
from mcdist.proposals.components import AREA_MIN_SHARE, objects_of
from mcdist.proposals.fingerprint import fingerprint
from mcdist.proposals.networks.network_file import NetworkFile, open_network
from mcdist.proposals.proposal import Method, Pixels, Proposal
from mcdist.types import IMAGENET_MEAN, IMAGENET_STD

Array = numpy.ndarray


@dataclass(frozen=True, slots=True)
class Layout:
    """x = (photo / (its own maximum, or 255) - mean) / std at `size_px` squared; with `stretch` a map is brought to 0..1 by its own least and greatest."""

    size_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    divide_by_maximum: bool
    stretch: bool


LAYOUTS = {
    "u2net": Layout(320, IMAGENET_MEAN, IMAGENET_STD, divide_by_maximum=True, stretch=True),
    "basnet": Layout(256, IMAGENET_MEAN, IMAGENET_STD, divide_by_maximum=True, stretch=True),
    "isnet": Layout(1024, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), divide_by_maximum=False, stretch=True),
    "imagenet": Layout(320, IMAGENET_MEAN, IMAGENET_STD, divide_by_maximum=False, stretch=False),
}
"""Qin et al. 2020 (arXiv:2005.09007), 2019 (CVPR), 2022 (arXiv:2203.03041); `imagenet` for a network of one's own. Published files end in a sigmoid."""

TOLERANCE = 1e-3
"""A saliency may leave 0..1 by this much; beyond, it is a logit."""


@dataclass(slots=True)
class SaliencyNetwork(Method):
    """One network and how it is fed. Photos go through one at a time: batches would change the last digits."""

    network: NetworkFile | None = field(default=None, repr=False)
    layout: Layout | None = None
    output: str = ""
    sigmoid: bool = False
    threshold: float = 0.5
    split: bool = False
    area_min_share: float = AREA_MIN_SHARE

    def propose(self, photo: Pixels, *, name: str) -> Proposal:
        """The map's foreground is what is above the threshold, cleaned as in the paper."""
        map_hw = self._map(prepare(photo, layout=self.layout, height=self._height, width=self._width))
        resized = F.interpolate(torch.from_numpy(map_hw)[None, None], size=photo.shape[:2], mode="bilinear", align_corners=False)[0, 0].numpy()
        return Proposal(objects_of(resized > self.threshold, split=self.split, area_min_share=self.area_min_share), confidence=resized)

    def check(self) -> None:
        """Run the network once on a grey picture; ConfigError where its output is no map."""
        self._map(prepare(numpy.full((8, 8, 3), 128, dtype=numpy.uint8), layout=self.layout, height=self._height, width=self._width))

    @property
    def _height(self) -> int:
        assert self.network is not None and self.layout is not None
        return self.network.height or self.layout.size_px

    @property
    def _width(self) -> int:
        assert self.network is not None and self.layout is not None
        return self.network.width or self.layout.size_px

    def _map(self, image: Array) -> Float32[Array, "h w"]:
        assert self.network is not None and self.layout is not None
        fixed = self.network.batch or 1
        values = choose_output(self.network.run(image.repeat(fixed, axis=0)), name=self.output, path=self.network.path)
        return to_saliency(values, sigmoid=self.sigmoid, stretch=self.layout.stretch, path=self.network.path)


def prepare(photo: UInt8[Array, "H W 3"], *, layout: Layout | None, height: int, width: int) -> Float32[Array, "1 3 h w"]:
    """The photo as the layout expects it; resized with antialiasing."""
    assert layout is not None
    image = torch.from_numpy(numpy.array(photo)).permute(2, 0, 1)[None].float()
    image = F.interpolate(image, size=(height, width), mode="bilinear", align_corners=False, antialias=True)
    image = image / (image.amax().clamp_min(1) if layout.divide_by_maximum else 255)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (layout.mean, layout.std))
    return ((image - mean) / std).numpy().astype(numpy.float32)


def choose_output(outputs: dict[str, Array], *, name: str, path: Path) -> Float[Array, "h w"]:
    """The map among a network's outputs: the one called `name`, else the first; of shape [N, 1, h, w] or [N, h, w].

    Raises:
        ConfigError: no output of that name, or it is no map.
    """
    if name and name not in outputs:
        raise ConfigError(f"{path} has no output {name!r}; its outputs: {', '.join(outputs)}")
    chosen = name or next(iter(outputs))
    values = outputs[chosen]
    if values.ndim == 4 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 3:
        shapes = ", ".join(f"{key} {list(value.shape)}" for key, value in outputs.items())
        raise ConfigError(f"{path}: the output {chosen} has shape {list(outputs[chosen].shape)}, expected [N, 1, h, w] or [N, h, w]; choose one of: {shapes}")
    return values[0].astype(numpy.float32)


def to_saliency(values: Float[Array, "h w"], *, sigmoid: bool, stretch: bool, path: Path) -> Float32[Array, "h w"]:
    """0..1 of what the network gave.

    Raises:
        ConfigError: numbers that are not finite, or outside of 0..1 without `sigmoid`.
    """
    if not numpy.isfinite(values).all():
        raise ConfigError(f"{path} gave numbers that are not finite; is the file damaged, or the layout another's?")
    if sigmoid:
        values = 1 / (1 + numpy.exp(-values))
    low, high = float(values.min()), float(values.max())
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        raise ConfigError(f"{path} gave values from {low:.3g} to {high:.3g}, a saliency must be between 0 and 1; for logits add --option sigmoid=true")
    if stretch and high > low:
        values = (values - low) / (high - low)
    return values.clip(0, 1).astype(numpy.float32)


def make(
    *,
    device: str = "cpu",
    network: str = "",
    layout: str = "u2net",
    size_px: int = 0,
    output: str = "",
    sigmoid: bool = False,
    threshold: float = 0.5,
    split: bool = False,
    area_min_share: float = AREA_MIN_SHARE,
) -> SaliencyNetwork:
    """`network`: the file. `layout`: u2net, basnet, isnet or imagenet; `size_px` overrides its size where the file fixes none. `output`: a name (ONNX) or a
    number (TorchScript), the first by default. `sigmoid`: for a network that returns logits. The network is run once here, so a wrong layout is refused.
    """
    if not network:
        raise ConfigError("the proposal method saliency_network needs a network's file, ONNX or TorchScript; name it with --option network=PATH")
    if layout not in LAYOUTS:
        raise ConfigError(f"saliency_network: layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    if size_px and size_px < 32:
        raise ConfigError(f"saliency_network: size_px must be >= 32, or 0 for the layout's size, got {size_px}")
    if not 0 <= threshold <= 1 or not 0 <= area_min_share < 1:
        raise ConfigError(f"saliency_network: threshold and area_min_share must be within 0..1, got {threshold:g} and {area_min_share:g}")
    opened = open_network(Path(network), device=device)
    base = LAYOUTS[layout]
    chosen = Layout(size_px or base.size_px, base.mean, base.std, base.divide_by_maximum, base.stretch)
    sizes = [side for side in (opened.height, opened.width) if side is not None]
    if size_px and any(side != size_px for side in sizes):
        raise ConfigError(f"{network} takes photos of {opened.width} x {opened.height} px only, got size_px={size_px}; leave size_px out")
    parameters = {
        "network": fingerprint(Path(network)),
        "layout": layout,
        "size_px": sizes or chosen.size_px,
        "output": output,
        "sigmoid": sigmoid,
        "threshold": threshold,
        "split": split,
        "area_min_share": area_min_share,
    }
    method = SaliencyNetwork(
        "saliency_network",
        "1",
        parameters,
        network=opened,
        layout=chosen,
        output=output,
        sigmoid=sigmoid,
        threshold=threshold,
        split=split,
        area_min_share=area_min_share,
    )
    method.check()
    return method
