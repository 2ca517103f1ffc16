"""A folder of generated photos and nothing else, as a person has it."""

from pathlib import Path

from mcdist.building.sources.demo.source import demo_source

TINY = (
    "views.size_px=64", "views.cached=1", "groups.zoom_px=32", "groups.zoom_views=1", "groups.neighbours=[3]", "groups.consensus=[]",
    "groups.num_subsamples=0", "groups.num_seeds=1", "optim.epochs=2", "optim.warmup_steps=0", "evaluate.size_px=64", "evaluate.num_seeds=1",
    "evaluate.num_clusters=2", "evaluate.num_panels=1", "report.mlflow=off", "run.num_threads=1", "run.device=cpu", "data.num_workers=0",
)  # fmt: skip
"""Settings over those of configs/photos.yaml, for a handful of photos in seconds."""


def photo_folder(folder: Path, *, num_photos: int = 8, size_px: int = 64) -> Path:
    """`num_photos` generated photos, some of them in a folder of the folder."""
    source = demo_source("train", num_photos=num_photos, size_px=size_px, seed=0)
    for place, item in enumerate(source.items):
        made = source.make(item)
        (suffix,) = {"jpg", "png"} & made.members.keys()
        path = folder / ("trip" if place % 3 == 0 else "") / f"photo {place}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made.members[suffix])
    return folder
