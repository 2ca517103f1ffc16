"""Numbers that are not finite, put into one step of a training in this process: into its batch, its loss, its gradients or its memory bank."""

from dataclasses import replace
from typing import Any

PLACES = ("batch", "loss", "gradients", "bank")


def apply(poison: dict[str, Any]) -> None:
    """Poison `{"place": one of PLACES, "step": of the run, from 0, "value": "nan" | "inf"}` when its step comes."""
    import torch

    from mcdist.train import loop, step

    value = float(poison["value"])
    train_step, weighted_sum = step.train_step, step.weighted_sum

    def poisoned(state: Any, micro_batches: list[Any], **settings: Any) -> Any:
        if state.step != poison["step"]:
            return train_step(state, micro_batches, **settings)
        hook = None
        match poison["place"]:
            case "batch":
                photos = micro_batches[0].query_images.clone()
                photos[0, 0] = value
                micro_batches = [replace(micro_batches[0], query_images=photos), *micro_batches[1:]]
            case "loss":
                step.weighted_sum = lambda terms, values: weighted_sum(terms, values) * value
            case "gradients":
                first = next(parameter for parameter in state.query.parameters() if parameter.requires_grad)
                hook = first.register_hook(lambda gradient: torch.full_like(gradient, value))
            case "bank":
                state.bank.candidates.fill_(value)
        try:
            return train_step(state, micro_batches, **settings)
        finally:
            step.weighted_sum = weighted_sum
            if hook is not None:
                hook.remove()

    loop.train_step = poisoned
