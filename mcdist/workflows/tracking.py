"""The story of videos: encoders carry the objects of each video's first frame through it, each rank its share of the videos; then the official score."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from mcdist import build
from mcdist.config import Config
from mcdist.config.file import load_run_config
from mcdist.data.videos import Video, davis_videos, read_frame
from mcdist.data.views.normalise import statistics_on
from mcdist.disk.checkpoint import find_checkpoint, load_checkpoint
from mcdist.distributed import World
from mcdist.evaluate.extract.encoders import equal_weights, evaluating
from mcdist.evaluate.metrics.davis import DavisYear
from mcdist.evaluate.propagation.settings import propagation_settings
from mcdist.model.backbones.backbone import Backbone
from mcdist.model.backbones.registry import make_backbone
from mcdist.model.encoder import Encoder
from mcdist.model.weights_digest import weights_digest
from mcdist.ranks.agree import all_together, lost_ranks_explained, run_on_first
from mcdist.ranks.join import leave_world
from mcdist.records import Row
from mcdist.records.draws import packed
from mcdist.records.names import DAVIS_PROPAGATION, ENCODERS, FIRST_FRAME, INITIAL, INITIAL_BACKBONE, TRAINED, TRAINED_BACKBONE
from mcdist.report.page.davis import davis_page
from mcdist.report.pictures.animation import Shown, write_animation
from mcdist.report.progress import LINE_EVERY_S, progress_bar
from mcdist.run_dir import RunDir, name_of, write_atomically
from mcdist.store.plan import digest
from mcdist.trained import encoder_of
from mcdist.types import Rgb
from mcdist.video.folder import VideoFolder, VideoScores, make_folder
from mcdist.video.follow import FrameEncoder, follow
from mcdist.video.rows import davis_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Videos:
    """Which videos are followed, and how. `animated`: of how many an overlay is drawn."""

    root: Path
    year: DavisYear = 2017
    split: str = "val"
    protocol: str = DAVIS_PROPAGATION
    animated: int = 1


@dataclass(frozen=True, slots=True)
class Tracked:
    """What was found: a row for each encoder and for the floor, and every video's scores."""

    folder: VideoFolder
    protocol: str
    rows: tuple[Row, ...]
    videos: tuple[VideoScores, ...]


def track_run(run_dir: RunDir, videos: Videos, *, overrides: list[str], which: str = "newest", out: Path | None = None) -> Tracked | None:
    """Follow videos with the encoders of a run, before and after training; `out`: default a folder in the run. None on all ranks but the first.

    Raises:
        ConfigError: no such run or protocol, or `out` holds something else.
        CheckpointError: no such checkpoint.
        DataError: no videos, or none that can be scored.
    """
    config = load_run_config(run_dir, overrides=overrides)
    trained, initial = find_checkpoint(run_dir.root, which=which), load_checkpoint(run_dir.initial_checkpoint)

    def make(world: World) -> tuple[FrameEncoder, dict[str, str]]:
        after, before = (encoder_of(config, one.tensors, device=world.device) for one in (trained, initial))
        return _run_encoder(after, before, device=world.device), {"trained": str(trained.numbers["sha256"]), "initial": str(initial.numbers["sha256"])}

    key = digest([videos.protocol, videos.year, videos.split, str(videos.root.resolve())])[:8]
    folder = out or run_dir.davis / f"{name_of(int(trained.numbers['step']))}-{key}"
    return _track(config, videos, make=make, folder=VideoFolder(folder))


def track_backbone(name: str, videos: Videos, *, weights: str, out: Path) -> Tracked | None:
    """Follow videos with the features of a backbone alone. None on all ranks but the first.

    Raises:
        ConfigError: no such backbone, weights or protocol, or `out` holds something else.
        DataError: no videos, or none that can be scored.
    """

    def make(world: World) -> tuple[FrameEncoder, dict[str, str]]:
        backbone = make_backbone(name, weights=weights).to(world.device).eval()
        return _backbone_encoder(backbone, device=world.device), {"backbone": name, "weights": weights_digest(backbone)}

    return _track(Config(), videos, make=make, folder=VideoFolder(out))


def _track(config: Config, videos: Videos, *, make: Callable[[World], tuple[FrameEncoder, dict[str, str]]], folder: VideoFolder) -> Tracked | None:
    settings = propagation_settings(videos.protocol)
    listed = davis_videos(videos.root, year=videos.year, split=videos.split)
    world = build.build_world(config)
    try:
        with lost_ranks_explained(world=world):
            build.prepare_process(config, world=world)
            encoder, identity = make(world)
            plan = {
                "protocol": videos.protocol,
                "settings": asdict(settings),
                "encoders": {"names": list(encoder.names), **identity},
                "videos": {"year": videos.year, "split": videos.split, "content": digest([_content(video) for video in listed])},
            }
            run_on_first(lambda: folder.begin(plan), world=world)
            own = listed[world.rank :: world.num_ranks]
            all_together(lambda: _follow_all(own, videos=videos, encoder=encoder, folder=folder, is_first=world.is_first), world=world)
            return run_on_first(lambda: _tracked(listed, videos=videos, encoders=(*encoder.names, FIRST_FRAME), folder=folder), world=world)
    finally:
        leave_world()


