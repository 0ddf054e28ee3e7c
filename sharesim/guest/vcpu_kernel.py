"""What a vCPU does between two events of the clock: the access loop, compiled.

A step is one access and the work after it, one fault, or a debt of interrupts. It commits at its
start and its cost follows; it starts only if it is due now or before ``until``.
"""

from typing import Any

import numpy as np

from sharesim.content.mixing import mix64, wrapping
from sharesim.guest import phases as ph
from sharesim.guest.accesses import (
    BIT,
    LOW,
    bounded,
    burst,
    draw_at,
    is_plain,
    new_content,
    pick_page,
)
from sharesim.guest.activity import activity_step, activity_steps, replayed_fault, type_page
from sharesim.guest.phases import Work
from sharesim.hypervisor.fault import OVERWRITE, READ, WAIT, WRITE, fault, needs_fault
from sharesim.hypervisor.offers import driver_step, has_work
from sharesim.kernel import Number, Row, njit
from sharesim.machine import tables as t
from sharesim.machine.flush import flush_vm
from sharesim.machine.mapping import (
    changes_full,
    log_event,
    log_full,
    release,
    store,
    store_same,
)
from sharesim.machine.tables import BLOCK, CLASS_MASK, NONE, Memory

# Why the kernel stopped.
HORIZON, FAULT, NO_FRAME, IDLE_UNTIL, PHASE_END, DRAIN, BREACH = range(7)

NEVER = np.int64((1 << 63) - 1)


@njit
@wrapping
def _file_page(phase: Row, index: Number) -> Any:
    """(which page of the file, its content) for read ``index``."""
    pages = np.int64(phase["file_pages"])
    if np.int64(phase["file_random"]):
        which = bounded(draw_at(np.uint64(phase["access_key"]), index), pages)
    else:
        which = index % pages
    return which, mix64(np.uint64(phase["pool_key"]) + np.uint64(which)) | BIT


@njit
def _tick(phase: Row, vcpu: Row) -> Any:
    """The tick of a replay that the present operation is."""
    return np.int64(phase["table"]) + np.int64(vcpu["op"]) % np.int64(phase["ticks"])


@njit
def _kind_of_access(phase: Row, index: Number, draw: Number) -> Any:
    """READ, WRITE or OVERWRITE, of an access and its draw."""
    if np.int64(draw & LOW) >= np.int64(phase["write_share"]):
        return READ
    if np.int64(phase["overwrite_share"]) == 0:
        return WRITE
    again = draw_at(np.uint64(phase["overwrite_key"]), index)
    return OVERWRITE if np.int64(again & LOW) < np.int64(phase["overwrite_share"]) else WRITE


@njit
def _begin_op(cost: np.ndarray, work: Work, phase: Row, vcpu: Row) -> Any:
    """Lay the next operation out: page-table activity, then accesses; the work after each."""
    if np.int64(phase["pattern"]) == ph.REPLAY:
        tick = _tick(phase, vcpu)
        accesses = work.tick_first[tick + 1] - work.tick_first[tick]
        acts = work.tick_faults[tick]
        total = work.tick_work[tick]
    else:
        accesses = np.int64(phase["accesses"])
        acts = np.int64(activity_steps(cost, phase))
        total = np.int64(phase["op_ns"])
    steps = max(acts + accesses, 1)
    vcpu["steps"], vcpu["acts"], vcpu["step"] = steps, acts, 0
    vcpu["gap"] = total // steps
    vcpu["gap_last"] = total - (steps - 1) * np.int64(vcpu["gap"])


@njit
def _end_op(phase: Row, vcpu: Row, due: Number) -> Any:
    vcpu["operations"] += 1
    vcpu["op"] += 1
    vcpu["step"] = -1
    if np.int64(phase["period"]):
        late = due - np.int64(vcpu["arrival"])
        vcpu["lateness"] += late
        vcpu["lateness_max"] = max(np.int64(vcpu["lateness_max"]), late)


@njit
def _arrival(work: Work, phase: Row, op: Number) -> Any:
    """When a paced operation is due, ns from the start of its phase."""
    if np.int64(phase["pattern"]) == ph.REPLAY:
        ticks = np.int64(phase["ticks"])
        again = op // ticks * ticks * np.int64(phase["period"])
        return again + work.tick_at[np.int64(phase["table"]) + op % ticks]
    part = op * np.int64(phase["period_num"]) // np.int64(phase["period_den"])
    return op * np.int64(phase["period"]) + part


