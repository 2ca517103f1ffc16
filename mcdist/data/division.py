"""Division: how many micro-batches a rank's share of the global batch is cut into, whatever the number of ranks."""

from mcdist.errors import ConfigError


def num_micro_batches(*, global_batch: int, micro_batch: int, accumulation_steps: int, num_lanes: int, num_ranks: int) -> int:
    """Micro-batches a step: `accumulation_steps`, or with `micro_batch` as many as hold that many photos each, 1 where the share is smaller.

    So a run continues on another number of ranks, and a rank never holds more photos at a time than before.

    Raises:
        ConfigError: the ranks cannot share the batch equally, or their share is no multiple of `micro_batch`; the message lists what can.
    """
    if not micro_batch:
        return accumulation_steps
    ranks_that_share = [ranks for ranks in range(1, num_lanes + 1) if num_lanes % ranks == 0 and global_batch % ranks == 0]
    if num_ranks not in ranks_that_share:
        raise ConfigError(
            f"{num_ranks} ranks cannot share {num_lanes} lanes (data.num_lanes) and {global_batch} photos (optim.global_batch) equally; "
            f"numbers of ranks that can: {_listed(ranks_that_share)}"
        )
    share = global_batch // num_ranks
    if share <= micro_batch:
        return 1
    if share % micro_batch:
        fitting = [ranks for ranks in ranks_that_share if global_batch // ranks % micro_batch == 0 or global_batch // ranks <= micro_batch]
        raise ConfigError(
            f"the {share} photos of each of {num_ranks} ranks (optim.global_batch {global_batch}) are no multiple of optim.micro_batch {micro_batch}; "
            f"numbers of ranks that fit: {_listed(fitting)}; optim.micro_batch that fits {num_ranks} ranks: "
            f"{_listed([size for size in range(1, share + 1) if share % size == 0])}"
        )
    return share // micro_batch


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"
