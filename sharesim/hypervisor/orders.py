"""What is ordered in the course of a run: guests' ``madvise`` calls, knobs written to sysfs.

Each is a SimPy process that waits for the times in the scenario.
"""

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from sharesim.hypervisor.unmerge import unmerge
from sharesim.machine import tables as t
from sharesim.spec.scenario import VM, Advice

if TYPE_CHECKING:
    from sharesim.engine import Engine

Steps = Generator[simpy.Event, Any, None]


def follow_advice(engine: "Engine", number: int, vm: VM) -> Steps:
    """The ``madvise`` calls of a VM, in order of time."""
    env = engine.env
    for advice in sorted(vm.advice, key=lambda advice: advice.at):
        if advice.at > env.now:
            yield env.timeout(advice.at - int(env.now))
        if not engine.memory.vms[number]["running"]:
            return
        _advise(engine, number, advice)


def _advise(engine: "Engine", number: int, advice: Advice) -> None:
    row = engine.memory.vms[number]
    first = int(row["first"]) + advice.start
    count = advice.size or int(row["pages"]) - advice.start
    flags = engine.memory.pages["flags"][first : first + count]
    if advice.advice == "mergeable":
        flags &= ~np.uint16(t.UNMERGEABLE)
    else:
        row["debt_sharing"] += _unmerge(engine, number, first, count)
        engine.wake_first_vcpu(number)
        flags |= np.uint16(t.UNMERGEABLE)
    set_attention(engine.memory.attention, first, count)
    engine.tell_mergeable(number)


def set_attention(attention: np.ndarray, first: int, count: int) -> None:
    """Set the attention bits of a range of pages."""
    pages = np.arange(first, first + count)
    np.bitwise_or.at(attention, pages >> 3, (1 << (pages & 7)).astype(np.uint8))


def _unmerge(engine: "Engine", number: int, first: int, count: int) -> int:
    """Take back what a range shares; the policy hears of each page. ns that it takes."""
    memory = engine.memory
    before = memory.pages["mfn"][first : first + count].copy()
    engine.drain()
    ns = unmerge(memory, engine.cost, number, first, count, int(engine.env.now))
    changed = np.flatnonzero(memory.pages["mfn"][first : first + count] != before) + first
    engine.note_changes(changed, t.BROKEN)
    return int(ns)


def write_knobs(engine: "Engine", changes: Sequence[tuple[int, Any]]) -> Steps:
    """What is written to KSM's knobs at given times; ``run = 2`` unmerges all there is."""
    env = engine.env
    for when, knobs in changes:
        if when > env.now:
            yield env.timeout(when - int(env.now))
        if engine.policy.write(knobs):
            for number, row in enumerate(engine.memory.vms):
                _unmerge(engine, number, int(row["first"]), int(row["pages"]))
            engine.policy.forget_everything()
