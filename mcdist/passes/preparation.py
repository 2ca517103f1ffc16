"""Preparation: the groups that a training learns from, made before its first step: objects zoomed by all ranks, a graph of them cut by rank 0."""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from math import isnan
from pathlib import Path

from mcdist import build
from mcdist.config import Config
from mcdist.data.readers.reader import SampleReader
from mcdist.distributed import World
from mcdist.errors import ConfigError, DataError, MachineError
from mcdist.groups.file import read_groups, write_groups
from mcdist.groups.find import find_groups
from mcdist.groups.record import Grouping, Groups
from mcdist.groups.settings import GroupSettings
from mcdist.groups.source import objects_of
from mcdist.groups.stability import candidates, sets_of
from mcdist.passes.zooming import ZoomTask, zoom_task, zoomed
from mcdist.ranks.agree import run_on_first, wait_for_first
from mcdist.report.console import Console
from mcdist.resilience.claim import Claim
from mcdist.run_dir import RunDir, list_checkpoints
from mcdist.store.plan import differences, read_plan
from mcdist.store.store import FeatureStore
from mcdist.zoom.tables import OBJECTS, kinds_in
from mcdist.zoom.vectors import ZOOM

SAY_EVERY_S = 60.0
"""Between two lines about objects that are being zoomed; the console's own line counts steps."""


def prepare_groups(
    config: Config,
    reader: SampleReader,
    run_dir: RunDir,
    *,
    world: World,
    console: Console,
    claim: Claim | None,
    attempt_folder: Path,
    should_stop: Callable[[], bool] = lambda: False,
) -> Path | None:
    """The folder of groups for this training: `groups.given`, else `RUN/groups/round_00/groups`, beside its store of zoomed objects. None where
    `should_stop` ended it; a graph that was begun is finished first.

    What is there and was made of the same weights, photos and settings is used; what was begun goes on. What was made of something else is made anew
    while the run has no checkpoint, and refused once it has one: its steps learnt from those groups. Called by all ranks; `claim` is rank 0's hold of the
    run, and everything is made in `attempt_folder` before it is renamed.

    Raises:
        ConfigError: the run learnt from other groups, or a setting does not fit.
        DataError: no photo has an object, all objects are of one photo, or a photo cannot be read.
        CheckpointError: a vector is not finite.
        SupersededError: a newer start holds the run.
    """
    if config.groups.given:
        return Path(config.groups.given)
    folder, settings = run_dir.groups / "round_00", build.group_settings(config)
    task = zoom_task(config, reader, location=config.data.train, folder=folder / "store", device=world.device, made_in=attempt_folder, claim=claim)
    run_on_first(lambda: _clear_other(task, run_dir=run_dir, console=console), world=world)
    if config.model.weights == "none":
        console.warn("groups are made of zoomed objects as a random backbone sees them (model.weights=none): expect little of them")
    if not zoomed(task, world=world, console=console, on_progress=_Say(console, num_ranks=world.num_ranks), should_stop=should_stop):
        return None

    def group() -> None:
        _group(
            FeatureStore(task.folder),
            folder=folder / "groups",
            settings=settings,
            choose=config.groups.choose,
            run_dir=run_dir,
            console=console,
            claim=claim,
        )

    wait_for_first(group, world=world)
    return None if world.begin_any(should_stop())() else folder / "groups"


def _clear_other(task: ZoomTask, *, run_dir: RunDir, console: Console) -> None:
    """Take a store of something else away, unless the run has learnt from it. A damaged one can be made anew at any time."""
    try:
        found = read_plan(task.folder)
        differs = [] if found is None else differences(found, wanted=task.plan)
    except DataError as error:
        found, differs = None, [str(error)]
    if differs:
        if found is not None:
            _require_no_steps(task.folder, what="zoomed objects", differs=differs, run_dir=run_dir)
        console.say(f"making the zoomed objects {task.folder} anew: {'; '.join(differs)}")
        _take_away(task.folder, claim=task.claim)


def _take_away(folder: Path, *, claim: Claim | None) -> None:
    """Remove a folder, at once and only while this start holds the run."""
    with claim.fenced() if claim else nullcontext(folder.parent) as made_in:
        aside = made_in / f".{folder.name}.old.{os.getpid()}"
        try:
            folder.rename(aside)
        except OSError as error:
            raise MachineError(f"cannot remove {folder}: {error.strerror}; remove it yourself, and give the same command again") from error
    shutil.rmtree(aside, ignore_errors=True)


def chosen(config: Config, folder: Path, *, world: World, say: Callable[[str], None]) -> Config:
    """`config` with the numbers of groups that are chosen among its candidates, by what `folder` says of them. Called by all ranks.

    Raises:
        DataError: the groups are damaged.
    """

    def choose() -> str:
        grouping = read_groups(folder).grouping
        numbers = sets_of(grouping.choice, num_groups=grouping.settings.num_groups)
        say(f"training on {' and '.join(map(str, numbers))} groups: {grouping.choice.reason}")
        return " ".join(map(str, numbers))

    text = run_on_first(choose, world=world)
    (numbers,) = world.gather_texts([] if text is None else [text])
    return replace(config, groups=replace(config.groups, num_groups=[int(number) for number in numbers.split()], choose=False))


