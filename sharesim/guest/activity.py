"""A guest's own page-table activity, step by step: what it does natively, and what paging adds.

An operation declares how many guest faults, page-table updates, page tables and address-space
switches it makes (:class:`~sharesim.spec.workloads.PageTableActivity`); the counts belong to the
operation and are equal for all paging modes. One update is made at each fault, by itself; what is
left of the updates goes in batches. Its native time is part of the operation's work, spread over
all steps of the operation; a step's own time here is what the paging mode adds.
"""

from typing import Any

import numpy as np

from sharesim.guest.accesses import bounded, draw_at
from sharesim.guest.phases import Work
from sharesim.kernel import Number, Row, njit
from sharesim.machine import tables as t
from sharesim.machine.cost_row import FILLED
from sharesim.machine.entries import fill_entry
from sharesim.machine.mapping import attend, clear_flag, log_event, set_flag
from sharesim.machine.tables import NONE, PINNED, READ_ONLY, Memory


@njit
def activity_steps(cost: np.ndarray, phase: Row) -> Any:
    """Steps of page-table activity in an operation of a phase."""
    others = np.int64(phase["act_tables"]) + np.int64(phase["act_switches"])
    return np.int64(phase["act_faults"]) + _batches(cost, phase) + others


@njit
def _batches(cost: np.ndarray, phase: Row) -> Any:
    left = max(np.int64(phase["act_updates"]) - np.int64(phase["act_faults"]), np.int64(0))
    batch = np.int64(cost[0]["batch"])
    return (left + batch - 1) // batch


@njit
def activity_step(
    mem: Memory, cost: np.ndarray, phase: Row, me: Number, at: Number, time: Number
) -> Any:
    """Step ``at`` of an operation's activity; returns the ns that paging adds."""
    faults, tables = np.int64(phase["act_faults"]), np.int64(phase["act_tables"])
    batches = _batches(cost, phase)
    if at < faults:
        index = np.int64(mem.vcpus[me]["op"]) * faults + at
        draw = draw_at(np.uint64(phase["activity_key"]), index)
        page = np.int64(phase["first"]) + bounded(draw, np.int64(phase["span"]))
        return guest_fault(mem, cost, me, page, at < np.int64(phase["act_updates"]), time)
    if at < faults + batches:
        left = np.int64(phase["act_updates"]) - faults - (at - faults) * np.int64(cost[0]["batch"])
        return _batch(mem, cost, me, min(left, np.int64(cost[0]["batch"])), time)
    if at < faults + batches + tables:
        return _new_table(mem, cost, me, time)
    return _switch(mem, cost, me, time)


@njit
def guest_fault(
    mem: Memory, cost: np.ndarray, me: Number, page: Number, update: Number, time: Number
) -> Any:
    """The guest faults on a page and, with ``update``, writes its entry; ns that paging adds."""
    ns = np.int64(cost[0]["guest_fault"])
    mem.vcpus[me]["faulted"] += 1
    mem.totals[t.T_PT_FAULTS] += 1
    if update:
        ns += np.int64(cost[0]["single_update"])
        mem.totals[t.T_PT_UPDATES] += 1
        if np.int64(cost[0]["batch_call"]):
            mem.totals[t.T_PT_HYPERCALLS] += 1
        ns += _entry_written(mem, cost, me, page, time + ns)
    log_event(mem, time, ns, t.E_GUEST_FAULT, me, page, -1)
    return ns


@njit
def _entry_written(mem: Memory, cost: np.ndarray, me: Number, page: Number, time: Number) -> Any:
    """The entry is made effective at once, so no hidden fault follows; ns for its table."""
    if page < 0 or np.int64(mem.pages[page]["mfn"]) == NONE:
        return np.int64(0)
    if np.int64(cost[0]["entries"]) == FILLED:
        return fill_entry(mem, cost, me, page, time)
    if np.int64(cost[0]["paravirtual"]) and np.int64(mem.pages[page]["flags"]) & READ_ONLY:
        mem.totals[t.T_REFUSED_UPDATES] += 1  # the frame is never writable: mapped read-only
    return np.int64(0)


@njit
def _batch(mem: Memory, cost: np.ndarray, me: Number, updates: Number, time: Number) -> Any:
    ns = np.int64(cost[0]["batch_call"]) + updates * np.int64(cost[0]["batch_update"])
    mem.totals[t.T_PT_UPDATES] += updates
    if np.int64(cost[0]["batch_call"]):
        mem.totals[t.T_PT_HYPERCALLS] += 1
    log_event(mem, time, ns, t.E_UPDATE, me, -1, -1)
    return ns


@njit
def _new_table(mem: Memory, cost: np.ndarray, me: Number, time: Number) -> Any:
    ns = np.int64(cost[0]["new_table"])
    if np.int64(cost[0]["types_tables"]):
        mem.totals[t.T_PT_PINS] += 1
        mem.totals[t.T_PT_UNPINS] += 1
        mem.totals[t.T_PT_HYPERCALLS] += 2
        log_event(mem, time, ns, t.E_PIN, me, -1, -1)
    return ns


@njit
def type_page(mem: Memory, cost: np.ndarray, me: Number, page: Number, table: Number) -> Any:
    """A page becomes a page table (pinned, never shared), or ceases to be one; its ns."""
    ns = np.int64(cost[0]["pin"])
    time = np.int64(mem.vcpus[me]["due"])
    mem.totals[t.T_PT_HYPERCALLS] += 1
    if table:
        set_flag(mem, page, PINNED)
        mem.totals[t.T_PT_PINS] += 1
        log_event(mem, time, ns, t.E_PIN, me, page, -1)
    else:
        clear_flag(mem, page, PINNED)
        mem.totals[t.T_PT_UNPINS] += 1
        log_event(mem, time, ns, t.E_UNPIN, me, page, -1)
    attend(mem, page)
    return ns


@njit
def _switch(mem: Memory, cost: np.ndarray, me: Number, time: Number) -> Any:
    """Another address space: the TLB is empty, and what is used again is walked for.

    That is no more than it holds, and than was touched since the last switch.
    """
    vcpu = mem.vcpus[me]
    longer = np.int64(cost[0]["walk"]) - np.int64(cost[0]["walk_native"])
    touched = np.int64(vcpu["accesses"]) - np.int64(vcpu["accesses_before"])
    touched += np.int64(vcpu["faulted"])
    entries = min(np.int64(vcpu["refill_entries"]), np.int64(cost[0]["tlb_entries"]), touched)
    ns = np.int64(cost[0]["address_switch"]) + entries * longer
    vcpu["space"] += 1
    vcpu["flushed"] = time
    vcpu["accesses_before"], vcpu["faulted"] = vcpu["accesses"], 0
    mem.totals[t.T_PT_SWITCHES] += 1
    log_event(mem, time, ns, t.E_SWITCH, me, -1, -1)
    return ns


@njit
def replayed_fault(
    mem: Memory, cost: np.ndarray, work: Work, me: Number, tick: Number, at: Number, time: Number
) -> Any:
    """Guest fault ``at`` of a replayed tick, on one of the pages that change in it; ns."""
    first, end = work.tick_first[tick], work.tick_first[tick + 1]
    page = np.int64(-1)  # seen in the classes of pages, but not in this tick which page it was
    if first < end:
        page = np.int64(work.change_page[first + at % (end - first)])
    return guest_fault(mem, cost, me, page, True, time)
