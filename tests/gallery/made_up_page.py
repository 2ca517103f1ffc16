"""A small made-up page for tests."""

from pathlib import Path

from benchmarks.view.made_up import made_up
from benchmarks.view.made_up_page import Page, make_page


def small_page(folder: Path, *, num_objects: int = 60, photo_names: tuple[str, ...] = (), num_clusters: int = 6) -> Page:
    """`make_page` of so many objects; `photo_names`: of the first photos."""
    made = made_up(num_objects, num_clusters=num_clusters, num_kinds=min(num_clusters, 9), photo_names=photo_names)
    return make_page(made, folder=folder)
