"""Section `groups`: groups of objects, which replace classes while training, and how they are found."""

from dataclasses import dataclass, field

from mcdist.choices import GraphSearch, GraphSymmetry, ZoomBackground
from mcdist.config.checks import above, at_least, check_fields, require, share, written_out


@dataclass(frozen=True, slots=True)
class GroupsConfig:
    """Science: groups of the training photos' objects, found without labels by a graph over their features; beyond the paper.

    `given` says only where they are: a run knows its groups by content.
    """

    num_groups: list[int] = field(default_factory=list)
    """How many groups; several numbers: as many sets, each with a head of its own. Empty: no groups."""
    given: str = ""
    """A folder that mcdist group wrote for the training photos, its feature store beside it; empty: groups are made before the first step."""
    confidence_min: float = 0.0
    """Objects that belong to their group less surely than this (0 to 1) have none in training."""
    prototype_momentum: float = 0.9
    """Of the moving averages that loss.group_contrast_weight compares pixels with."""
    zoom_px: int = 224
    """Side of the square that each object is resized to, a multiple of the backbone's own stride (CNNs: 32)."""
    zoom_margin: float = 1.15
    """Side of the square around an object, as a multiple of its longest side."""
    zoom_background: ZoomBackground = "keep"
    """keep | grey: what surrounds the object in its square."""
    zoom_views: int = 4
    """Views of each object: 1 as it is | 2 also mirrored | more, up to 6: the same with wider margins."""
    neighbours: list[int] = field(default_factory=lambda: [8, 15, 25])
    """k of the graph; without a consensus the most stable of several is chosen, without labels."""
    consensus: list[int] = field(default_factory=lambda: [6, 8, 10, 12, 16, 20, 25, 32])
    """Numbers of groups into which the graph of each kind of vectors and each k is cut; what these groupings agree on is the graph that is cut in the end.
    Empty: the graph of joined vectors is cut itself."""
    consensus_min: float = 0.3
    """Two neighbours stay neighbours if this share of those groupings puts them into one group."""
    tau: float = 0.3
    """Of the edges' weight exp((cosine - 1) / tau)."""
    symmetry: GraphSymmetry = "maximum"
    """maximum (an edge where one is a neighbour of the other) | mutual (where both are)."""
    search: GraphSearch = "auto"
    """auto (exact up to 30,000 objects) | exact | approximate."""
    extra_dims: int = 0
    """Eigenvectors beyond the number of groups that are clustered."""
    num_seeds: int = 3
    """Runs of K-means."""
    num_subsamples: int = 4
    """Graphs of some of the objects that measure how stable a setting is; 0 for none."""
    subsample_share: float = 0.8
    """Objects in each of these."""
    centre: bool = True
    """The mean of all objects' features is taken off each before they are compared."""

    def __post_init__(self) -> None:
        check_fields(self, section="groups")
        written_out("groups.given", self.given)
        for name, numbers in (("num_groups", self.num_groups), ("neighbours", self.neighbours)):
            require(
                all(number >= 1 for number in numbers) and len(set(numbers)) == len(numbers),
                f"groups.{name} must be different whole numbers >= 1, got {numbers}",
            )
        require(
            all(number >= 2 for number in self.consensus) and len(set(self.consensus)) == len(self.consensus),
            f"groups.consensus must be different whole numbers >= 2, got {self.consensus}",
        )
        share("groups.consensus_min", self.consensus_min)
        require(bool(self.neighbours), "groups.neighbours must be one or more whole numbers >= 1, got none")
        for name, least in (("zoom_px", 32), ("zoom_margin", 1), ("extra_dims", 0), ("num_seeds", 1), ("num_subsamples", 0)):
            at_least(f"groups.{name}", getattr(self, name), least)
        require(1 <= self.zoom_views <= 6, f"groups.zoom_views must be between 1 and 6, got {self.zoom_views}")
        share("groups.confidence_min", self.confidence_min)
        share("groups.prototype_momentum", self.prototype_momentum)
        above("groups.tau", self.tau, 0)
        require(0 < self.subsample_share < 1, f"groups.subsample_share must be > 0 and < 1, got {self.subsample_share}")
        require(not self.given or bool(self.num_groups), f"groups.given={self.given} needs groups.num_groups, such as [25], got none")
