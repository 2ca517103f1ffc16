"""DDP and DeepSpeed train alike: the same losses, gradient norms, skipped steps and optimizer state for every setting that both have.

In fp32 the engines compute the same gradients and only add them up in other orders, so that losses agree to float32's rounding: measured
1e-7 (relative), held to 1e-5. The learning rate is small and the steps are few because each step magnifies what differs. In bf16 and fp16
a difference in the last bit of a weight may round to another half-precision number: measured 2e-4, held to 5e-3.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mcdist.distributed import World
from mcdist.ranks.join import join_world, leave_world
from mcdist.train.state import TrainState
from mcdist.train.step import train_step
from tests.makers.many_ranks import on_ranks, skip_without_deepspeed
from tests.train.engines.engine_case import GLOBAL_BATCH, make_state, micro_batches, take_steps
from tests.train.step_case import GROUPED, NUM_GROUPS, SETTINGS, make_batch, named

ENGINES = ("ddp", "zero_0", "zero_1", "zero_2")
SETTINGS_OF: dict[str, dict[str, Any]] = {
    "sgd": {},
    "adamw": {"optimizer": "adamw", "clip_grad_norm": 0.5},
    "offload": {"optimizer": "adamw", "clip_grad_norm": 0.5, "offload_optimizer": True},
    "bf16": {"precision": "bf16", "gradient_exchange": "bf16"},
    "fp16": {"precision": "fp16", "clip_grad_norm": 0.5},
}
CASES = [(engine, name) for name in ("sgd", "adamw") for engine in ENGINES] + [("zero_1", "offload"), ("zero_2", "offload")]
HALF_CASES = [("zero_0", "bf16"), ("zero_1", "bf16"), ("zero_2", "bf16"), ("zero_2", "fp16")]
LOSS_TOLERANCE = {"fp32": 1e-5, "bf16": 5e-3, "fp16": 5e-3}
NORM_TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2, "fp16": 5e-2}
MOVES = [("ddp", "zero_2"), ("zero_2", "zero_1"), ("zero_1", "ddp")]
FOUR = ("ddp", "zero_1", "zero_2")
NUM_STEPS = 4

pytestmark = pytest.mark.slow


def _train_all(rank: int, folder: Path) -> None:
    """Every case; then runs that change their engine after two steps; then a photo that is not finite, on the last rank alone."""
    world = join_world(device="cpu", timeout_s=60)
    try:
        for engine, name in [*CASES, ("ddp", "bf16"), ("ddp", "fp16"), *HALF_CASES]:
            state = make_state(engine, world=world, **SETTINGS_OF[name])
            _write(state, folder / f"{name}_{engine}", take_steps(state, seeds=range(NUM_STEPS), accumulation_steps=2))
        for engine in ENGINES:
            state = make_state(engine, world=world, num_groups=NUM_GROUPS)
            _write(state, folder / f"groups_{engine}", take_steps(state, seeds=range(NUM_STEPS), accumulation_steps=2, settings=GROUPED))
        for before, after in MOVES:
            _move(before, after, world=world, folder=folder)
        for engine in ENGINES:
            _skip(make_state(engine, world=world, norm="batch"), folder / f"skip_{engine}")
        _skip(make_state("zero_2", world=world, precision="fp16", norm="batch"), folder / "skip_fp16")
    finally:
        leave_world()


def _move(before: str, after: str, *, world: World, folder: Path) -> None:
    first = make_state(before, world=world, **SETTINGS_OF["adamw"])
    curve = take_steps(first, seeds=range(2), accumulation_steps=2)
    _write(first, folder / f"half_{before}", curve)
    world.barrier()
    second = make_state(after, world=world, **SETTINGS_OF["adamw"])
    second.load(load_file(folder / f"half_{before}.safetensors"), numbers=first.numbers())
    _write(second, folder / f"moved_{before}_{after}", curve + take_steps(second, seeds=range(2, NUM_STEPS), accumulation_steps=2))


def _skip(state: TrainState, path: Path) -> None:
    """A step, one over a photo that is not finite, and one more; weights and statistics before and after the second are compared at once."""
    world = state.engine.world
    curve = take_steps(state, seeds=range(1))
    kept = {name: tensor.clone() for name, tensor in state.query.state_dict().items()}
    statistics = {name: tensor.clone() for name, tensor in state.key.named_buffers()}
    batch = make_batch(GLOBAL_BATCH, seed=1)
    batch.query_images[world.num_ranks - 1, 0, 3, 3] = torch.nan
    result = train_step(state, micro_batches(1, world=world, accumulation_steps=2, batch=batch), lr=0.02, settings=SETTINGS)
    assert all(torch.equal(kept[name], tensor) for name, tensor in state.query.state_dict().items())
    assert statistics and all(torch.equal(statistics[name], tensor) for name, tensor in state.key.named_buffers())
    curve.append({"contrast": 0.0, "saliency": 0.0, "grad_norm": 0.0, "skipped": float(result.skipped), "scale": state.engine.scaler.get_scale()})
    _write(state, path, curve + take_steps(state, seeds=range(2, 3)))


def _write(state: TrainState, path: Path, curve: list[dict[str, float]]) -> None:
    tensors = {key: tensor.contiguous() for key, tensor in state.tensors().items()}
    if state.engine.world.is_first:
        path.with_suffix(".json").write_text(json.dumps(curve))
        save_file(tensors, path.with_suffix(".safetensors"))


def _train_four(rank: int, folder: Path) -> None:
    world = join_world(device="cpu", timeout_s=60)
    try:
        for engine in FOUR:
            state = make_state(engine, world=world)
            _write(state, folder / f"four_{engine}", take_steps(state, seeds=range(NUM_STEPS), accumulation_steps=2))
    finally:
        leave_world()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of it in the same two processes, then in the same four: importing DeepSpeed is what takes time."""
    skip_without_deepspeed()
    folder = tmp_path_factory.mktemp("engines")
    on_ranks(2, _train_all, folder, notes=folder)
    on_ranks(4, _train_four, folder, notes=folder)
    return folder


