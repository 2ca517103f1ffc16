"""Several ranks judge a store together and find what one process finds, bit for bit."""

from dataclasses import replace
from pathlib import Path

import pytest

from mcdist.distributed import ALONE
from mcdist.evaluate.protocols import patch_pieces, retrieval
from mcdist.evaluate.protocols.registry import make_protocols
from mcdist.evaluate.sharing import own_part
from mcdist.ranks.join import join_world, leave_world
from mcdist.store.store import FeatureStore
from tests.evaluate.colour_world import JUDGE, make_store
from tests.evaluate.patch_world import PATCHES, band_sample, view_of
from tests.makers.many_ranks import on_ranks

pytest.importorskip("faiss")

PROTOCOLS = (
    "maskcontrast-kmeans",
    "mean-embedding",
    "object-graph",
    "maskcontrast-retrieval-21/clean",
    "maskcontrast-linear-fast",
    "overcluster-classes/clean",
    "hummingbird/clean",
    "knn-probe/clean",
    "logreg-probe/clean",
    "linear-100/clean",
    "scene-probes/clean",
)
SETTINGS = replace(PATCHES, decoded=True, mirrored=True)


def judged(folder: Path, *, world: object) -> list[str]:
    """The rows of all protocols, every number in full. Groups of photos are so small that each rank has some."""
    patch_pieces.PIECE_PIXELS, retrieval.QUERIES_AT_ONCE = 2 * 64**2, 2
    view = view_of(FeatureStore(folder / "judged"), train=FeatureStore(folder / "fitted"))
    view = replace(view, world=world)
    return [repr((row, row.draws)) for protocol in make_protocols(PROTOCOLS, settings=JUDGE) for row in protocol.judge(view)]


def judge_on_rank(rank: int, num_ranks: int, folder: Path) -> None:
    world = join_world(device="cpu", timeout_s=60, collective_timeout_s=120)
    try:
        (folder / f"rows_{num_ranks}_{rank}.txt").write_text("\n".join(judged(folder, world=world)))
    finally:
        leave_world()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shared")
    make_store(made / "judged", samples=[band_sample(index, noise=90) for index in range(7)], settings=SETTINGS)
    make_store(made / "fitted", samples=[band_sample(index, noise=90) for index in range(20, 29)], settings=SETTINGS)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("num_ranks", [2, 3])
def test_ranks_find_what_one_process_finds(folder: Path, num_ranks: int) -> None:
    expected = judged(folder, world=ALONE)
    on_ranks(num_ranks, judge_on_rank, num_ranks, folder, notes=folder)
    for rank in range(num_ranks):
        assert (folder / f"rows_{num_ranks}_{rank}.txt").read_text().split("\n") == expected


def test_parts_are_all_items_in_order_and_as_long_as_one_another() -> None:
    items = list(range(11))
    parts = [own_part(items, world=replace(ALONE, rank=rank, num_ranks=4)) for rank in range(4)]
    assert sum(parts, []) == items
    assert {len(part) for part in parts} == {2, 3}
    assert [len(own_part(range(2), world=replace(ALONE, rank=rank, num_ranks=3))) for rank in range(3)] == [0, 1, 1]
