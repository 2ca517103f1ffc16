"""Recent: a bounded map that forgets what was used longest ago, and closes what it forgets."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """At most `limit` of the sum of `cost(value)`, and at least the newest value. Pickled, it is empty: what is open stays with its process."""

    def __init__(self, limit: int, *, cost: Callable[[Value], int], close: Callable[[Value], None]) -> None:
        self.limit, self._cost, self._close = limit, cost, close
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self.total = 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Key, *, make: Callable[[], Value]) -> Value:
        """The value of `key`, made where it is not held."""
        if key not in self._values:
            value = make()
            self.total += self._cost(value)
            self._values[key] = value
            while self.total > self.limit and len(self._values) > 1:
                self._forget()
        self._values.move_to_end(key)
        return self._values[key]

    def clear(self) -> None:
        """Forget and close everything."""
        while self._values:
            self._forget()

    def _forget(self) -> None:
        _, value = self._values.popitem(last=False)
        self.total -= self._cost(value)
        self._close(value)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_values": OrderedDict(), "total": 0}
