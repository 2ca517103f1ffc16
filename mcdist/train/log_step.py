"""What a log step records: means over the interval and all ranks, and the run's counters."""

import math

from mcdist.records import Record
from mcdist.train.interval import Interval
from mcdist.train.monitor import spread_of_predictions
from mcdist.train.state import TrainState

ACCURACIES = {
    "accuracy_percent": ("contrast/correct", "contrast/num_pixels"),
    "groups/accuracy_percent": ("group/correct", "group/num_cells"),
    "groups/contrast_accuracy_percent": ("group_contrast/correct", "group_contrast/num_pixels"),
}
"""Record -> (what was picked rightly, of how many), as terms count it."""


def records_of(
    totals: dict[str, float],
    *,
    interval: Interval,
    state: TrainState,
    lr: float,
    num_shares: int,
    global_batch: int,
    num_samples: int,
) -> list[Record]:
    """Records of `interval.read`'s totals. Means are over the steps that were not skipped, NaN where there is none.

    `num_shares`: how many ranks' losses are means of their own, so that the whole is their mean: 1 where they are shares that add up.
    """
    num_ranks, num_steps, took_s = state.world.num_ranks, interval.num_steps, interval.took_s
    num_finite = totals["finite"] / num_ranks
    mean = {name: total / num_finite if num_finite else math.nan for name, total in totals.items()}
    values = {
        **{name: (value / num_shares, "") for name, value in mean.items() if name == "loss" or name.startswith("loss/")},
        **_accuracies(totals, is_measured=bool(num_finite)),
        "lr": (lr, ""),
        "grad_norm": (mean["grad_norm"] / num_ranks, ""),
        "epoch": (state.samples_consumed / num_samples, ""),
        "images_per_s": (num_steps * global_batch / took_s, "1/s"),
        "step_time_s": (took_s / num_steps, "s"),
        "data_wait_percent": (100 * interval.wait_s / took_s, "%"),
        "monitor/saliency_coverage_percent": (100 * mean["coverage"] / num_ranks, "%"),
        "monitor/embedding_rank": (totals["embedding_rank"], ""),
        "monitor/prototype_similarity": (totals["prototype_similarity"], ""),
    }
    if interval.predicted:
        entropy, largest_share = spread_of_predictions(interval.predicted) if num_finite else (math.nan, math.nan)
        values |= {"groups/entropy": (entropy, ""), "groups/largest_share": (largest_share, "")}
    if state.bank.size:
        values |= {
            "monitor/bank_fill_percent": (totals["bank_fill_percent"], "%"),
            "monitor/bank_age_mean_steps": (totals["bank_age_mean_steps"], ""),
            "monitor/bank_age_max_steps": (totals["bank_age_max_steps"], ""),
        }
    values["page_faults_per_step"] = (totals["page_faults_per_step"], "")
    values |= {name: (peak, "GiB") for name, peak in totals.items() if name.startswith("memory_")}
    values |= {f"count/{name}": (float(number), "") for name, number in state.counters.items()}
    return [Record(state.step, name, value, unit) for name, (value, unit) in values.items()]


def _accuracies(totals: dict[str, float], *, is_measured: bool) -> dict[str, tuple[float, str]]:
    """Of the terms that the run has; NaN where no step was taken."""
    return {
        name: (100 * totals[correct] / max(totals[of], 1.0) if is_measured else math.nan, "%")
        for name, (correct, of) in ACCURACIES.items()
        if correct in totals
    }
