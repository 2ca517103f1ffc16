"""The story of a discovery: a folder of photos becomes a run with proposals, shards, a trained encoder, a catalogue, a report, and segment maps of all photos.

Everything is in one folder, which is the run's own. Each stage goes on where it was stopped and does nothing where it is done, so the same command may be
given until it has said what to do next.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mcdist import build
from mcdist.building.folder.build import Built, build_shards
from mcdist.building.folder.out import alone_in
from mcdist.building.pictures.treatment import Treatment
from mcdist.building.sources.folder import folder_source
from mcdist.catalogue.catalogue import Catalogue
from mcdist.catalogue.file import MANIFEST_NAME as CATALOGUE_NAME
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.config.presets import presets_folder
from mcdist.data.pictures.folder import PHOTO_SUFFIXES, check_folder, pictures_in
from mcdist.data.shards.manifest import MANIFEST_NAME as SHARDS_NAME
from mcdist.data.shards.manifest import read_manifest
from mcdist.errors import ConfigError, DataError, MachineError
from mcdist.groups.clustering.faiss_library import require_faiss
from mcdist.json_text import parse_json
from mcdist.planning.costs import Costs, Estimate
from mcdist.planning.plan import TrainingPlan, estimate_of, fitted, plan_for
from mcdist.planning.record import TRIAL_NAME, Record, listing_of, read_record, require_same, write_record
from mcdist.proposals.folder.propose_folder import propose_folder
from mcdist.proposals.registry import options_of
from mcdist.report.progress import LINE_EVERY_S, progress_bar
from mcdist.report.stages import Stages, spoken
from mcdist.run import train_run
from mcdist.run_dir import RunDir, list_checkpoints, step_of
from mcdist.segments.out import SegmentFolder
from mcdist.workflows.cataloguing import cluster_run
from mcdist.workflows.evaluation import evaluate_run
from mcdist.workflows.segmenting import segment_run
from mcdist.workflows.trial import LEAST_PHOTOS, MORE, measure

STAGES = ("proposals", "shards", "training", "catalogue", "report", "segments")
DEFAULT_METHOD = "ensemble"
_PLACES = ("data.train", "data.val", "run.dir")
_MAX_SKIPPED_SHARE = 0.9
"""A person's folder may be full of photos in which nothing stands out; it must only not be empty of others."""
_SPARE_BYTES = 2**28
_TOO_LONG = 1.1


@dataclass(frozen=True, slots=True)
class _Places:
    """The folders of a discovery."""

    root: Path

    @property
    def proposals(self) -> Path:
        return self.root / "proposals"

    @property
    def shards(self) -> Path:
        return self.root / "shards"

    @property
    def segments(self) -> Path:
        return self.root / "segments"

    @property
    def trial(self) -> Path:
        return self.root / TRIAL_NAME


def discover(
    photos: Path,
    *,
    out: Path,
    minutes: float | None = None,
    method: str | None = None,
    overrides: Sequence[str] = (),
    num_workers: int = 1,
    device: str = "cpu",
    estimate_only: bool = False,
) -> int:
    """Make the run `out` of the photos below `photos`, or go on with it. Returns 0, or the exit code of the signal that stopped it.

    Args:
        minutes: plan the training so that everything is done in about so many; None: as configs/photos.yaml trains.
        method: of the proposals; None: `ensemble`, or the one that the discovery began with.
        overrides: settings over those of configs/photos.yaml and of the plan, as `section.key=value`.
        device: of the proposals; the training's is the setting run.device.
        estimate_only: say what it will take, and stop.

    Raises:
        ConfigError: `out` holds something else or is inside `photos`, or the discovery began with other photos or settings.
        DataError: no photo, or no object in any of them.
        HeldError: another discovery is at work in `out`.
        MachineError: the disk is too small, or refuses; what was finished stays.
        MissingExtraError: FAISS, or a package of the proposal method, is not installed.
    """
    _check(photos, out=out, overrides=overrides, minutes=minutes)
    require_faiss()
    options_of(method or DEFAULT_METHOD)
    names = _names_in(photos)
    record = read_record(out)
    if record is not None:
        require_same(record, photos=photos, names=names, method=method, overrides=overrides, minutes=minutes)
    places, stages = _Places(out), Stages(STAGES)
    _make(out)
    with alone_in(out):
        if record is None:
            trial = partial(measure, photos, names=names, folder=places.trial, method=method or DEFAULT_METHOD, device=device, preset=_preset())
            record = _planned(photos, names=names, minutes=minutes, method=method, overrides=overrides, num_workers=num_workers, trial=trial, say=stages.say)
            write_record(out, record)
        expected = _announce(record, num_workers=num_workers, say=stages.say)
        if estimate_only:
            return 0
        if expected is not None:
            stages.expect(expected.seconds)
            if not RunDir(out).catalogue.is_dir():  # afterwards little is written
                _check_disk(places, expected=expected)
        return _go(places, record, photos=photos, stages=stages, num_workers=num_workers, device=device)


