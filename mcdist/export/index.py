"""Index: the catalogue's objects as files that FAISS and any JSON reader open."""

import json
from pathlib import Path

import torch

from mcdist.catalogue.catalogue import Catalogue
from mcdist.catalogue.classes import Classes
from mcdist.disk.tensor_file import write_tensors
from mcdist.groups.clustering.nearest import NearestRows
from mcdist.run_dir import write_atomically

INDEX_NAME, OBJECTS_NAME, PROJECTION_NAME = "objects.faiss", "objects.jsonl", "projection.safetensors"


def write_index(folder: Path, *, catalogue: Catalogue, classes: Classes) -> int:
    """Write the three files; returns the number of objects.

    objects.faiss: IndexFlatIP over unit points, whose row i is line i of objects.jsonl (photo, box in shares of the photo, area, cluster, class,
    confidence). A vector v of the encoder becomes a point as normalize((v - mean) @ projection), with projection.safetensors.

    Raises:
        MissingExtraError: no FAISS is installed.
        MachineError: the disk refuses.
    """
    objects, clusters = catalogue.objects, catalogue.clusters
    NearestRows(clusters.points(objects.vector)).write(folder / INDEX_NAME)
    labelled = classes.assign(objects.vector)
    lines = [
        json.dumps(
            {
                "object": number,
                "photo": catalogue.photos[int(objects.photo[number])],
                "box_top_left_bottom_right": [round(float(side), 5) for side in objects.box[number]],
                "area_px": int(objects.area_px[number]),
                "cluster": int(labelled.cluster[number]),
                "class": classes.names[int(labelled.class_id[number])],
                "confidence": round(float(labelled.confidence[number]), 4),
            },
            ensure_ascii=False,
        )
        for number in range(len(objects))
    ]
    write_atomically(folder / OBJECTS_NAME, ("\n".join(lines) + "\n").encode(errors="surrogatepass"))
    write_tensors(folder / PROJECTION_NAME, {"mean": torch.from_numpy(clusters.mean), "projection": torch.from_numpy(clusters.projection)})
    return len(objects)