def _follow_all(listed: Sequence[Video], *, videos: Videos, encoder: FrameEncoder, folder: VideoFolder, is_first: bool) -> None:
    """Those that are not done."""
    left = [video for video in listed if folder.read(video.name) is None]
    total = sum(len(video.frames) for video in left)
    with progress_bar("Following", total=total, line_every_s=LINE_EVERY_S if is_first else None) as tick, torch.inference_mode():
        for video in left:
            follow(
                video,
                encoder=encoder,
                settings=propagation_settings(videos.protocol),
                year=videos.year,
                folder=folder,
                tick=lambda: tick(1),
            )


def _tracked(listed: Sequence[Video], *, videos: Videos, encoders: tuple[str, ...], folder: VideoFolder) -> Tracked:
    found = tuple(scores for video in listed if (scores := folder.read(video.name)) is not None)
    animated = [(video.name, _animate(video, encoders=encoders, folder=folder)) for video in listed[: videos.animated]]
    rows = tuple(davis_rows(found, protocol=videos.protocol, encoders=encoders))
    unscored = {video.video: video.unscored for video in found if video.unscored}
    content = {
        "protocol": videos.protocol,
        "switches": asdict(propagation_settings(videos.protocol)),
        "year": videos.year,
        "split": videos.split,
        "rows": [{**asdict(row), "interval": row.interval, "draws": packed(row.draws)} for row in rows],
        "unscored": unscored,
    }
    write_atomically(folder.results, json.dumps(content, indent=1).encode() + b"\n")
    title = f"{videos.root.name}, DAVIS {videos.year} {videos.split}"
    lead = f"{len(found) - len(unscored)} videos, {sum(video.num_frames for video in found if not video.unscored):,} frames, by {videos.protocol}."
    write_atomically(folder.page, davis_page(rows, title=title, lead=lead, animated=animated, unscored=unscored).encode())
    return Tracked(folder, protocol=videos.protocol, rows=rows, videos=found)


def _animate(video: Video, *, encoders: tuple[str, ...], folder: VideoFolder) -> Path:
    """Where the animation is."""
    shown = [Shown(name, folder.masks(name, video.name)) for name in encoders if name != FIRST_FRAME]
    path = folder.overlay(video.name)
    make_folder(path.parent)
    write_animation(video.frames, shown=shown, read=read_frame, path=path)
    return path


def _run_encoder(trained: Encoder, initial: Encoder, *, device: torch.device) -> FrameEncoder:
    """The embedding after and before training, and the backbone's own features; where it did not train, those once, as the initial backbone's."""
    backbone = trained.backbone
    is_shared = equal_weights(backbone, initial.backbone)
    names = tuple(name for name in ENCODERS if not (is_shared and name == TRAINED_BACKBONE))

    def features(frame: Float[Tensor, "3 H W"]) -> dict[str, Float[Tensor, "_ _ _"]]:
        with evaluating(trained, initial):
            image = _normalised(frame, mean=backbone.mean, std=backbone.std)
            after = backbone(image)
            before = after if is_shared else initial.backbone(image)
            maps = {TRAINED: trained.head(after).features, TRAINED_BACKBONE: after, INITIAL: initial.head(before).features, INITIAL_BACKBONE: before}
            return {name: maps[name][0].float() for name in names}

    return FrameEncoder(names, features=features, stride=backbone.stride, device=device)


def _backbone_encoder(backbone: Backbone, *, device: torch.device) -> FrameEncoder:
    def features(frame: Float[Tensor, "3 H W"]) -> dict[str, Float[Tensor, "_ _ _"]]:
        return {INITIAL_BACKBONE: backbone(_normalised(frame, mean=backbone.mean, std=backbone.std))[0].float()}

    return FrameEncoder((INITIAL_BACKBONE,), features=features, stride=backbone.stride, device=device)


def _normalised(frame: Float[Tensor, "3 H W"], *, mean: Rgb, std: Rgb) -> Float[Tensor, "1 3 H W"]:
    mean_311, std_311 = statistics_on(frame.device, mean=mean, std=std)
    return ((frame / 255 - mean_311) / std_311)[None]


def _content(video: Video) -> list[object]:
    """What tells a video from another one, without reading its pixels."""
    return [video.name, [[frame.name, frame.stat().st_size] for frame in video.frames], [path is not None for path in video.annotations]]
