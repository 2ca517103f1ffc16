"""Self-train: a small saliency network learns from proposals that are often wrong, and proposes cleaner ones: the paper's two steps (section 3.1).

What is wrong differs from photo to photo and what is right does not, so a network of few parameters that sees each photo a few times learns the common part.
Further rounds learn from the network's own masks. Rounds are files in one folder, and a run that was stopped continues where it was.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Int8
from safetensors.torch import load_file, save
from torch import Tensor

from mcdist.errors import ConfigError, differing
from mcdist.json_text import parse_json
from mcdist.proposals.folder.propose_folder import Proposed, propose_folder
from mcdist.proposals.self_training.level_store import LevelStore
from mcdist.proposals.self_training.saliency_net import SaliencyNet, load_net, make_net, predict, save_net
from mcdist.proposals.self_training.student import Student, StudentSettings
from mcdist.proposals.self_training.teacher import Teacher, drawn, read_teacher
from mcdist.run_dir import write_atomically

SAVE_EVERY_STEPS = 50
PREDICTED_AT_A_TIME = 16

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SelfTraining:
    """The settings. `weights`: of the backbone; "imagenet" is packaged for efficientnet_lite0 and **supervised**. `precision`: of the backbone, fp32 or bf16.

    `num_steps`: of each round.
    """

    backbone: str = "efficientnet_lite0"
    weights: str = "imagenet"
    precision: str = "fp32"
    width: int = 32
    size_px: int = 256
    num_rounds: int = 1
    num_steps: int = 200
    batch: int = 16
    seed: int = 0
    student: StudentSettings = StudentSettings()

    def check(self) -> None:
        """Raises ConfigError where a setting makes no sense."""
        if self.size_px < 64 or self.size_px % 32:
            raise ConfigError(f"self-train: size_px must be a multiple of 32, at least 64, got {self.size_px}")
        if self.precision not in ("fp32", "bf16"):
            raise ConfigError(f"self-train: precision must be fp32 or bf16, got {self.precision!r}")
        if min(self.num_rounds, self.num_steps, self.batch, self.width // 2) < 1:
            raise ConfigError(f"self-train: rounds, steps and batch must be positive and width at least 2, got {self}")


@dataclass(frozen=True, slots=True)
class SelfTrainingResult:
    """`network`: the file of the last round. `masks`: its proposals for the photos it learnt from."""

    network: Path
    masks: Proposed


def self_train(
    photos: Path,
    *,
    masks: Path,
    out: Path,
    settings: SelfTraining,
    device: str = "cpu",
    num_workers: int = 1,
    keep_gib: float = 16.0,
    overwrite: bool = False,
    say: Say = lambda _: None,
) -> SelfTrainingResult:
    """Train `settings.num_rounds` networks, the first on `masks`, each further one on what its forerunner predicts; write the last one's proposals.

    Writes OUT/network.safetensors, OUT/masks/, OUT/losses.jsonl, and OUT/self_training.json last. `keep_gib`: disk for features while it lasts. `say` hears a
    line now and then. With one seed and one number of threads all files are the same, whether it was stopped in between or not.

    Raises:
        ConfigError: a setting that makes no sense, or `out` is of another training.
        DataError: not one photo has a usable mask.
        MissingExtraError, MachineError: as the backbone and the disk have it.
    """
    settings.check()
    if not masks.exists():
        raise ConfigError(f"self-train: expected masks to learn from at {masks}, found nothing; name them with --masks, or make some: mcdist proposals make")
    facts = {**asdict(settings), "masks": masks.name}
    _claim(out, facts=facts, overwrite=overwrite)
    network = out / "network.safetensors"
    if not network.is_file():
        teacher = read_teacher(photos, masks=masks, size_px=settings.size_px)
        say(f"{len(teacher.names):,} photos to learn from" + "".join(f"; {count:,} {why}" for why, count in teacher.num_without.items()))
        write_atomically(out / "learnt_from.json", _json({"num_photos": len(teacher.names), "without": teacher.num_without}))
        _train(teacher, out=out, settings=settings, device=torch.device(device), keep_gib=keep_gib, say=say)
    say("proposing with the last network")
    proposed = propose_folder(
        photos, out=out / "masks", method="self_trained", options={"network": str(network)}, device=device, num_workers=num_workers, overwrite=overwrite
    )
    learnt_from = parse_json((out / "learnt_from.json").read_text())
    write_atomically(out / "self_training.json", _json({**facts, "learnt_from": learnt_from, "proposed": proposed.summary.to_dict()}))
    return SelfTrainingResult(network=network, masks=proposed)


def _train(teacher: Teacher, *, out: Path, settings: SelfTraining, device: torch.device, keep_gib: float, say: Say) -> None:
    """All rounds; the last network becomes OUT/network.safetensors."""
    facts: dict[str, object] = {key: value for key, value in asdict(settings).items() if key != "student"}
    frozen = make_net(backbone=settings.backbone, weights=settings.weights, width=settings.width, precision=settings.precision).to(device)
    store = LevelStore(
        out / "features",
        num_photos=len(teacher.names),
        read=teacher.read,
        compute=lambda photos: frozen.levels(photos.to(device)),
        max_gib=keep_gib,
    )
    targets = teacher.targets
    for number in range(1, settings.num_rounds + 1):
        finished = out / f"round-{number}.safetensors"
        if not finished.is_file():
            network = _round(store, targets, out=out, settings=settings, number=number, device=device, say=say)
            save_net(network, path=finished, facts={**facts, "round": number})
            (out / "state.safetensors").unlink(missing_ok=True)
        if number < settings.num_rounds:
            targets = _predicted(store, out=out, number=number, num_photos=len(teacher.names), device=device)
    store.remove()
    finished.replace(out / "network.safetensors")


def _round(store: LevelStore, targets: Int8[Tensor, "N s s"], *, out: Path, settings: SelfTraining, number: int, device: torch.device, say: Say) -> SaliencyNet:
    """One network trained from its beginning, or from the state of a stopped run."""
    torch.manual_seed(settings.seed + number)
    network = make_net(backbone=settings.backbone, weights=settings.weights, width=settings.width, precision=settings.precision)
    student = Student(network.to(device), settings=settings.student, num_steps=settings.num_steps, seed=1000 * settings.seed + number)
    state, losses = out / "state.safetensors", out / "losses.jsonl"
    step = student.load(state) if state.is_file() else 0
    _keep_lines(losses, num=(number - 1) * settings.num_steps + step)
    while step < settings.num_steps:
        lines = []
        for now in range(step, min(step + SAVE_EVERY_STEPS, settings.num_steps)):
            indices = drawn(now, num_photos=len(targets), size=settings.batch, seed=student.seed)
            loss = student.learn(store.levels(indices), targets[indices], step=now)
            lines.append(json.dumps({"round": number, "step": now + 1, "loss": round(loss, 6)}) + "\n")
        with losses.open("a") as file:
            file.writelines(lines)
        step += len(lines)
        student.save(state, step=step)
        say(f"round {number} of {settings.num_rounds}: step {step:,} of {settings.num_steps:,}, loss {loss:.4f}")
    return student.average


def _predicted(store: LevelStore, *, out: Path, number: int, num_photos: int, device: torch.device) -> Int8[Tensor, "N s s"]:
    """What the network of round `number` says of each photo, as the next round's masks; kept, so that a stopped run need not ask again."""
    path = out / f"targets-{number + 1}.safetensors"
    if not path.is_file():
        network = load_net(out / f"round-{number}.safetensors")[0].to(device)
        parts = []
        for begin in range(0, num_photos, PREDICTED_AT_A_TIME):
            levels = store.levels(range(begin, min(begin + PREDICTED_AT_A_TIME, num_photos)))
            parts.append((predict(network, [level.to(device) for level in levels]) > 0.5).to(torch.int8).cpu())
        write_atomically(path, save({"targets": torch.cat(parts)}))
    return load_file(path)["targets"]


def _claim(out: Path, *, facts: dict[str, object], overwrite: bool) -> None:
    """Make `out` the folder of this training, or see that it is."""
    known = out / "settings.json"
    if overwrite and known.is_file():
        shutil.rmtree(out)
    if known.is_file():
        there = parse_json(known.read_text())
        if shown := differing(there, facts, names=facts):
            raise ConfigError(f"{out} is of another self-training ({shown}); choose another --out, or begin again with --overwrite")
    elif out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"expected an empty folder or one of self-training at {out}, found other files; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(known, _json(facts))


def _keep_lines(path: Path, *, num: int) -> None:
    """Drop what a stopped run had written beyond its last state."""
    if path.is_file():
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:num]))


def _json(content: dict[str, object]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
