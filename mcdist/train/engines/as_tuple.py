"""AsTuple: an encoder whose output wrappers can walk through. They hang their hooks on the tensors of a tuple and do not see those of a dataclass."""

from jaxtyping import Float
from torch import Tensor, nn


class AsTuple(nn.Module):
    """The tensors of `encoder(images)`, in the order of Embedded. DDP's static graph and DeepSpeed begin their exchange of gradients from hooks on them."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Float[Tensor, "B C H W"]) -> tuple[Float[Tensor, "B _ h w"], ...]:
        """As the encoder's own; two of them, or three where it has a group head."""
        embedded = self.encoder(images)
        both = (embedded.features, embedded.saliency)
        return both if embedded.groups is None else (*both, embedded.groups)
