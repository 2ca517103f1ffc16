"""`mcdist train` that writes down the samples of every step, and stops by itself: python watched_train.py SEEN STOP_AFTER CONFIG OVERRIDES...

Run under torchrun. Rank 1 alone wants to stop; that all ranks leave after the same step is the trainer's doing.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mcdist import build, run
from mcdist.config.file import load_config
from mcdist.data.batch import Batch

RANK = int(os.environ["RANK"])


class WatchedLoader:
    """Passes the loader's batches on and writes their sample indices to a file of this rank."""

    def __init__(self, loader: Any, *, path: Path) -> None:
        self.loader, self.path = loader, path

    def __iter__(self) -> Iterator[Batch]:
        with self.path.open("a") as file:
            for batch in self.loader:
                file.write(json.dumps(batch.indices.tolist()) + "\n")
                file.flush()
                yield batch  # the trainer asks for a batch when it is about to train on it


class Wish(run.StopWish):
    """A notice that comes to rank 1 before step `stop_after`."""

    asked, stop_after = 0, 0

    def __call__(self) -> bool:
        Wish.asked += 1
        self.signal_number = 15 if RANK == 1 and Wish.asked >= Wish.stop_after else 0
        return bool(self.signal_number)


def main() -> int:
    seen, stop_after, config, *overrides = sys.argv[1:]
    Wish.stop_after = int(stop_after)
    make = build.build_batches

    def watched(*arguments: Any, **options: Any) -> WatchedLoader:
        return WatchedLoader(make(*arguments, **options), path=Path(f"{seen}.{RANK}"))

    with patch.object(run, "StopWish", Wish), patch.object(build, "build_batches", watched):
        return run.train_run(load_config(Path(config), overrides=overrides))


if __name__ == "__main__":
    code = main()
    assert code in (0, 143), code
