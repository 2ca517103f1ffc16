"""Both operators inside torch.compile, as one graph: prints each implementation whose loss and gradient are those of the eager ones."""

from collections.abc import Callable

import torch

from mcdist.choices import Implementation
from mcdist.ops import mask_contrast, mask_pool
from tests.ops.contrast_case import make_case


def main() -> None:
    """Raises where a graph breaks or a number differs."""
    case = make_case(61, bank_valid_rows=2, false_negative_cosine=0.4)

    def loss_of(features: torch.Tensor, implementation: Implementation) -> torch.Tensor:
        pooled = mask_pool(features, case.instances, max_objects=3, implementation=implementation)
        valid = torch.cat([pooled.num_pixels > 0, torch.zeros(2, dtype=torch.bool)])
        prototypes = torch.cat([pooled.prototypes, case.prototypes[:2]])
        result = mask_contrast(features, case.instances, prototypes, case.bank, prototype_valid=valid, implementation=implementation, **case.options)
        return result.loss + pooled.prototypes[:, 0].sum() + result.num_pixels

    def gradient_by(function: Callable[..., torch.Tensor], implementation: Implementation) -> tuple[torch.Tensor, torch.Tensor]:
        features = case.features.clone().requires_grad_()
        loss = function(features, implementation)
        (gradient,) = torch.autograd.grad(loss, features)
        return loss.detach(), gradient

    compiled = torch.compile(loss_of, backend="aot_eager", fullgraph=True)
    implementations: tuple[Implementation, ...] = ("reference", "compact", "fused", "auto")
    for implementation in implementations:
        for got, want in zip(gradient_by(compiled, implementation), gradient_by(loss_of, implementation), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)
        print(implementation)


if __name__ == "__main__":
    main()
