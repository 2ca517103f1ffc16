"""TrainingPlan: how long to train on how many views, for a number of photos and the minutes that a person has."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from mcdist.planning.costs import Costs, Estimate, estimate

CANDIDATES = (4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40)
"""Numbers of groups that training chooses from, each about a fifth more than the last."""

EPOCHS_MAX, EPOCHS_MIN = 60, 4
"""The loss of configs/photos.yaml hardly falls after twenty epochs; more are for who has the time, and four are the least that teach anything."""
VIEWS_MAX = 4
ZOOM_VIEWS_DEFAULT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """Settings of a training, as `mcdist train` knows them."""

    epochs: int = 20
    cached: int = 2
    zoom_views: int = ZOOM_VIEWS_DEFAULT
    num_groups: tuple[int, ...] = CANDIDATES
    choose_groups: bool = True
    """Whether training chooses among `num_groups`."""
    global_batch: int = 32
    num_lanes: int = 8

    @property
    def overrides(self) -> list[str]:
        """As `section.key=value`."""
        return [
            f"optim.epochs={self.epochs}",
            f"views.cached={self.cached}",
            f"groups.zoom_views={self.zoom_views}",
            f"groups.num_groups=[{','.join(map(str, self.num_groups))}]",
            f"groups.choose={str(self.choose_groups).lower()}",
            f"optim.global_batch={self.global_batch}",
            f"data.num_lanes={self.num_lanes}",
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "num_groups": list(self.num_groups)}


def plan_for(num_photos: int) -> TrainingPlan:
    """The settings of configs/photos.yaml, with a smaller batch where there are few photos."""
    batch = min(32, max(1, 2 ** ((num_photos // 2).bit_length() - 1))) if num_photos > 1 else 1
    return TrainingPlan(global_batch=batch, num_lanes=min(8, batch))


def fitted(costs: Costs, *, num_photos: int, num_workers: int, budget_s: float) -> TrainingPlan:
    """The longest training that fits: first as many epochs as fit with all views, then with fewer views. The shortest one where none fits."""
    usual = plan_for(num_photos)
    choices = [(usual.cached * 2, ZOOM_VIEWS_DEFAULT, usual.epochs * 2), (usual.cached, ZOOM_VIEWS_DEFAULT, usual.epochs // 2)]
    choices += [(1, 2, usual.epochs // 2), (1, 1, EPOCHS_MIN)]
    for cached, zoom_views, least_epochs in choices:
        plan = replace(usual, cached=cached, zoom_views=zoom_views, epochs=EPOCHS_MAX)
        most = _epochs_within(costs, plan=plan, num_photos=num_photos, num_workers=num_workers, budget_s=budget_s)
        if most >= least_epochs:
            return replace(plan, epochs=min(most, EPOCHS_MAX))
    return replace(usual, cached=1, zoom_views=1, epochs=EPOCHS_MIN)


def estimate_of(costs: Costs, *, plan: TrainingPlan, num_photos: int, num_workers: int) -> Estimate:
    """What the discovery takes with this training."""
    return estimate(costs, num_photos=num_photos, num_workers=num_workers, zoom_views=plan.zoom_views, cached=plan.cached, epochs=plan.epochs)


def _epochs_within(costs: Costs, *, plan: TrainingPlan, num_photos: int, num_workers: int, budget_s: float) -> int:
    without = estimate_of(costs, plan=replace(plan, epochs=0), num_photos=num_photos, num_workers=num_workers).total_s
    return int((budget_s - without) / max(num_photos * costs.step_s, 1e-9))
