"""StopWish: Ctrl-C and SIGTERM become a wish that the loop asks about between two steps; a second Ctrl-C ends at once."""

import signal
from types import FrameType


class StopWish:
    """Context manager around training. `signal_number` is 0 until a signal came."""

    def __init__(self) -> None:
        self.signal_number = 0
        self._before: dict[int, object] = {}

    def __call__(self) -> bool:
        """Whether to stop after this step."""
        return self.signal_number != 0

    @property
    def exit_code(self) -> int:
        """128 + the signal, as shells have it: 130 for Ctrl-C, 143 for SIGTERM; 0 where none came."""
        return 128 + self.signal_number if self.signal_number else 0

    def __enter__(self) -> "StopWish":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.signal_number = number
