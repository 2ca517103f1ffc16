"""Encoder: photo -> pixel embeddings and saliency logits, both at stride 8."""

from jaxtyping import Float
from torch import Tensor, nn

from mcdist.model.backbone import Backbone
from mcdist.model.recompute import recomputed
from mcdist.types import Embedded


class Encoder(nn.Module):
    """Embedded = (linear(decoder(backbone(image))), linear'(decoder(backbone(image)))). MaskContrast, section 3.2.

    With `embedding_from="backbone"` the embedding is linear(backbone(image)): it keeps the geometry of pretrained features from the first step.
    """

    def __init__(self, backbone: Backbone, *, decoder: nn.Module, decoder_channels: int, embedding_dim: int, embedding_from: str = "decoder") -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = decoder
        self.embedding_from = embedding_from
        self.recompute = False
        self.embedding = nn.Conv2d(decoder_channels if embedding_from == "decoder" else backbone.num_channels, embedding_dim, 1, bias=False)
        self.saliency = nn.Conv2d(decoder_channels, 1, 1)
        nn.init.orthogonal_(self.embedding.weight)  # a projection that keeps the decoder's geometry, as far as its rank goes

    def set_recompute(self, recompute: bool) -> None:
        """Compute the activations of each backbone stage and of the decoder again in the backward pass, and keep only what lies between."""
        self.recompute = self.backbone.recompute = recompute

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Embedded:
        """`image` normalised as in `mcdist.data.views.normalise`; H and W multiples of 8."""
        return self.head(self.backbone(image))

    def head(self, features: Float[Tensor, "B C h w"]) -> Embedded:
        """The part after the backbone, for whoever needs the backbone's features as well."""
        decoded = recomputed(self.decoder, features) if self.recompute else self.decoder(features)
        return Embedded(self.embedding(decoded if self.embedding_from == "decoder" else features), self.saliency(decoded))
