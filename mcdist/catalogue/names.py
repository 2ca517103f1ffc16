"""Names: what a person said about the clusters of a catalogue: their names, merges, splits, and objects that do not belong.

A value that never changes: each action returns the next one, one revision on, and remembers the way back. Where they are kept: `names_file.py`.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy
from jaxtyping import Float

from mcdist.catalogue.classes import BACKGROUND_NAME, UNNAMED, Classes
from mcdist.catalogue.clusters import Clusters
from mcdist.errors import ConfigError

NAME_MAX = 80
"""Characters of a name."""

STEPS_MAX = 100
"""Actions that can be undone."""

CHILDREN_MAX = 16
"""Clusters that one is split into."""

LEAVES_MAX = 254
"""Clusters after all splits: a segment map has a byte a pixel, and 255 is void."""

CENTROID_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Split:
    """`cluster` is divided: an object in it belongs to the cluster in `into` whose centroid (of unit length, in the catalogue's space) is nearest by cosine."""

    cluster: int
    into: tuple[int, ...]
    centroids: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Naming:
    """Everything that was said, without how it came to be.

    `names`: of clusters, in the order in which their classes were first named. `merged`: a cluster -> the one that it was merged into, which is itself
    merged into none and bears the name of both. `rejected`: objects, by row of the catalogue.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    merged: Mapping[int, int] = field(default_factory=dict)
    splits: tuple[Split, ...] = ()
    rejected: frozenset[int] = frozenset()

    def same_order(self, other: "Naming") -> bool:
        """Whether both have the names in the same order; `==` looks at their content."""
        return list(self.names.items()) == list(other.names.items())


@dataclass(frozen=True, slots=True)
class Step:
    """The way from one `Naming` to another, and in words what the action was. `names` and `merged` are None where they are the same."""

    what: str
    names: Mapping[int, str] | None = None
    merged: Mapping[int, int] | None = None
    splits_kept: int | None = None
    splits_added: tuple[Split, ...] = ()
    rejected_added: frozenset[int] = frozenset()
    rejected_removed: frozenset[int] = frozenset()

    def apply(self, now: Naming) -> Naming:
        """What this step leads to from `now`."""
        return Naming(
            names=now.names if self.names is None else self.names,
            merged=now.merged if self.merged is None else self.merged,
            splits=now.splits[: self.splits_kept] + self.splits_added,
            rejected=(now.rejected - self.rejected_removed) | self.rejected_added,
        )


def step_between(now: Naming, *, then: Naming, what: str) -> Step:
    """The step that leads from `now` to `then`."""
    common = 0
    while common < min(len(now.splits), len(then.splits)) and now.splits[common] == then.splits[common]:
        common += 1
    return Step(
        what=what,
        names=None if now.same_order(then) else then.names,
        merged=None if now.merged == then.merged else then.merged,
        splits_kept=None if common == len(now.splits) else common,
        splits_added=then.splits[common:],
        rejected_added=then.rejected - now.rejected,
        rejected_removed=now.rejected - then.rejected,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names of the catalogue with the key `catalogue`, which has the clusters 0..num_clusters-1 and the objects 0..num_objects-1.

    `revision` grows by one with each action, undo and redo included. Every action that makes no sense is a ConfigError that says why.
    """

    catalogue: str
    num_clusters: int
    num_objects: int
    revision: int = 0
    now: Naming = field(default_factory=Naming)
    back: tuple[Step, ...] = ()
    """What `undo` goes back by, the latest action last."""
    forward: tuple[Step, ...] = ()
    """What `redo` goes by, what was undone last last."""

    @property
    def leaves(self) -> tuple[int, ...]:
        """The clusters that were not split, ascending. Every object belongs to one of them."""
        parents = {split.cluster for split in self.now.splits}
        children = [child for split in self.now.splits for child in split.into]
        return tuple(cluster for cluster in (*range(self.num_clusters), *children) if cluster not in parents)

    @property
    def next_cluster(self) -> int:
        """The lowest number that no cluster has."""
        return max((self.num_clusters - 1, *(child for split in self.now.splits for child in split.into))) + 1

    def root(self, cluster: int) -> int:
        """The cluster that `cluster` was merged into; itself where it was not."""
        return self.now.merged.get(cluster, cluster)

    def name_of(self, cluster: int) -> str:
        """The name of a cluster; empty where it has none."""
        return self.now.names.get(self.root(cluster), "")

    def members(self, root: int) -> tuple[int, ...]:
        """The cluster and those merged into it, ascending."""
        return tuple(leaf for leaf in self.leaves if self.root(leaf) == root)

    def name(self, cluster: int, name: str) -> "Names":
        """Call a cluster, and those merged with it, `name`; an empty name takes its name away. Clusters of one name are one class."""
        root, name = self.root(self._leaf(cluster)), clean_name(name)
        if not name:
            names = {other: known for other, known in self.now.names.items() if other != root}
            return self._after(replace(self.now, names=names), what=f"take the name of cluster {cluster} away")
        return self._after(replace(self.now, names=_renamed(self.now.names, root, name)), what=f"name cluster {cluster} “{name}”")

    def merge(self, cluster: int, *, into: int) -> "Names":
        """Make two clusters, and all that were merged with either, one. It has the name of `into`, or where that has none, the name of `cluster`."""
        source, target = self.root(self._leaf(cluster)), self.root(self._leaf(into))
        if source == target:
            raise ConfigError(f"clusters {cluster} and {into} are one already; choose two different ones")
        merged = {member: target for member in self.members(source)} | {leaf: root for leaf, root in self.now.merged.items() if root != source}
        names = dict(self.now.names)
        if target in names:
            names.pop(source, None)
        elif source in names:  # in the place of the source's name, so that the order of classes stays
            names = {target if other == source else other: name for other, name in names.items()}
        return self._after(replace(self.now, names=names, merged=merged), what=f"merge cluster {cluster} into {into}")

    def separate(self, cluster: int) -> "Names":
        """Undo every merge with this cluster; each keeps the name that they had in common."""
        root = self.root(self._leaf(cluster))
        apart = [member for member in self.members(root) if member != root]
        if not apart:
            raise ConfigError(f"cluster {cluster} is merged with none; to divide it, split it")
        name = self.now.names.get(root)
        names = {**self.now.names, **({member: name for member in apart} if name else {})}
        merged = {leaf: target for leaf, target in self.now.merged.items() if target != root}
        return self._after(replace(self.now, names=names, merged=merged), what=f"separate cluster {cluster}")

    def split(self, cluster: int, *, centroids: Float[numpy.ndarray, "C D"]) -> "Names":
        """Divide a cluster by unit centroids in the catalogue's space; the new clusters keep its name until they get their own."""
        leaf = self._leaf(cluster)
        if len(self.members(self.root(leaf))) > 1:
            raise ConfigError(f"cluster {cluster} is merged with others; separate them before you split it")
        if not 2 <= len(centroids) <= CHILDREN_MAX:
            raise ConfigError(f"a cluster is split into 2 to {CHILDREN_MAX}, got {len(centroids)}")
        if len(self.leaves) - 1 + len(centroids) > LEAVES_MAX:
            raise ConfigError(f"there can be {LEAVES_MAX} clusters at most, {len(self.leaves)} are there; merge some instead")
        into = tuple(range(self.next_cluster, self.next_cluster + len(centroids)))
        rows = tuple(tuple(round(float(value), CENTROID_DIGITS) for value in row) for row in centroids)
        names: dict[int, str] = {}
        for other, name in self.now.names.items():
            names |= {child: name for child in into} if other == leaf else {other: name}
        splits = (*self.now.splits, Split(cluster=leaf, into=into, centroids=rows))
        return self._after(replace(self.now, names=names, splits=splits), what=f"split cluster {cluster} into {', '.join(map(str, into))}")

    def reject(self, objects: Iterable[int]) -> "Names":
        """Objects that belong to no class, whatever their cluster."""
        return self._rejecting(objects, wanted=True)

    def restore(self, objects: Iterable[int]) -> "Names":
        """Take back that objects were rejected."""
        return self._rejecting(objects, wanted=False)

    def undo(self) -> "Names":
        """The state before the latest action."""
        if not self.back:
            raise ConfigError("there is nothing to undo")
        *back, step = self.back
        then = step.apply(self.now)
        forward = (*self.forward, step_between(then, then=self.now, what=step.what))
        return replace(self, revision=self.revision + 1, now=then, back=tuple(back), forward=forward)

    def redo(self) -> "Names":
        """The state before the latest undo."""
        if not self.forward:
            raise ConfigError("there is nothing to redo")
        *forward, step = self.forward
        then = step.apply(self.now)
        return replace(self, revision=self.revision + 1, now=then, back=(*self.back, step_between(then, then=self.now, what=step.what)), forward=tuple(forward))

    def apply(self, clusters: Clusters) -> Classes:
        """The classes that these names make of the clusters.

        Class 0 is background, which clusters of that name belong to; then the named classes in the order of their first naming; then one for each unnamed
        cluster (merged ones are one).
        """
        named = [name for name in dict.fromkeys(self.now.names.values()) if name != BACKGROUND_NAME]
        number_of = {name: number for number, name in enumerate((BACKGROUND_NAME, *named))}
        roots = [leaf for leaf in self.leaves if self.root(leaf) == leaf and leaf not in self.now.names]
        unnamed = {root: len(number_of) + place for place, root in enumerate(roots)}
        classes = {leaf: number_of[self.name_of(leaf)] if self.name_of(leaf) else unnamed[self.root(leaf)] for leaf in self.leaves}
        return Classes(
            clusters=clusters,
            names=(*number_of, *(f"{UNNAMED} {root}" for root in roots)),
            num_named=len(number_of),
            class_of=classes,
            splits=tuple((split.cluster, split.into, numpy.array(split.centroids, dtype=numpy.float32)) for split in self.now.splits),
        )

    def _rejecting(self, objects: Iterable[int], *, wanted: bool) -> "Names":
        rows = frozenset(objects)
        if not rows:
            raise ConfigError("no object was chosen")
        for row in (min(rows), max(rows)):
            if not 0 <= row < self.num_objects:
                raise ConfigError(f"there is no object {row}: the catalogue has the objects 0 to {self.num_objects - 1}")
        changed = rows - self.now.rejected if wanted else rows & self.now.rejected
        if not changed:
            raise ConfigError(f"these objects {'were rejected already' if wanted else 'are not rejected'}")
        rejected = self.now.rejected | changed if wanted else self.now.rejected - changed
        verb, noun = "reject" if wanted else "restore", "object" if len(changed) == 1 else "objects"
        return self._after(replace(self.now, rejected=rejected), what=f"{verb} {len(changed):,} {noun}")

    def _leaf(self, cluster: int) -> int:
        if cluster not in self.leaves:
            split = any(cluster == split.cluster for split in self.now.splits)
            raise ConfigError(f"cluster {cluster} was split, choose one of its parts" if split else f"there is no cluster {cluster}")
        return cluster

    def _after(self, then: Naming, *, what: str) -> "Names":
        """The names after an action; what was undone before it cannot be redone any more. An action that changes nothing is none."""
        if then == self.now and then.same_order(self.now):
            return self
        back = (*self.back, step_between(then, then=self.now, what=what))[-STEPS_MAX:]
        return replace(self, revision=self.revision + 1, now=then, back=back, forward=())


def clean_name(name: str) -> str:
    """A name as it is kept: composed characters (NFC), single spaces, nothing around it. `Background` is `background`: two classes of
    nearly that name, one of which is an object, would be told apart by nobody.

    Raises:
        ConfigError: it is too long, has control characters, or reads like the name of a cluster without one.
    """
    name = " ".join(unicodedata.normalize("NFC", name).split())
    if len(name) > NAME_MAX:
        raise ConfigError(f"a name has at most {NAME_MAX} characters, this one has {len(name)}")
    if any(unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") and sign != "\u200d" for sign in name):
        raise ConfigError("a name has no control characters; type it anew")
    if name.startswith(UNNAMED):
        raise ConfigError(f"a name must not begin with “{UNNAMED}”, which clusters without a name are called; choose another")
    return BACKGROUND_NAME if name.casefold() == BACKGROUND_NAME else name


def _renamed(names: Mapping[int, str], root: int, name: str) -> dict[int, str]:
    """The names with a new one. It takes the place of the old name where that class ends and the new one begins, so that no other class changes its number."""
    others = [known for other, known in names.items() if other != root]
    if root in names and names[root] not in others and name not in others:
        return {other: name if other == root else known for other, known in names.items()}
    if names.get(root) == name:
        return dict(names)
    return {**{other: known for other, known in names.items() if other != root}, root: name}
