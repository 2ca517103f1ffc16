"""FetchAhead: a thread that fetches the shards that training needs next, while it trains. The order knows which."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from mcdist.errors import McdistError


class FetchAhead:
    """Stays at most `ahead` micro-batches before the last one handed out.

    `upcoming`: for each micro-batch of the run, the shards it reads. `fetch` of a shard that is there already is cheap. What it cannot
    fetch the worker that needs it fetches itself, and raises.
    """

    def __init__(self, upcoming: Iterator[Sequence[int]], *, ahead: int, fetch: Callable[[int], None]) -> None:
        self._upcoming, self._ahead, self._fetch = upcoming, ahead, fetch
        self._moved = threading.Condition()
        self._position, self._stopped = 0, False
        self._thread = threading.Thread(target=self._run, name="fetch-ahead", daemon=True)

    def start(self) -> None:
        """Begin with the first `ahead` micro-batches."""
        self._thread.start()

    def advance(self) -> None:
        """One more micro-batch was handed out."""
        with self._moved:
            self._position += 1
            self._moved.notify()

    def stop(self) -> None:
        """End after the fetch under way; waits for it a few seconds at most."""
        with self._moved:
            self._stopped = True
            self._moved.notify()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        last: dict[int, int] = {}
        for place, shards in enumerate(self._upcoming):
            with self._moved:
                self._moved.wait_for(lambda place=place: self._stopped or place < self._position + self._ahead)  # type: ignore[misc]
            for shard in shards:
                if self._stopped:
                    return
                if place - last.get(shard, -self._ahead) >= self._ahead:
                    last[shard] = place
                    self._try(shard)

    def _try(self, shard: int) -> None:
        with suppress(McdistError):  # reported by the worker that needs this shard
            self._fetch(shard)
