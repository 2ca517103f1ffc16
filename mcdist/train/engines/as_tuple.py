"""AsTuple: an encoder whose output wrappers can walk through. They hang their hooks on the tensors of a tuple and do not see those of a dataclass."""

from jaxtyping import Float
from torch import Tensor, nn


class AsTuple(nn.Module):
    """(features, saliency) of `encoder(images)`. DDP's static graph and DeepSpeed begin their exchange of gradients from hooks on these two."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B D h w"], Float[Tensor, "B 1 h w"]]:
        """As the encoder's own."""
        embedded = self.encoder(images)
        return embedded.features, embedded.saliency
