"""DeepSpeed's settings from ours. What the `deepspeed` section adds is merged in; what contradicts ours is an error."""

from typing import Any

from mcdist.choices import GradientExchange, require_choice
from mcdist.errors import ConfigError

OURS: dict[str, str] = {
    "optimizer": "optim.optimizer, lr, weight_decay",
    "scheduler": "optim.schedule",
    "fp16": "optim.precision",
    "bf16": "optim.precision",
    "amp": "optim.precision",
    "torch_autocast": "optim.precision",
    "gradient_clipping": "optim.clip_grad_norm",
    "train_batch_size": "optim.global_batch",
    "train_micro_batch_size_per_gpu": "optim.micro_batch",
    "gradient_accumulation_steps": "optim.accumulation_steps",
    "communication_data_type": "optim.gradient_exchange",
    "activation_checkpointing": "model.recompute",
    "zero_optimization.stage": "optim.zero_stage",
    "zero_optimization.offload_optimizer": "optim.offload_optimizer",
    "zero_optimization.reduce_bucket_size": "optim.bucket_mib",
    "zero_optimization.allgather_bucket_size": "optim.bucket_mib",
}
"""DeepSpeed's keys that follow from a setting of ours, and that setting."""

FLOAT_BYTES = 4


def deepspeed_settings(
    *, zero_stage: int, offload_optimizer: bool, bucket_mib: float, gradient_exchange: GradientExchange, micro_batch: int, pin_memory: bool, raw: dict[str, Any]
) -> dict[str, Any]:
    """The whole dictionary for `deepspeed.initialize`. `raw` is the configuration's `deepspeed` section.

    The engine itself does precision, clipping, accumulation, learning rate and optimizer, so they are switched off in DeepSpeed.

    Raises:
        ConfigError: `raw` contradicts one of our settings, or `gradient_exchange` is an unknown name.
    """
    require_choice("optim.gradient_exchange", gradient_exchange, choices=GradientExchange)
    bucket = int(bucket_mib * 2**20) // FLOAT_BYTES // 2 * 2  # DeepSpeed needs an even number of elements
    ours: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 0.0,
        "fp16": {"enabled": False},
        "bf16": {"enabled": False},
        "communication_data_type": "bf16" if gradient_exchange == "bf16" else "fp32",
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": {"stage": zero_stage, "reduce_bucket_size": bucket, "allgather_bucket_size": bucket},
    }
    if offload_optimizer:
        ours["zero_optimization"]["offload_optimizer"] = {"device": "cpu", "pin_memory": pin_memory}
    return _merged(ours, raw, prefix="")


def _merged(ours: dict[str, Any], raw: dict[str, Any], *, prefix: str) -> dict[str, Any]:
    merged = dict(ours)
    for key, value in raw.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, dict) and isinstance(ours.get(key), dict) and dotted not in OURS:
            merged[key] = _merged(ours[key], value, prefix=f"{dotted}.")
        elif dotted in OURS or (key in ours and ours[key] != value):
            own = f"{ours[key]!r}" if key in ours else "nothing"
            raise ConfigError(
                f"deepspeed.{dotted}={value!r} contradicts mcdist, which sets {own} there; remove it" + (f" and set {OURS[dotted]}" if dotted in OURS else "")
            )
        else:
            merged[key] = value
    return merged
