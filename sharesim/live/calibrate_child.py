"""Another process to measure with: a fork that does one thing until it is told to end."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def child(work: Callable[[int, int], object]) -> Iterator[tuple[int, int]]:
    """A fork that does ``work(into, out)``, given the ends of two pipes, and then is gone.

    Gives the parent's ends (into, out). What the child reads ends when the parent leaves or dies,
    and so must its work. Whatever happens there, the child never returns to what the parent does.
    """
    to_parent, to_child = os.pipe(), os.pipe()
    number = os.fork()
    if number == 0:
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
            os.close(to_parent[0])
            os.close(to_child[1])
            work(to_child[0], to_parent[1])
        finally:
            os._exit(0)
    os.close(to_parent[1])
    os.close(to_child[0])
    try:
        yield to_parent[0], to_child[1]
    finally:
        os.close(to_child[1])
        os.close(to_parent[0])
        os.waitpid(number, 0)


def sleep_until_told(into: int, _out: int) -> None:
    """Work of a child that only has to be there."""
    os.read(into, 1)
