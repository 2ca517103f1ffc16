"""What the operators refuse, and that they never wait for the device."""

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

import mcdist
from mcdist.errors import ConfigError
from mcdist.loss import pixel_counts, saliency_counts, saliency_loss, target_weights
from mcdist.ops import mask_contrast, mask_pool
from tests.makers.unchecked import unchecked
from tests.ops.contrast_case import make_case

CASE = make_case(50)
REFUSED = (ValueError, TypeError)
"""The run-time type check of the tests, where it is on, refuses a wrong layout first, and with a TypeError."""


def contrast(**changes: object) -> None:
    fields = {"features_BDhw": CASE.features, "instances_BHW": CASE.instances, "prototypes_PD": CASE.prototypes, "bank_KD": CASE.bank}
    mask_contrast(**{**fields, **CASE.options, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features_BDhw": CASE.features[0]}, "features must be float with 4 axes"),
        ({"features_BDhw": CASE.features.long()}, "features must be float"),
        ({"instances_BHW": CASE.instances.float()}, "instances must be integer"),
        ({"instances_BHW": CASE.instances[:1]}, "instances must have 2 entries along axis 0"),
        ({"instances_BHW": CASE.instances[:, 1:]}, "one integer s, got 11 x 8"),
        ({"instances_BHW": CASE.instances[:, :, :4]}, "one integer s, got 12 x 4"),
        ({"instances_BHW": CASE.instances[:, :2]}, "one integer s, got 2 x 8"),
        (
            {"features_BDhw": CASE.features[:0], "instances_BHW": CASE.instances[:0], "target_of": CASE.options["target_of"][:0]},
            "features must have at least one image and one dimension",
        ),
        ({"prototypes_PD": CASE.prototypes[:, 1:]}, "prototypes must have 5 entries along axis 1"),
        ({"prototypes_PD": CASE.prototypes[:0]}, "at least one prototype"),
        ({"bank_KD": CASE.bank[0]}, "bank must be float with 2 axes"),
        ({"target_of": CASE.options["target_of"][:1]}, "target_of must have 2 entries"),
        ({"target_of": CASE.options["target_of"].double()}, "target_of must be"),
        ({"target_of": CASE.options["target_of"][:, :0]}, "one object an image"),
        ({"temperature": 0.0}, "temperature must be > 0, got 0.0"),
        ({"temperature": float("nan")}, "temperature must be > 0, got nan"),
        ({"prototype_valid": torch.ones(3, dtype=torch.bool)}, "prototype_valid must have 8 entries"),
        ({"prototype_valid": torch.ones(8)}, "prototype_valid must be bool"),
        ({"bank_valid_rows": 5}, "between 0 and the 4 rows"),
        ({"bank_valid_rows": -1}, "between 0 and the 4 rows"),
        ({"bank_valid_rows": torch.tensor([1])}, "bank_valid_rows must be"),
        ({"target_weight": torch.ones(7)}, "target_weight must have 8 entries"),
        ({"weight_sum": torch.ones(1)}, "weight_sum must be"),
        ({"bank_KD": CASE.bank.to("meta")}, "bank must be on cpu"),
        ({"weight_sum": torch.ones((), device="meta")}, "weight_sum must be on cpu"),
    ],
)
def test_operands_that_do_not_fit_are_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(REFUSED, match=f"{message}|[Tt]ype-check"):
        contrast(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features_BDhw": CASE.features / 0}, "features must be finite, got 60"),
        ({"bank_KD": CASE.bank * torch.nan}, "bank must be finite, got 20"),
        ({"instances_BHW": CASE.instances + 1}, "instances must be between -1 and 3, got 0 to 4"),
        ({"instances_BHW": CASE.instances - 1}, "instances must be between -1 and 3, got -2 to 2"),
        ({"target_of": torch.full((2, 3), 8)}, "target_of must be between -1 and 7, got 8 to 8"),
    ],
)
def test_values_out_of_range_are_refused_with_debug_only(changes: dict, message: str) -> None:
    contrast(**changes)
    with pytest.raises(ValueError, match=message):
        contrast(**changes, debug=True)


