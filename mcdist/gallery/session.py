"""Session: a catalogue with its names as a page shows them. Every change is made in the names file, so that several sessions of one run agree."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy
from jaxtyping import Bool, Float, Int

from mcdist.catalogue.catalogue import Catalogue
from mcdist.catalogue.classes import UNNAMED, Classes
from mcdist.catalogue.names import Names, Split
from mcdist.catalogue.names_file import NamesFile
from mcdist.errors import ConfigError
from mcdist.groups.graph.rows import unit
from mcdist.report.palette import class_colours

NUM_EXAMPLES = 8
"""Of a cluster, shown on its card."""

NUM_FOUND = 500
"""Objects that a search for a photo's name lists."""

SPLIT_SEED, SPLIT_STARTS = 0, 5


@dataclass(frozen=True, slots=True)
class Division:
    """The objects by the clusters that they are in after all splits. `order`: all objects, cluster after cluster, the most typical first, that is those whose
    points have the largest cosine with the cluster's centroid; those of cluster k are order[starts[k] : starts[k + 1]]."""

    splits: tuple[Split, ...]
    cluster: Int[numpy.ndarray, " O"]
    typicality: Float[numpy.ndarray, " O"]
    order: Int[numpy.ndarray, " O"]
    starts: Int[numpy.ndarray, " clusters1"]

    def objects(self, cluster: int) -> Int[numpy.ndarray, " N"]:
        """Those of a cluster, the most typical first."""
        return self.order[self.starts[cluster] : self.starts[cluster + 1]]


@dataclass(frozen=True, slots=True)
class Shown:
    """What is derived of one revision of the names."""

    names: Names
    classes: Classes
    division: Division
    rejected: Bool[numpy.ndarray, " O"]


