"""Settings of the object graph, checked when they are made."""

from dataclasses import dataclass

from mcdist.choices import GraphSearch, GraphSymmetry, require_choice
from mcdist.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """How objects become groups.

    `neighbours`: k of the graph; of several the most stable one is chosen, without labels. `num_groups`: every K for which groups are made.
    `tau`: of the weight exp((cos - 1) / tau). `extra_dims`: eigenvectors beyond K that are clustered. `num_seeds`: of K-means, 0.. from `seed` on.
    `num_subsamples` graphs of `subsample_share` of the objects tell how stable a setting is; 0 for none. `centre`: the mean of all distinct vectors is
    taken off each, which is then unit again, so that a cosine compares what is special about two objects and not what all have in common.
    """

    neighbours: tuple[int, ...] = (10,)
    num_groups: tuple[int, ...] = (6, 12, 25)
    tau: float = 0.3
    symmetry: GraphSymmetry = "maximum"
    search: GraphSearch = "auto"
    extra_dims: int = 0
    num_seeds: int = 3
    num_subsamples: int = 4
    subsample_share: float = 0.8
    centre: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, values in (("neighbours", self.neighbours), ("groups", self.num_groups)):
            if not values or min(values) < 1 or len(set(values)) < len(values):
                raise ConfigError(f"{name} must be different numbers of at least 1, got {', '.join(map(str, values)) or 'none'}")
        for name, least in (("extra_dims", 0), ("num_seeds", 1), ("num_subsamples", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 < self.tau < float("inf"):
            raise ConfigError(f"tau must be a number > 0, got {self.tau}")
        if not 0 < self.subsample_share < 1:
            raise ConfigError(f"subsample_share must be between 0 and 1, got {self.subsample_share}")
        require_choice("symmetry", self.symmetry, choices=GraphSymmetry)
        require_choice("search", self.search, choices=GraphSearch)

    @property
    def num_eigenvectors(self) -> int:
        """Enough for the largest K, its extra dimensions and its eigengap."""
        return max(self.num_groups) + max(1, self.extra_dims)

    @property
    def seeds(self) -> list[int]:
        """Of K-means."""
        return list(range(self.seed, self.seed + self.num_seeds))
