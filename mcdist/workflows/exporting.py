"""The story of an export: a run's encoder as a folder that others load, and what else was asked for; written beside and renamed when it is whole."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from mcdist import build
from mcdist.catalogue.catalogue import Catalogue
from mcdist.catalogue.names_of_run import classes_of
from mcdist.config import Config
from mcdist.config.file import load_run_config
from mcdist.data.loader import read_sample
from mcdist.disk.checkpoint import Checkpoint, find_checkpoint
from mcdist.errors import ConfigError, DataError, MachineError, first_line
from mcdist.export import graphs
from mcdist.export.card import Facts, model_card
from mcdist.export.graphs import Agreement
from mcdist.export.index import write_index
from mcdist.export.pixel_encoder import PixelEncoder
from mcdist.export.pyfunc import register_pyfunc, write_pyfunc
from mcdist.records import Evaluation
from mcdist.report.mlflow_sink import default_tracking_uri
from mcdist.run_dir import RunDir, step_of, write_atomically
from mcdist.trained import EXPORT_CONFIG, EXPORT_WEIGHTS, encoder_of

CARD_NAME, PREPROCESSOR_NAME = "README.md", "preprocessor_config.json"
ONNX_NAME, PROGRAM_NAME, PYFUNC_NAME = "encoder.onnx", "encoder.pt2", "mlflow"
NO_LICENCE = "not stated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an export holds beside the folder itself. `register`: a name in the run's MLflow store; empty: none."""

    onnx: bool = False
    torch_export: bool = False
    mlflow: bool = False
    register: str = ""
    faiss: bool = False
    licence: str = NO_LICENCE


@dataclass(frozen=True, slots=True)
class Exported:
    """`graphs`: file name -> how it compares with the encoder, on `checked_on`. `registered`: what MLflow calls the model; empty: nothing."""

    folder: Path
    graphs: dict[str, Agreement]
    checked_on: str
    objects: int
    registered: str