class Session:
    """Answers the page's questions, in plain JSON values. Any number of threads may ask."""

    def __init__(self, catalogue: Catalogue, *, names: NamesFile, title: str) -> None:
        self.catalogue, self.title = catalogue, title
        self._names = names
        self._points = catalogue.clusters.points(catalogue.objects.vector)
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = (-1,)
        self._shown = self._derived(names.nothing, earlier=None)
        self.shown()
        catalogue.search(catalogue.objects.vector[0], num=1)  # makes the index, so that the first click is as quick as any other

    @property
    def num_objects(self) -> int:
        """Objects of the catalogue."""
        return len(self.catalogue.objects)

    def shown(self) -> Shown:
        """The names as they are on disk now, and what follows from them; read again only where the file has changed."""
        with self._lock:
            stamp = self._names.stamp()
            if stamp != self._stamp:
                self._adopt(self._names.read(), stamp=stamp)
            return self._shown

    def change(self, action: Callable[[Names], Names], *, revision: int) -> Shown:
        """As `NamesFile.change`, with the same errors."""
        with self._lock:
            names = self._names.change(action, revision=revision)
            self._adopt(names, stamp=self._names.stamp())
            return self._shown

    def state(self) -> dict[str, Any]:
        """Everything that the gallery shows: a card a cluster, counts, and what can be undone."""
        shown = self.shown()
        names, named = shown.names, self._has_name(shown)
        photo_of = self.catalogue.objects.photo
        open_objects = numpy.bincount(photo_of[~named & ~shown.rejected], minlength=len(self.catalogue.photos))
        with_objects = numpy.bincount(photo_of, minlength=len(self.catalogue.photos)) > 0
        return {
            "title": self.title,
            "key": self.catalogue.key,
            "revision": names.revision,
            "undo": names.back[-1].what if names.back else None,
            "redo": names.forward[-1].what if names.forward else None,
            "classes": list(shown.classes.names[1 : shown.classes.num_named]),
            "colours": list(class_colours(shown.classes.num_named)),
            "counts": {
                "objects": self.num_objects,
                "named": int((named & ~shown.rejected).sum()),
                "rejected": int(shown.rejected.sum()),
                "photos": int(with_objects.sum()),
                "photos_done": int((with_objects & (open_objects == 0)).sum()),
            },
            "clusters": [self._card(shown, root) for root in names.leaves if names.root(root) == root],
        }

    def objects_of(self, cluster: int) -> dict[str, Any]:
        """All objects of a cluster and those merged with it, the most typical first, with their confidence in percent and whether they are rejected."""
        shown = self.shown()
        rows = self._rows(shown, cluster)
        return {
            "revision": shown.names.revision,
            "objects": rows.tolist(),
            "confidence": numpy.rint(100 * self.catalogue.objects.confidence[rows]).astype(int).tolist(),
            "rejected": numpy.flatnonzero(shown.rejected[rows]).tolist(),
        }

    def about_object(self, row: int, *, num_near: int) -> dict[str, Any]:
        """One object, and those nearest to it."""
        objects = self.catalogue.objects
        photo = int(objects.photo[row])
        height, width = self.catalogue.sizes[photo].tolist()
        return {
            "object": row,
            "photo": self.catalogue.photos[photo],
            "width": width,
            "height": height,
            "area_px": int(objects.area_px[row]),
            "near": self.near(objects.vector[row], num=num_near, but=row),
            **self.labels(objects.vector[row : row + 1])[0],
            "rejected": bool(self.shown().rejected[row]),
        }

    def near(self, vector: Float[numpy.ndarray, " D"], *, num: int, but: int = -1) -> list[dict[str, Any]]:
        """The objects nearest to a vector, nearest first, and the names of their clusters."""
        shown = self.shown()
        rows, similarity = self.catalogue.search(vector, num=num + (but >= 0))
        found = [(int(row), float(cosine)) for row, cosine in zip(rows, similarity, strict=True) if row != but]
        clusters = [int(shown.division.cluster[row]) for row, _ in found]
        return [
            {"object": row, "similarity": round(cosine, 3), "cluster": cluster, "name": shown.names.name_of(cluster)}
            for (row, cosine), cluster in list(zip(found, clusters, strict=True))[:num]
        ]

    def examples(self) -> list[int]:
        """The objects on the gallery's cards, those of the largest cluster first."""
        cards = sorted(self.state()["clusters"], key=lambda card: -card["num"])
        return [row for card in cards for row in card["examples"]]

    def labels(self, vectors: Float[numpy.ndarray, "N D"]) -> list[dict[str, Any]]:
        """Cluster, class and confidence of vectors, and the second choice."""
        shown = self.shown()
        found = shown.classes.assign(vectors)
        return [
            {
                "cluster": int(found.cluster[place]),
                "name": shown.names.name_of(int(found.cluster[place])),
                "class_id": int(found.class_id[place]),
                "confidence": round(float(found.confidence[place]), 3),
                "second": _title(shown, int(found.second[place])) if found.second[place] >= 0 else None,
                "second_confidence": round(float(found.second_confidence[place]), 3),
            }
            for place in range(len(vectors))
        ]

    def find(self, text: str) -> list[int]:
        """Objects of the photos whose name contains `text`, whatever its case."""
        wanted = text.casefold()
        photos = numpy.array([wanted in key.casefold() for key in self.catalogue.photos], dtype=bool)
        return numpy.flatnonzero(photos[self.catalogue.objects.photo])[:NUM_FOUND].tolist()

    def parts_of(self, cluster: int, *, num: int) -> Float[numpy.ndarray, "C d"]:
        """Centroids that divide a cluster, without its rejected objects, into `num` by K-means; the same for the same cluster.

        Raises:
            ConfigError: there is no such cluster, or it has too few objects that differ.
        """
        shown = self.shown()
        if cluster not in shown.names.leaves:
            raise ConfigError(f"there is no cluster {cluster} to split")
        rows = numpy.sort(shown.division.objects(cluster))
        points = self._points[rows[~shown.rejected[rows]]]
        if len(numpy.unique(points, axis=0)) <= num:
            raise ConfigError(f"cluster {cluster} has too few objects to be split into {num}; reject single objects instead")
        from mcdist.groups.clustering.kmeans import fit_centres  # it imports torch, which the page opens without

        centroids = unit(fit_centres(points, num_clusters=num, seed=SPLIT_SEED, num_starts=SPLIT_STARTS).centres)[0]
        if len(numpy.unique((points @ centroids.T).argmax(axis=1))) < num:
            raise ConfigError(f"the objects of cluster {cluster} are too alike to be split into {num}; try fewer parts")
        return centroids

    def _adopt(self, names: Names, *, stamp: tuple[int, ...] | None) -> None:
        self._shown = self._derived(names, earlier=self._shown)
        self._stamp = stamp

    def _derived(self, names: Names, *, earlier: Shown | None) -> Shown:
        classes = names.apply(self.catalogue.clusters)
        same = earlier is not None and earlier.division.splits == names.now.splits
        division = earlier.division if earlier is not None and same else self._division(names, classes=classes)
        rejected = numpy.zeros(self.num_objects, dtype=bool)
        rejected[list(names.now.rejected)] = True
        return Shown(names=names, classes=classes, division=division, rejected=rejected)

    def _division(self, names: Names, *, classes: Classes) -> Division:
        cluster = classes.divided(self.catalogue.objects.cluster, points=self._points)
        centroids = numpy.zeros((names.next_cluster, self._points.shape[1]), dtype=numpy.float32)
        centroids[: names.num_clusters] = self.catalogue.clusters.centroids
        for _, into, parts in classes.splits:
            centroids[list(into)] = parts
        typicality = numpy.einsum("od,od->o", self._points, centroids[cluster])
        order = numpy.lexsort((-typicality, cluster))
        starts = numpy.searchsorted(cluster[order], numpy.arange(names.next_cluster + 1))
        return Division(splits=names.now.splits, cluster=cluster, typicality=typicality, order=order, starts=starts)

    def _has_name(self, shown: Shown) -> Bool[numpy.ndarray, " O"]:
        table = numpy.zeros(shown.names.next_cluster, dtype=bool)
        table[[leaf for leaf in shown.names.leaves if shown.names.name_of(leaf)]] = True
        return table[shown.division.cluster]

    def _rows(self, shown: Shown, cluster: int) -> Int[numpy.ndarray, " N"]:
        """The objects of a cluster and those merged with it, the most typical first."""
        if cluster not in shown.names.leaves:
            raise ConfigError(f"there is no cluster {cluster}")
        rows = numpy.concatenate([shown.division.objects(member) for member in shown.names.members(shown.names.root(cluster))])
        return rows[numpy.argsort(-shown.division.typicality[rows], kind="stable")]

    def _card(self, shown: Shown, root: int) -> dict[str, Any]:
        members = shown.names.members(root)
        rows = self._rows(shown, root) if len(members) > 1 else shown.division.objects(root)
        kept = rows[~shown.rejected[rows]]
        return {
            "id": root,
            "members": list(members),
            "name": shown.names.name_of(root),
            "class_id": shown.classes.class_of[root],
            "num": len(kept),
            "rejected": len(rows) - len(kept),
            "confidence": round(float(self.catalogue.objects.confidence[kept].mean()), 3) if len(kept) else 0.0,
            "examples": _of_different_photos(kept, photo_of=self.catalogue.objects.photo, num=NUM_EXAMPLES),
        }


def _title(shown: Shown, cluster: int) -> str:
    return shown.names.name_of(cluster) or f"{UNNAMED} {shown.names.root(cluster)}"


def _of_different_photos(rows: Int[numpy.ndarray, " N"], *, photo_of: Int[numpy.ndarray, " O"], num: int) -> list[int]:
    """The first `num` of the objects, of as many photos; more of one photo only where there are not enough."""
    head = rows[: 4 * num]
    _, first = numpy.unique(photo_of[head], return_index=True)
    chosen = head[numpy.sort(first)][:num].tolist()
    return chosen + [row for row in head.tolist() if row not in chosen][: num - len(chosen)]
