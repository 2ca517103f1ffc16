"""The story of a feature store: a run's encoders look at every photo once, each rank its share, and what they say is kept on disk."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy
import torch

from mcdist import build
from mcdist.config import Config
from mcdist.config.file import load_run_config
from mcdist.data.loader import read_sample
from mcdist.data.readers.content import content_of
from mcdist.data.readers.reader import SampleReader
from mcdist.data.shards.digest import bytes_digest
from mcdist.data.shards.raw_sample import SEGMENTS_MEMBER
from mcdist.data.views.normalise import normalise
from mcdist.disk.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from mcdist.distributed import World
from mcdist.errors import ConfigError, DataError
from mcdist.evaluate.extract.encoders import EncoderPair, Encoders, LoneBackbone, equal_weights, evaluating
from mcdist.evaluate.extract.extract import EXTRACT_VERSION, extract, finish
from mcdist.evaluate.extract.layout import aliases
from mcdist.evaluate.extract.masks import logit_min_of
from mcdist.evaluate.extract.photos import Photos, prepare
from mcdist.evaluate.extract.treated import treated_photos
from mcdist.evaluate.inputs import INPUTS, PLAIN
from mcdist.evaluate.settings import ExtractSettings, Kept
from mcdist.model.backbones.random_weights import calibrate_norms
from mcdist.model.encoder import Encoder
from mcdist.model.inference import quicken, quicken_backbone
from mcdist.model.weights_digest import weights_digest
from mcdist.ranks.agree import all_together, lost_ranks_explained, run_on_first
from mcdist.ranks.join import leave_world
from mcdist.report.console import Console
from mcdist.report.image_progress import ImageProgress
from mcdist.run_dir import RunDir
from mcdist.store.plan import StorePlan, differences, digest, read_plan
from mcdist.store.store import FeatureStore
from mcdist.store.writer import StoreWriter, begin_store, find_store
from mcdist.trained import encoder_of

MAY_HAVE = ("patches", "decoded", "label_maps", "mirrored", "crf_alpha")
"""A store that holds these serves who does not need them, too."""


@dataclass(frozen=True, slots=True)
class Looker:
    """What is to be extracted: the encoders of a run after `step` steps, on the photos of `reader`, which `location` names."""

    config: Config
    reader: SampleReader
    location: str
    trained: Checkpoint
    initial: Checkpoint
    settings: ExtractSettings
    limit: int
    """Photos to look at, the first ones; 0 for all."""
    augment: bool = False
    """Whether they are looked at in the augmented passes of evaluate.input, which are for photos to fit on."""
    lone: bool = False
    """Of the encoder its backbone alone: there is no run, and both checkpoints are the published weights."""
    chosen_by: str = ""
    """By what the best checkpoint was chosen; empty where another one is looked at."""

    @property
    def step(self) -> int:
        """Of the trained encoder."""
        return int(self.trained.numbers["step"])

    @property
    def has_groups(self) -> bool:
        """Whether the trained encoder has a group head."""
        return any(name.startswith("query/groups.") for name in self.trained.tensors)

    @property
    def num_photos(self) -> int:
        """Those of the data set, unless `limit` says fewer; in every pass."""
        return self.photos(with_truth=False).num_photos

    def photos(self, *, with_truth: bool) -> Photos:
        """The photos as evaluate.input has them."""
        return treated_photos(
            partial(read_sample, self.reader, with_segments=with_truth),
            num_photos=min(self.limit or len(self.reader), len(self.reader)),
            treatment=INPUTS[self.settings.input],
            augment=self.augment,
        )


def embed_run(run_dir: RunDir, *, overrides: list[str], which: str, shards: str = "", out: Path | None = None, patches: bool = False) -> FeatureStore | None:
    """Extract a feature store of the run's photos, or of those in `shards`, into `out` or into the run's folder. None on all ranks but the first.

    Raises:
        ConfigError: no such run, or `out` holds something else.
        CheckpointError, DataError, MachineError: as `extract`.
    """
    config = load_run_config(run_dir, overrides=overrides)
    world = build.build_world(config)
    try:
        with lost_ranks_explained(world=world):
            build.prepare_process(config, world=world)
            looker = look_at(config, run_dir, which=which, shards=shards, kept=Kept(patches=patches))
            with photo_console(looker, world=world) as console:
                store = extracted(looker, run_dir, out=out, world=world, console=console)
                return store if world.is_first else None
    finally:
        leave_world()


def look_at(config: Config, run_dir: RunDir, *, which: str, shards: str = "", kept: Kept | None = None) -> Looker:
    """The run's checkpoints and the photos: `shards`, else those of data.val, else the training's, whose ground truth is then not used.

    Raises:
        ConfigError: masks are to be predicted by a head that the encoder does not have.
    """
    location = shards or config.data.val or config.data.train
    reader = build.open_reader(location, key="--shards" if shards else "data.val", data=config.data)
    with_truth = bool(shards or config.data.val) and reader.num_with(SEGMENTS_MEMBER) > 0
    looker = Looker(
        config=config,
        reader=reader,
        location=location,
        trained=find_checkpoint(run_dir.root, which=which),
        initial=load_checkpoint(run_dir.initial_checkpoint),
        settings=build.extract_settings(config, kept=kept or Kept(), with_truth=with_truth),
        limit=config.evaluate.limit,
        chosen_by=_chosen_by(config) if which == "best" else "",
    )
    if config.evaluate.predicted_by == "groups" and not looker.has_groups:
        raise ConfigError(
            f"evaluate.predicted_by=groups needs an encoder with a group head, that of {looker.trained.path} has none; "
            "train with groups.num_groups=[25], or set evaluate.predicted_by=saliency"
        )
    return looker


def _chosen_by(config: Config) -> str:
    if config.checkpoint.best_by == "loss":
        return "the training loss"
    reads = "reads the labels" if config.evaluate.every_by == "mean-embedding" else "reads no label"
    return f"{config.evaluate.every_by} on {config.evaluate.every_photos} photos of {config.data.val}, which {reads}"


def look_at_backbone(config: Config, *, kept: Kept) -> Looker:
    """The backbone of `config` with its published weights, and the photos of data.val.

    Raises:
        ConfigError: no such backbone or weights, or no ground truth in data.val.
    """
    reader = build.open_reader(config.data.val, key="--shards", data=config.data)
    encoder = build.build_encoder(config.model)
    if config.model.weights == "none":
        calibrate_norms(encoder.backbone, seed=config.run.seed)
    weights = Checkpoint(
        path=Path(f"{config.model.backbone}:{config.model.weights}"),
        tensors={f"query/{name}": tensor for name, tensor in encoder.state_dict().items()},
        numbers={"step": 0, "sha256": weights_digest(encoder.backbone)},
    )
    settings = build.extract_settings(config, kept=kept, with_truth=reader.num_with(SEGMENTS_MEMBER) > 0)
    return Looker(
        config=config, reader=reader, location=config.data.val, trained=weights, initial=weights, settings=settings, limit=config.evaluate.limit, lone=True
    )


def look_at_train(looker: Looker, *, shards: str) -> Looker:
    """The same encoders on the photos of `shards`, whose ground truth a probe is fitted on.

    Raises:
        ConfigError: the shards hold no ground truth.
    """
    reader = build.open_reader(shards, key="--train-shards", data=looker.config.data)
    if not reader.num_with(SEGMENTS_MEMBER):
        raise ConfigError(f"--train-shards {shards} must hold ground truth to fit a probe on, it holds none; build them with labels, without --no-labels")
    settings = replace(looker.settings, with_truth=True, mirrored=False)
    return replace(looker, reader=reader, location=shards, settings=settings, limit=looker.config.evaluate.train_limit, augment=True)


def extracted(looker: Looker, run_dir: RunDir, *, out: Path | None, world: World, console: Console) -> FeatureStore:
    """The feature store of these encoders and photos, on every rank: one that is there, or a new one, for which each rank embeds its chunks.

    Called by all ranks; `out` is where to look and to write, instead of the run's folder.
    """
    plan = _plan(looker)
    if found := _found(plan, run_dir, out=out, world=world):
        console.say(f"using the feature store {found}, which was made of the same checkpoint, photos and settings")
        return FeatureStore(found)
    encoders = _encoders(looker, world=world)
    plan = replace(plan, aliases=aliases(encoders, settings=looker.settings), about={**plan.about, "device": world.device.type})
    folder = out or run_dir.features / f"step_{looker.step:08d}-{plan.key}"
    run_on_first(lambda: begin_store(folder, plan=plan), world=world)
    writer = StoreWriter(folder, plan=begun(folder))
    console.say(f"embedding {looker.num_photos:,} photos of {looker.location} after step {looker.step:,} into {folder}")
    photos = looker.photos(with_truth=looker.settings.with_truth)
    all_together(
        lambda: extract(
            photos,
            writer=writer,
            encoders=encoders,
            settings=looker.settings,
            part=world.rank,
            num_parts=world.num_ranks,
            num_workers=looker.config.data.num_workers,
            on_progress=ImageProgress(console, total=looker.num_photos, num_ranks=world.num_ranks),
        ),
        world=world,
    )
    run_on_first(lambda: finish(writer, encoders=encoders, settings=looker.settings), world=world)
    return FeatureStore(folder)


def opened(looker: Looker, folder: Path) -> FeatureStore:
    """The complete store in `folder`, which must be one of these encoders and photos.

    Raises:
        ConfigError: it was made of something else; the difference is named.
        DataError: there is none, or it is incomplete.
    """
    store = FeatureStore(folder)
    if differs := differences(store.manifest.plan, wanted=_plan(looker), at_least=MAY_HAVE):
        of_data = any(difference.startswith("data.") for difference in differs)
        cure = (
            f"name the shards that it was made of: data.val={store.manifest.plan.about.get('dataset', 'DIR')}" if of_data else "embed them again: mcdist embed"
        )
        raise ConfigError(f"the feature store {folder} was made of something else: {'; '.join(differs)}; {cure}, or leave out --store")
    return store


def photo_console(looker: Looker, *, world: World) -> Console:
    """A console that counts photos; silent on all ranks but the first."""
    return Console(mode=looker.config.report.console if world.is_first else "off", total_steps=looker.num_photos, samples_per_step=1, noun="photo")


def _encoders(looker: Looker, *, world: World) -> Encoders:
    size_px = looker.settings.size_px
    if looker.lone:
        backbone = quicken_backbone(_encoder(looker.config, looker.trained.tensors, world=world).backbone, size_px=size_px)
        return LoneBackbone(backbone, device=world.device, mean=backbone.mean, std=INPUTS[looker.settings.input].std or backbone.std)
    trained, initial = (_encoder(looker.config, checkpoint.tensors, world=world) for checkpoint in (looker.trained, looker.initial))
    shared_backbone = equal_weights(trained.backbone, initial.backbone)  # as they were saved, and not as they are made quick
    return EncoderPair(
        trained=quicken(trained, size_px=size_px),
        initial=quicken(initial, size_px=size_px),
        step=looker.step,
        device=world.device,
        mean=trained.backbone.mean,
        std=INPUTS[looker.settings.input].std or trained.backbone.std,
        shared_backbone=shared_backbone,
        num_groups=tuple(looker.config.groups.num_groups) if looker.has_groups else (),
        random_backbone=build.build_random_backbone(looker.config, device=world.device) if looker.settings.random_weights else None,
    )


def trained_maps(looker: Looker, *, places: Sequence[int]) -> list[numpy.ndarray]:
    """The trained encoder's feature map [h, w, D] of a few photos, by this process alone, on the CPU; of a lone backbone its own."""
    encoder = encoder_of(looker.config, looker.trained.tensors, device=torch.device("cpu"))
    photos, treatment = looker.photos(with_truth=False), INPUTS[looker.settings.input]
    maps: list[numpy.ndarray] = []
    with evaluating(encoder):
        for few in (places[start : start + looker.settings.batch] for start in range(0, len(places), looker.settings.batch)):
            prepared = (prepare(photos.read(place), size_px=looker.settings.size_px, with_truth=False, interpolation=treatment.interpolation) for place in few)
            images = torch.stack([photo.image for photo in prepared])
            features = encoder.backbone(normalise(images, mean=encoder.backbone.mean, std=treatment.std or encoder.backbone.std))
            found = features if looker.lone else encoder.head(features).features
            maps += list(found.permute(0, 2, 3, 1).float().numpy())
    return maps


