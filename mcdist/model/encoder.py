"""Encoder: photo -> pixel embeddings, saliency logits and, where there are groups, theirs, all at the backbone's stride."""

from collections.abc import Iterable, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from mcdist.choices import EmbeddingFrom, require_choice
from mcdist.model.backbones.backbone import Backbone
from mcdist.model.recompute import recomputed
from mcdist.types import Embedded


class Encoder(nn.Module):
    """Embedded = (linear(decoder(backbone(image))), linear'(decoder(backbone(image)))). MaskContrast, section 3.2.

    With `embedding_from="backbone"` the embedding is linear(backbone(image)): it keeps the geometry of pretrained features from the first step.
    With sets of `num_groups` a third head, linear in the embedding, gives a logit for the background and for each group of each set.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        decoder: nn.Module,
        decoder_channels: int,
        embedding_dim: int,
        embedding_bias: bool = False,
        embedding_from: EmbeddingFrom = "decoder",
        num_groups: Sequence[int] = (),
    ) -> None:
        super().__init__()
        require_choice("model.embedding_from", embedding_from, choices=EmbeddingFrom)
        self.backbone = backbone
        self.decoder = decoder
        self.embedding_from = embedding_from
        self.recompute = False
        self.takes_features = False
        """Whether `forward` is given the backbone's features, made before, in place of images."""
        self.embedding = nn.Conv2d(decoder_channels if embedding_from == "decoder" else backbone.num_channels, embedding_dim, 1, bias=embedding_bias)
        self.saliency = nn.Conv2d(decoder_channels, 1, 1)
        self.groups = nn.Conv2d(embedding_dim, sum(num + 1 for num in num_groups), 1) if num_groups else None
        nn.init.orthogonal_(self.embedding.weight)  # a projection that keeps the decoder's geometry, as far as its rank goes
        if self.embedding.bias is not None:
            nn.init.zeros_(self.embedding.bias)

    @property
    def heads(self) -> list[nn.Module]:
        """All parts but the backbone."""
        return [self.decoder, self.embedding, self.saliency, *([] if self.groups is None else [self.groups])]

    def freeze_unread(self, reads: Iterable[str]) -> None:
        """Freeze the heads from which nothing of Embedded follows that a loss `reads`: no gradient would reach them, and engines wait for all gradients."""
        wanted = set(reads)
        with_embedding = bool(wanted & {"features", "groups"})
        with_decoder = "saliency" in wanted or (with_embedding and self.embedding_from == "decoder")
        used = {self.groups: "groups" in wanted, self.saliency: "saliency" in wanted, self.embedding: with_embedding, self.decoder: with_decoder}
        for head, is_used in used.items():
            if head is not None and not is_used:
                head.requires_grad_(False)

    def set_recompute(self, recompute: bool) -> None:
        """Compute the activations of each backbone block and of the decoder again in the backward pass, and keep only those between them."""
        self.recompute = recompute
        self.backbone.set_recompute(recompute)

    def forward(self, image: Float[Tensor, "B C H W"]) -> Embedded:
        """`image` [B, 3, H, W], normalised by the backbone's `mean` and `std`; H and W multiples of its `stride`. With `takes_features` it is what the
        backbone made of such images, of any float dtype.
        """
        if self.takes_features:
            return self.head(image.to(self.embedding.weight.dtype))
        return self.head(self.backbone(image))

    def head(self, features: Float[Tensor, "B C h w"]) -> Embedded:
        """The part after the backbone, for callers that need the backbone's features as well."""
        decoded = recomputed(self.decoder, features) if self.recompute else self.decoder(features)
        embedding = self.embedding(decoded if self.embedding_from == "decoder" else features)
        return Embedded(embedding, self.saliency(decoded), None if self.groups is None else self.groups(embedding))

    def before_embedding(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C2 h w"]:
        """What the embedding is linear in, from the backbone's features: the input of its 1 x 1 convolution."""
        decoded: Float[Tensor, "B C2 h w"] = self.decoder(features) if self.embedding_from == "decoder" else features
        return decoded