T = TypeVar("T")


def on_a_pretended_gpu(work: Callable[[torch.Tensor, torch.Tensor], T]) -> T:
    with FakeTensorMode():
        features = torch.randn(2, 5, 3, 2, device="cuda", requires_grad=True)
        return work(features, torch.zeros(2, 12, 8, dtype=torch.int16, device="cuda"))


def contrast_on_a_pretended_gpu(features: torch.Tensor, instances: torch.Tensor, **changes: Any) -> torch.Tensor:
    pooled = mask_pool(features, instances, max_objects=3)
    target_of = torch.arange(6, device="cuda").view(2, 3)
    valid = pooled.num_pixels > 0
    counts = pixel_counts(instances, target_of=target_of, num_prototypes=6, prototype_valid=valid)
    weight, weight_sum = target_weights(counts)
    options: dict[str, Any] = {"prototype_valid": valid, "bank_valid_rows": torch.zeros((), dtype=torch.int64, device="cuda"), "false_negative_cosine": 0.5}
    options |= {"target_weight": weight, "weight_sum": weight_sum, "target_of": target_of, "temperature": 0.5}
    return mask_contrast(features, instances, pooled.prototypes, torch.zeros(7, 5, device="cuda"), **{**options, **changes}).loss


def test_nothing_waits_for_the_device_or_leaves_it() -> None:
    loss = on_a_pretended_gpu(contrast_on_a_pretended_gpu)
    assert (loss.device.type, loss.shape, loss.requires_grad) == ("cuda", (), True)


def test_the_saliency_loss_neither_waits_for_the_device_nor_leaves_it() -> None:
    def work(features: torch.Tensor, instances: torch.Tensor) -> torch.Tensor:
        positive, negative = saliency_counts(instances)
        return saliency_loss(features[:, :1], instances, num_positive=positive, num_negative=negative) + saliency_loss(features[:, :1], instances)

    assert on_a_pretended_gpu(work).device.type == "cuda"


def test_the_pretended_gpu_catches_who_waits() -> None:
    with pytest.raises(DataDependentOutputException):
        on_a_pretended_gpu(lambda features, instances: mask_pool(features, instances, max_objects=3, debug=True))


def test_the_pretended_gpu_catches_a_tensor_left_on_the_cpu() -> None:
    with pytest.raises(ValueError, match="weight_sum must be on cuda"):
        on_a_pretended_gpu(lambda features, instances: contrast_on_a_pretended_gpu(features, instances, weight_sum=torch.ones(())))


def test_the_dense_path_reads_no_value_and_selects_by_no_mask() -> None:
    waiting = {"item", "nonzero", "tolist", "masked_select", "bincount", "cpu", "numpy", "unique"}
    room = Path(mcdist.__file__).parent
    for name in ("loss.py", "ops/targets.py", "ops/upsample.py", "ops/mask_pool/reference.py", "ops/mask_contrast/reference.py"):
        called = {node.attr for node in ast.walk(ast.parse((room / name).read_text(encoding="utf-8"))) if isinstance(node, ast.Attribute)}
        assert not called & waiting, name


def test_an_unknown_implementation_is_a_configuration_error_of_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    features, instances, vectors = torch.ones(1, 2, 1, 1), torch.ones(1, 4, 4, dtype=torch.int16), torch.ones(1, 2)
    options = {"temperature": 0.5, "target_of": torch.zeros(1, 1, dtype=torch.int64)}
    for operator, arguments, given in (
        (mask_contrast, (features, instances, vectors, vectors), options),
        (mask_pool, (features, instances), {"max_objects": 1}),
    ):
        room = import_module(f"mcdist.ops.{operator.__name__}.op")
        monkeypatch.setattr(room, "choose_implementation", unchecked(room.choose_implementation))
        with pytest.raises(ConfigError, match="^implementation must be one of auto, reference, compact, fused, got 'fast'$"):
            unchecked(operator)(*arguments, implementation="fast", **given)
