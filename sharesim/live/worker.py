"""A closed-loop worker of an overhead case: a process that accesses real memory and computes.

The parent holds a :class:`LiveWorker`; the child, forked from it, fills its memory, registers it
with KSM and then makes operations until it is told to rest or killed. It counts them in memory that
both see. It dies with its parent whatever becomes of that.
"""

import mmap
import os
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np

from sharesim.content.ksm_case import content_ids
from sharesim.content.mixing import mix64, wrapping
from sharesim.content.overhead_case import Worker
from sharesim.errors import UserError
from sharesim.kernel import Number, njit
from sharesim.live.guest import ADVICE, settle_in, shared_int64
from sharesim.live.signals import forking
from sharesim.spec.units import PAGE_BYTES

WORDS = PAGE_BYTES // 8
LINE_WORDS = 8
"""Of a cache line: an access goes to the first 8 bytes of one."""
STINT_NS = 1_000_000
"""A worker looks at what it is told, and tells how far it is, about this often."""
PATIENCE_S = 60.0
"""How long filling its memory may take."""
_NO_HUGE_PAGES = 15

OPERATIONS, ORDER, STATE = range(3)
REST, WORK = 0, 1
FILLED, FAILED = 1, 2

_HALF = np.uint64(32)
_WRITE_BITS = 24
HIDDEN = np.array([6364136223846793005, 1442695040888963407, 0], np.uint64)
"""Multiplier, increment and nothing: the compiler must not know them. It would put many
multiply-adds into one, and leave writes out that change nothing."""


@njit
@wrapping
def operate(
    words: np.ndarray,
    seed: Number,
    first: Number,
    count: Number,
    plan: np.ndarray,
    hidden: np.ndarray,
) -> Number:
    """Operations ``first .. first + count - 1``; returns what they computed, for it to be needed.

    ``plan`` is that of :func:`plan_of`, ``hidden`` are HIDDEN.
    """
    multiplier, increment, nothing = hidden[0], hidden[1], hidden[2]
    a_first, a_pages, a_share = np.int64(plan[0]), np.uint64(plan[1]), np.int64(plan[2])
    b_first, b_pages, writes = np.int64(plan[3]), np.uint64(plan[4]), np.int64(plan[5])
    multiplications = np.int64(plan[6])
    low = np.uint64((1 << _WRITE_BITS) - 1)
    value = np.uint64(1)
    for number in range(first, first + count):
        draw = mix64(np.uint64(seed) + np.uint64(number))
        again = mix64(draw)
        if np.int64(again & low) < a_share:
            page = a_first + np.int64(((draw >> _HALF) * a_pages) >> _HALF)
        else:
            page = b_first + np.int64(((draw >> _HALF) * b_pages) >> _HALF)
        line = np.int64((again >> np.uint64(58)) & np.uint64(63))
        at = page * WORDS + line * LINE_WORDS
        found = np.uint64(words[at])
        if np.int64(draw & low) < writes:
            words[at] = found ^ (value & nothing)
        value ^= found
        for _ in range(multiplications):
            value = value * multiplier + increment
    return value


def prepare() -> None:
    """Have the loop compiled: children are forked, and must not all compile it."""
    words = np.zeros(WORDS, np.uint64)
    operate(words, np.uint64(0), 0, 1, np.array([0, 1, 1, 0, 1, 0, 1], np.int64), HIDDEN)


class LiveWorker:
    """A worker's process; parent's side. It is ended by ``undo``.

    `UserError` if the child could not fill its memory.
    """

    def __init__(self, worker: Worker, name: str, undo: ExitStack) -> None:
        self.name = name
        self._shared = shared_int64(3)
        self._shared[:] = 0
        parent = os.getpid()
        with forking():
            self.pid = os.fork()
            if not self.pid:
                _child(worker, self._shared, parent)
            undo.callback(self._kill)

    def ready(self) -> None:
        """Wait until its memory is filled and registered."""
        limit = time.monotonic() + PATIENCE_S
        while self._shared[STATE] != FILLED:
            gone, _ = os.waitpid(self.pid, os.WNOHANG) if self._shared[STATE] == FAILED else (0, 0)
            if self._shared[STATE] == FAILED or gone or time.monotonic() > limit:
                raise UserError(
                    f"{self.name} could not fill its memory (too little of it, no KSM for it, or"
                    " a CPU that it may not use)"
                )
            time.sleep(0.005)

    def work(self) -> None:
        """Let it make operations from now on."""
        self._shared[ORDER] = WORK

    @property
    def operations(self) -> int:
        """How many it has made."""
        return int(self._shared[OPERATIONS])

    def cpu_ns(self) -> int:
        """CPU time that it has had."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0])

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


# From here on all is the child's.


def _child(worker: Worker, shared: np.ndarray, parent: int) -> None:
    """Everything that the child does; never returns."""
    try:
        settle_in(parent)
        with suppress(OSError):
            os.setsid()  # with it a scheduling group of its own, where the kernel makes them so
        if worker.cpu is not None:
            os.sched_setaffinity(0, {worker.cpu})
        words = _memory(worker)
        shared[STATE] = FILLED
        _loop(worker, words, shared)
    except BaseException:
        shared[STATE] = FAILED
    finally:
        os._exit(0)


def _memory(worker: Worker) -> np.ndarray:
    """uint64 words of its memory, filled, and registered with KSM where that is asked for."""
    memory = mmap.mmap(-1, worker.pages * PAGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without huge pages knows no such advice
        memory.madvise(_NO_HUGE_PAGES)
    words = np.frombuffer(memory, np.uint64)
    ids = worker.ids()
    filled = np.flatnonzero(ids >= 0)
    pages = words.reshape(-1, WORDS)
    for part in np.array_split(filled, max(1, len(filled) // 1024)):
        pages[part] = content_ids(ids[part].astype(np.uint64)).byteswap()[:, np.newaxis]
    if worker.mergeable:
        memory.madvise(ADVICE["mergeable"])
    return words


def plan_of(worker: Worker) -> np.ndarray:
    """a0, an, share of A in 2**24ths, b0, bn, share of writes in 2**24ths, multiplications."""
    one = 1 << _WRITE_BITS
    return np.array(
        [
            worker.a_first, worker.a_pages, round(worker.a_share * one),
            worker.b_first, worker.b_pages, round(worker.write_share * one),
            worker.multiplications,
        ],
        np.int64,
    )  # fmt: skip


def _loop(worker: Worker, words: np.ndarray, shared: np.ndarray) -> None:
    seed = mix64(np.uint64(worker.seed))
    plan = plan_of(worker)
    done, stint = 0, 1
    while True:
        if shared[ORDER] == REST:
            time.sleep(0.001)
            continue
        begin = time.monotonic_ns()
        operate(words, seed, done, stint, plan, HIDDEN)
        done += stint
        shared[OPERATIONS] = done
        if time.monotonic_ns() - begin < STINT_NS // 2:
            stint *= 2
