"""StopWish: signals become a wish that the loop asks about between two steps. Which signal came decides the exit code.

| signal | from | exit code |
|---|---|---|
| SIGUSR1, SIGUSR2 | the cluster's notice: time limit near, or preempted | 75: saved, start me again |
| SIGTERM | scancel, kill | 143: saved; never asks to be started again |
| SIGINT | Ctrl-C; a second one leaves at once | 130 |

If several came the upper row of the table holds, in whatever order. A cluster signals every process of a job step, not only the one that it
started, and from its first instruction on. So `listen` blocks these signals for the whole process before anything slow is imported, and a
thread waits for them: no system call is ever interrupted, and every child (the data workers' server, a compiler) inherits the deafness.
"""

import _thread
import multiprocessing
import os
import signal
import threading
import time
from types import FrameType

from mcdist.errors import REQUEUE

NOTICES = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)
"""Weightiest first."""
LEAVE_WITHIN_S = 5.0
"""A second Ctrl-C unwinds the process; if it is still alive after so many seconds (a collective hangs), it is ended."""


class StopWish:
    """Context manager around a run. `signal_number` is 0 until a signal came; those that came before, since `listen`, count."""

    def __init__(self) -> None:
        self.signal_number = 0
        self._before: dict[int, object] = {}

    def __call__(self) -> bool:
        """Whether to stop after this step."""
        return self.signal_number != 0

    @property
    def exit_code(self) -> int:
        """75 for a cluster's notice; else 128 + the signal, as shells have it; 0 where none came."""
        if self.signal_number in (signal.SIGUSR1, signal.SIGUSR2):
            return REQUEUE
        return 128 + self.signal_number if self.signal_number else 0

    def note(self, number: int) -> None:
        """A signal came; KeyboardInterrupt at the second Ctrl-C."""
        again = number == signal.SIGINT and number in _received
        _received.append(number)
        self.signal_number = min(_received, key=NOTICES.index)
        if again:
            raise KeyboardInterrupt
        if number == signal.SIGINT and os.environ.get("RANK", "0") == "0":
            os.write(2, b"mcdist: finishing and saving what is being done, then leaving; Ctrl-C again leaves at once\n")

    def __enter__(self) -> "StopWish":
        global _wish
        _wish = self
        if _received:
            self.signal_number = min(_received, key=NOTICES.index)
        if not is_listening():
            self._before = {number: signal.signal(number, _handle) for number in NOTICES}
        return self

    def __exit__(self, *exception: object) -> None:
        """Handlers go back to what they were; where `listen` was called, signals are noted to the process's end and do it no harm."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if self._before:
            _received.clear()


_received: list[int] = []
_wish = StopWish()
_listener: threading.Thread | None = None


def listen() -> None:
    """From here to its end this process notes signals, and its children are deaf to them. Call it before anything is imported that starts threads."""
    global _listener
    if is_listening():
        return
    block()
    for number in NOTICES:
        signal.signal(number, _handle)
    _listener = threading.Thread(target=_listen, name="signals", daemon=True)
    _listener.start()


def is_listening() -> bool:
    """Whether `listen` was called."""
    return _listener is not None


def block() -> None:
    """Block the signals in this thread, and so in every child and thread it starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, NOTICES)


def serve_only_parent() -> None:
    """For a data worker: the cluster's signals are its parent's to answer. A SIGTERM from the parent itself still ends it, and so does the parent's end.

    Else a parent that is killed would leave workers and their server behind for ever, since each of the two lives as long as the other.
    """
    from mcdist.machine.processes import end_with_parent  # here, since nothing slow may be imported before `listen`

    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    end_with_parent()
    if signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        threading.Thread(target=_end_when_told, args=(parent.pid,), name="signals", daemon=True).start()


def _handle(number: int, frame: FrameType | None) -> None:
    _wish.note(number)


def _listen() -> None:
    num_interrupts = 0
    while True:
        number = signal.sigwait(NOTICES)
        if number != signal.SIGINT:
            _wish.note(number)
            continue
        num_interrupts += 1
        _thread.interrupt_main()  # the handler runs in the main thread, where a second one can raise
        if num_interrupts > 1:
            time.sleep(LEAVE_WITHIN_S)
            os._exit(128 + signal.SIGINT)


def _end_when_told(parent_pid: int) -> None:
    while signal.sigwaitinfo((signal.SIGTERM,)).si_pid != parent_pid:
        pass
    os._exit(128 + signal.SIGTERM)
