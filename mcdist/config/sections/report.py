"""Section `report`: what is logged, and where."""

from dataclasses import dataclass

from mcdist.choices import ConsoleMode, MlflowMode
from mcdist.config.checks import at_least, check_fields


@dataclass(frozen=True, slots=True)
class ReportConfig:
    """Orchestration: how often a run logs, and where."""

    log_every_steps: int = 10
    console: ConsoleMode = "auto"
    """auto (rich on a terminal, lines elsewhere) | off."""
    mlflow: MlflowMode = "auto"
    """auto (where mlflow is installed) | on | off."""
    mlflow_uri: str = ""
    """Tracking URI; empty: sqlite in the run folder."""
    mlflow_experiment: str = "mcdist"

    def __post_init__(self) -> None:
        check_fields(self, section="report")
        at_least("report.log_every_steps", self.log_every_steps, 1)
