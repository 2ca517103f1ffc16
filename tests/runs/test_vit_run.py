"""A ViT trains, stops, continues and is evaluated like any backbone, at the stride of its patches."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mcdist import build, run
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.errors import ConfigError
from mcdist.evaluate.extract import embed
from mcdist.model.backbones import registry
from mcdist.model.backbones.backbone import Backbone
from mcdist.proposals.patch_cuts.features import make_extractor
from mcdist.report.jsonl import read_metrics
from mcdist.run_dir import RunDir, list_checkpoints
from mcdist.train import loop
from mcdist.workflows.evaluation import evaluate_run
from tests.fixture_types import MakeShards
from tests.makers.stopped_run import last_state, stop_after

TINY = """
data: {num_workers: 0, block: 4, num_lanes: 4}
views: {size_px: 64, max_objects: 2}
model: {backbone: timm/test_vit2, decoder: linear, embedding_dim: 8, bank_size: 16, momentum: 0.9}
optim: {global_batch: 4, epochs: 2, lr: 0.001, optimizer: adamw, layer_decay: 0.8}
run: {device: cpu, deterministic: true, num_threads: 1}
checkpoint: {every_steps: 3, keep: 2}
report: {mlflow: "off", log_every_steps: 2, console: "off"}
evaluate: {classes: {background: [0], one: [1], two: [2]}, size_px: 64, num_seeds: 2, num_panels: 2}
"""


@pytest.fixture(autouse=True)
def _restore_determinism() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def configure(tmp_path: Path, make_shards: MakeShards) -> Callable[..., Config]:
    """A tiny ViT's configuration over twelve photos, with overrides."""
    pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")
    (tmp_path / "vit.yaml").write_text(TINY)
    shards = make_shards(12)

    def make(*overrides: str, folder: str = "run") -> Config:
        given = [f"data.train={shards}", f"data.val={shards}", f"run.dir={tmp_path / folder}", *overrides]
        return load_config(tmp_path / "vit.yaml", overrides=given)

    return make


def test_a_vit_trains_stops_continues_bit_equal_and_is_evaluated(configure: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    whole, stopped = configure(folder="whole"), configure(folder="stopped")
    assert run.train_run(whole) == 0
    with monkeypatch.context() as patch:
        stop_after(patch, 4)
        assert run.train_run(stopped) == 143
    assert run.train_run(stopped) == 0
    want, got = last_state(whole.run.dir), last_state(stopped.run.dir)
    assert want.keys() == got.keys()
    assert not [name for name in want if not torch.equal(want[name], got[name])]
    initial = load_file(RunDir(Path(whole.run.dir)).initial_checkpoint / "state.safetensors")
    moved = {name for name, tensor in initial.items() if not torch.equal(tensor, want[name])}
    assert {"query/backbone.network.pos_embed", "query/backbone.network.reg_token", "query/backbone.network.blocks.7.attn.qkv.weight"} <= moved
    evaluation = evaluate_run(RunDir(Path(whole.run.dir)), overrides=[], which="newest")
    assert evaluation is not None
    assert numpy.isfinite([value for row in evaluation.rows for value in row.values]).all()


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("test_vit", ["views.size_px=48", "evaluate.size_px=48", "model.recompute=true"]),
        ("test_vit", ["model.decoder=deeplabv3", "model.decoder_width=8", "model.atrous_rates=[1]", "model.norm=group", "model.trainable_from=4"]),
        ("tiny14", ["views.size_px=56", "evaluate.size_px=70", "model.num_stages=3"]),
        ("test_vit", ["model.lora_rank=2", "model.trainable_from=-2"]),
        ("test_vit", ["model.num_stages=4", "model.trainable_from=4", "model.position_debias=svd", "model.final_norm=all", "model.levels=2"]),
        ("test_mambaout", ["views.size_px=40", "evaluate.size_px=72", "model.levels=2", "optim.layer_decay=0.7"]),
    ],
    ids=["recomputed, 16 px", "frozen blocks and a converted decoder", "14 px", "LoRA in the last two blocks", "without positions", "a pyramid, upsampled"],
)
def test_patches_of_any_size_reach_the_fused_loss(configure: Callable[..., Config], tiny14: None, name: str, overrides: list[str]) -> None:
    config = configure(f"model.backbone=timm/{name}", "optim.epochs=1", "ops.implementation=fused", *overrides)
    assert run.train_run(config) == 0
    losses = [record.value for record in read_metrics(RunDir(Path(config.run.dir)).metrics) if record.name == "loss/contrast"]
    assert losses and numpy.isfinite(losses).all() and min(losses) > 0
    evaluate_run(RunDir(Path(config.run.dir)), overrides=[], which="newest")


