"""TuneFolder: what `mcdist finetune` keeps of each fine-tuning, and which of them are done.

| path | contents |
|---|---|
| `plan.json` | what all of them are made of; a folder that was begun for something else is refused |
| `subsets.json` | which photos' labels each fraction uses |
| `tunings/NAME/checkpoints/` | the state of one that is not done |
| `tunings/NAME/counts.npz` | pixels by predicted and true class, over all photos and photo by photo |
| `tunings/NAME/result.json` | the rest; written last, so its presence means that the fine-tuning is done |
"""

import io
import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from mcdist.errors import ConfigError, DataError, MachineError, reason
from mcdist.evaluate.protocols.pixel_row import PixelCounts
from mcdist.json_text import parse_json
from mcdist.run_dir import write_atomically

FORMAT = "mcdist finetune 1"
OF_A_START = {"attempts", "log.txt"}
"""What a start that failed before it had a plan leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """One fine-tuning: what it starts from, the share of labels that it uses, and its seed. `percent` is None for the linear protocol."""

    start: str
    percent: float | None
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        what = "linear" if self.percent is None else f"fraction_{self.percent:g}"
        return f"{what}-{self.start.replace(' ', '_')}-seed_{self.seed}"

    @property
    def words(self) -> str:
        """For a person."""
        what = "linear" if self.percent is None else f"{self.percent:g} % of the labels"
        return f"{self.start}, {what}, seed {self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneResult:
    """What one fine-tuning reached. `counts`: by the last classifier, and by that of the best epoch where there are epochs.

    `absent`: classes that no label of its photos shows. `num_epochs`, `best_epoch` (counted from 1), `miou_percent_of_epochs`: 0 and empty where there are
    none. `skipped_steps`: those whose gradient was not finite.
    """

    num_photos: int
    num_steps: int
    skipped_steps: int
    absent: tuple[str, ...]
    last: PixelCounts
    best: PixelCounts
    num_epochs: int = 0
    best_epoch: int = 0
    miou_percent_of_epochs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class TuneFolder:
    """The folder `root`; naming it creates nothing."""

    root: Path

    @property
    def plan(self) -> Path:
        """What the fine-tunings are made of."""
        return self.root / "plan.json"

    @property
    def subsets(self) -> Path:
        """Which photos' labels each fraction uses."""
        return self.root / "subsets.json"

    def tuning(self, tuning: Tuning) -> Path:
        """The folder of one."""
        return self.root / "tunings" / tuning.name

    def checkpoints(self, tuning: Tuning) -> Path:
        """Of one that is not done."""
        return self.tuning(tuning) / "checkpoints"

    def make(self) -> None:
        """Make the folder.

        Raises:
            ConfigError: it holds something else.
            MachineError: it cannot be made.
        """
        if self.root.is_dir() and not self.plan.is_file() and (strange := sorted({path.name for path in self.root.iterdir()} - OF_A_START)):
            raise ConfigError(f"{self.root} must be empty or hold fine-tunings, it holds {strange[0]!r}; choose another --out")
        make_folder(self.root)

    def begin(self, plan: dict[str, Any]) -> None:
        """Write the plan, or go on in a folder that was begun for the same.

        Raises:
            ConfigError: it was begun for something else.
            DataError: its plan is damaged.
        """
        wanted = json.loads(json.dumps({"format": FORMAT, **plan}))
        if not self.plan.is_file():
            write_atomically(self.plan, json.dumps(wanted, indent=1, sort_keys=True).encode() + b"\n")
            return
        found = _read_json(self.plan)
        if differing := sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name)):
            raise ConfigError(f"{self.root} holds fine-tunings of another {', '.join(differing)}; choose another --out, or remove the folder")

    def read(self, tuning: Tuning) -> TuneResult | None:
        """The result of one; None where it is not done.

        Raises:
            DataError: a file is damaged.
        """
        folder = self.tuning(tuning)
        if not (folder / "result.json").is_file():
            return None
        content = _read_json(folder / "result.json")
        try:
            with numpy.load(io.BytesIO((folder / "counts.npz").read_bytes()), allow_pickle=False) as arrays:
                last, best = (_counts(arrays[f"{name}_confusion"], arrays[f"{name}_by_photo"]) for name in ("last", "best"))
            content |= {"absent": tuple(content["absent"]), "miou_percent_of_epochs": tuple(content["miou_percent_of_epochs"])}
            return TuneResult(**content, last=last, best=best)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{folder} holds no result of mcdist finetune ({reason(error)}); remove it, and this fine-tuning is done again") from error

    def write(self, tuning: Tuning, result: TuneResult) -> None:
        """The fine-tuning is done; its checkpoints are no longer needed."""
        folder = self.tuning(tuning)
        make_folder(folder)
        content = {name: getattr(result, name) for name in TuneResult.__dataclass_fields__ if name not in ("last", "best")}
        file = io.BytesIO()
        counts = {"last": result.last, "best": result.best}
        arrays: dict[str, Any] = {f"{name}_{kind}": getattr(found, kind) for name, found in counts.items() for kind in ("confusion", "by_photo")}
        numpy.savez_compressed(file, **arrays)
        write_atomically(folder / "counts.npz", file.getvalue())
        write_atomically(folder / "result.json", json.dumps(content, indent=1).encode() + b"\n")
        shutil.rmtree(self.checkpoints(tuning), ignore_errors=True)


def make_folder(folder: Path) -> None:
    """MachineError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"cannot create the folder {folder}: {error.strerror}; choose another --out") from error


def _counts(confusion: numpy.ndarray, by_photo: numpy.ndarray) -> PixelCounts:
    num_classes = confusion.shape[1]
    counts = PixelCounts(num_photos=len(by_photo), num_classes=num_classes)
    if confusion.shape != counts.confusion.shape or by_photo.shape != counts.by_photo.shape:
        raise ValueError("its counts do not fit together")
    counts.confusion[...], counts.by_photo[...] = confusion, by_photo
    return counts


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({reason(error)}); remove it and start again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold an object, got {type(content).__name__}; remove it and start again")
    return content
