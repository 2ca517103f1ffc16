"""Settings of the object graph, checked when they are made."""

from dataclasses import dataclass

from mcdist.choices import GraphSearch, GraphSymmetry, require_choice
from mcdist.errors import ConfigError

GAP_EIGENVECTORS = 40
"""Among so many eigenvalues the largest gap is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """How objects become groups.

    `neighbours`: k of the graph; of several the most stable one is chosen, without labels. `num_groups`: every K for which groups are made.
    `tau`: of the weight exp((cos - 1) / tau). `extra_dims`: eigenvectors beyond K that are clustered. `num_seeds`: of K-means, 0.. from `seed` on.
    `num_subsamples` graphs of `subsample_share` of the objects tell how stable a setting is; 0 for none. `centre`: the mean of all distinct vectors is
    taken off each, which is then unit again, so that a cosine compares what is special about two objects and not what all have in common.
    `consensus`: numbers of groups into which the graph of every view and every k is cut, and these groupings make the graph (`mcdist.groups.consensus`);
    empty: the views' average is the graph. `consensus_min`: an edge needs the votes of this share of them.
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
    consensus: tuple[int, ...] = ()
    consensus_min: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        for name, values in (("neighbours", self.neighbours), ("groups", self.num_groups)):
            if not values or min(values) < 1 or len(set(values)) < len(values):
                raise ConfigError(f"{name} must be different numbers of at least 1, got {', '.join(map(str, values)) or 'none'}")
        if self.consensus and (min(self.consensus) < 2 or len(set(self.consensus)) < len(self.consensus)):
            raise ConfigError(f"consensus must be different numbers of at least 2, got {', '.join(map(str, self.consensus))}")
        if not 0 <= self.consensus_min <= 1:
            raise ConfigError(f"consensus_min must be between 0 and 1, got {self.consensus_min}")
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
        """Enough for the largest K, its extra dimensions and its eigengap, and to look for the largest gap."""
        return max(max(self.num_groups) + max(1, self.extra_dims), GAP_EIGENVECTORS)

    @property
    def seeds(self) -> list[int]:
        """Of K-means."""
        return list(range(self.seed, self.seed + self.num_seeds))


DEFAULTS = GroupSettings()
"""The home of the graph's numbers: `mcdist group`, the protocol object-graph and the catalogue's suggestion have theirs from here."""