@pytest.fixture
def tiny14() -> Iterator[None]:
    """timm knows `tiny14`, a ViT of 14 px patches with a class token and two registers, until the test ends."""
    timm = pytest.importorskip("timm", reason="pip install 'mcdist[vit]'")
    registry = timm.models._registry

    def tiny14(pretrained: bool = False, **options: object) -> torch.nn.Module:
        made: torch.nn.Module = timm.create_model("vit_tiny_patch16_224", patch_size=14, embed_dim=32, depth=3, num_heads=2, reg_tokens=2, **options)
        return made

    registry._model_entrypoints["tiny14"] = tiny14
    yield
    del registry._model_entrypoints["tiny14"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["views.size_px=72"], "views.size_px must be a multiple of 16, the stride of model.backbone=timm/test_vit2, got 72; use 64 or 80"),
        (["evaluate.size_px=8"], "evaluate.size_px must be a multiple of 16, the stride of model.backbone=timm/test_vit2, got 8; use 16"),
        (
            ["model.backbone=resnet18", "views.size_px=100"],
            "views.size_px must be a multiple of 8, the stride of model.backbone=resnet18, got 100; use 96 or 104",
        ),
        (["model.backbone=resnet51"], "unknown backbone 'resnet51'; did you mean 'resnet50'"),
        (["model.norm=group"], "model.norm=group needs a network with BatchNorm layers"),
        (["model.position_debias=mean"], "model.position_debias=mean is measured once, .* model.trainable_from must be 9, the blocks .* got 0"),
        (["model.backbone=resnet18", "model.lora_rank=2"], "model.lora_rank=2 is for ViTs"),
        (["model.trainable_from=10"], "model.trainable_from must be between 0 and 9, the blocks of this backbone, got 10"),
        (["model.backbone=resnet18", "model.trainable_from=6"], "model.trainable_from must be between 0 and 5, the blocks of this backbone, got 6"),
        (["model.backbone=resnet18", "model.num_stages=2"], "model.num_stages must be between 3 and 5 for resnet18, or 0 for all of them, got 2"),
    ],
)
def test_settings_that_the_backbone_does_not_allow_are_one_sentence(configure: Callable[..., Config], overrides: list[str], message: str) -> None:
    config = configure(*overrides)
    with pytest.raises(ConfigError, match=message) as caught:
        run.train_run(config)
    assert "\n" not in str(caught.value)
    assert not list_checkpoints(RunDir(Path(config.run.dir)).checkpoints)


def test_an_evaluation_size_is_checked_against_the_stride_too(configure: Callable[..., Config]) -> None:
    config = configure("optim.epochs=1")
    assert run.train_run(config) == 0
    with pytest.raises(ConfigError, match="evaluate.size_px must be a multiple of 16, .* got 72; use 64 or 80"):
        evaluate_run(RunDir(Path(config.run.dir)), overrides=["evaluate.size_px=72"], which="newest")


def test_the_backbones_own_pixel_statistics_reach_training_and_evaluation(configure: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, set[tuple[object, object]]] = {"train": set(), "evaluate": set()}

    def noted(function: Callable[..., Any], *, place: str) -> Callable[..., Any]:
        def noting(*arguments: Any, mean: object, std: object) -> Any:
            given[place].add((mean, std))
            return function(*arguments, mean=mean, std=std)

        return noting

    monkeypatch.setattr(loop, "finish", noted(loop.finish, place="train"))
    monkeypatch.setattr(embed, "normalise", noted(embed.normalise, place="evaluate"))
    config = configure("model.backbone=timm/vit_tiny_patch16_224", "model.num_stages=2", "optim.epochs=1")
    assert run.train_run(config) == 0
    evaluate_run(RunDir(Path(config.run.dir)), overrides=[], which="newest")
    halves = (0.5, 0.5, 0.5)
    assert given == {"train": {(halves, halves)}, "evaluate": {(halves, halves)}}


class _Quarter(Backbone):
    """Two convolutions of stride 2: a backbone of stride 4, as somebody might add one."""

    stride, least_blocks, num_blocks = 4, 2, 2
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.num_channels = network, 6

    def blocks(self) -> list[nn.Module]:
        return list(self.network.children())

    def keep_first(self, num_blocks: int) -> None:
        assert num_blocks == 2

    def set_recompute(self, recompute: bool) -> None:
        assert not recompute

    def levels(self, image: Tensor) -> list[Tensor]:
        first, second = self.blocks()
        return [first(image), second(first(image))]

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)


def test_a_new_backbone_of_another_stride_is_one_line_of_the_registry(configure: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    made = registry.Entry(lambda: nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 6, 3, stride=2, padding=1)), _Quarter)
    monkeypatch.setitem(registry.BACKBONES, "quarter", made)
    config = configure("model.backbone=quarter", "optim.epochs=1", "views.size_px=36", "evaluate.size_px=44", "model.trainable_from=1")
    assert run.train_run(config) == 0
    state = last_state(config.run.dir)
    initial = load_file(RunDir(Path(config.run.dir)).initial_checkpoint / "state.safetensors")
    kept, moved = ("query/backbone.network.0.weight", "query/backbone.network.1.weight")
    assert torch.equal(state[kept], initial[kept]) and not torch.equal(state[moved], initial[moved])
    evaluate_run(RunDir(Path(config.run.dir)), overrides=[], which="newest")
    with pytest.raises(ConfigError, match="views.size_px must be a multiple of 4, the stride of model.backbone=quarter, got 34; use 32 or 36"):
        run.train_run(configure("model.backbone=quarter", "views.size_px=34", folder="other"))


def test_training_and_proposals_read_one_and_the_same_network(configure: Callable[..., Config], tmp_path: Path) -> None:
    encoder = build.build_encoder(configure().model).eval()
    path = tmp_path / "vit.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in copy.deepcopy(encoder.backbone.get_submodule("network")).state_dict().items()}, path)
    extract = make_extractor("timm/test_vit2", weights=str(path), feature="tokens", device=torch.device("cpu"))
    photos = torch.randint(0, 256, (1, 3, 48, 64), dtype=torch.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (encoder.backbone.mean, encoder.backbone.std))
    with torch.inference_mode():
        torch.testing.assert_close(extract(photos).values, encoder.backbone((photos.float() / 255 - mean) / std))