def _group(store: FeatureStore, *, folder: Path, settings: GroupSettings, choose: bool, run_dir: RunDir, console: Console, claim: Claim | None) -> None:
    """Use the groups in `folder`, or make them; with `choose` those of every candidate. Rank 0 only."""
    if store.num_rows(OBJECTS) == 0:
        raise DataError(
            f"none of the {store.num_photos:,} training photos has an object, so there is nothing to group; propose masks (mcdist proposals), "
            "or train without groups: groups.num_groups=[]"
        )
    if choose:
        settings = replace(settings, num_groups=candidates(settings.num_groups, num_objects=store.num_rows(OBJECTS)))
    kinds = kinds_in(store) if settings.consensus else (ZOOM,)
    objects = objects_of(store, table=OBJECTS, kinds=kinds, excluded_by="photo")
    found, differs = _found(folder, source=objects.source, num_objects=store.num_rows(OBJECTS), settings=settings)
    if found is not None and not differs:
        console.say(f"using the groups {folder}: {described(found.grouping)}")
        return
    if differs:
        if found is not None:
            _require_no_steps(folder, what="groups", differs=differs, run_dir=run_dir)
        console.say(f"making the groups {folder} anew: {'; '.join(differs)}")
        _take_away(folder, claim=claim)
    began_s = time.monotonic()
    grouping = find_groups(objects.views, source_of=objects.source_of, settings=settings)
    with claim.fenced() if claim else nullcontext() as made_in:
        write_groups(Groups(source=objects.source, grouping=grouping), folder=folder, made_in=made_in)
    console.say(f"grouped {described(grouping)}; {time.monotonic() - began_s:.1f} s")
    learnt = sets_of(grouping.choice, num_groups=settings.num_groups) if choose else settings.num_groups
    for num, sign in [(one.num_groups, sign) for one in grouping.sets if one.num_groups in learnt for sign in one.signs_of_collapse]:
        console.warn(f"the {num} groups look collapsed: {sign}")


def _found(folder: Path, *, source: object, num_objects: int, settings: GroupSettings) -> tuple[Groups | None, list[str]]:
    """(the groups in `folder`, in words where they are not those wanted). Damaged ones are None with a reason, none at all None without one.

    Further numbers of groups are no difference: a run that chose among several goes on with the chosen ones.
    """
    if not folder.exists():
        return None, []
    try:
        found = read_groups(folder)
    except DataError as error:
        return None, [str(error)]
    made = found.grouping.settings
    differs = [
        f"{name} is {getattr(made, name)}, expected {getattr(settings, name)}"
        for name in GroupSettings.__dataclass_fields__
        if getattr(made, name) != getattr(settings, name) and not (name == "num_groups" and set(settings.num_groups) <= set(made.num_groups))
    ]
    if found.source != source or found.grouping.facts.num_objects != num_objects:
        differs.append("they are groups of other objects")
    return found, differs


def _require_no_steps(folder: Path, *, what: str, differs: list[str], run_dir: RunDir) -> None:
    """ConfigError where the run has steps that learnt from what is there."""
    if list_checkpoints(run_dir.checkpoints):
        raise ConfigError(
            f"the run {run_dir.root} learnt from other {what} ({'; '.join(differs)}), which are in {folder}; continue it with its own settings, weights and "
            "shards, or give this run its own folder with run.dir=PATH"
        )


def described(grouping: Grouping) -> str:
    """Groups in one line: objects, neighbours, and of every number of groups its entropy and stability."""
    neighbours = grouping.choice.num_neighbours
    stability = {row.num_groups: row.subsample_agreement for row in grouping.stability if row.num_neighbours == neighbours}
    sets = [f"{one.num_groups} groups (entropy {one.spread.entropy:.2f}, stability {_shown(stability[one.num_groups])})" for one in grouping.sets]
    facts = grouping.facts
    return f"{facts.num_objects:,} objects by {neighbours} neighbours: {', '.join(sets)}; {facts.largest_gap or 'no number of'} groups stand out"


def _shown(value: float) -> str:
    """A dash for what could not be had."""
    return "-" if isnan(value) else f"{value:.2f}"


class _Say:
    """Says from time to time how many photos are done."""

    def __init__(self, console: Console, *, num_ranks: int) -> None:
        self.console, self.num_ranks = console, num_ranks
        self.last_s = time.monotonic()

    def __call__(self, num_done: int, num_photos: int) -> None:
        """`num_done` of the `num_photos` of this rank are done."""
        now_s = time.monotonic()
        if now_s - self.last_s >= SAY_EVERY_S and num_done < num_photos:
            self.last_s = now_s
            self.console.say(f"zoomed the objects of {num_done * self.num_ranks:,} of {num_photos * self.num_ranks:,} photos")
