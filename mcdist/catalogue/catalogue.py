"""Catalogue: the objects that a run found in its training photos, clustered and searchable. `mcdist cluster RUN` makes it, in RUN/catalogue."""

from dataclasses import dataclass, field

import numpy
from jaxtyping import Float, Int

from mcdist.catalogue.clusters import Clusters
from mcdist.catalogue.facts import CatalogueFacts
from mcdist.catalogue.file import read_catalogue
from mcdist.catalogue.objects import CataloguedObjects
from mcdist.groups.clustering.nearest import NearestRows
from mcdist.run_dir import RunDir


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Of O objects in P photos. `photos`: the photos' keys in the data set's order; `sizes`: their height and width in px."""

    facts: CatalogueFacts
    clusters: Clusters
    objects: CataloguedObjects
    photos: tuple[str, ...]
    sizes: Int[numpy.ndarray, "P 2"]
    _index: list[NearestRows] = field(default_factory=list, repr=False, compare=False)

    @staticmethod
    def open(run_dir: RunDir) -> "Catalogue":
        """The catalogue of a run.

        Raises:
            ConfigError: no such run.
            DataError: the run has no catalogue, or it is damaged or of another version.
        """
        facts, clusters, objects, photos, sizes = read_catalogue(run_dir.require().catalogue)
        return Catalogue(facts, clusters, objects, photos, sizes)

    @property
    def key(self) -> str:
        """Which catalogue this is; another clustering has another key."""
        return self.facts.key

    @property
    def cluster_sizes(self) -> Int[numpy.ndarray, " K"]:
        """Objects of each cluster."""
        return numpy.bincount(self.objects.cluster, minlength=self.clusters.num_clusters)

    def search(self, vector: Float[numpy.ndarray, " D"], *, num: int) -> tuple[Int[numpy.ndarray, " num"], Float[numpy.ndarray, " num"]]:
        """(ids, similarities) of the objects nearest to a vector, nearest first: the cosine of their points, as clusters are compared. Exact.

        The first call copies the points into an index.

        Raises:
            DataError: the vector is of another length.
            MissingExtraError: no FAISS is installed.
        """
        if not self._index:
            self._index.append(NearestRows(self.clusters.points(self.objects.vector)))
        rows, similarity = self._index[0].search(self.clusters.points(vector[None]), num=num)
        return rows[0], similarity[0]