def export_run(
    run_dir: RunDir,
    *,
    out: Path,
    wanted: Wanted,
    which: str = "newest",
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Exported:
    """Write the folder `out` with the encoder of a checkpoint, its card, and what is `wanted`.

    Raises:
        ConfigError: no such run, or `out` is there and not `overwrite`, or is no export.
        CheckpointError: no such checkpoint.
        DataError: an index is wanted, and the run has no catalogue of this checkpoint.
        MachineError: the disk refuses, or a graph does not compute what the encoder does; an earlier export is untouched.
        MissingExtraError: a package is not installed.
    """
    from mcdist.export.hub import hub_encoder

    run_dir.require()
    _check_out(out, overwrite=overwrite)
    config = load_run_config(run_dir)
    checkpoint = find_checkpoint(run_dir.root, which=which)
    catalogue = _catalogue(run_dir, checkpoint=checkpoint) if wanted.faiss else None
    num_groups = build.head_groups(config)
    name, step = run_dir.root.resolve().name, _step(checkpoint)
    encoder = hub_encoder(encoder_of(config, checkpoint.tensors, device="cpu"), model=config.model, num_groups=num_groups, about={"run": name, "step": step})
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        photos, checked_on = _photos(config) if wanted.onnx or wanted.torch_export else ([], "")
        compared = _graphs(beside, encoder, wanted=wanted, photos=photos, say=say)
        num_objects = write_index(beside, catalogue=catalogue, classes=classes_of(run_dir, catalogue=catalogue)) if catalogue is not None else 0
        facts = Facts(
            name=name,
            config=config,
            step=step,
            num_parameters=sum(parameter.numel() for parameter in encoder.parameters()),
            stride_px=encoder.multiple_px,
            num_photos=_num_photos(config),
            evaluation=_evaluation(run_dir),
            licence=wanted.licence,
            graphs=compared,
            checked_on=checked_on,
            objects=num_objects,
        )
        _write_folder(beside, encoder, card=model_card(facts))
        if wanted.mlflow or wanted.register:
            say("writing the MLflow model")
            _write_pyfunc(beside)
        _put_in_place(beside, out)
    except OSError as error:
        raise MachineError(
            f"cannot write {out}: {error.strerror or error}; free some space or choose another folder; an earlier export is untouched"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    registered = ""
    if wanted.register:
        uri = config.report.mlflow_uri or default_tracking_uri(run_dir.mlflow_database)
        registered = register_pyfunc(out / PYFUNC_NAME, name=wanted.register, uri=uri)
    return Exported(out, compared, checked_on, num_objects, registered)


def _check_out(out: Path, *, overwrite: bool) -> None:
    if not out.exists():
        return
    if not (out / EXPORT_WEIGHTS).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out} is there and is no export; choose a folder that is new or empty")
    if (out / EXPORT_WEIGHTS).is_file() and not overwrite:
        raise ConfigError(f"--out {out} holds an export; replace it with --overwrite, or choose another folder")


def _step(checkpoint: Checkpoint) -> int:
    step = step_of(checkpoint.path)
    return int(checkpoint.numbers.get("step", 0)) if step is None else step


def _catalogue(run_dir: RunDir, *, checkpoint: Checkpoint) -> Catalogue:
    catalogue = Catalogue.open(run_dir)
    if catalogue.facts.step != _step(checkpoint):
        raise DataError(
            f"{run_dir.catalogue} is of step {catalogue.facts.step}, the exported checkpoint of step {_step(checkpoint)}; cluster again with: mcdist cluster "
            f"{run_dir.root} --overwrite, or export the catalogue's with --checkpoint"
        )
    return catalogue


def _graphs(folder: Path, encoder: PixelEncoder, *, wanted: Wanted, photos: Sequence[Tensor], say: Callable[[str], None]) -> dict[str, Agreement]:
    """Trace once, write what is wanted, and compare each file with the encoder."""
    if not wanted.onnx and not wanted.torch_export:
        return {}
    say("tracing the encoder")
    program = graphs.trace(encoder)
    compared = {}
    if wanted.torch_export:
        say(f"comparing {PROGRAM_NAME} with the encoder on {len(graphs.CELLS)} sizes")
        runs = graphs.write_program(program, folder / PROGRAM_NAME)
        compared[PROGRAM_NAME] = graphs.check(runs, encoder=encoder, photos=photos, what="torch.export program")
    if wanted.onnx:
        say(f"comparing {ONNX_NAME} with the encoder on {len(graphs.CELLS)} sizes")
        runs = graphs.write_onnx(program, folder / ONNX_NAME, outputs=encoder.outputs)
        compared[ONNX_NAME] = graphs.check(runs, encoder=encoder, photos=photos, what="ONNX graph")
    return compared


def _photos(config: Config) -> tuple[list[Tensor], str]:
    """Photos in 0..1 to compare graphs on, and what they are: the run's own, or noise where its shards are gone."""
    num = len(graphs.CELLS)
    for key, location in (("data.val", config.data.val), ("data.train", config.data.train)):
        try:
            reader = build.open_reader(location, key=key, data=config.data)
            places = [place * len(reader) // num for place in range(num)]
            return [torch.as_tensor(read_sample(reader, place).photo).float() / 255 for place in places], f"{num} photos of the run"
        except (ConfigError, DataError, OSError):
            continue
    smooth = torch.nn.functional.interpolate(torch.rand(num, 3, 9, 9, generator=torch.Generator().manual_seed(0)), (256, 256), mode="bicubic").clamp(0, 1)
    return list(smooth), f"{num} pictures of smooth noise, since the run's shards are not there"


def _num_photos(config: Config) -> int:
    """Of the training shards; 0 where they are gone."""
    try:
        return len(build.open_reader(config.data.train, key="data.train", data=config.data))
    except (ConfigError, DataError, OSError):
        return 0


def _evaluation(run_dir: RunDir) -> Evaluation | None:
    if not run_dir.evaluation.is_file():
        return None
    return Evaluation.from_json(run_dir.evaluation.read_text(), where=str(run_dir.evaluation))


def _write_folder(folder: Path, encoder: Any, *, card: str) -> None:
    """The card first: Hugging Face's mixin writes one of its own where there is none."""
    write_atomically(folder / CARD_NAME, card.encode())
    backbone = encoder.encoder.backbone
    preprocessor = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": False,
        "image_mean": list(backbone.mean),
        "image_std": list(backbone.std),
        "do_convert_rgb": True,
        "size_divisor": encoder.multiple_px,
    }
    write_atomically(folder / PREPROCESSOR_NAME, (json.dumps(preprocessor, indent=2) + "\n").encode())
    try:
        encoder.save_pretrained(folder)
    except SafetensorError as error:  # the disk's refusal, which is no OSError there
        raise OSError(first_line(error)) from error
    (folder / EXPORT_WEIGHTS).chmod((folder / CARD_NAME).stat().st_mode)  # safetensors makes a file that nobody else may read


def _write_pyfunc(folder: Path) -> None:
    """MLflow copies the folder of an artifact, so the encoder alone is put into one."""
    alone = folder / ".alone" / "encoder"
    alone.mkdir(parents=True)
    for name in (EXPORT_CONFIG, EXPORT_WEIGHTS):
        os.link(folder / name, alone / name)
    write_pyfunc(folder / PYFUNC_NAME, encoder=alone)
    shutil.rmtree(alone.parent)


def _put_in_place(beside: Path, out: Path) -> None:
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    beside.rename(out)
    shutil.rmtree(old, ignore_errors=True)
