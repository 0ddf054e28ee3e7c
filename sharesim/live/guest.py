"""A process that plays one process of a recorded case: real memory, registered with real KSM.

The parent holds a :class:`Guest`; the child, forked from it, fills its memory and then waits for
absolute times of the monotonic clock. It dies with its parent whatever becomes of that.
"""

import ctypes
import gc
import mmap
import os
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sharesim.content.ksm_case import Case, CaseEvent, CaseProcess
from sharesim.errors import UserError
from sharesim.live.signals import ENDING, forking
from sharesim.spec.units import PAGE_BYTES

WORDS = PAGE_BYTES // 8
ADVICE = {"mergeable": 12, "unmergeable": 13}
"""MADV_MERGEABLE and MADV_UNMERGEABLE: the module mmap only knows them where it was built so."""
_NO_HUGE_PAGES = 15
_DIE_WITH_PARENT, _TIMER_SLACK = 1, 29  # PR_SET_PDEATHSIG, PR_SET_TIMERSLACK
_DONE = b"+"


class Guest:
    """Process number ``number`` of a case, filled and waiting; parent's side.

    :meth:`ready`, then :meth:`register` where it arrives at 0, then :meth:`begin`. It is ended by
    ``undo``. `UserError` if the child could not do as told.
    """

    def __init__(self, case: Case, number: int, undo: ExitStack) -> None:
        self.name = case.processes[number].name
        self._exits = case.processes[number].exit_ns is not None
        self._lateness = shared_int64(len(case.raw_writes(number)[0]))
        self._end, other = socket.socketpair()
        parent = os.getpid()
        with forking():
            self.pid = os.fork()
            if not self.pid:
                _child(case, number, self._lateness, other, parent)
            undo.callback(self._kill)
        other.close()

    def ready(self) -> None:
        """Wait until its memory is filled."""
        self._answer()

    def register(self) -> None:
        """Let it call madvise on all of its memory now, and wait for that."""
        self._end.sendall(_DONE)
        self._answer()

    def begin(self, start: int) -> None:
        """Tell it when time 0 is, in ns of the monotonic clock."""
        self._end.sendall(start.to_bytes(8, "little"))

    def lateness(self) -> np.ndarray:
        """How late each write began that was done, ns."""
        return self._lateness[self._lateness >= 0]

    def check(self) -> None:
        """`UserError` if it failed, or is gone before its time, since :meth:`begin`."""
        try:
            said = self._end.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if said or not self._exits:
            raise self._failure(said)

    def _kill(self) -> None:
        """Also what has ended by itself is still there, as a zombie, until it is waited for."""
        self._end.close()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def _answer(self) -> None:
        said = self._end.recv(1 << 16)
        if said != _DONE:
            raise self._failure(said)

    def _failure(self, said: bytes) -> UserError:
        why = said.decode(errors="replace") or "it was killed (out of memory?)"
        return UserError(f"process {self.name} of the case could not be played: {why}")


def shared_int64(count: int) -> np.ndarray:
    """Numbers, -1 each, that parent and child both see."""
    numbers = np.frombuffer(mmap.mmap(-1, max(8 * count, 8)), dtype=np.int64)[:count]
    numbers[:] = -1
    return numbers


# From here on all is the child's.


def _child(case: Case, number: int, lateness: np.ndarray, end: socket.socket, parent: int) -> None:
    """Everything that the child does; never returns."""
    try:
        settle_in(parent)
        _Player(case, number, lateness, end).play()
    except BaseException as error:
        with suppress(BaseException):
            end.sendall((str(error) or repr(error)).encode())
    finally:
        os._exit(0)


def settle_in(parent: int) -> None:
    """Die with the parent, leave Ctrl-C to it, wake on time, and leave memory alone."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    prctl(_TIMER_SLACK, 1, 0, 0, 0)
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    if os.getppid() != parent:
        os._exit(0)
    gc.disable()


@dataclass(frozen=True)
class Act:
    """What a process does beside writes: a madvise call, or (``advice`` None) its exit.

    Of the writes with times in order, those up to ``searchsorted(time_ns, writes_before)`` come
    before it.
    """

    time_ns: int
    writes_before: Literal["left", "right"]
    advice: str | None
    first: int = 0
    count: int = 0


def acts(process: CaseProcess, events: Sequence[CaseEvent]) -> list[Act]:
    """All that a process does after time 0, in order.

    At equal times: arrival, writes, madvise calls, exit.
    """
    ordered = [Act(event.time_ns, "right", event.advice, event.first, event.count)
               for event in sorted(events, key=lambda event: event.time_ns)]  # fmt: skip
    if process.arrive_ns:
        arrival = Act(process.arrive_ns, "left", "mergeable", 0, process.pages)
        ordered.insert(sum(act.time_ns < arrival.time_ns for act in ordered), arrival)
    if process.exit_ns is not None:
        ordered.append(Act(process.exit_ns, "right", None))
    return ordered


class _Player:
    """Fills the memory of one process, then does what the case says, when it says."""

    def __init__(self, case: Case, number: int, lateness: np.ndarray, end: socket.socket) -> None:
        self.process = case.processes[number]
        self.events = [event for event in case.events if event.process == number]
        self.lateness = lateness
        self.end = end
        contents, populated = case.contents(number)
        times, pages, written = case.writes(number)
        self.due, self.page, self.word = times, pages, written.byteswap()  # bytes: big-endian
        self.written = 0
        self.start = 0
        size = self.process.pages * PAGE_BYTES
        self.memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with suppress(OSError):  # a kernel without huge pages knows no such advice
            self.memory.madvise(_NO_HUGE_PAGES)
        self.words = np.frombuffer(self.memory, dtype=np.uint64).reshape(-1, WORDS)
        self.words[populated] = contents[populated].byteswap()[:, np.newaxis]

    def play(self) -> None:
        """From the first word to the parent until the process exits; returns when it is to."""
        self.end.sendall(_DONE)
        if self.process.arrive_ns == 0:
            self.end.recv(1)
            self._advise("mergeable", 0, self.process.pages)
            self.end.sendall(_DONE)
        start = self.end.recv(8)
        if len(start) < 8:
            return
        self.start = int.from_bytes(start, "little")
        for act in acts(self.process, self.events):
            self._write(int(np.searchsorted(self.due, act.time_ns, act.writes_before)))
            self._wait(act.time_ns)
            if act.advice is None:
                return
            self._advise(act.advice, act.first, act.count)
        self._write(len(self.due))
        self.end.recv(1)  # nothing comes: the parent kills it when the case is over

    def _advise(self, advice: str, first: int, count: int) -> None:
        self.memory.madvise(ADVICE[advice], first * PAGE_BYTES, count * PAGE_BYTES)

    def _write(self, until: int) -> None:
        """The writes up to number ``until``, each at its time."""
        words, start = self.words, self.start
        for number in range(self.written, until):
            due = int(self.due[number])
            self._wait(due)
            self.lateness[number] = time.monotonic_ns() - start - due
            words[self.page[number]] = self.word[number]
        self.written = until

    def _wait(self, until: int) -> None:
        left = self.start + until - time.monotonic_ns()
        while left > 0:
            time.sleep(left / 1e9)
            left = self.start + until - time.monotonic_ns()
