"""Another process that puts things back, if this one is killed before it could."""

import gc
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sharesim.live.signals import ENDING, forking

_DONE = b"+"


@contextmanager
def guarded(put_back: Callable[[], None]) -> Iterator[None]:
    """Inside, ``put_back`` is called by a process forked for that, should this one vanish.

    Not even SIGKILL stops that, unless it is sent to that process too.
    """
    watched, held = os.pipe()
    with forking():
        guardian = os.fork()
        if not guardian:
            _watch(watched, held, put_back)
    os.close(watched)
    try:
        yield
    finally:
        with suppress(BrokenPipeError):
            os.write(held, _DONE)
        os.close(held)
        os.waitpid(guardian, 0)


def _watch(watched: int, held: int, put_back: Callable[[], None]) -> None:
    """All that the guardian does; never returns.

    The pipe ends without a word when the last of those that hold it is gone: the process that was
    guarded, and all that it forked.
    """
    try:
        os.setsid()  # out of reach of signals to the whole group
        for number in (*ENDING, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        gc.disable()
        os.close(held)
        if os.read(watched, 1) != _DONE:
            put_back()
    finally:
        os._exit(0)
