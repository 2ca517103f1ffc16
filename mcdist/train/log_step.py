"""What a log step records: means over the interval and all ranks, and the run's counters."""

import math

from mcdist.records import Record
from mcdist.train.interval import Interval
from mcdist.train.state import TrainState


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
    correct_share = totals["contrast/correct"] / max(totals["contrast/num_pixels"], 1.0) if num_finite else math.nan
    values = {
        **{name: (value / num_shares, "") for name, value in mean.items() if name == "loss" or name.startswith("loss/")},
        "accuracy_percent": (100 * correct_share, "%"),
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
