"""Several ranks judge a store together and find what one process finds, bit for bit."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcdist.distributed import ALONE, World
from mcdist.errors import DataError, RankLostError
from mcdist.evaluate.protocols import patch_pieces, retrieval
from mcdist.evaluate.protocols.registry import make_protocols
from mcdist.evaluate.sharing import own_part
from mcdist.ranks.agree import lost_ranks_explained
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


def judged(folder: Path, *, world: World) -> list[str]:
    """The rows of all protocols, every number in full. Groups of photos are so small that each rank has some."""
    patch_pieces.PIECE_PIXELS, retrieval.QUERIES_AT_ONCE = 2 * 64**2, 2
    view = view_of(FeatureStore(folder / "judged"), train=FeatureStore(folder / "fitted"))
    view = replace(view, world=world)
    return [repr((row, row.draws)) for protocol in map(short, make_protocols(PROTOCOLS, settings=JUDGE)) for row in protocol.judge(view)]


def short(protocol: Any) -> Any:
    """With few steps of training, which every rank takes alike."""
    few: dict[str, dict[str, Any]] = {
        "logreg-probe/clean": {"inverse_penalties": (0.01,), "max_iterations": 5},
        "scene-probes/clean": {"num_rounds": 1, "round_steps": 5},
        "overcluster-classes/clean": {"num_starts": 2, "num_iterations": 10},
    }
    if protocol.name == "linear-100/clean":
        few[protocol.name] = {"schedule": replace(protocol.switches.schedule, num_epochs=1)}
    return replace(protocol, switches=replace(protocol.switches, **few.get(protocol.name, {})))


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


def lose_a_rank(rank: int, folder: Path) -> None:
    world = join_world(device="cpu", timeout_s=60, collective_timeout_s=120)
    if rank == 1:
        os._exit(0)
    with pytest.raises(RankLostError, match="rank 0 of 2 lost touch with another rank"), lost_ranks_explained(world=world):
        judged(folder, world=world)
    (folder / "said").touch()
    os._exit(0)  # there is nobody left to leave with


@pytest.mark.slow
def test_a_lost_rank_ends_the_judging_of_the_others_in_one_sentence(folder: Path) -> None:
    on_ranks(2, lose_a_rank, folder, notes=folder)
    assert (folder / "said").exists()


def meet_a_damaged_photo(rank: int, folder: Path) -> None:
    world = join_world(device="cpu", timeout_s=60, collective_timeout_s=120)
    patch_pieces.PIECE_PIXELS = 2 * 64**2
    view = replace(view_of(FeatureStore(folder / "judged"), train=FeatureStore(folder / "fitted")), world=world)
    if rank == 1:
        next((folder / "judged" / "chunk_000001").glob("*labels*")).unlink()  # the photos of rank 1 alone
    try:
        with pytest.raises(DataError if rank == 1 else SystemExit) as leaving:
            make_protocols(["hummingbird/clean"], settings=JUDGE)[0].judge(view)
        assert rank == 1 or (isinstance(leaving.value, SystemExit) and leaving.value.code == DataError.exit_code)
    finally:
        leave_world()


@pytest.mark.slow
def test_a_photo_that_one_rank_cannot_read_ends_all_with_its_exit_code(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    on_ranks(2, meet_a_damaged_photo, tmp_path, notes=tmp_path)


def test_parts_are_all_items_in_order_and_as_long_as_one_another() -> None:
    items = list(range(11))
    parts = [own_part(items, world=replace(ALONE, rank=rank, num_ranks=4)) for rank in range(4)]
    assert [item for part in parts for item in part] == items
    assert {len(part) for part in parts} == {2, 3}
    assert [len(own_part(range(2), world=replace(ALONE, rank=rank, num_ranks=3))) for rank in range(3)] == [0, 1, 1]
