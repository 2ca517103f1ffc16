"""The story of an import: a checkpoint of the paper's authors becomes a run, so that every command that takes a run takes it."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mcdist.build import build_encoder
from mcdist.config import Config
from mcdist.config.file import config_of, dump_config
from mcdist.disk.checkpoint import save_checkpoint
from mcdist.errors import ConfigError
from mcdist.model.authors_heads import load_heads, read_authors_heads
from mcdist.model.encoder import Encoder
from mcdist.run_dir import RunDir, list_checkpoints, name_of, write_atomically

FROM_FILE = ("model.weights", "model.embedding_dim", "model.embedding_bias", "model.decoder", "model.decoder_width", "model.embedding_from")
"""Settings that follow from the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What was read: tensors of the encoder, and of the file's those that were left out, by the beginning of their names."""

    num_tensors: int
    left_out: dict[str, int]
    embedding_dim: int


def import_weights(path: Path, *, out: RunDir, overrides: list[str], start: str = "") -> Imported:
    """Make the run `out` of the authors' checkpoint in `path`: all tensors of its query model, or none.

    `start`: what their training started from, as model.weights, for the rows `initial` of an evaluation; empty: those rows are of the file's encoder too.

    Raises:
        ConfigError: a file of another layout or architecture, one that could run code, a setting that follows from the file, or a folder that holds a run.
        MachineError: the disk refuses.
    """
    for override in overrides:
        if override.partition("=")[0] in FROM_FILE:
            raise ConfigError(f"{override.partition('=')[0]} follows from the file, got {override}; leave it out")
    if list_checkpoints(out.checkpoints):
        raise ConfigError(f"--out {out.root} holds a run already; choose another folder")
    what = f"the checkpoint {path}"
    heads = read_authors_heads(path, what=what)
    config = config_of([*overrides, f"model.embedding_dim={heads.embedding_dim}", f"model.decoder_width={heads.decoder_width}"])
    config = _with_model(config, weights=str(path), embedding_bias=heads.embedding_bias)
    config = replace(config, run=replace(config.run, dir=str(out.root)))
    encoder = build_encoder(config.model)
    load_heads(encoder, heads, what=what)
    if start:
        config = _with_model(config, weights=start)
    initial = _as_it_starts(config) if start else encoder
    write_atomically(out.create().config, dump_config(config).encode())
    for folder, one in ((out.initial_checkpoint, initial), (out.checkpoints / name_of(0), encoder)):
        tensors = {f"query/{name}": tensor for name, tensor in one.state_dict().items()}
        save_checkpoint(folder, tensors=tensors, numbers={"step": 0, "imported_from": path.name})
    return Imported(num_tensors=len(encoder.state_dict()), left_out=heads.left_out, embedding_dim=heads.embedding_dim)


def _with_model(config: Config, *, weights: str, embedding_bias: bool | None = None) -> Config:
    bias = config.model.embedding_bias if embedding_bias is None else embedding_bias
    return replace(config, model=replace(config.model, weights=weights, embedding_bias=bias))


def _as_it_starts(config: Config) -> Encoder:
    """Heads are random, those of run.seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.run.seed)
        return build_encoder(config.model)