def _check(photos: Path, *, out: Path, overrides: Sequence[str], minutes: float | None) -> None:
    check_folder(photos, what="photos")
    if minutes is not None and minutes <= 0:
        raise ConfigError(f"--minutes must be more than 0, got {minutes:g}")
    if out.resolve() == photos.resolve() or photos.resolve() in out.resolve().parents:
        raise ConfigError(f"--out {out} must not be in the folder of photos {photos}, where its pictures would be taken for photos; choose another")
    for override in overrides:
        if override.partition("=")[0] in _PLACES:
            raise ConfigError(f"the folders of a discovery are in --out, got {override}; for other shards and runs use: mcdist train CONFIG {override}")


def _names_in(photos: Path) -> list[str]:
    names = pictures_in(photos)
    if not names:
        raise DataError(f"expected photos ({', '.join(PHOTO_SUFFIXES)}) in {photos}, found none; give the folder that holds them")
    if len(names) == 1:
        raise DataError(f"expected several photos in {photos}, found one; a discovery finds what photos have in common")
    return names


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"cannot make the folder {out}: {error.strerror}; choose another --out") from error


def _planned(
    photos: Path,
    *,
    names: list[str],
    minutes: float | None,
    method: str | None,
    overrides: Sequence[str],
    num_workers: int,
    trial: Callable[..., Costs],
    say: Callable[[str], None],
) -> Record:
    """Measure, where there are enough photos, and plan the training."""
    plan, costs = _as_overridden(plan_for(len(names)), overrides=overrides), None  # a wrong setting is said before anything is measured
    if len(names) >= LEAST_PHOTOS:
        say(f"{len(names):,} photos in {photos}; trying {MORE} of them out on this machine, to say what all of them will take")
        costs = trial(overrides=overrides)
        if minutes is not None:
            plan = _as_overridden(fitted(costs, num_photos=len(names), num_workers=num_workers, budget_s=60 * minutes), overrides=overrides)
    return Record(
        photos=str(photos.resolve()),
        num_photos=len(names),
        listing=listing_of(names),
        names=tuple(names),
        method=method or DEFAULT_METHOD,
        overrides=tuple(overrides),
        minutes=minutes,
        plan=plan,
        costs=costs,
    )


def _as_overridden(plan: TrainingPlan, *, overrides: Sequence[str]) -> TrainingPlan:
    """The plan with what a person chose instead; ConfigError for a setting that is none."""
    named = {override.partition("=")[0] for override in overrides}
    if "groups.num_groups" in named and "groups.choose" not in named:
        plan = replace(plan, choose_groups=False)
    config = load_config(_preset(), overrides=[*plan.overrides, *overrides])
    return TrainingPlan(
        epochs=config.optim.epochs,
        cached=config.views.cached,
        zoom_views=config.groups.zoom_views,
        num_groups=tuple(config.groups.num_groups),
        choose_groups=config.groups.choose,
        global_batch=config.optim.global_batch,
        num_lanes=config.data.num_lanes,
    )


def _announce(record: Record, *, num_workers: int, say: Callable[[str], None]) -> Estimate | None:
    """Say what it will take; None where that was not measured."""
    plan = record.plan
    chosen = f"{min(plan.num_groups)} to {max(plan.num_groups)} groups, of which the data chooses" if plan.choose_groups else ""
    groups = chosen or f"{' and '.join(map(str, plan.num_groups))} groups"
    how = f"{plan.epochs} epochs, {plan.cached} views a photo, {groups}"
    if record.costs is None:
        say(f"{record.num_photos:,} photos, so few that measuring would take as long as doing; training: {how}")
        return None
    expected = estimate_of(record.costs, plan=plan, num_photos=record.num_photos, num_workers=num_workers)
    parts = ", ".join(f"{stage} {spoken(seconds)}" for stage, seconds in expected.seconds.items())
    say(f"{record.num_photos:,} photos: about {spoken(expected.total_s)} ({parts}) and {expected.num_bytes / 1e9:.2g} GB; training: {how}")
    if record.minutes is not None and expected.total_s > _TOO_LONG * 60 * record.minutes:
        say(f"{record.minutes:g} minutes are too few for {record.num_photos:,} photos on this machine: this is the shortest training there is")
    return expected


def _check_disk(places: _Places, *, expected: Estimate) -> None:
    there = sum(path.stat().st_size for path in places.root.rglob("*") if path.is_file())
    free = shutil.disk_usage(places.root).free
    missing = expected.num_bytes - there
    if missing + _SPARE_BYTES > free:
        raise MachineError(
            f"{places.root} needs about {missing / 1e9:.2g} GB more, its disk has {free / 1e9:.2g} GB free; free some space, or choose another --out"
        )