def values(folder: Path, name: str, key: str) -> list[float]:
    return [step[key] for step in json.loads((folder / f"{name}.json").read_text())]


def assert_same_curve(folder: Path, got: str, want: str, *, precision: str = "fp32", terms: tuple[str, ...] = ("contrast", "saliency")) -> None:
    for key in terms:
        assert values(folder, got, key) == pytest.approx(values(folder, want, key), rel=LOSS_TOLERANCE[precision]), key
    assert values(folder, got, "grad_norm") == pytest.approx(values(folder, want, "grad_norm"), rel=NORM_TOLERANCE[precision])
    assert values(folder, got, "skipped") == values(folder, want, "skipped")


def assert_same_state(folder: Path, got: str, want: str) -> None:
    mine, theirs = load_file(folder / f"{got}.safetensors"), load_file(folder / f"{want}.safetensors")
    assert mine.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(mine[name], tensor, rtol=1e-3, atol=1e-4, msg=named(name))


@pytest.mark.parametrize("engine", ENGINES[1:])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_deepspeed_has_the_curve_of_ddp(trained: Path, name: str, engine: str) -> None:
    assert_same_curve(trained, f"{name}_{engine}", f"{name}_ddp")


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_deepspeed_learns_groups_as_ddp_does(trained: Path, engine: str) -> None:
    assert_same_curve(trained, f"groups_{engine}", "groups_ddp", terms=("contrast", "saliency", "group", "group_contrast"))
    assert_same_state(trained, f"groups_{engine}", "groups_ddp")


@pytest.mark.parametrize("engine", FOUR)
def test_four_ranks_have_the_curve_of_two(trained: Path, engine: str) -> None:
    assert_same_curve(trained, f"four_{engine}", "sgd_ddp")
    assert_same_state(trained, f"four_{engine}", "sgd_ddp")


@pytest.mark.parametrize(("engine", "precision"), HALF_CASES)
def test_deepspeed_has_the_curve_of_ddp_in_half_precision(trained: Path, engine: str, precision: str) -> None:
    assert_same_curve(trained, f"{precision}_{engine}", f"{precision}_ddp", precision=precision)


@pytest.mark.parametrize("engine", ["zero_1", "zero_2"])
def test_an_optimizer_in_the_hosts_memory_changes_nothing(trained: Path, engine: str) -> None:
    assert_same_curve(trained, f"offload_{engine}", "adamw_ddp")
    assert_same_state(trained, f"offload_{engine}", "adamw_ddp")


@pytest.mark.parametrize("engine", ENGINES[1:])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_gathered_state_is_that_of_ddp_tensor_by_tensor(trained: Path, name: str, engine: str) -> None:
    assert_same_state(trained, f"{name}_{engine}", f"{name}_ddp")


@pytest.mark.parametrize(("before", "after"), MOVES)
def test_a_state_goes_on_under_another_engine(trained: Path, before: str, after: str) -> None:
    assert_same_curve(trained, f"moved_{before}_{after}", "adamw_ddp")
    assert_same_state(trained, f"moved_{before}_{after}", "adamw_ddp")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_photo_that_is_not_finite_on_one_rank_skips_the_step_on_all(trained: Path, engine: str) -> None:
    assert values(trained, f"skip_{engine}", "skipped") == [0.0, 1.0, 0.0]
    assert_same_state(trained, f"skip_{engine}", "skip_ddp")


def test_a_skipped_step_in_fp16_halves_the_loss_scale(trained: Path) -> None:
    steps = json.loads((trained / "skip_fp16.json").read_text())
    assert [step["skipped"] for step in steps] == [0.0, 1.0, 0.0]
    assert steps[1]["scale"] == 2**15
