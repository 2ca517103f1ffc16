"""Logistic regression: a linear classifier of patches, fitted by L-BFGS over pieces of the patches. Nothing grows with their number."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from jaxtyping import Float, Float32, Int
from scipy.optimize import minimize
from torch import Tensor

LabelledPieces = Callable[[], Iterable[tuple[Float32[Tensor, "N D"], Int[Tensor, " N"]]]]
"""Gives the same pieces of (vectors, classes) each time it is called."""

HISTORY = 10
"""Pairs of steps that L-BFGS remembers."""


@dataclass(frozen=True, slots=True)
class LinearClassifier:
    """Logits = x W + b."""

    weights: Float32[Tensor, "D C"]
    bias: Float32[Tensor, " C"]
    num_passes: int = 0
    """Passes over the data that the fit took."""
    converged: bool = True

    def logits(self, vectors: Float32[Tensor, "N D"]) -> Float32[Tensor, "N C"]:
        """One row a vector."""
        return torch.addmm(self.bias, vectors, self.weights)


def fit_logistic(
    pieces: LabelledPieces,
    *,
    num_dims: int,
    num_classes: int,
    inverse_penalty: float,
    start: LinearClassifier | None = None,
    max_iterations: int = 1000,
    gradient_max: float = 1e-4,
) -> LinearClassifier:
    """The W, b with the least sum of cross-entropies + |W|^2 / (2 C), C = `inverse_penalty`; b is not penalised: scikit-learn's LogisticRegression.

    The objective is divided by the number of vectors; L-BFGS stops where no component of its gradient exceeds `gradient_max` (scikit-learn's default). The
    problem is convex, so `start` changes the time and not the answer. Cost: one pass over the pieces for each evaluation, 4 N D C operations.
    """
    num_weights = num_dims * num_classes
    num_vectors = sum(len(classes) for _, classes in pieces())
    passes = 0

    def objective(flat: Float[numpy.ndarray, " P"]) -> tuple[float, Float[numpy.ndarray, " P"]]:
        nonlocal passes
        passes += 1
        weights, bias = (torch.from_numpy(part).float() for part in (flat[:num_weights].reshape(num_dims, num_classes), flat[num_weights:]))
        loss, dweights, dbias = 0.0, torch.zeros(num_dims, num_classes, dtype=torch.float64), torch.zeros(num_classes, dtype=torch.float64)
        for vectors, classes in pieces():
            log_share = torch.log_softmax(torch.addmm(bias, vectors, weights), dim=1)
            loss -= float(log_share.gather(1, classes[:, None]).sum(dtype=torch.float64))
            residual = log_share.exp_()
            residual[torch.arange(len(classes)), classes] -= 1
            dweights += (vectors.T @ residual).double()
            dbias += residual.sum(dim=0, dtype=torch.float64)
        penalised = flat[:num_weights] / inverse_penalty
        gradient = numpy.concatenate([dweights.numpy().ravel() + penalised, dbias.numpy()])
        return (loss + 0.5 * float(penalised @ flat[:num_weights])) / num_vectors, gradient / num_vectors

    begin = numpy.zeros(num_weights + num_classes) if start is None else torch.cat([start.weights.ravel(), start.bias]).double().numpy()
    options: Any = {"maxiter": max_iterations, "maxfun": 4 * max_iterations, "gtol": gradient_max, "ftol": 0.0, "maxcor": HISTORY}
    found = minimize(objective, begin, jac=True, method="L-BFGS-B", options=options)
    best = torch.from_numpy(found.x).float()
    weights, bias = best[:num_weights].reshape(num_dims, num_classes), best[num_weights:]
    return LinearClassifier(weights, bias, num_passes=passes, converged=bool(numpy.abs(found.jac).max() <= gradient_max))
