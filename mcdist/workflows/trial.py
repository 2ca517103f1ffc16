"""The story of a trial: a few photos go through every stage of a discovery on this machine, so that what all of them will take is measured, not guessed.

Each stage runs on `FEW` and on `MORE` photos, after once for nothing: the difference is what a photo costs, the rest is what a start costs.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy

from mcdist import build
from mcdist.building.folder.build import build_shards
from mcdist.building.pictures.treatment import Treatment
from mcdist.building.sources.folder import folder_source
from mcdist.config.file import load_config
from mcdist.errors import MachineError, McdistError
from mcdist.groups.find import find_groups
from mcdist.groups.graph.rows import ArrayRows
from mcdist.groups.stability import candidates
from mcdist.passes.zooming import zoom_shards
from mcdist.planning.costs import Costs
from mcdist.planning.plan import ZOOM_VIEWS_DEFAULT, TrainingPlan, plan_for
from mcdist.proposals.folder.propose_folder import propose_folder
from mcdist.run import train_run
from mcdist.run_dir import RunDir
from mcdist.store.store import FeatureStore
from mcdist.workflows.cataloguing import cluster_run
from mcdist.workflows.evaluation import evaluate_run
from mcdist.workflows.segmenting import segment_run
from mcdist.zoom.tables import OBJECTS, kinds_in, vectors_of

FEW, MORE = 4, 12
LEAST_PHOTOS = 40
"""With fewer photos a trial would take as long as the discovery."""
EPOCHS = 8
GROUPED = 150
"""Made-up objects that are grouped: the cost of groups grows as their number, and so many take some seconds."""
LEAST_SHARE = 0.2
"""A photo costs at least this share of its part of the whole: noise of a busy machine must not make a stage free."""


@dataclass(frozen=True, slots=True)
class _Measured:
    """One stage's seconds on FEW and on MORE photos."""

    few_s: float
    more_s: float

    @property
    def photo_s(self) -> float:
        return max(LEAST_SHARE * self.more_s / MORE, (self.more_s - self.few_s) / (MORE - FEW))

    @property
    def start_s(self) -> float:
        return max(0.0, self.more_s - MORE * self.photo_s)


