"""How often to save, and what is left of the time: Young 1974 and Daly 2006. Pure functions; all times in seconds.

A machine of n parts that each fail every M0 on average fails every M = M0 / n. A save holds training up for C; a failure costs the restart R and, on
average, half an interval of work. With an interval t the share of time lost is about C / t + (t / 2 + R) / M, least at t = sqrt(2 C M).
"""

import math


def mean_time_between_failures_s(*, part_mtbf_s: float, num_parts: int) -> float:
    """Of the whole job, where any part's failure stops it."""
    return part_mtbf_s / num_parts


def young_interval_s(*, save_s: float, mtbf_s: float) -> float:
    """sqrt(2 C M)."""
    return math.sqrt(2 * save_s * mtbf_s)


def daly_interval_s(*, save_s: float, mtbf_s: float) -> float:
    """Young's with Daly's correction for saves that are not short beside M; M itself beyond C = 2 M, where nothing helps."""
    if save_s >= 2 * mtbf_s:
        return mtbf_s
    ratio = math.sqrt(save_s / (2 * mtbf_s))
    return math.sqrt(2 * save_s * mtbf_s) * (1 + ratio / 3 + ratio * ratio / 9) - save_s


def goodput(*, interval_s: float, save_s: float, restart_s: float, mtbf_s: float) -> float:
    """Share of the time that trains, by Daly's complete model: failures may also strike while saving and restarting.

    A job that needs W of work takes M exp(R / M) (exp((t + C) / M) - 1) W / t.
    """
    exponent = (interval_s + save_s) / mtbf_s
    if exponent > 500:
        return 0.0
    return interval_s / (mtbf_s * math.exp(restart_s / mtbf_s) * math.expm1(exponent))
