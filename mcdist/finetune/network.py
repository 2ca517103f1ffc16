"""SegmentationNetwork: an encoder without its embedding, and a 1 x 1 convolution to classes in that one's place."""

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.modules.batchnorm import _BatchNorm

from mcdist.model.encoder import Encoder

Reads = Literal["decoder", "backbone"]
"""What the classifier is linear in: what the embedding is, or the backbone's own features."""


class SegmentationNetwork(nn.Module):
    """logits = classes(features(images)), on the grid of the features. In evaluation mode for good: `train` changes nothing.

    `trains_all`: whether the gradient reaches the features' weights; else the classifier alone is trained.
    """

    def __init__(self, encoder: Encoder, *, reads: Reads, num_classes: int, trains_all: bool, initial_std: float, seed: int) -> None:
        """The classifier starts as N(0, initial_std) of `seed`, its bias as 0."""
        super().__init__()
        self.encoder, self.reads, self.trains_all = encoder.requires_grad_(False), reads, trains_all
        self.classes = nn.Conv2d(encoder.embedding.in_channels if reads == "decoder" else encoder.backbone.num_channels, num_classes, 1)
        with torch.no_grad():
            self.classes.weight.normal_(0.0, initial_std, generator=torch.Generator().manual_seed(seed))
            self.classes.bias.zero_()  # type: ignore[union-attr]  # a convolution has one unless told otherwise
        for part in self.feature_parts:
            part.requires_grad_(trains_all)
        self.eval()

    @property
    def feature_parts(self) -> list[nn.Module]:
        """The modules that features come from."""
        with_decoder = self.reads == "decoder" and self.encoder.embedding_from == "decoder"
        return [self.encoder.backbone, *([self.encoder.decoder] if with_decoder else [])]

    def train(self, mode: bool = True) -> "SegmentationNetwork":
        """Evaluation mode, whatever is asked for: running statistics stay as they are and nothing is dropped."""
        super().train(False)
        return self

    def features(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """What the classifier reads of normalised images; without a graph where the classifier alone is trained."""
        with torch.set_grad_enabled(self.trains_all and torch.is_grad_enabled()):
            found = self.encoder.backbone(images)
            return self.encoder.before_embedding(found) if self.reads == "decoder" else found

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B L h w"]:
        """Logits of each class at stride."""
        logits: Float[Tensor, "B L h w"] = self.classes(self.features(images))
        return logits

    @property
    def classifier(self) -> Float[Tensor, "L C_and_bias"]:
        """A copy of the classifier as one matrix: a row a class, the bias last."""
        assert self.classes.bias is not None
        return torch.cat([self.classes.weight.detach().flatten(1), self.classes.bias.detach()[:, None]], dim=1)


def classified(features: Float[Tensor, "B C h w"], *, classifier: Float[Tensor, "L C_and_bias"]) -> Float[Tensor, "B L h w"]:
    """Logits by a classifier that `SegmentationNetwork.classifier` copied."""
    return conv2d(features, classifier[:, :-1, None, None], classifier[:, -1])


@torch.no_grad()
def measure_norms(network: SegmentationNetwork, batches: Iterable[Float[Tensor, "B 3 H W"]]) -> None:
    """Set the running statistics of BatchNorm layers to the mean over some batches. For random weights: theirs, mean 0 and variance 1, are of no data,
    and evaluation mode would keep them for good."""
    norms = [part for part in network.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum, norm.training = None, True
    for images in batches:
        network.features(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum, norm.training = momentum, False
