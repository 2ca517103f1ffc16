"""Schedule: how many steps, at which rate, and which photos each of them sees, over all ranks. Pure functions of the step."""

from collections.abc import Iterator
from dataclasses import dataclass

from mcdist.data.order import Request, micro_batches
from mcdist.errors import ConfigError
from mcdist.finetune.settings import TuneSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`epoch_steps`: steps of an epoch, after which the photos that are left fill no batch and are dropped; 0 where batches are filled across epochs.

    `drop_at`: the first step with the lower rate.
    """

    num_photos: int
    batch: int
    num_steps: int
    drop_at: int
    lr: float
    lr_drop: float
    epoch_steps: int = 0

    def lr_at(self, step: int) -> float:
        """The learning rate of the step after `step` steps."""
        return self.lr * (self.lr_drop if step >= self.drop_at else 1.0)

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch is over after `step` steps."""
        return self.epoch_steps > 0 and step % self.epoch_steps == 0

    def requests(self, *, seed: int, after_step: int, rank: int, num_ranks: int) -> Iterator[list[Request]]:
        """The photos of each later step that are this rank's. Every photo once an epoch, and the same batches whatever the number of ranks.

        Raises:
            ConfigError: the ranks cannot share a batch equally.
        """
        while after_step < self.num_steps:
            epoch, within = divmod(after_step, self.epoch_steps) if self.epoch_steps else (0, after_step)
            num_steps = self.epoch_steps - within if self.epoch_steps else self.num_steps - after_step
            yield from micro_batches(
                seed=seed,
                num_samples=self.num_photos,
                block=1,
                num_lanes=self.batch,
                global_batch=self.batch,
                accumulation_steps=1,
                rank=rank,
                num_ranks=num_ranks,
                consumed=epoch * self.num_photos + within * self.batch,
                num_steps=num_steps,
            )
            after_step += num_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """`Schedule.requests` with a length, as DataLoader needs it."""

    schedule: Schedule
    seed: int
    after_step: int
    rank: int
    num_ranks: int

    def __len__(self) -> int:
        return self.schedule.num_steps - self.after_step

    def __iter__(self) -> Iterator[list[Request]]:
        return self.schedule.requests(seed=self.seed, after_step=self.after_step, rank=self.rank, num_ranks=self.num_ranks)


def check_ranks(settings: TuneSettings, *, num_ranks: int) -> None:
    """Raise ConfigError where the ranks cannot share a batch equally."""
    if settings.batch % num_ranks:
        raise ConfigError(
            f"{num_ranks} ranks cannot share a batch of {settings.batch} photos equally; use a number of ranks that divides it, or another --batch"
        )


def epochs_schedule(settings: TuneSettings, *, num_photos: int) -> Schedule:
    """Epochs whose last, incomplete batch is dropped.

    Raises:
        ConfigError: fewer photos than a batch: every batch would be dropped.
    """
    epoch_steps = num_photos // settings.batch
    if not epoch_steps:
        raise ConfigError(
            f"the linear protocol drops an epoch's last, incomplete batch, so it needs at least the {settings.batch} labelled photos of a batch, got "
            f"{num_photos}; name more with --train-shards, or set a smaller --batch"
        )
    return Schedule(
        num_photos=num_photos,
        batch=settings.batch,
        num_steps=settings.num_epochs * epoch_steps,
        drop_at=settings.drop_after * epoch_steps,
        lr=settings.lr,
        lr_drop=settings.lr_drop,
        epoch_steps=epoch_steps,
    )


def steps_schedule(settings: TuneSettings, *, num_photos: int, num_photos_of_all: int) -> Schedule:
    """As many steps for a subset as for all photos. Where the subset is smaller than a batch, a photo is in a batch more than once, augmented otherwise."""
    num_steps = settings.num_steps or settings.num_epochs * max(1, num_photos_of_all // settings.batch)
    return Schedule(
        num_photos=num_photos,
        batch=settings.batch,
        num_steps=num_steps,
        drop_at=round(num_steps * settings.drop_after / settings.num_epochs),
        lr=settings.lr,
        lr_drop=settings.lr_drop,
    )
