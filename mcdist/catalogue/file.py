"""The files of a catalogue: `tables.safetensors`, `photos.json`, and `catalogue.json`, which is written last. Reading runs no code and trusts no number."""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy
from safetensors import SafetensorError
from safetensors.numpy import load_file

from mcdist.catalogue.clusters import Clusters
from mcdist.catalogue.facts import CatalogueFacts
from mcdist.catalogue.objects import CataloguedObjects
from mcdist.errors import DAMAGE, DataError, MachineError
from mcdist.json_text import parse_json
from mcdist.run_dir import RunDir, write_atomically

FORMAT = "mcdist catalogue 1"
MANIFEST_NAME, TABLES_NAME, PHOTOS_NAME = "catalogue.json", "tables.safetensors", "photos.json"

Parts = tuple[CatalogueFacts, Clusters, CataloguedObjects, tuple[str, ...], numpy.ndarray]
"""Facts, clusters, objects, keys of photos, heights and widths of photos."""

_DTYPES = {"photo": "int64", "number": "int32", "area_px": "int64", "box": "float64", "vector": "float32", "cluster": "int32", "confidence": "float32"}
_DAMAGE = (*DAMAGE, SafetensorError)


def write_catalogue(
    folder: Path, *, facts: CatalogueFacts, clusters: Clusters, objects: CataloguedObjects, photos: tuple[str, ...], sizes: numpy.ndarray
) -> CatalogueFacts:
    """Write the folder whole or not at all; an earlier catalogue is replaced at the end. Returns the facts with the key of what was written.

    Raises:
        MachineError: the disk refuses; the earlier catalogue is untouched.
    """
    import torch  # takes seconds, and who reads a catalogue has no use for it

    from mcdist.disk.tensor_file import write_tensors

    beside, old = folder.with_name(f".{folder.name}.{os.getpid()}"), folder.with_name(f".{folder.name}.old")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        tables = {name: torch.from_numpy(numpy.ascontiguousarray(values)) for name, values in _tables(clusters, objects=objects, sizes=sizes).items()}
        sha256, num_bytes = write_tensors(beside / TABLES_NAME, tables)
        names = json.dumps(photos, ensure_ascii=False).encode(errors="surrogatepass")
        write_atomically(beside / PHOTOS_NAME, names)
        keyed = {**asdict(facts), "key": hashlib.sha256(f"{sha256} {facts.checkpoint}".encode()).hexdigest()[:16]}
        manifest = {
            "format": FORMAT,
            **keyed,
            "num_objects": len(objects),
            "num_photos": len(photos),
            "num_clusters": clusters.num_clusters,
            "temperature": clusters.temperature,
            "sha256": {TABLES_NAME: sha256, PHOTOS_NAME: hashlib.sha256(names).hexdigest()},
            "num_bytes": num_bytes,
        }
        write_atomically(beside / MANIFEST_NAME, (json.dumps(manifest, indent=1) + "\n").encode())
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        beside.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if old.is_dir() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(beside, ignore_errors=True)
        if isinstance(error, MachineError):
            raise
        raise MachineError(f"cannot write the catalogue {folder}: {error.strerror or error}; free some space and run the same command again") from error
    return CatalogueFacts(**keyed)


def read_catalogue(folder: Path) -> Parts:
    """What `write_catalogue` wrote.

    Raises:
        DataError: there is none, it is damaged, or of another version.
    """
    path = folder / MANIFEST_NAME
    try:
        content = parse_json(path.read_bytes())
        version = content["format"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"expected a catalogue of objects at {folder}, found none; make it with: mcdist cluster {folder.parent}") from error
    except (OSError, *_DAMAGE) as error:
        raise _damaged(path, error) from error
    if version != FORMAT:
        raise DataError(f"{path} is {version!r}, this mcdist reads {FORMAT!r}; make it again: mcdist cluster {folder.parent} --overwrite")
    try:
        return _parse(content, folder=folder)
    except (OSError, *_DAMAGE) as error:
        raise _damaged(path, error) from error


def keep_names(run_dir: RunDir, *, key: str) -> Path | None:
    """Move the names of the catalogue `key` aside, for they are of its clusters alone; where they are now, None where there were none."""
    if not run_dir.names.is_file():
        return None
    aside = run_dir.names.with_name(f"names_{key}.json")
    try:
        run_dir.names.replace(aside)
    except OSError as error:
        raise MachineError(f"cannot move {run_dir.names} aside: {error.strerror}; nothing was changed") from error
    return aside


def _tables(clusters: Clusters, *, objects: CataloguedObjects, sizes: numpy.ndarray) -> dict[str, numpy.ndarray]:
    columns = {f"objects/{name}": getattr(objects, name).astype(dtype) for name, dtype in _DTYPES.items()}
    return {
        **columns,
        "photos/size": sizes.astype(numpy.int32),
        "clusters/mean": clusters.mean,
        "clusters/projection": clusters.projection,
        "clusters/centroids": clusters.centroids,
    }


def _parse(content: dict[str, Any], *, folder: Path) -> Parts:
    names = (folder / PHOTOS_NAME).read_bytes()
    if hashlib.sha256(names).hexdigest() != content["sha256"][PHOTOS_NAME]:
        raise ValueError(f"{PHOTOS_NAME} has another checksum than {MANIFEST_NAME} says")
    photos = tuple(str(name) for name in parse_json(names.decode(errors="surrogatepass")))
    tables = load_file(folder / TABLES_NAME)
    num_objects, num_photos, num_clusters = (int(content[name]) for name in ("num_objects", "num_photos", "num_clusters"))
    num_dims, num_kept = tables["clusters/projection"].shape
    widths = {"box": (4,), "vector": (num_dims,)}
    shapes = {f"objects/{name}": (num_objects, *widths.get(name, ())) for name in _DTYPES}
    shapes |= {"photos/size": (num_photos, 2), "clusters/mean": (num_dims,), "clusters/centroids": (num_clusters, num_kept)}
    for name, shape in shapes.items():
        if tables[name].shape != shape:
            raise ValueError(f"{TABLES_NAME} holds {name} {tables[name].shape}, expected {shape}")
    columns = {name: tables[f"objects/{name}"].astype(dtype, copy=False) for name, dtype in _DTYPES.items()}
    if len(photos) != num_photos or _outside(columns["photo"], num_photos) or _outside(columns["cluster"], num_clusters):
        raise ValueError("its objects name photos or clusters that are not there")
    clusters = Clusters(
        mean=tables["clusters/mean"],
        projection=tables["clusters/projection"],
        centroids=tables["clusters/centroids"],
        temperature=float(content["temperature"]),
    )
    if not (0 < clusters.temperature < float("inf") and all(numpy.isfinite(tables[name]).all() for name in tables if tables[name].dtype.kind == "f")):
        raise ValueError("it holds numbers that are not finite")
    facts = CatalogueFacts(**{one.name: content[one.name] for one in fields(CatalogueFacts)})
    return facts, clusters, CataloguedObjects(**columns), photos, tables["photos/size"]


def _outside(values: numpy.ndarray, num: int) -> bool:
    return bool(len(values)) and not (values.min() >= 0 and values.max() < num)


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} is damaged ({error!r}); make it again: mcdist cluster {path.parent.parent} --overwrite")
