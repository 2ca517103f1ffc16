"""A run's encoder in other programs: the same network as in the run, for photos of any size."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mcdist.build import build_encoder
from mcdist.config.file import load_config
from mcdist.data.views.normalise import normalise
from mcdist.disk.checkpoint import save_checkpoint
from mcdist.errors import CheckpointError, ConfigError
from mcdist.model.encoder import Encoder
from mcdist.run_dir import RunDir, name_of
from mcdist.trained import embed_photo, load_encoder

SMALL = "model: {backbone: resnet18, num_stages: 3, decoder: linear, weights: none, embedding_dim: 8}\n"


@pytest.fixture
def saved_run(tmp_path: Path) -> Callable[[], tuple[Path, Encoder]]:
    """A run folder with one checkpoint, and the encoder that it holds."""

    def make() -> tuple[Path, Encoder]:
        run_dir = RunDir(tmp_path / "run").create()
        run_dir.config.write_text(SMALL)
        torch.manual_seed(3)
        encoder = build_encoder(load_config(run_dir.config).model).eval()
        tensors = {f"query/{name}": tensor for name, tensor in encoder.state_dict().items()}
        save_checkpoint(run_dir.checkpoints / name_of(5), tensors=tensors, numbers={"step": 5})
        return run_dir.root, encoder

    return make


def test_the_loaded_encoder_embeds_as_the_saved_one(saved_run) -> None:
    run, encoder = saved_run()
    photo = torch.randint(0, 256, (3, 32, 48), dtype=torch.uint8)
    with torch.no_grad():
        expected = encoder(normalise(photo, mean=encoder.backbone.mean, std=encoder.backbone.std)[None])
    for given in (run, str(run)):
        loaded = load_encoder(given, checkpoint="step_00000005")
        assert not loaded.training
        embedded = embed_photo(loaded, photo)
        assert torch.equal(embedded.features, expected.features) and torch.equal(embedded.saliency, expected.saliency)
        assert not embedded.features.requires_grad


def test_a_photo_of_any_size_has_a_feature_for_each_begun_cell(saved_run) -> None:
    run, encoder = saved_run()
    photo = torch.randint(0, 256, (3, 37, 50), dtype=torch.uint8)
    embedded = embed_photo(load_encoder(run), photo)
    assert embedded.features.shape == (1, 8, 5, 7) and embedded.saliency.shape == (1, 1, 5, 7)
    extended = torch.cat([photo, photo[:, -1:].expand(3, 3, 50)], dim=1)
    extended = torch.cat([extended, extended[:, :, -1:].expand(3, 40, 6)], dim=2)
    assert torch.equal(embed_photo(encoder, extended).features, embedded.features)


def test_a_folder_that_is_no_run_and_a_checkpoint_that_is_not_there_are_errors(saved_run, tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"expected a run at .*elsewhere .*found none; train first: mcdist train CONFIG"):
        load_encoder(tmp_path / "elsewhere")
    run, _ = saved_run()
    with pytest.raises(CheckpointError, match="has no checkpoint 'step_00000009'; there are: newest, step_00000005"):
        load_encoder(run, checkpoint="step_00000009")