@njit
def _next_op(work: Work, phase: Row, vcpu: Row, due: Number) -> Any:
    """Whether the next operation can start at ``due``: (stop, arg), HORIZON meaning yes."""
    start = np.int64(vcpu["phase_start"])
    end = start + np.int64(phase["time"])
    if np.int64(phase["ops"]) and np.int64(vcpu["op"]) >= np.int64(phase["ops"]):
        return PHASE_END, np.int64(0)
    if np.int64(phase["time"]) and due >= end:
        return PHASE_END, np.int64(0)
    if np.int64(phase["idle"]):
        return IDLE_UNTIL, end if np.int64(phase["time"]) else NEVER
    if np.int64(phase["period"]):
        arrival = start + _arrival(work, phase, np.int64(vcpu["op"]))
        if np.int64(phase["time"]) and arrival >= end:
            return IDLE_UNTIL, end
        if arrival > due:
            return IDLE_UNTIL, arrival
        vcpu["arrival"] = arrival
    else:
        vcpu["arrival"] = due
    return HORIZON, np.int64(0)


@njit
def _spend(vcpu: Row, time: Number, cause: Number, ns: Number, work: Number) -> Any:
    """Book a step: ``ns`` of one cause, then ``work``; remember it as the one in flight."""
    vcpu["ledger"][cause] += ns
    vcpu["ledger"][t.WORK] += work
    vcpu["spent_cause"] = cause
    vcpu["spent_ns"] = ns
    vcpu["spent_work"] = work
    vcpu["local"] = time
    vcpu["due"] = time + ns + work


@njit
def serve_fault(
    mem: Memory,
    cost: np.ndarray,
    me: Number,
    page: Number,
    write: Number,
    time: Number,
    now: Number,
) -> Any:
    """Serve one fault and book it; returns (due, stop)."""
    ns, stop, cause = fault(mem, cost, me, page, write, time, now)
    if stop == WAIT:
        return np.int64(time), NO_FRAME
    _spend(mem.vcpus[me], time, cause, ns, np.int64(0))
    return np.int64(time) + ns, HORIZON


@njit
def _replayed(mem: Memory, cost: np.ndarray, work: Work, me: Number, vm: Number, at: Number) -> Any:
    """A change of a capture: (whether that was all, page, write, ns that paging adds)."""
    page = np.int64(work.change_page[at])
    kind = np.int64(work.change_kind[at])
    if kind == ph.CHANGE_RELEASE:
        if release(mem, vm, page, 0):
            due = np.int64(mem.vcpus[me]["due"])
            ns = np.int64(cost[0]["inflate"]) + flush_vm(mem, cost, vm, me, due)
            mem.vms[vm]["debt_reclaim"] += ns
            log_event(mem, due, ns, t.E_RELEASE, me, page, -1)
        return True, page, READ, np.int64(0)
    if kind < ph.CHANGE_CLASS:
        return False, page, WRITE, np.int64(0)
    ns = np.int64(0)
    if kind != ph.CHANGE_CLASS and np.int64(cost[0]["types_tables"]):
        if kind == ph.CHANGE_PIN and needs_fault(mem, cost, me, page, WRITE):
            return False, page, WRITE, np.int64(0)  # a table is its guest's alone: break first
        ns = type_page(mem, cost, me, page, kind == ph.CHANGE_PIN)
    flags = np.int64(mem.pages[page]["flags"]) & ~CLASS_MASK
    mem.pages[page]["flags"] = np.uint16(flags | np.int64(work.change_content[at]))
    return True, page, READ, ns


@njit
def _tick_change(work: Work, phase: Row, vcpu: Row) -> Any:
    """Row of the change that the present step of a replay makes, or -1: a tick without changes."""
    tick = _tick(phase, vcpu)
    at = work.tick_first[tick] + np.int64(vcpu["step"]) - np.int64(vcpu["acts"])
    return at if at < work.tick_first[tick + 1] else np.int64(-1)


@njit
def _finish_step(vcpu: Row, time: Number, excess: Number, more_work: Number) -> Any:
    """Book a step: what paging adds to it, and the work that follows it."""
    last = np.int64(vcpu["step"]) + 1 == np.int64(vcpu["steps"])
    gap = np.int64(vcpu["gap_last"]) if last else np.int64(vcpu["gap"])
    vcpu["step"] += 1
    _spend(vcpu, time, t.PAGING, excess, gap + more_work)


