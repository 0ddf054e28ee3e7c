"""Signals that end a program, while something must be put back first."""

import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """A context in which the first signal to end is an exception, and later ones wait.

    SIGINT becomes KeyboardInterrupt, SIGTERM and SIGHUP become SystemExit with the status that a
    shell expects. While the first one is acted upon, or after :meth:`hold`, nothing interrupts;
    what came too late is delivered when the context is left. Outside the main thread, where no
    signal arrives, it does nothing. A signal that was ignored before stays ignored.
    """

    def __init__(self) -> None:
        self._held = False
        self.late: int | None = None
        """The last signal that waits."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in ENDING:
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):
                    self._before[number] = before
                    signal.signal(number, self._handle)
        return self

    def hold(self) -> None:
        """From now on signals wait."""
        self._held = True

    def take(self) -> int | None:
        """The signal that waits, if one does, which is then dealt with."""
        late, self.late = self.late, None
        return late

    def __exit__(
        self, kind: type[BaseException] | None, _error: object, _where: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        if self.late is not None and kind is None:
            os.kill(os.getpid(), self.late)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._held:
            self.late = number
            return
        self._held = True
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)


@contextmanager
def forking() -> Iterator[None]:
    """For a fork and the note of how to end it: a signal in between would leave an orphan."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        with warnings.catch_warnings():
            # Python warns of locks that other threads may hold. The children need none of theirs.
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
