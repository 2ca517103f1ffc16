"""ImageProgress: how many photos, or views of them, went through an encoder, on the console of the command."""

import time

from mcdist.records import Record
from mcdist.report.console import Console

PROGRESS_EVERY_S = 5.0
"""Between two plain lines of progress; a terminal is redrawn after each batch."""


class ImageProgress:
    """Shows the images done on the console: after each batch on a terminal, every few seconds elsewhere."""

    def __init__(self, console: Console, *, total: int, num_ranks: int) -> None:
        """`total`: images over all ranks, which are assumed to be equally far."""
        self.console, self.total, self.num_ranks = console, total, num_ranks
        self.began_s = self.last_s = time.perf_counter()

    def __call__(self, num_done: int, num_images: int) -> None:
        """`num_done` of the `num_images` of this rank are done."""
        now_s = time.perf_counter()
        if self.console.is_live or now_s - self.last_s >= PROGRESS_EVERY_S or num_done == num_images:
            self.last_s = now_s
            speed = self.num_ranks * num_done / max(now_s - self.began_s, 1e-9)
            self.console.update([Record(round(self.total * num_done / num_images), "images_per_s", speed, "1/s")])
