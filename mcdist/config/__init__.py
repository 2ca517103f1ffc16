"""Config: every setting and its default, once, a section a file. No torch here: a login node reads it in a blink.

A section says what its settings may change: science (the result), efficiency (only speed and memory), orchestration (only where things
happen). `file` reads and writes them, `keys` lists them, `science` compares two runs' settings.
"""

from mcdist.config.config import SCHEMA_VERSION, Config
from mcdist.config.sections.checkpoint import CheckpointConfig
from mcdist.config.sections.data import DataConfig
from mcdist.config.sections.evaluate import EvaluateConfig
from mcdist.config.sections.groups import GroupsConfig
from mcdist.config.sections.loss import LossConfig
from mcdist.config.sections.model import ModelConfig
from mcdist.config.sections.ops import OpsConfig
from mcdist.config.sections.optim import OptimConfig
from mcdist.config.sections.report import ReportConfig
from mcdist.config.sections.run import RunConfig
from mcdist.config.sections.views import ViewsConfig

__all__ = [
    "SCHEMA_VERSION",
    "CheckpointConfig",
    "Config",
    "DataConfig",
    "EvaluateConfig",
    "GroupsConfig",
    "LossConfig",
    "ModelConfig",
    "OpsConfig",
    "OptimConfig",
    "ReportConfig",
    "RunConfig",
    "ViewsConfig",
]
