"""The balloon driver: a process in each guest that is told a target and follows it at its pace.

It takes free pages first, then page cache, then anything that is not pinned; their frames go back
to the host. What it costs the guest is work that its first vCPU has to do before going on.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from sharesim.content.classes import PageClass
from sharesim.kernel import Number, njit
from sharesim.machine import tables as t
from sharesim.machine.flush import flush_vm
from sharesim.machine.mapping import log_event, release
from sharesim.machine.tables import ABSENT, BALLOONED, NONE, PINNED, Memory
from sharesim.spec.scenario import Balloon

if TYPE_CHECKING:
    from sharesim.engine import Engine

_ORDER = (int(PageClass.FREE), int(PageClass.PAGE_CACHE), -1)


@njit
def inflate(
    mem: Memory, vm: Number, wanted: Number, kind: Number, start: Number, time: Number
) -> Any:
    """Balloon up to ``wanted`` pages of a class (-1: any), from gfn ``start``; (taken, next gfn).

    Unpopulated pages count too: the guest gives them away though the host had not given them yet.
    """
    first = np.int64(mem.vms[vm]["first"])
    size = np.int64(mem.vms[vm]["pages"])
    taken = 0
    gfn = start
    while gfn < size and taken < wanted:
        page = first + gfn
        flags = np.int64(mem.pages[page]["flags"])
        gfn += 1
        if flags & (PINNED | ABSENT | BALLOONED) or (kind >= 0 and flags & t.CLASS_MASK != kind):
            continue
        release(mem, vm, page, BALLOONED)
        mem.vms[vm]["ballooned"] += 1
        log_event(mem, time, 0, t.E_INFLATE, -2 - vm, page, -1)
        taken += 1
    return taken, gfn


@njit
def deflate(mem: Memory, vm: Number, wanted: Number, time: Number) -> Any:
    """Give up to ``wanted`` ballooned pages back to the guest; they are unpopulated."""
    first = np.int64(mem.vms[vm]["first"])
    given = 0
    for page in range(first, first + np.int64(mem.vms[vm]["pages"])):
        if given == wanted:
            break
        flags = np.int64(mem.pages[page]["flags"])
        if flags & BALLOONED == 0 or np.int64(mem.pages[page]["mfn"]) != NONE:
            continue
        mem.pages[page]["flags"] = np.uint16(flags & ~BALLOONED)
        mem.vms[vm]["ballooned"] -= 1
        log_event(mem, time, 0, t.E_DEFLATE, -2 - vm, page, -1)
        given += 1
    return given


class BalloonDriver:
    """The balloon of one guest. ``told`` sets a target at any time."""

    def __init__(self, engine: "Engine", vm: int, spec: Balloon) -> None:
        self.engine = engine
        self.vm = vm
        self.spec = spec
        self.target = int(engine.memory.vms[vm]["pages"])
        self._news: simpy.Event = engine.env.event()

    def told(self, pages: int) -> None:
        """The host asks the guest to get by with that many pages."""
        self.target = pages
        if not self._news.triggered:
            self._news.succeed()

    def announcements(self) -> Generator[simpy.Event, Any, None]:
        """A SimPy process that tells the targets of the scenario at their times."""
        env = self.engine.env
        for when, pages in sorted(self.spec.targets):
            if when > env.now:
                yield env.timeout(when - int(env.now))
            self.told(pages)

    def run(self) -> Generator[simpy.Event, Any, None]:
        """The driver's own SimPy process: a step each period while there is something to do."""
        env = self.engine.env
        carry = 0
        while True:
            goal = self._size() - self.target
            if goal == self._ballooned() or (goal < 0 and self._ballooned() == 0):
                self._news = env.event()
                yield self._news
                continue
            carry += round(self.spec.rate * self.spec.period / 1_000)
            step, carry = divmod(carry, 1_000_000)
            if step and not self._move(max(0, goal) - self._ballooned(), step):
                self._news = env.event()
                yield self._news
                continue
            yield env.timeout(self.spec.period)

    def _size(self) -> int:
        return int(self.engine.memory.vms[self.vm]["pages"])

    def _ballooned(self) -> int:
        return int(self.engine.memory.vms[self.vm]["ballooned"])

    def _move(self, difference: int, step: int) -> int:
        """Move up to ``step`` pages towards the target; how many moved."""
        engine = self.engine
        step = engine.make_room_in_log(step)
        cost = engine.cost[0]
        if difference > 0:
            moved = self._inflate(min(difference, step))
            now = int(engine.env.now)
            first = int(engine.memory.vms[self.vm]["vcpu_first"])
            spent = moved * int(cost["inflate"])
            if moved:  # one flush a step, before the frames can be anybody else's
                spent += int(flush_vm(engine.memory, engine.cost, self.vm, first, now))
        else:
            moved = deflate(engine.memory, self.vm, min(-difference, step), int(engine.env.now))
            spent = moved * int(cost["deflate"])
        engine.memory.vms[self.vm]["debt_reclaim"] += spent
        engine.frames_may_be_free()
        if moved:
            engine.wake_first_vcpu(self.vm)
        return int(moved)

    def _inflate(self, wanted: int) -> int:
        moved = 0
        for kind in _ORDER:
            if moved < wanted:
                now = int(self.engine.env.now)
                taken, _ = inflate(self.engine.memory, self.vm, wanted - moved, kind, 0, now)
                moved += int(taken)
        return moved
