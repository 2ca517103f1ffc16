"""The fused loss against its definition in float64, on the very operands that training meets along its way."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mcdist import build
from mcdist.building.folder.build import build_shards
from mcdist.building.sources.demo.source import demo_source
from mcdist.config.file import load_config
from mcdist.ops import mask_contrast
from mcdist.ranks.join import join_world
from mcdist.train.loop import train
from mcdist.train.terms import contrast as terms_module

CONFIG = Path(__file__).parents[2] / "configs/demo_contrast.yaml"
NUM_STEPS, EVERY = 200, 20
BOUND = 2e-6


@pytest.fixture(autouse=True)
def _restore_determinism() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def errors_of(arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[float, float]:
    """(relative error of the loss, of its gradient) of the fused way on these operands, against the reference in float64."""
    features, instances, *vectors = arguments
    found = {}
    for implementation, dtype in (("fused", features.dtype), ("reference", torch.float64)):
        leaf = features.detach().to(dtype).requires_grad_(True)
        given: dict[str, Any] = {
            name: value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value for name, value in options.items()
        }
        given["implementation"] = implementation
        with torch.enable_grad():
            loss = mask_contrast(leaf, instances, *(vector.to(dtype) for vector in vectors), **given).loss
        (gradient,) = torch.autograd.grad(loss, leaf)
        found[implementation] = (loss.detach().double(), gradient.double())
    (loss, gradient), (true_loss, true_gradient) = found["fused"], found["reference"]
    return float((loss - true_loss).abs() / true_loss.abs()), float((gradient - true_gradient).norm() / true_gradient.norm())


@pytest.mark.slow
def test_the_fused_loss_is_the_reference_along_200_steps_of_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_shards(demo_source("train", num_photos=96), folder=tmp_path / "demo", num_workers=1)
    sizes = ["data.num_workers=0", "optim.global_batch=8", "optim.epochs=17", "run.device=cpu", "run.num_threads=1"]
    config = load_config(CONFIG, overrides=[f"data.train={tmp_path / 'demo'}", *sizes])
    world = join_world(device="cpu", timeout_s=60)
    build.prepare_process(config, world=world)
    reader = build.open_reader(config.data.train, key="data.train", data=config.data)
    state = build.build_state(config, world=world)
    found: list[tuple[float, float]] = []
    original: Callable[..., Any] = terms_module.mask_contrast

    def watched(*arguments: Any, **options: Any) -> Any:
        if (state.step + 1) % EVERY == 0:
            found.append(errors_of(arguments, options))
        return original(*arguments, **options)

    monkeypatch.setattr(terms_module, "mask_contrast", watched)
    loader = build.build_batches(config, reader, world=world, consumed=0, num_steps=NUM_STEPS)
    settings = build.loop_settings(config, num_samples=len(reader))
    assert settings.num_steps >= NUM_STEPS
    for now in train(
        state, iter(loader), settings=settings, step=build.step_settings(config), should_stop=lambda: False, on_bad_samples=lambda step, lines: None
    ):
        if now.step == NUM_STEPS:
            break
    assert len(found) == NUM_STEPS // EVERY and int(state.bank.num_valid) == state.bank.size
    loss, gradient = (max(column) for column in zip(*found, strict=True))
    print(f"largest relative error of the loss {loss:.1e}, of its gradient {gradient:.1e}")
    assert loss < BOUND and gradient < BOUND
