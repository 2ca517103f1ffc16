"""How long does a search among the objects of a catalogue take?

    python -m benchmarks.segment.search --objects 100000 --dims 64

Made-up unit vectors, of which every search is for one. The first search copies the points into an index. A search that does not find its own vector first
is refused. The encoder's pass over the photo that a person clicked is not in it: see segment.py.
"""

import time
from pathlib import Path
from typing import Annotated

import numpy
import torch
import typer

from benchmarks.harness.command import run
from benchmarks.harness.measurement import measurement, publish, times_ms
from mcdist.catalogue.catalogue import Catalogue
from mcdist.catalogue.clusters import Clusters
from mcdist.catalogue.facts import CatalogueFacts
from mcdist.catalogue.objects import CataloguedObjects
from mcdist.errors import DataError
from mcdist.groups.graph.rows import unit

NUM_CLUSTERS = 100


def made_up(num_objects: int, *, num_dims: int) -> Catalogue:
    """A catalogue of random objects."""
    random = numpy.random.default_rng(0)
    vectors = unit(random.standard_normal((num_objects, num_dims), dtype=numpy.float32))[0]
    clusters = Clusters(mean=vectors.mean(axis=0), projection=numpy.eye(num_dims, dtype=numpy.float32), centroids=vectors[:NUM_CLUSTERS], temperature=0.1)
    zeros = numpy.zeros(num_objects, dtype=numpy.int64)
    objects = CataloguedObjects(
        photo=zeros, number=zeros, area_px=zeros, box=numpy.zeros((num_objects, 4)), vector=vectors, cluster=zeros, confidence=zeros.astype(numpy.float32)
    )
    facts = CatalogueFacts(key="", checkpoint="", step=0, dataset="", samples="", settings={}, seed=0, pca_dim=0, standing_out=0, agreement=None)
    return Catalogue(facts, clusters, objects, ("made up",), numpy.ones((1, 2), dtype=numpy.int32))


def main(
    num_objects: Annotated[int, typer.Option("--objects", min=NUM_CLUSTERS, help="Objects of the catalogue.")] = 100_000,
    dims: Annotated[int, typer.Option(min=1, help="Numbers of a vector.")] = 64,
    repeats: Annotated[int, typer.Option(min=1, help="Searches.")] = 50,
    json: Annotated[Path | None, typer.Option(help="Write all rows to this file.")] = None,
) -> None:
    """Wall time of a search for 12 objects, on one thread."""
    torch.set_num_threads(1)
    catalogue, cpu = made_up(num_objects, num_dims=dims), torch.device("cpu")
    began_s = time.perf_counter()
    row, _ = catalogue.search(catalogue.objects.vector[17], num=12)
    first_ms = 1000 * (time.perf_counter() - began_s)
    if row[0] != 17:
        raise DataError(f"object 17 must be nearest to itself, the search found {row[0]}")
    taken = times_ms(lambda: catalogue.search(catalogue.objects.vector[17], num=12), device=cpu, num_runs=repeats)
    shape = f"{num_objects:,} objects of {dims} numbers"
    publish(
        [
            measurement(values, benchmark="search", provider="catalogue", mode=mode, shape=shape, metric="wall time", unit="ms", device=cpu)
            for mode, values in (("first, makes the index", [first_ms]), ("later", taken))
        ],
        json_path=json,
    )


QUICK = ("--objects", "10000", "--repeats", "10")

if __name__ == "__main__":
    run(main, quick=QUICK)
