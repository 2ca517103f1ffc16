"""The story of a held-out slice: a training is judged on photos that it does not see, every so many steps, and not a bit of it changes."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from mcdist import build
from mcdist.config.classes import find_classes
from mcdist.config.config import Config
from mcdist.data.loader import read_sample
from mcdist.data.readers.reader import SampleReader
from mcdist.data.shards.raw_sample import SEGMENTS_MEMBER
from mcdist.distributed import World
from mcdist.errors import ConfigError, McdistError
from mcdist.evaluate.extract.encoders import EncoderPair
from mcdist.evaluate.extract.extract import extract, finish
from mcdist.evaluate.extract.layout import aliases
from mcdist.evaluate.extract.photos import Photos
from mcdist.evaluate.metrics.labels import LabelMap, label_map
from mcdist.evaluate.metrics.silhouette import silhouette
from mcdist.evaluate.protocols.object_kmeans import mean_embedding
from mcdist.evaluate.settings import JudgeSettings, Kept
from mcdist.evaluate.truth import read_truth
from mcdist.evaluate.view import StoreView
from mcdist.groups.clustering.faiss_library import require_faiss
from mcdist.groups.clustering.kmeans import kmeans
from mcdist.outputs import Outputs
from mcdist.records import Record, Subject
from mcdist.records.names import PROPOSALS, TRAINED, UNIT_MEAN
from mcdist.store.plan import StorePlan
from mcdist.store.store import FeatureStore
from mcdist.store.writer import StoreWriter, begin_store
from mcdist.train.state import TrainState

NUM_CLUSTERS = 8
"""K of the silhouette, where nothing else says how many; the same at every step, so that steps compare."""

Judge = Callable[[FeatureStore], float]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The first photos of data.val, whose objects are those of the given masks. `name`, `unit`: of the score, of which more is better; `judge`: a store of
    the slice to it."""

    config: Config
    reader: SampleReader
    num_photos: int
    name: str
    unit: str
    judge: Judge

    def score(self, state: TrainState) -> list[Record]:
        """The score of the encoder's embedding as it is now, then the time that it took. In evaluation mode and without a gradient; no random number of the
        run's is drawn.

        Raises:
            DataError, ShardError, CheckpointError: as `mcdist.evaluate.extract`.
        """
        began_s = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="mcdist_held_out_") as folder:
            value = self.judge(self._store(state, folder=Path(folder) / "store"))
        return [
            Record(state.step, f"held_out/{self.name}", value, self.unit),
            Record(state.step, "held_out/time_s", time.perf_counter() - began_s, "s"),
        ]

    def judge_now(self, state: TrainState, *, outputs: Outputs) -> None:
        """`score`, told to `outputs`. What keeps the slice from being judged is a warning: it is no reason to end a training."""
        try:
            records = self.score(state)
        except McdistError as error:
            outputs.console.warn(f"the held-out photos were not judged after step {state.step}: {error}")
            return
        outputs.log_held_out(records, judged_by=self.judged_by)

    @property
    def judged_by(self) -> str:
        """In words, what the score is of; whether labels were read above all."""
        how = "the labels of" if self.unit == "%" else "clusters, without a label, of"
        return f"{self.name.removesuffix('_percent')} by {how} {self.num_photos:,} photos of {self.config.data.val}"

    def _store(self, state: TrainState, *, folder: Path) -> FeatureStore:
        encoder, with_truth = state.query, self.unit == "%"
        settings = build.extract_settings(self.config, kept=Kept(), with_truth=with_truth)
        encoders = EncoderPair(
            trained=encoder,
            initial=encoder,
            step=state.step,
            device=state.world.device,
            mean=encoder.backbone.mean,
            std=encoder.backbone.std,
            shared_backbone=True,
            num_groups=tuple(build.head_groups(self.config)),
        )
        plan = StorePlan(
            checkpoint={"step": state.step},
            data={"num_photos": self.num_photos},
            settings=asdict(settings),
            num_photos=self.num_photos,
            chunk=settings.batch,
            aliases=aliases(encoders, settings=settings),
        )
        begin_store(folder, plan=plan)
        writer = StoreWriter(folder, plan=plan)
        photos = Photos(read=partial(read_sample, self.reader, with_segments=with_truth), num_photos=self.num_photos)
        extract(photos, writer=writer, encoders=encoders, settings=settings)
        return finish(writer, encoders=encoders, settings=settings)


def open_held_out(config: Config, *, world: World) -> HeldOut | None:
    """The slice that `evaluate.every` asks for; None where it asks for none, and on all ranks but the first.

    Raises:
        ConfigError: data.val is the training's own data, or holds no ground truth where evaluate.every_by=mean-embedding.
        MissingExtraError: no FAISS is installed.
    """
    evaluate = config.evaluate
    if not evaluate.every or not world.is_first:
        return None
    require_faiss()
    reader = build.open_reader(config.data.val, key="data.val", data=config.data)
    num_photos = min(evaluate.every_photos, len(reader))
    if evaluate.every_by == "silhouette":
        return HeldOut(config, reader, num_photos, "silhouette", "", partial(_silhouette, num_clusters=evaluate.cluster_numbers[0] or NUM_CLUSTERS))
    if not reader.num_with(SEGMENTS_MEMBER):
        raise ConfigError(
            f"evaluate.every_by=mean-embedding needs ground truth, data.val={config.data.val} holds none; build it with labels, or use every_by=silhouette"
        )
    classes = find_classes(evaluate.classes, key="evaluate.classes")
    labels = label_map(classes.ids, has_background=classes.has_background)
    return HeldOut(
        config, reader, num_photos, "miou_percent", "%", partial(_miou_percent, labels=labels, settings=build.judge_settings(config), dataset=config.data.val)
    )


def _silhouette(store: FeatureStore, *, num_clusters: int) -> float:
    """Of K-means clusters of the objects' mean unit embeddings: how clear they are, without a label."""
    points = StoreView(store, dataset="").vectors(Subject(TRAINED, PROPOSALS), pooling=UNIT_MEAN).numpy()
    return silhouette(points, clusters=kmeans(points, num_clusters=num_clusters, seed=0)) if len(points) > num_clusters else 0.0


def _miou_percent(store: FeatureStore, *, labels: LabelMap, settings: JudgeSettings, dataset: str) -> float:
    """The protocol mean-embedding, with the first number of clusters, on the given masks."""
    protocol = mean_embedding(replace(settings, num_clusters=settings.num_clusters[:1]))
    rows = protocol.judge(StoreView(store, dataset=dataset, truth=read_truth(store, labels=labels, dataset=dataset)))
    return next(row.mean for row in rows if row.subject == Subject(TRAINED, PROPOSALS))