def _encoder(config: Config, tensors: dict[str, torch.Tensor], *, world: World) -> Encoder:
    encoder = encoder_of(config, tensors, device=world.device)
    build.check_size("evaluate.size_px", config.evaluate.size_px, encoder=encoder, backbone=config.model.backbone)
    return encoder


def _plan(looker: Looker) -> StorePlan:
    """What a store must be made of."""
    settings = looker.settings
    chunk = settings.batch if settings.patches else max(looker.config.evaluate.chunk, settings.batch)
    return StorePlan(
        checkpoint=_checkpoint(looker),
        data={
            "samples": content_of(looker.reader).digest,
            "bytes": bytes_digest(looker.reader.manifest),
            "num_photos": looker.num_photos,
            "with_truth": settings.with_truth,
        },
        settings={
            "version": EXTRACT_VERSION,
            "model": digest(asdict(looker.config.model)),
            "size_px": settings.size_px,
            "batch": settings.batch,
            "objects": settings.objects,
            "component_area_min": settings.component_area_min,
            "predicted_by": settings.predicted_by,
            "saliency_logit_min": logit_min_of(settings.predicted_by),
            "patches": settings.patches,
            "decoded": settings.decoded,
            "label_maps": settings.label_maps,
            **({"crf_alpha": settings.crf_alpha} if settings.crf_alpha else {}),
            "mirrored": settings.mirrored,
            **({"random_weights": f"seed {looker.config.run.seed}"} if settings.random_weights else {}),
            **({} if settings.input == PLAIN else {"input": settings.input, "num_passes": INPUTS[settings.input].num_passes if looker.augment else 1}),
        },
        num_photos=looker.num_photos,
        chunk=chunk // settings.batch * settings.batch,
        about={"dataset": looker.location, "step": looker.step, "num_photos_in_dataset": len(looker.reader), **_lone(looker)},
    )


def _lone(looker: Looker) -> dict[str, str]:
    return {"backbone": str(looker.trained.path)} if looker.lone else {}


def _checkpoint(looker: Looker) -> dict[str, str]:
    if looker.lone:
        return {"backbone": looker.trained.numbers["sha256"]}
    return {"trained": looker.trained.numbers["sha256"], "initial": looker.initial.numbers["sha256"]}


def _found(plan: StorePlan, run_dir: RunDir, *, out: Path | None, world: World) -> Path | None:
    """A complete store that serves, the same one for all ranks."""
    folders = [out] if out is not None else sorted(run_dir.features.glob("*"))
    found = find_store(folders, plan=plan, at_least=MAY_HAVE) if world.is_first else None
    folders_found = world.gather_texts([] if found is None else [str(found.folder)])
    return Path(folders_found[0]) if folders_found else None


def begun(folder: Path) -> StorePlan:
    """The plan of the store that rank 0 began in `folder`; DataError where this rank does not see it."""
    plan = read_plan(folder)
    if plan is None:
        raise DataError(f"rank 0 began the feature store {folder}, this rank does not see it; choose a folder that all nodes share, with --out")
    return plan
