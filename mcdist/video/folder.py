"""VideoFolder: what `mcdist davis` writes, in one place, and which videos of it are done.

| path | contents |
|---|---|
| `plan.json` | what the masks are made of; a folder that was begun for something else is refused |
| `masks/ENCODER/VIDEO/FRAME.png` | the found objects, a palette PNG at the frame's size |
| `videos/VIDEO.json` | J and F of every object and frame under each encoder; written last, so its presence means that the video is done |
| `overlays/VIDEO.webp` | the masks over the frames, as an animation |
| `davis.json` | the table |
| `davis.html` | the table and the animations as one page |
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mcdist.errors import ConfigError, DataError, MachineError
from mcdist.evaluate.metrics.davis import ObjectScore
from mcdist.json_text import parse_json
from mcdist.run_dir import write_atomically

FORMAT = "mcdist davis 1"


@dataclass(frozen=True, slots=True)
class VideoScores:
    """What was found about one video. `scores`: by encoder, one for each object; empty where the video has no frame to score."""

    video: str
    num_frames: int
    num_objects: int
    scores: dict[str, tuple[ObjectScore, ...]]
    wall_s: float
    unscored: str = field(default="")
    """Why the video has no score, empty where it has one."""


@dataclass(frozen=True, slots=True)
class VideoFolder:
    """The folder `root`; naming it creates nothing."""

    root: Path

    @property
    def results(self) -> Path:
        """The table as JSON."""
        return self.root / "davis.json"

    @property
    def page(self) -> Path:
        """Table and animations as one page."""
        return self.root / "davis.html"

    @property
    def plan(self) -> Path:
        """What the masks are made of."""
        return self.root / "plan.json"

    def masks(self, encoder: str, video: str) -> Path:
        """The folder of a video's masks under an encoder."""
        return self.root / "masks" / encoder.replace("/", "_").replace(" ", "_") / video

    def scores(self, video: str) -> Path:
        """What was found about a video."""
        return self.root / "videos" / f"{video}.json"

    def overlay(self, video: str) -> Path:
        """The animation of a video."""
        return self.root / "overlays" / f"{video}.webp"

    def begin(self, plan: dict[str, Any]) -> None:
        """Make the folder for masks of `plan`, or go on in one that was begun for the same.

        Raises:
            ConfigError: it was begun for something else, or holds other files.
            MachineError: it cannot be made.
        """
        wanted = json.loads(json.dumps({"format": FORMAT, **plan}))
        if self.plan.is_file():
            found = _read_json(self.plan)
            if differing := sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name)):
                raise ConfigError(f"{self.root} holds masks that were made of another {', '.join(differing)}; choose another --out, or remove the folder")
            return
        if self.root.exists() and any(self.root.iterdir()):
            raise ConfigError(f"{self.root} must be empty or hold masks of mcdist davis, it holds something else; choose another --out")
        make_folder(self.root)
        write_atomically(self.plan, json.dumps(wanted, indent=1, sort_keys=True).encode() + b"\n")

    def read(self, video: str) -> VideoScores | None:
        """What was found about a video; None where it is not done.

        Raises:
            DataError: the file is damaged.
        """
        path = self.scores(video)
        if not path.is_file():
            return None
        content = _read_json(path)
        try:
            scores = {name: tuple(_object_score(**one) for one in objects) for name, objects in content.pop("scores").items()}
            return VideoScores(**content, scores=scores)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(f"{path} is not what mcdist davis wrote ({error!r}); remove it, and the video is followed again") from error

    def write(self, found: VideoScores) -> None:
        """The video is done."""
        path = self.scores(found.video)
        make_folder(path.parent)
        write_atomically(path, json.dumps(asdict(found)).encode() + b"\n")


def make_folder(folder: Path) -> None:
    """MachineError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"cannot create the folder {folder}: {error.strerror}; choose another --out") from error


def _object_score(*, number: int, region: list[float], boundary: list[float]) -> ObjectScore:
    return ObjectScore(int(number), tuple(map(float, region)), tuple(map(float, boundary)))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); remove it and start again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold an object, got {type(content).__name__}; remove it and start again")
    return content
