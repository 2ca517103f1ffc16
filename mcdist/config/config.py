"""Config: all settings of a run, and what holds between its sections."""

from dataclasses import dataclass, field
from typing import Any

from mcdist.config.checks import require
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

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of a run."""

    schema_version: int = SCHEMA_VERSION
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    views: ViewsConfig = field(default_factory=ViewsConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    groups: GroupsConfig = field(default_factory=GroupsConfig)
    ops: OpsConfig = field(default_factory=OpsConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    deepspeed: dict[str, Any] = field(default_factory=dict)
    """Efficiency. DeepSpeed's own settings by its own keys, beside those that follow from ours; one that contradicts them is an error."""

    def __post_init__(self) -> None:
        require(
            self.schema_version == SCHEMA_VERSION,
            f"schema_version must be {SCHEMA_VERSION}, which this mcdist reads, got {self.schema_version}; write the file anew from configs/",
        )
        require(
            not self.deepspeed or self.optim.engine == "deepspeed",
            f"the section deepspeed ({', '.join(self.deepspeed)}) needs optim.engine=deepspeed, got {self.optim.engine}; remove the section or set the engine",
        )
        self._check_groups()
        self._check_held_out()
        require(not (self.model.recompute and self.optim.compile), "model.recompute=true needs optim.compile=false, got true")
        require(
            not (self.views.cached and self.model.recompute),
            f"views.cached={self.views.cached} needs model.recompute=false, got true: a step runs no backbone whose activations could be computed again",
        )
        require(
            not self.views.cached or self.model.trainable_from > 0,
            f"views.cached={self.views.cached} needs a backbone that does not train: model.trainable_from must be the number of its blocks "
            f"(5 for a CNN), got {self.model.trainable_from}",
        )
        batch, pieces = self.optim.global_batch, self.optim.accumulation_steps
        require(batch % pieces == 0, f"optim.global_batch {batch} is not divisible by optim.accumulation_steps {pieces}")
        require(
            batch % self.data.num_lanes == 0,
            f"data.num_lanes must divide optim.global_batch {batch}, got {self.data.num_lanes}; "
            f"use one of {[n for n in range(1, min(batch, 1024) + 1) if batch % n == 0]}",
        )

    def _check_held_out(self) -> None:
        every = self.evaluate.every
        require(not every or bool(self.data.val), f"evaluate.every={every} needs photos that the training does not see: set data.val, got none")
        require(not every or self.data.val != self.data.train, f"evaluate.every={every} needs photos that the training does not see, data.val is data.train")
        require(
            not every or self.evaluate.every_by != "mean-embedding" or bool(self.evaluate.classes),
            "evaluate.every_by=mean-embedding needs evaluate.classes, got none; name the classes, or use every_by=silhouette, which reads no label",
        )
        require(self.checkpoint.best_by != "held_out" or every > 0, "checkpoint.best_by=held_out needs evaluate.every > 0, got 0")

    def _check_groups(self) -> None:
        weights = {f"loss.{name}": getattr(self.loss, name) for name in ("group_weight", "group_contrast_weight")}
        for name, weight in weights.items():
            require(
                not weight or bool(self.groups.num_groups), f"{name}={weight:g} needs groups.num_groups, such as [25], got none; set it, or the weight to 0"
            )
        require(
            not self.groups.num_groups or any(weights.values()),
            f"groups.num_groups={self.groups.num_groups} needs {' or '.join(weights)} > 0, got 0 for both: no term would use the groups",
        )
