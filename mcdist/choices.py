"""Choices: every setting that is one of a few names, declared once; the configuration and the components share these types.

No torch here: the configuration is read on login nodes. `require_choice` is the check for a library caller; mypy is the one for us.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Literal, get_args

from mcdist.errors import ConfigError

Device = Literal["auto", "cpu", "cuda"]
AllocatorChoice = Literal["auto", "system"]
WaitingChoice = Literal["auto", "system"]
FfcvCache = Literal["os", "process"]
Decode = Literal["exact", "scaled"]
BadSamples = Literal["error", "skip"]
Verify = Literal["never", "open"]
DecoderKind = Literal["deeplabv3", "linear", "separable"]
EmbeddingFrom = Literal["decoder", "backbone"]
Norm = Literal["batch", "sync", "shuffled", "group", "frozen"]
FinalNorm = Literal["last", "all", "none"]
PositionDebias = Literal["none", "mean", "svd"]
PixelStatistics = Literal["auto", "imagenet", "half", "clip", "satellite"]
MomentumBuffers = Literal["own", "copy"]
BankDtype = Literal["fp32", "bf16"]
CacheDtype = Literal["fp16", "fp32"]
Scope = Literal["global", "rank"]
Implementation = Literal["auto", "reference", "compact", "fused"]
OptimizerKind = Literal["sgd", "adamw"]
Schedule = Literal["poly", "cosine", "constant"]
Precision = Literal["fp32", "bf16", "fp16"]
EngineKind = Literal["ddp", "deepspeed"]
GradientExchange = Literal["auto", "allreduce", "bf16", "powersgd", "ordered"]
CompileMode = Literal["default", "reduce-overhead", "max-autotune"]
Objects = Literal["photo", "components"]
PredictedBy = Literal["saliency", "groups"]
KmeansMethod = Literal["faiss", "plus-plus"]
HeldOutScore = Literal["silhouette", "mean-embedding"]
BestBy = Literal["loss", "held_out"]
PhotoInput = Literal["plain", "leopart", "hummingbird", "capi", "stego"]
GraphSearch = Literal["auto", "exact", "approximate"]
GraphSymmetry = Literal["maximum", "mutual"]
GroupBalance = Literal["none", "sqrt", "inverse"]
ZoomBackground = Literal["keep", "grey"]
PatchFeature = Literal["keys", "tokens"]
ConsoleMode = Literal["auto", "off"]
MlflowMode = Literal["auto", "on", "off"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean 'demo'? `, to be put before the names that are known; empty where none is near."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"did you mean {near[0]!r}? " if near else ""


def require_choice(name: str, value: Any, *, choices: Any) -> None:
    """Raise ConfigError (a ValueError) unless `value` is one of the names of the Literal `choices`."""
    if value not in get_args(choices):
        raise ConfigError(f"{name} must be one of {', '.join(get_args(choices))}, got {value!r}")
