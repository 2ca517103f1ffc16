"""Encoder: photo -> pixel embeddings and saliency logits, both at the backbone's stride."""

from jaxtyping import Float
from torch import Tensor, nn

from mcdist.choices import EmbeddingFrom, require_choice
from mcdist.model.backbones.backbone import Backbone
from mcdist.model.recompute import recomputed
from mcdist.types import Embedded


class Encoder(nn.Module):
    """Embedded = (linear(decoder(backbone(image))), linear'(decoder(backbone(image)))). MaskContrast, section 3.2.

    With `embedding_from="backbone"` the embedding is linear(backbone(image)): it keeps the geometry of pretrained features from the first step.
    """

    def __init__(self, backbone: Backbone, *, decoder: nn.Module, decoder_channels: int, embedding_dim: int, embedding_from: EmbeddingFrom = "decoder") -> None:
        super().__init__()
        require_choice("model.embedding_from", embedding_from, choices=EmbeddingFrom)
        self.backbone = backbone
        self.decoder = decoder
        self.embedding_from = embedding_from
        self.recompute = False
        self.embedding = nn.Conv2d(decoder_channels if embedding_from == "decoder" else backbone.num_channels, embedding_dim, 1, bias=False)
        self.saliency = nn.Conv2d(decoder_channels, 1, 1)
        nn.init.orthogonal_(self.embedding.weight)  # a projection that keeps the decoder's geometry, as far as its rank goes

    def set_recompute(self, recompute: bool) -> None:
        """Compute the activations of each backbone block and of the decoder again in the backward pass, and keep only those between them."""
        self.recompute = recompute
        self.backbone.set_recompute(recompute)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Embedded:
        """`image` normalised by the backbone's `mean` and `std`; H and W multiples of its `stride`."""
        return self.head(self.backbone(image))

    def head(self, features: Float[Tensor, "B C h w"]) -> Embedded:
        """The part after the backbone, for callers that need the backbone's features as well."""
        decoded = recomputed(self.decoder, features) if self.recompute else self.decoder(features)
        return Embedded(self.embedding(decoded if self.embedding_from == "decoder" else features), self.saliency(decoded))