def _go(places: _Places, record: Record, *, photos: Path, stages: Stages, num_workers: int, device: str) -> int:
    """Every stage that is not done."""
    run_dir = RunDir(places.root)
    if (places.shards / SHARDS_NAME).is_file():
        stages.stands("proposals")
        stages.stands("shards")
    else:
        with stages.stage("proposals"):
            _propose(photos, out=places.proposals, method=record.method, num_workers=num_workers, device=device)
        with stages.stage("shards"):
            _say_built(_build(photos, places=places, num_workers=num_workers), stages=stages)
    config = _config(places, record)
    if _is_trained(run_dir, config=config):
        stages.stands("training")
    else:
        with stages.stage("training"):
            code = train_run(config)
            if code:
                return code
        shutil.rmtree(run_dir.views, ignore_errors=True)  # made for the training alone, and by far the largest part of the folder
    if _has_catalogue(run_dir):
        stages.stands("catalogue")
    else:
        with stages.stage("catalogue"):
            cluster_run(run_dir, say=stages.say)
    if _has_report(run_dir):
        stages.stands("report")
    else:
        with stages.stage("report"):
            evaluate_run(run_dir, overrides=[], which="newest")
    _segment(run_dir, photos=photos, out=places.segments, stages=stages)
    return 0


def _preset() -> Path:
    return presets_folder() / "photos.yaml"


def _propose(photos: Path, *, out: Path, method: str, num_workers: int, device: str) -> None:
    with _bar(f"Proposing ({method})") as bar:
        propose_folder(photos, out=out, method=method, device=device, num_workers=num_workers, tick=bar.tick, say_total=bar.begin)


def _build(photos: Path, *, places: _Places, num_workers: int) -> Built:
    source = folder_source(photos, masks=places.proposals, labels=None, treatment=Treatment())
    with progress_bar("Building shards", total=len(source.items)) as tick:
        return build_shards(source, folder=places.shards, num_workers=num_workers, max_skipped_share=_MAX_SKIPPED_SHARE, tick=tick)


def _say_built(built: Built, *, stages: Stages) -> None:
    skipped = built.manifest.skipped
    if skipped:
        photo, reason = skipped[0]
        stages.say(f"      {len(skipped):,} photos do not train (all are listed in {built.folder / 'manifest.json'}); the first, {photo}: {reason}")


def _config(places: _Places, record: Record) -> Config:
    folders = [f"data.train={places.shards.resolve()}", f"run.dir={places.root}"]
    return load_config(_preset(), overrides=[*record.overrides, *record.plan.overrides, *folders])


def _is_trained(run_dir: RunDir, *, config: Config) -> bool:
    found = list_checkpoints(run_dir.checkpoints)
    num_samples = read_manifest(Path(config.data.train)).num_samples
    return bool(found) and step_of(found[-1]) == build.loop_settings(config, num_samples=num_samples).num_steps


def _newest_step(run_dir: RunDir) -> int:
    return max((step_of(found) or 0 for found in list_checkpoints(run_dir.checkpoints)), default=0)


def _has_catalogue(run_dir: RunDir) -> bool:
    return (run_dir.catalogue / CATALOGUE_NAME).is_file() and Catalogue.open(run_dir).facts.step == _newest_step(run_dir)


def _has_report(run_dir: RunDir) -> bool:
    try:
        return run_dir.report.is_file() and parse_json(run_dir.evaluation.read_bytes())["step"] == _newest_step(run_dir)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _segment(run_dir: RunDir, *, photos: Path, out: Path, stages: Stages) -> None:
    """The last stage. How many photos are left is known only when it looks at them; files that were no photo before are looked at again each time."""
    num_known = SegmentFolder(out).num_not_segmented(1, num_parts=1)
    with ExitStack() as stack:
        bar = _Bar("Segmenting", stack)

        def begin(num_left: int) -> None:
            if num_left > num_known:
                stack.enter_context(stages.stage("segments"))
                bar.begin(num_left)
            else:
                stages.stands("segments")

        done = segment_run(run_dir, [photos], out=out, say_total=begin, tick=bar.tick)
    if done.not_segmented is not None:
        first = min(done.done.reasons)
        stages.say(f"      {len(done.done.reasons):,} files are no photo (listed in {done.not_segmented}); the first, {first}, {done.done.reasons[first]}")


@contextmanager
def _bar(what: str) -> Iterator["_Bar"]:
    """A progress bar that begins when its total is known."""
    with ExitStack() as stack:
        yield _Bar(what, stack)


class _Bar:
    def __init__(self, what: str, stack: ExitStack) -> None:
        self._what, self._stack = what, stack
        self._advance: Callable[[int], None] | None = None

    def begin(self, total: int) -> None:
        self._advance = self._stack.enter_context(progress_bar(self._what, total=total, line_every_s=LINE_EVERY_S))

    def tick(self, num: int) -> None:
        if self._advance is not None:
            self._advance(num)
