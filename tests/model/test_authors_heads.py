"""The paper authors' checkpoint, on files of random tensors in that layout: everything of the query model is loaded, or nothing."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18, resnet50
from torchvision.models.segmentation.deeplabv3 import ASPP

from mcdist.build import build_encoder
from mcdist.config.file import config_of, load_run_config
from mcdist.disk.checkpoint import find_checkpoint, load_checkpoint
from mcdist.errors import ConfigError
from mcdist.run_dir import RunDir
from mcdist.trained import load_encoder
from mcdist.workflows.importing import import_weights

SMALL = ["model.backbone=resnet18", "model.num_stages=3"]
WIDTH, DIM = 8, 6
Tensors = dict[str, Tensor]


class AuthorsModel(nn.Module):
    """The architecture under its authors' names, made of torchvision's parts: a dilated ResNet, a DeepLab head, its last layer apart, a saliency head."""

    def __init__(self, backbone: nn.Module, *, channels: int, width: int = WIDTH, dim: int = DIM) -> None:
        super().__init__()
        self.backbone = backbone
        mix = (nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.decoder = nn.Sequential(ASPP(channels, [12, 24, 36], width), *mix)
        self.head = nn.Conv2d(width, dim, 1)
        self.classification_head = nn.Conv2d(width, 1, 1, bias=False)


def randomised(model: AuthorsModel) -> AuthorsModel:
    """Convolutions as torch draws them, and norms that are no identity, so that none is right by chance."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor, low in ((layer.weight, 0.5), (layer.bias, -0.5), (layer.running_mean, -0.5), (layer.running_var, 0.5)):
                assert tensor is not None
                tensor.data.uniform_(low, low + 1)
    return model.eval()


@pytest.fixture(scope="module")
def query() -> Tensors:
    torch.manual_seed(1)
    return randomised(AuthorsModel(resnet18(), channels=128)).state_dict()


def content(query: Tensors, *, prefix: str = "module.") -> dict[str, Any]:
    """What their training keeps: query and key model, queue, optimizer, epoch."""
    model = {f"{prefix}model_q.{name}": tensor for name, tensor in query.items()}
    model |= {f"{prefix}model_k.{name}": torch.zeros(1) for name in query}
    model |= {f"{prefix}queue": torch.zeros(6, 128), f"{prefix}queue_ptr": torch.zeros(1, dtype=torch.int64)}
    return {"optimizer": {"state": {}, "param_groups": [{"lr": 0.004, "params": [0]}]}, "model": model, "epoch": 60}


def written(content: Any, *, folder: Path) -> Path:
    path = folder / "checkpoint.pth.tar"
    torch.save(content, path)
    return path


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_everything_of_the_query_model_becomes_a_run(query: Tensors, prefix: str, tmp_path: Path) -> None:
    imported = import_weights(written(content(query, prefix=prefix), folder=tmp_path), out=RunDir(tmp_path / "run"), overrides=[*SMALL, "evaluate.size_px=64"])
    config = load_run_config(RunDir(tmp_path / "run"))
    assert (config.model.embedding_dim, config.model.decoder_width, config.model.embedding_bias, config.evaluate.size_px) == (DIM, WIDTH, True, 64)
    assert imported.left_out == {"model_k.": len(query), "queue": 2}
    ours = load_encoder(tmp_path / "run").state_dict()
    pairs = {
        "embedding.weight": "head.weight",
        "embedding.bias": "head.bias",
        "saliency.weight": "classification_head.weight",
        "decoder.0.project.0.weight": "decoder.0.project.0.weight",
        "decoder.1.0.weight": "decoder.1.weight",
        "decoder.1.1.running_mean": "decoder.2.running_mean",
    }
    assert all(torch.equal(ours[name], query[theirs]) for name, theirs in pairs.items())
    assert not ours["saliency.bias"].any()
    assert torch.equal(next(tensor for name, tensor in ours.items() if name.startswith("backbone.")), query["backbone.conv1.weight"])


def test_the_decoder_may_be_called_classifier_and_keep_its_last_layer(query: Tensors, tmp_path: Path) -> None:
    other = {re.sub(r"^head\.", "classifier.4.", re.sub(r"^decoder\.", "classifier.", name)): tensor for name, tensor in query.items()}
    import_weights(written(content(other), folder=tmp_path), out=RunDir(tmp_path / "run"), overrides=SMALL)
    assert torch.equal(load_encoder(tmp_path / "run").embedding.weight, query["head.weight"])


def test_a_start_is_the_baseline_and_without_one_the_file_is(query: Tensors, tmp_path: Path) -> None:
    path = written(content(query), folder=tmp_path)
    import_weights(path, out=RunDir(tmp_path / "alone"), overrides=SMALL)
    import_weights(path, out=RunDir(tmp_path / "started"), overrides=SMALL, start="none")
    found = {run: (find_checkpoint(tmp_path / run).tensors, load_checkpoint(RunDir(tmp_path / run).initial_checkpoint).tensors) for run in ("alone", "started")}
    weight = next(name for name in found["alone"][0] if name.startswith("query/backbone.") and name.endswith("conv1.weight"))
    assert torch.equal(found["alone"][0][weight], found["alone"][1][weight])
    assert not torch.equal(found["started"][0][weight], found["started"][1][weight])
    assert load_run_config(RunDir(tmp_path / "started")).model.weights == "none"