def measure(photos: Path, *, names: Sequence[str], folder: Path, method: str, device: str, preset: Path, overrides: Sequence[str]) -> Costs:
    """Costs of a discovery of `names` below `photos`, tried out in `folder`, which is removed in the end.

    Raises:
        McdistError: what the discovery itself would raise on these photos.
    """
    if len(names) < MORE:
        raise ValueError(f"a trial needs {MORE} photos, got {len(names)}")
    shutil.rmtree(folder, ignore_errors=True)
    chosen = [names[round(place * (len(names) - 1) / (MORE - 1))] for place in range(MORE)]
    try:
        first, few, more = (_Trial(folder / name, method=method, device=device, preset=preset, overrides=overrides) for name in ("first", "few", "more"))
        for trial in (first, few):
            trial.link(photos, names=chosen[:: MORE // FEW])
        more.link(photos, names=chosen)
        first.go()  # the first photo of each stage pays for imports, compiling and the memory that is then kept
        return _costs(few, more, plan=plan_for(len(names)))
    except OSError as error:
        if isinstance(error, McdistError):
            raise
        raise MachineError(f"cannot try the stages out in {folder}: {error.strerror or error}; free some space or choose another --out") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Trial:
    """A tiny discovery. Each method is a stage and returns its seconds."""

    def __init__(self, folder: Path, *, method: str, device: str, preset: Path, overrides: Sequence[str]) -> None:
        self.photos, self.masks, self.shards, self.zoomed = (folder / name for name in ("photos", "masks", "shards", "zoomed"))
        self.folder, self.method, self.device, self.preset, self.overrides = folder, method, device, preset, list(overrides)
        self.num_photos = 0

    def link(self, photos: Path, *, names: Sequence[str]) -> None:
        self.photos.mkdir(parents=True)
        self.num_photos = len(names)
        for number, name in enumerate(names):
            (self.photos / f"{number:03d}{Path(name).suffix.lower()}").symlink_to((photos / name).resolve())

    def propose(self) -> float:
        return _seconds(lambda: propose_folder(self.photos, out=self.masks, method=self.method, device=self.device, num_workers=0))

    def build(self) -> float:
        source = folder_source(self.photos, masks=self.masks, labels=None, treatment=Treatment(keep_empty=True))
        return _seconds(lambda: build_shards(source, folder=self.shards, max_skipped_share=1.0))

    def zoom(self, *, num_workers: int = 0) -> float:
        """With worker processes into a store of its own, which is made anew."""
        settings = [*self._settings("zoom"), f"groups.zoom_views={ZOOM_VIEWS_DEFAULT}", f"data.num_workers={num_workers}"]
        config = load_config(self.preset, overrides=settings)
        return _seconds(lambda: zoom_shards(config, out=self.folder / "zoomed_by_workers" if num_workers else self.zoomed))

    def group(self, *, plan: TrainingPlan) -> float:
        """A photo's part of grouping made-up objects, as many as tell and of the kinds of vectors that were zoomed: the photos here have too few."""
        store, settings = FeatureStore(self.zoomed), build.group_settings(load_config(self.preset, overrides=[*self.overrides, *plan.overrides]))
        random = numpy.random.default_rng(0)
        lengths = [store.column(OBJECTS, vectors_of(kind)).row_shape[0] for kind in kinds_in(store)]
        views = [ArrayRows(random.standard_normal((GROUPED, length)).astype(numpy.float32)) for length in lengths]
        settings = replace(settings, num_groups=candidates(settings.num_groups, num_objects=GROUPED))
        return _seconds(lambda: find_groups(views, settings=settings)) / GROUPED * store.num_rows(OBJECTS) / self.num_photos

    def train(self, name: str, *, epochs: int) -> float:
        """Without groups, which so few photos do not have: the head that learns them is a small part of a step."""
        batch = 2 ** (self.num_photos.bit_length() - 1)
        settings = [*self._settings(name), "groups.num_groups=[]", "groups.choose=false", "loss.group_weight=0", "views.cached=1", f"optim.epochs={epochs}"]
        config = load_config(self.preset, overrides=[*settings, f"optim.global_batch={batch}", f"data.num_lanes={min(4, batch)}"])
        return _seconds(lambda: train_run(config))

    def cluster(self, name: str) -> float:
        return _seconds(lambda: cluster_run(RunDir(self.folder / name), num_clusters=1))

    def segment(self, name: str) -> float:
        return _seconds(lambda: segment_run(RunDir(self.folder / name), [self.photos], out=self.folder / "segments", num_workers=0))

    def report(self, name: str) -> float:
        """0 where the few photos show too little for one."""
        began_s = time.perf_counter()
        with suppress(McdistError):
            evaluate_run(RunDir(self.folder / name), overrides=[], which="newest")
            return time.perf_counter() - began_s
        return 0.0

    def go(self) -> None:
        """Every stage, once."""
        stages = (self.propose, self.build, self.zoom, lambda: self.train("run", epochs=1), lambda: self.cluster("run"), lambda: self.segment("run"))
        for stage in (*stages, lambda: self.report("run")):
            stage()

    def bytes_in(self, *names: str) -> int:
        return sum(path.stat().st_size for name in names for path in (self.folder / name).rglob("*") if path.is_file() and not path.is_symlink())

    def _settings(self, name: str) -> list[str]:
        quiet = ["report.console=off", "report.mlflow=off", "data.num_workers=0"]  # workers would be started for MORE photos and not for FEW
        return [*self.overrides, f"data.train={self.shards}", f"run.dir={self.folder / name}", *quiet]


def _costs(few: _Trial, more: _Trial, *, plan: TrainingPlan) -> Costs:
    propose, build, zoom = (_Measured(stage(few), stage(more)) for stage in (_Trial.propose, _Trial.build, _Trial.zoom))
    train = _Measured(few.train("run", epochs=1), more.train("run", epochs=1))
    longer_s = more.train("longer", epochs=1 + EPOCHS)
    step_s = max(0.0, (longer_s - train.more_s) / (EPOCHS * MORE))
    embed, segment = _Measured(few.cluster("run"), more.cluster("run")), _Measured(few.segment("run"), more.segment("run"))
    view_bytes, shard_bytes = more.bytes_in("run/views") / MORE, more.bytes_in("shards") / MORE
    report_s = more.report("run")
    config = load_config(more.preset, overrides=more.overrides)
    return Costs(
        group_s=more.group(plan=plan),
        report_s=report_s,
        worker_s=max(0.0, few.zoom(num_workers=config.data.num_workers) - zoom.few_s) if config.data.num_workers else 0.0,
        start_s=sum(stage.start_s for stage in (propose, build, zoom, train, embed, segment)),
        propose_s=propose.photo_s,
        shard_s=build.photo_s,
        zoom_s=zoom.photo_s / ZOOM_VIEWS_DEFAULT,
        view_s=max(0.0, train.photo_s - step_s),
        step_s=step_s,
        embed_s=embed.photo_s,
        segment_s=segment.photo_s,
        shard_bytes=shard_bytes,
        view_bytes=view_bytes,
        other_bytes=more.bytes_in("masks", "zoomed", "run/features", "segments") / MORE,
    )


def _seconds(stage: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    stage()
    return time.perf_counter() - began_s
