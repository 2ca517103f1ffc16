"""The names that a run's clusters have, and the classes that these make."""

from mcdist.catalogue.catalogue import Catalogue
from mcdist.catalogue.classes import Classes
from mcdist.catalogue.names_file import NamesFile
from mcdist.run_dir import RunDir


def classes_of(run_dir: RunDir, *, catalogue: Catalogue) -> Classes:
    """The classes that the run's names make of its catalogue's clusters.

    Raises:
        DataError: the names are damaged, or of another catalogue.
    """
    return names_of(run_dir, catalogue=catalogue).read().apply(catalogue.clusters)


def names_of(run_dir: RunDir, *, catalogue: Catalogue) -> NamesFile:
    """The names of the catalogue's clusters, as a file."""
    clusters = catalogue.clusters
    return NamesFile(
        run_dir.names,
        catalogue=catalogue.key,
        num_clusters=clusters.num_clusters,
        num_objects=len(catalogue.objects),
        num_dims=clusters.centroids.shape[1],
    )
