"""StagedBackbone: a CNN whose stages follow one another, dilated so that its later stages keep the resolution of the earlier ones, or as it is."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from mcdist.model.backbones.backbone import Backbone
from mcdist.model.backbones.dilation import dilate
from mcdist.model.recompute import recomputed
from mcdist.types import Rgb


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of a classification network in order, each with its output channels and the stride of its output. The first three reach stride 8.

    `last_convolution`: what comes between the last stage and the network's own average over the grid, where there is something.
    """

    modules: tuple[nn.Sequential, ...]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    last_convolution: nn.Module | None = None


class StagedBackbone(Backbone):
    """features = stage_4(...stage_0(image)). Stages 3 and 4 have dilations 2 and 4 in place of their strides, so the stride stays that of stage 2.

    With `dilated=False` they keep their strides, for classification-size images: the same weights under the same names, on a grid of stride 32.
    """

    least_blocks = 3

    def __init__(self, stages: Stages, *, mean: Rgb, std: Rgb, dilated: bool = True) -> None:
        super().__init__()
        if dilated:
            dilate(stages.modules[3], inherited=1, dilation=2)
            dilate(stages.modules[4], inherited=2, dilation=4)
        else:
            self.last_convolution = stages.last_convolution
        self.stages = nn.ModuleList(stages.modules)
        self.channels = stages.channels
        self.strides = tuple(min(stride, stages.strides[2]) for stride in stages.strides) if dilated else stages.strides
        self.stride = self.strides[-1]
        self.num_blocks, self.num_channels = len(stages.modules), stages.channels[-1]
        self.level_channels = self._on_last_grid()
        self.mean, self.std = mean, std
        self.recompute = False

    def blocks(self) -> list[nn.Module]:
        """The stages."""
        return list(self.stages)

    def keep_first(self, num_blocks: int) -> None:
        """Drop the later stages, and the last convolution, which takes what the last of them gives."""
        if num_blocks < len(self.stages):
            self.last_convolution = None
        self.stages = self.stages[:num_blocks]
        self.num_channels, self.stride = self.channels[num_blocks - 1], self.strides[num_blocks - 1]
        self.level_channels = self._on_last_grid()

    def _on_last_grid(self) -> tuple[int, ...]:
        """Channels of the last stages whose maps have the size of the last one's."""
        return tuple(channels for channels, stride in zip(self.channels[: len(self.stages)], self.strides, strict=False) if stride == self.stride)

    def set_recompute(self, recompute: bool) -> None:
        """Recompute the activations of each stage."""
        self.recompute = recompute

    def levels(self, image: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """The output of each stage."""
        outputs = []
        for stage in self.stages:
            image = stage(image)
            outputs.append(image)
        return outputs

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """The output of the last stage, or of the last ones, joined."""
        levels: list[Tensor] = []
        for stage in self.stages:
            image = recomputed(stage, image) if self.recompute else stage(image)
            levels = [*levels, image][-self.num_levels :]  # what is not joined is not kept
        return self.joined(levels)
