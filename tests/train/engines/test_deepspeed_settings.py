"""DeepSpeed's settings follow from ours; what contradicts them is an error that names the key, both values and the setting of ours."""

from typing import Any

import pytest

from mcdist.errors import ConfigError
from mcdist.train.engines.deepspeed_settings import deepspeed_settings


def settings(raw: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    given = {"zero_stage": 2, "offload_optimizer": False, "bucket_mib": 1.0, "gradient_exchange": "allreduce", "micro_batch": 4, "pin_memory": False}
    return deepspeed_settings(**{**given, **changes}, raw=raw or {})


def test_ours_are_said_in_deepspeeds_words() -> None:
    made = settings(offload_optimizer=True, gradient_exchange="bf16")
    bucket = 2**18
    zero = {"stage": 2, "reduce_bucket_size": bucket, "allgather_bucket_size": bucket, "offload_optimizer": {"device": "cpu", "pin_memory": False}}
    assert made["zero_optimization"] == zero
    assert made["communication_data_type"] == "bf16"
    assert made["train_micro_batch_size_per_gpu"] == 4
    assert made["zero_allow_untested_optimizer"] is True


def test_what_is_said_beside_ours_is_merged_at_any_depth() -> None:
    made = settings({"steps_per_print": 5, "zero_optimization": {"overlap_comm": True}})
    assert made["steps_per_print"] == 5
    assert made["zero_optimization"]["overlap_comm"] is True
    assert made["zero_optimization"]["stage"] == 2


def test_the_same_word_as_ours_is_no_conflict() -> None:
    assert settings({"zero_allow_untested_optimizer": True})["zero_allow_untested_optimizer"] is True


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            {"zero_optimization": {"stage": 3}},
            "deepspeed.zero_optimization.stage=3 contradicts mcdist, which sets 2 there; .* set optim.zero_stage",
        ),
        ({"gradient_clipping": 1.0}, "deepspeed.gradient_clipping=1.0 .* sets 0.0 there; remove it and set optim.clip_grad_norm"),
        ({"bf16": {"enabled": True}}, r"deepspeed.bf16={'enabled': True} .* {'enabled': False} there; remove it and set optim.precision"),
        ({"optimizer": {"type": "Adam"}}, "deepspeed.optimizer=.* sets nothing there; remove it and set optim.optimizer"),
        ({"zero_force_ds_cpu_optimizer": True}, "deepspeed.zero_force_ds_cpu_optimizer=True .* sets False there; remove it"),
        ({"zero_optimization": 2}, r"deepspeed.zero_optimization=2 contradicts mcdist"),
    ],
)
def test_what_is_said_against_ours_is_refused(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(raw)
