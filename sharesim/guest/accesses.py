"""Which page an access goes to and what a write leaves; and bursts of plain accesses.

Draws are counter-based: a pure function of a stream's key and an index, so that operation i of a
phase is the same with and without sharing and no draw can shift another.
"""

from typing import Any

import numpy as np

from sharesim.content.mixing import mix64, wrapping
from sharesim.guest import phases as ph
from sharesim.guest.phases import FRACTION_BITS, Work
from sharesim.kernel import Number, Row, njit
from sharesim.machine import tables as t
from sharesim.machine.mapping import store, store_same
from sharesim.machine.tables import NONE, PROTECTED, READ_ONLY, REFILL, Memory
from sharesim.prefetch import prefetch

LOW = np.uint64((1 << FRACTION_BITS) - 1)
"""The bits of a draw that decide on fractions."""
BIT = np.uint64(1)
_HIGH = np.uint64(32)
AHEAD = 12
"""Accesses by which a page's row is asked for before its turn."""
CACHED_PAGES = 16_384
"""Rows of so many pages stay in a cache near enough: asking ahead would gain nothing."""


@njit
def bounded(draw: Number, n: Number) -> Any:
    """A number below ``n`` (< 2**32) from the high half of a 64-bit draw, near enough unbiased."""
    return np.int64(((draw >> _HIGH) * np.uint64(n)) >> _HIGH)


@njit
@wrapping
def draw_at(key: Number, index: Number) -> Any:
    """Draw number ``index`` of a stream: a pure function, so that no draw can shift another."""
    return mix64(key + np.uint64(index) * np.uint64(0x9E3779B97F4A7C15))


@njit
def pick_page(work: Work, phase: Row, index: Number, draw: Number) -> Any:
    """The page that access ``index`` goes to, from its draw."""
    pattern = np.int64(phase["pattern"])
    span = np.int64(phase["span"])
    first = np.int64(phase["first"])
    if pattern == ph.UNIFORM:
        return first + bounded(draw, span)
    if pattern == ph.SEQUENTIAL:
        return first + index % span
    if pattern == ph.HOT:
        hot = np.int64(phase["hot"])
        again = mix64(draw)
        if np.int64(again & LOW) < np.int64(phase["hot_share"]) or hot == span:
            return first + bounded(draw, hot)
        return np.int64(phase["other"]) + bounded(draw, span - hot)
    rank = bounded(draw, span)  # Zipf, by Walker's alias method
    again = mix64(draw)
    at = np.int64(phase["table"]) + rank
    if (again >> _HIGH) >= np.uint64(work.zipf_accept[at]):
        rank = np.int64(work.zipf_alias[at])
    return first + (rank * np.int64(phase["scatter"])) % span


@njit
@wrapping
def new_content(phase: Row, index: Number) -> Any:
    """What write ``index`` of the phase leaves: never the zero page by accident."""
    if np.int64(phase["content"]) == ph.POOL:
        which = bounded(draw_at(np.uint64(phase["content_key"]), index), np.int64(phase["pool"]))
        return mix64(np.uint64(phase["pool_key"]) + np.uint64(which)) | BIT
    return draw_at(np.uint64(phase["content_key"]), index) | BIT


@njit
def is_plain(mem: Memory, phase: Row) -> Any:
    """Whether accesses of this phase can go in bursts: nothing to look at between two of them."""
    if len(mem.log) or len(mem.truth) or np.int64(phase["accesses"]) == 0:
        return False
    if np.int64(phase["act_faults"]) | np.int64(phase["act_updates"]):
        return False
    if np.int64(phase["act_tables"]) | np.int64(phase["act_switches"]):
        return False
    if np.int64(phase["pattern"]) == ph.REPLAY or np.int64(phase["pattern"]) == ph.FILE:
        return False
    ends = np.int64(phase["ops"]) | np.int64(phase["time"]) | np.int64(phase["idle"])
    return ends == 0 and np.int64(phase["period"]) == 0 and np.int64(phase["miss_share"]) == 0


@njit
@wrapping
def burst(mem: Memory, work: Work, phase: Row, vcpu: Row, now: Number, until: Number) -> Any:
    """The accesses of a closed loop up to the first that traps, as the vCPU's kernel makes them.

    The same steps with the books kept in registers, several times as fast; returns how many. The
    first step must be due, and its operation begun.
    """
    steps = np.int64(phase["accesses"])
    gap, gap_last = np.int64(vcpu["gap"]), np.int64(vcpu["gap_last"])
    key = np.uint64(phase["access_key"])
    uniform = np.int64(phase["pattern"]) == ph.UNIFORM
    first, span = np.int64(phase["first"]), np.int64(phase["span"])
    far = uniform and span > CACHED_PAGES
    write_share = np.int64(phase["write_share"])
    keep = np.int64(phase["content"]) == ph.SAME
    step, due = np.int64(vcpu["step"]), np.int64(vcpu["due"])
    op = np.int64(vcpu["op"])
    index = op * steps + step
    arrival = np.int64(vcpu["arrival"])
    local = np.int64(vcpu["local"])
    count, writes, ops = np.int64(0), np.int64(0), np.int64(0)
    spent = np.int64(0)
    while due < until or due == now:
        if step == steps:
            ops += 1
            step = np.int64(0)
            arrival = due
        if far:
            prefetch(mem.pages, first + bounded(draw_at(key, index + AHEAD), span))
        draw = draw_at(key, index)
        if uniform:
            page = first + bounded(draw, span)
        else:
            page = pick_page(work, phase, index, draw)
        flags = np.int64(mem.pages[page]["flags"])
        write = np.int64(draw & LOW) < write_share
        trap = REFILL | READ_ONLY | PROTECTED if write else REFILL
        if flags & trap or np.int64(mem.pages[page]["mfn"]) == NONE:
            break
        if write:
            if keep:
                store_same(mem, page)
            else:
                store(mem, page, new_content(phase, index))
            writes += 1
        local = due
        step += 1
        index += 1
        count += 1
        if step == steps:
            due += gap_last
            spent += gap_last
        else:
            due += gap
            spent += gap
    vcpu["op"] = op + ops
    vcpu["operations"] += ops
    vcpu["arrival"] = arrival
    vcpu["step"] = step
    if count == 0:
        return count
    vcpu["accesses"] += count
    vcpu["writes"] += writes
    vcpu["local"] = local
    vcpu["due"] = due
    vcpu["spent_cause"] = t.PAGING
    vcpu["spent_ns"] = 0
    vcpu["spent_work"] = due - local
    vcpu["ledger"][t.WORK] += spent
    return count
