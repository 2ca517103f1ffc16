"""Preparation: groups before the first step are made once, fit the run, and bad input is a rule or one sentence."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from threading import Event
from typing import Any

import numpy
import pytest
import torch

from mcdist import build, run
from mcdist.building.convert import convert_shards
from mcdist.building.writers.pack import Packing
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.data.pictures.png import encode_map
from mcdist.data.shards.manifest import read_manifest, write_manifest
from mcdist.distributed import World
from mcdist.errors import CheckpointError, ConfigError, DataError, MachineError
from mcdist.groups.file import read_groups
from mcdist.groups.find import find_groups
from mcdist.groups.graph.rows import Rows
from mcdist.groups.record import Grouping, Groups
from mcdist.passes import preparation
from mcdist.passes.preparation import chosen, prepare_groups
from mcdist.report.console import Console
from mcdist.report.page.html import write_report
from mcdist.run_dir import RunDir
from mcdist.store.store import FeatureStore
from tests.fixture_types import MakeShards, ShardsAt
from tests.makers.tiny_shards import draw_members, photo_bytes

SMALL = """
data: {num_workers: 0, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 4}
model: {backbone: resnet18, num_stages: 3, decoder_width: 8, atrous_rates: [1, 2], embedding_dim: 8, bank_size: 16, momentum: 0.9}
optim: {global_batch: 4, epochs: 1, lr: 0.05}
groups: {num_groups: [3], zoom_px: 32, zoom_views: 1}
loss: {group_weight: 1}
run: {device: cpu, num_threads: 1}
report: {mlflow: "off", console: "off"}
"""


class Heard(Console):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(mode="off", total_steps=0, samples_per_step=0)
        self.said: list[str] = []
        self.warned: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)


def objects_in(rectangles: list[tuple[int, int, int, int]], *, seed: int) -> dict[str, bytes]:
    """A noisy photo of 60 x 80 px with these rectangles (top, left, bottom, right) as objects 1, 2, ..."""
    instances = numpy.zeros((60, 80), dtype=numpy.int16)
    for number, (top, left, bottom, right) in enumerate(rectangles, start=1):
        instances[top:bottom, left:right] = number
    pixels = numpy.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=numpy.uint8)
    return {"png": photo_bytes(pixels), "mask.png": encode_map(instances), "json": b"{}"}


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., Config]:
    (tmp_path / "small.yaml").write_text(SMALL)
    return lambda shards, *overrides: load_config(tmp_path / "small.yaml", overrides=[f"data.train={shards}", f"run.dir={tmp_path / 'run'}", *overrides])


def prepare(config: Config, *, should_stop: Callable[[], bool] = lambda: False) -> tuple[Path | None, Heard]:
    run_dir, heard = RunDir(Path(config.run.dir)).create(), Heard()
    attempt = run_dir.attempts / "000001"
    attempt.mkdir(parents=True, exist_ok=True)
    folder = prepare_groups(
        config,
        build.open_reader(config.data.train, key="data.train", data=config.data),
        run_dir,
        world=World(0, 1, torch.device("cpu")),
        console=heard,
        claim=None,
        attempt_folder=attempt,
        should_stop=should_stop,
    )
    return folder, heard


def groups_of(config: Config) -> tuple[Groups, FeatureStore, Heard]:
    folder, heard = prepare(config)
    assert folder is not None
    return read_groups(folder), FeatureStore(folder.parent / "store"), heard


def test_groups_are_told_in_two_lines_and_used_again(configure: Callable[..., Config], make_shards: MakeShards) -> None:
    config = configure(make_shards(12))
    groups, store, heard = groups_of(config)
    assert groups.source.columns == ("vectors/last",)  # all kinds vote, and a ResNet at one margin has this one
    assert groups.grouping.facts.num_objects == 24
    assert store.column("objects", "number").read().tolist() == [1, 2] * 12
    zooming, zoomed, grouped = heard.said
    assert zoomed.startswith("zoomed 24 objects of 12 photos: ")
    assert grouped.startswith("grouped 24 objects by 25 neighbours: 3 groups (entropy ") and ", stability " in grouped
    again, _, heard = groups_of(config)
    assert [text.split(" ")[0] for text in heard.said] == ["using", "using"]
    assert again.grouping.sets[0].group.tolist() == groups.grouping.sets[0].group.tolist()


def test_a_stopped_preparation_goes_on(configure: Callable[..., Config], make_shards: MakeShards) -> None:
    config = configure(make_shards(20))
    asked = iter(range(100))
    folder, heard = prepare(config, should_stop=lambda: next(asked) == 1)
    assert folder is None
    assert (Path(config.run.dir) / "groups/round_00/store/chunk_000000").is_dir()
    groups, _, heard = groups_of(config)
    assert groups.grouping.facts.num_objects == 40
    assert heard.said[0].endswith("; 8 photos are done")


def test_a_stop_while_the_graph_is_made_ends_the_preparation_and_the_graph_is_kept(
    configure: Callable[..., Config], make_shards: MakeShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, is_grouping = configure(make_shards(6)), Event()

    def stopped_while_grouping(views: Sequence[Rows], **settings: Any) -> Grouping:
        is_grouping.set()
        return find_groups(views, **settings)

    monkeypatch.setattr(preparation, "find_groups", stopped_while_grouping)
    folder, heard = prepare(config, should_stop=is_grouping.is_set)
    assert folder is None
    assert heard.said[-1].startswith("grouped 12 objects")
    _, _, heard = groups_of(config)
    assert [text.split(" ")[0] for text in heard.said] == ["using", "using"]


def test_what_was_made_of_something_else_is_made_anew_until_the_run_has_learnt_from_it(configure: Callable[..., Config], make_shards: MakeShards) -> None:
    shards = make_shards(12)
    groups_of(configure(shards))
    groups, _, heard = groups_of(configure(shards, "groups.zoom_views=2", "groups.num_groups=[2]"))
    assert len(groups.grouping.sets[0].spread.sizes) == 2
    assert [text for text in heard.said if "settings.num_views is 1, expected 2" in text]
    checkpoint = Path(configure(shards).run.dir) / "checkpoints/step_00000003"
    checkpoint.mkdir(parents=True)
    (checkpoint / "meta.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"learnt from other zoomed objects \(settings.num_views is 2, expected 1\)"):
        prepare(configure(shards))
    with pytest.raises(ConfigError, match=r"learnt from other groups \(tau is 0.3, expected 0.5\)"):
        prepare(configure(shards, "groups.zoom_views=2", "groups.num_groups=[2]", "groups.tau=0.5"))


def test_the_same_samples_in_another_format_use_the_same_objects(tmp_path: Path, configure: Callable[..., Config], make_shards: MakeShards) -> None:
    shards = make_shards(6)
    write_manifest(replace(read_manifest(shards), options={"items": "0123abcd"}), folder=shards)  # as our builder writes it
    convert_shards(shards, out=tmp_path / "ffcv", packing=Packing("raw"))
    groups_of(configure(shards))
    _, _, heard = groups_of(configure(tmp_path / "ffcv"))
    assert [text.split(" ")[0] for text in heard.said] == ["using", "using"]


def test_damaged_groups_and_stores_are_made_anew(configure: Callable[..., Config], make_shards: MakeShards) -> None:
    config = configure(make_shards(12))
    before = groups_of(config)[0]
    folder = Path(config.run.dir) / "groups/round_00"
    (folder / "groups/groups.json").write_text("{")
    (folder / "store/plan.json").write_text("{")
    (folder / "store/manifest.json").unlink()
    after, _, heard = groups_of(config)
    assert sum("anew" in text for text in heard.said) == 2
    assert after.grouping.sets[0].group.tolist() == before.grouping.sets[0].group.tolist()
    assert not list(folder.glob(".*"))


def test_a_training_with_groups_prepares_them_first_and_continues_with_them(configure: Callable[..., Config], make_shards: MakeShards) -> None:
    config = configure(make_shards(12))
    assert run.train_run(config) == 0
    folder = Path(config.run.dir) / "groups/round_00/groups"
    before = (folder / "groups.json").read_bytes()
    shutil.rmtree(Path(config.run.dir) / "checkpoints")
    assert run.train_run(config) == 0
    assert (folder / "groups.json").read_bytes() == before
    assert "grouped 24 objects" in (Path(config.run.dir) / "log.txt").read_text()


def test_three_photos_are_enough_and_there_may_be_fewer_objects_than_neighbours_and_groups(configure: Callable[..., Config], make_shards: MakeShards) -> None:
    groups, _, heard = groups_of(configure(make_shards(3), "groups.num_groups=[2,25]", "groups.neighbours=[50]"))
    assert groups.grouping.facts.num_objects == 6
    assert groups.grouping.of(25).spread.num_empty == 19
    assert "the 25 groups look collapsed: each of the 6 objects is a group of its own: ask for fewer groups than that, or give more photos" in heard.warned


def test_the_number_of_groups_is_chosen_among_candidates_and_the_run_goes_on_with_it(configure: Callable[..., Config], make_shards: MakeShards) -> None:
    config = configure(make_shards(12), "groups.num_groups=[2,3,4,6,25]", "groups.choose=true")
    assert run.train_run(config) == 0
    run_dir = RunDir(Path(config.run.dir))
    grouping = read_groups(run_dir.groups / "round_00/groups").grouping
    assert [found.num_groups for found in grouping.sets] == [2, 3, 4], "24 objects are fewer than five for each of six groups"
    saved = load_config(run_dir.config)
    number = grouping.choice.num_groups
    assert (saved.groups.num_groups, saved.groups.choose) == ([number, 2 * number] if 2 * number in (2, 3, 4) else [number], False)
    log = run_dir.log.read_text()
    assert f"training on {' and '.join(map(str, saved.groups.num_groups))} groups: {grouping.choice.reason}" in log
    for again in (config, saved):  # what was typed at first, and what the run remembers
        assert run.train_run(again) == 0
    assert run_dir.log.read_text().count("grouped 24 objects") == 1
    assert f"{number} of 2, 3, 4 were chosen without labels: {grouping.choice.reason}." in unescape(write_report(run_dir).read_text())


def test_a_stop_before_the_number_of_groups_is_chosen_is_no_loss(
    configure: Callable[..., Config], make_shards: MakeShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(make_shards(12), "groups.num_groups=[2,3]", "groups.choose=true")
    with monkeypatch.context() as patch:
        patch.setattr(run, "prepare_groups", lambda *arguments, **options: None)
        run.train_run(config)
    assert not RunDir(Path(config.run.dir)).config.is_file()
    assert run.train_run(config) == 0


@pytest.mark.parametrize(
    ("num_photos", "same"),
    [(3, False), (40, True)],
)
def test_too_few_objects_or_equal_ones_have_a_number_of_groups_too(
    configure: Callable[..., Config], make_shards: MakeShards, num_photos: int, same: bool
) -> None:
    shards = make_shards(num_photos, members_of=lambda index: objects_in([(5, 5, 40, 50)], seed=0 if same else index))
    config = configure(shards, "groups.num_groups=[4,6,8]", "groups.choose=true", "groups.neighbours=[50]")
    folder, _ = prepare(config)
    assert folder is not None
    numbers = chosen(config, folder, world=World(0, 1, torch.device("cpu")), say=lambda text: None).groups.num_groups
    assert numbers == ([4, 8] if same else [2])


def test_one_object_a_photo_is_enough(configure: Callable[..., Config], make_shards: MakeShards) -> None:
    shards = make_shards(8, members_of=lambda index: objects_in([(5, 5, 40, 30 + 4 * index)], seed=index))
    assert groups_of(configure(shards))[0].grouping.facts.num_objects == 8


def test_masks_that_are_all_empty_are_one_sentence(configure: Callable[..., Config], make_shards: MakeShards) -> None:
    shards = make_shards(6, members_of=lambda index: objects_in([], seed=index))
    with pytest.raises(DataError, match="none of the 6 training photos has an object, so there is nothing to group; propose masks"):
        prepare(configure(shards))


def test_photos_that_are_all_equal_are_one_group_with_a_warning(configure: Callable[..., Config], make_shards: MakeShards) -> None:
    shards = make_shards(40, members_of=lambda index: objects_in([(5, 5, 40, 50)], seed=0))
    groups, _, heard = groups_of(configure(shards))
    assert groups.grouping.sets[0].spread.sizes == (40, 0, 0)
    assert [text for text in heard.warned if "2 of 3 groups are empty" in text]


def test_objects_of_one_photo_alone_are_one_sentence(configure: Callable[..., Config], make_shards: MakeShards) -> None:
    shards = make_shards(5, members_of=lambda index: draw_members(0) if index == 0 else objects_in([], seed=index))
    with pytest.raises(DataError, match="come from one photo"):
        prepare(configure(shards))


def test_weights_that_give_no_finite_vector_are_one_sentence(configure: Callable[..., Config], make_shards: MakeShards, tmp_path: Path) -> None:
    from torchvision.models import resnet18

    tensors = resnet18(weights=None).state_dict()
    tensors["layer4.0.conv1.weight"][0] = float("nan")
    torch.save(tensors, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="must be finite, those of 16 objects are not"):
        prepare(configure(make_shards(12), f"model.weights={tmp_path / 'weights.pth'}"))


def test_a_photo_that_cannot_be_read_has_no_object_where_such_are_skipped(configure: Callable[..., Config], make_shards: MakeShards) -> None:
    shards = make_shards(8, members_of=lambda index: {**draw_members(index), **({"png": b"no photo"} if index == 2 else {})})
    with pytest.raises(DataError, match="photo_0002"):
        prepare(configure(shards))
    groups, store, heard = groups_of(configure(shards, "data.bad_samples=skip"))
    assert groups.grouping.facts.num_objects == 14
    assert numpy.flatnonzero(store.column("photos", "bad").read()).tolist() == [2]
    assert [text for text in heard.said if "1 photos could not be read" in text]


def test_a_size_that_is_no_multiple_of_the_native_stride_is_refused(configure: Callable[..., Config], make_shards: MakeShards) -> None:
    with pytest.raises(ConfigError, match="groups.zoom_px must be a multiple of 32, .* got 40"):
        prepare(configure(make_shards(3), "groups.zoom_px=40"))


def test_a_run_that_was_taken_over_writes_no_store(configure: Callable[..., Config], make_shards: MakeShards, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure(make_shards(20))

    def taken_over() -> bool:
        shutil.rmtree(Path(config.run.dir) / "attempts/000001", ignore_errors=True)
        return False

    with pytest.raises(MachineError, match="cannot write chunk_"):
        prepare(config, should_stop=taken_over)


def test_random_weights_are_the_same_at_every_start_and_leave_the_runs_numbers_alone(configure: Callable[..., Config], make_shards: MakeShards) -> None:
    config = configure(make_shards(3))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one = build.build_zoom_backbone(config, device=torch.device("cpu"))
    assert torch.equal(torch.rand(1), expected)
    other = build.build_zoom_backbone(config, device=torch.device("cpu"))
    assert all(torch.equal(one.state_dict()[name], tensor) for name, tensor in other.state_dict().items())


def test_the_manifest_says_what_the_store_was_made_of(configure: Callable[..., Config], shards_at: ShardsAt, tmp_path: Path) -> None:
    _, store, _ = groups_of(configure(shards_at(tmp_path / "shards", 4)))
    settings = json.loads((store.folder / "manifest.json").read_text())["settings"]
    assert settings == {
        "version": 1,
        "backbone": "resnet18",
        "size_px": 32,
        "margin": 1.15,
        "background": "keep",
        "num_views": 1,
        "max_objects": 4,
        "bad_samples": "error",
    }
