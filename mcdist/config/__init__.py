"""Config: every setting and its default, once, a section a file. No torch here: a login node reads it in a blink.

A section says what its settings may change: science (the result), efficiency (only speed and memory), orchestration (only where things
happen). `file` reads and writes them, `keys` lists them, `science` compares two runs' settings.
"""

from mcdist.config.checkpoint import CheckpointConfig
from mcdist.config.config import SCHEMA_VERSION, Config
from mcdist.config.data import DataConfig
from mcdist.config.evaluate import EvaluateConfig
from mcdist.config.loss import LossConfig
from mcdist.config.model import ModelConfig
from mcdist.config.ops import OpsConfig
from mcdist.config.optim import OptimConfig
from mcdist.config.report import ReportConfig
from mcdist.config.run import RunConfig
from mcdist.config.views import ViewsConfig

__all__ = [
    "SCHEMA_VERSION",
    "CheckpointConfig",
    "Config",
    "DataConfig",
    "EvaluateConfig",
    "LossConfig",
    "ModelConfig",
    "OpsConfig",
    "OptimConfig",
    "ReportConfig",
    "RunConfig",
    "ViewsConfig",
]