@njit
def run_vcpu(
    mem: Memory,
    cost: np.ndarray,
    work: Work,
    me: Number,
    now: Number,
    until: Number,
    inline: Number,
) -> Any:
    """Run vCPU row ``me`` from its local time; returns (due, stop, arg).

    ``now`` is the clock, ``until`` the horizon. With ``inline`` faults are served here, else the
    kernel stops at each (``arg`` is then the page, and what the access does from bit 32 on).
    """
    vcpu = mem.vcpus[me]
    vm = np.int64(vcpu["vm"])
    phase = work.phases[np.int64(vcpu["phase"])]
    pattern = np.int64(phase["pattern"])
    plain = is_plain(mem, phase)
    drives = np.int64(cost[0]["paravirtual"]) != 0 and me == np.int64(mem.vms[vm]["vcpu_first"])
    drives = drives and np.int64(mem.vms[vm]["willing"]) != 0
    while True:
        due = np.int64(vcpu["due"])
        if due != now and due >= until:
            return due, HORIZON, np.int64(0)
        if log_full(mem) or changes_full(mem):
            return due, DRAIN, np.int64(0)
        debt = np.int64(vcpu["debt"])
        if debt:
            vcpu["debt"] = 0
            _spend(vcpu, due, t.INTERRUPTED, debt, np.int64(0))
            continue
        cold = np.int64(vcpu["cold"])
        if cold:
            vcpu["cold"] = 0
            _spend(vcpu, due, t.INTERFERENCE, cold, np.int64(0))
            continue
        owed = np.int64(mem.vms[vm]["debt_reclaim"])
        if owed and me == np.int64(mem.vms[vm]["vcpu_first"]):
            mem.vms[vm]["debt_reclaim"] = 0
            _spend(vcpu, due, t.RECLAIM, owed, np.int64(0))
            continue
        owed = np.int64(mem.vms[vm]["debt_sharing"])
        if owed and me == np.int64(mem.vms[vm]["vcpu_first"]):
            mem.vms[vm]["debt_sharing"] = 0
            _spend(vcpu, due, t.SHARING, owed, np.int64(0))
            continue
        if drives and has_work(mem, vm):
            _spend(vcpu, due, t.SHARING, driver_step(mem, cost, me, vm, due, now), np.int64(0))
            continue
        step = np.int64(vcpu["step"])
        if step >= 0 and step == np.int64(vcpu["steps"]):
            _end_op(phase, vcpu, due)
            step = np.int64(-1)
        if step < 0:
            stop, arg = _next_op(work, phase, vcpu, due)
            if stop != HORIZON:
                return due, stop, arg
            _begin_op(cost, work, phase, vcpu)
        if plain and burst(mem, work, phase, vcpu, now, until):
            continue
        step, acts = np.int64(vcpu["step"]), np.int64(vcpu["acts"])
        if step < acts:
            if pattern == ph.REPLAY:
                excess = replayed_fault(mem, cost, work, me, _tick(phase, vcpu), step, due)
            else:
                excess = activity_step(mem, cost, phase, me, step, due)
            _finish_step(vcpu, due, excess, np.int64(0))
            continue
        index = np.int64(vcpu["op"]) * np.int64(phase["accesses"]) + step - acts
        # which page, and is it written
        content = np.uint64(0)
        keep = False
        miss_work = np.int64(0)
        miss_excess = np.int64(0)
        if pattern == ph.REPLAY:
            at = _tick_change(work, phase, vcpu)
            if at < 0:
                _finish_step(vcpu, due, miss_excess, miss_work)
                continue
            done, page, write, miss_excess = _replayed(mem, cost, work, me, vm, at)
            if done:
                _finish_step(vcpu, due, miss_excess, miss_work)
                continue
            content = work.change_content[at]
            keep = np.int64(work.change_kind[at]) == ph.CHANGE_SAME
        elif np.int64(phase["accesses"]) == 0:
            _finish_step(vcpu, due, miss_excess, miss_work)
            continue
        elif pattern == ph.FILE:
            which, content = _file_page(phase, index)
            page = np.int64(phase["first"]) + which % np.int64(phase["span"])
            frame = np.int64(mem.pages[page]["mfn"])
            there = frame != NONE and np.uint64(mem.frames[frame]["content"]) == content
            write = READ if there else OVERWRITE
        else:
            draw = draw_at(np.uint64(phase["access_key"]), index)
            page = pick_page(work, phase, index, draw)
            keep = np.int64(phase["content"]) == ph.SAME
            write = _kind_of_access(phase, index, draw)
        if needs_fault(mem, cost, me, page, write):
            if not inline:
                return due, FAULT, page + (np.int64(write) << 32)
            due, stop = serve_fault(mem, cost, me, page, write, due, now)
            if stop != HORIZON:
                return due, stop, page
            continue
        # the access itself
        if write and not keep:
            if pattern != ph.REPLAY and pattern != ph.FILE:
                content = new_content(phase, index)
            store(mem, page, content)
        elif write:
            store_same(mem, page)
        if len(mem.log):
            log_event(mem, due, 0, t.E_WRITE if write else t.E_ACCESS, me, page, -1)
        if np.int64(phase["miss_share"]):
            again = draw_at(np.uint64(phase["miss_key"]), index)
            if np.int64(again & LOW) < np.int64(phase["miss_share"]):
                miss_work = np.int64(phase["miss_work"])
                block = np.int64(mem.pages[page]["flags"]) & BLOCK
                if block:
                    miss_excess = np.int64(phase["miss_excess_block"])
                else:
                    miss_excess = np.int64(phase["miss_excess"])
        vcpu["accesses"] += 1
        vcpu["writes"] += write != READ
        _finish_step(vcpu, due, miss_excess, miss_work)
        if mem.totals[t.T_BREACH]:
            return np.int64(vcpu["due"]), BREACH, page