def without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda query: {key: tensor for key, tensor in query.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("decoder.0.convs.2.0.weight"), r"lacks 1 of the heads' \d+ tensors \(decoder.0.convs.2.0.weight\); nothing is loaded"),
        (without("head.weight"), r"no embedding.weight \(of our names\).* none is loaded"),
        (without("backbone.layer1.0.conv1.weight"), r"lacks 1 of the network's .* MaskContrast"),
        (lambda query: query | {"head.2.weight": torch.zeros(1)}, r"1 tensors of no known name \(model_q.head.2.weight\)"),
        (lambda query: query | {"decoder.4.weight": torch.zeros(1)}, r"embedding.weight \(of our names\) twice"),
        (lambda query: query | {"classification_head.weight": torch.zeros(1, 6, 1, 1)}, r"saliency.weight of shape \[1, 6, 1, 1\], the encoder \[1, 8, 1, 1\]"),
    ],
)
def test_a_file_that_is_not_whole_or_of_another_architecture_loads_nothing(
    query: Tensors, change: Callable[[Tensors], Tensors], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        import_weights(written(content(change(query)), folder=tmp_path), out=RunDir(tmp_path / "run"), overrides=SMALL)
    assert not (tmp_path / "run").exists()


def test_a_tensor_beside_the_known_parts_is_listed(query: Tensors, tmp_path: Path) -> None:
    whole = content(query)
    whole["model"]["module.projector.weight"] = torch.zeros(1)
    with pytest.raises(ConfigError, match=r"1 tensors of no known name \(projector.weight\)"):
        import_weights(written(whole, folder=tmp_path), out=RunDir(tmp_path / "run"), overrides=SMALL)


class Code:
    """What a hostile pickle does."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("hostile",)


def test_a_pickle_that_would_run_code_is_refused_with_the_safe_way(query: Tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"refused: it holds more than tensors .*save its state_dict alone as .safetensors"):
        import_weights(written({**content(query), "args": Code()}, folder=tmp_path), out=RunDir(tmp_path / "run"), overrides=SMALL)
    assert not (tmp_path / "hostile").exists() and not (tmp_path / "run").exists()


def test_another_publishers_file_names_its_layout(tmp_path: Path) -> None:
    moco = {"state_dict": {"module.encoder_q.conv1.weight": torch.zeros(1), "module.encoder_q.layer1.0.conv1.weight": torch.zeros(1)}}
    with pytest.raises(ConfigError, match=r"no checkpoint of MaskContrast's authors.*like those of MoCo v1 or v2.*model.weights=PATH"):
        import_weights(written(moco, folder=tmp_path), out=RunDir(tmp_path / "run"), overrides=SMALL)


def test_settings_that_follow_from_the_file_and_a_folder_with_a_run_are_refused(query: Tensors, tmp_path: Path) -> None:
    path = written(content(query), folder=tmp_path)
    with pytest.raises(ConfigError, match=r"model.embedding_dim follows from the file"):
        import_weights(path, out=RunDir(tmp_path / "run"), overrides=["model.embedding_dim=3"])
    import_weights(path, out=RunDir(tmp_path / "run"), overrides=SMALL)
    with pytest.raises(ConfigError, match=r"holds a run already"):
        import_weights(path, out=RunDir(tmp_path / "run"), overrides=SMALL)


def test_an_embedding_with_a_bias_is_one_only_where_it_is_asked_for() -> None:
    encoder = build_encoder(config_of([*SMALL, "model.embedding_bias=true"]).model)
    assert encoder.embedding.bias is not None and not encoder.embedding.bias.any()
    assert build_encoder(config_of(SMALL).model).embedding.bias is None


@pytest.mark.slow
@torch.no_grad()
def test_the_papers_network_computes_what_torchvisions_parts_compute(tmp_path: Path) -> None:
    """ResNet-50 of stride 8 with a DeepLab head, forward, against the imported encoder."""
    torch.manual_seed(1)
    network = resnet50(replace_stride_with_dilation=[False, True, True])
    model = randomised(AuthorsModel(network, channels=2048, width=256, dim=32))
    import_weights(written(content(model.state_dict()), folder=tmp_path), out=RunDir(tmp_path / "run"), overrides=[])
    photo = torch.randn(2, 3, 64, 96)
    features = photo
    for name, layer in network.named_children():
        if name not in ("avgpool", "fc"):
            features = layer(features)
    decoded = model.decoder(features)
    found = load_encoder(tmp_path / "run")(photo)
    for ours, theirs in ((found.features, model.head(decoded)), (found.saliency, model.classification_head(decoded))):
        assert theirs.std() > 0.01
        assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()
