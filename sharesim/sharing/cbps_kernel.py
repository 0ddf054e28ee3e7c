"""The compiled form of content-based page sharing: the scanner's steps, and its visits.

The same policy as the array form of :mod:`sharesim.sharing.cbps`, which says what it does.
"""

from typing import Any

import numpy as np

from sharesim.content.mixing import mix64
from sharesim.hypervisor.merge import (
    MERGED,
    PENDING,
    commit,
    digest_of,
    forget_recent,
    protect,
    zero_digest,
)
from sharesim.hypervisor.offers import offer
from sharesim.kernel import Number, Row, njit
from sharesim.machine import tables as t
from sharesim.machine.mapping import (
    changes_full,
    clear_flag,
    log_event,
    log_full,
    release_pending,
)
from sharesim.machine.tables import DIRTY, NONE, PINNED, ZERO, Memory
from sharesim.prefetch import prefetch
from sharesim.sharing.order import page_at

# Why the kernel stopped.
HORIZON, BATCH_END, PASS_END, DRAIN = range(4)
# What the next step is.
VISIT, PROTECT, COMMIT, FINISH = range(4)

LARGEST_SKIP = 4096
"""Pages without a frame that one step passes over at most."""

_SLOT_FREE = np.uint32(NONE)

AHEAD = 12
"""Visits by which a page's table slot is asked for before its turn."""

SCAN_ROW = np.dtype(
    [
        (name, "<i8")
        for name in (
            "due",
            "local",
            "stage",
            "left",  # pages of this wake-up still to visit
            "page",
            "partner",
            "scanned",
            "passed",
            "position",  # within the pass, of count
            "count",
            "random",
            "interval",
            "passes",
            "stable",
            "zero_pages",
            "bound",  # entries the table may hold
            "entries",
            "hashed",
            "compared",
            "unstable",
            "full",
            "feedback",
            "mapped",  # pages a control domain has mapped since its last unmap
        )
    ]
    + [("key", "<u8")]
)


@njit
def slot_of(table: np.ndarray, digest: Number) -> Any:
    """Home slot of a digest."""
    spread = mix64(digest) >> np.uint64(32)
    return np.int64((spread * np.uint64(len(table))) >> np.uint64(32))


@njit
def interval_of(digest: Number, bits: Number, passes: Number) -> Any:
    """Which of the intervals of hash values a digest lies in, from its upper bits."""
    if bits > 32:
        digest = digest >> np.uint64(bits - 32)
        bits = 32
    return np.int64((digest * np.uint64(passes)) >> np.uint64(bits))


@njit
def _look_up(
    mem: Memory,
    cost: np.ndarray,
    scan: Row,
    state: np.ndarray,
    table: np.ndarray,
    page: Number,
    digest: Number,
) -> Any:
    """(partner or NONE, ns): an entry of that digest (and bytes); without one enter the page."""
    costs = cost[0]
    ns = np.int64(costs["lookup"])
    verify = np.int64(costs["verify"]) != 0
    mine = np.uint64(mem.frames[np.int64(mem.pages[page]["mfn"])]["content"])
    slot = slot_of(table, digest)
    while table[slot] != _SLOT_FREE:
        other = np.int64(table[slot])
        if np.uint64(state[other]["digest"]) == digest:
            frame = np.int64(mem.pages[other]["mfn"])
            if frame == np.int64(mem.pages[page]["mfn"]):  # they share it already
                return np.int64(NONE), ns
            if not verify:
                return other, ns
            scan["compared"] += 1
            scan["mapped"] += 1
            mem.totals[t.T_STREAMED] += 1
            ns += np.int64(costs["foreign_map"])
            if frame != NONE and np.uint64(mem.frames[frame]["content"]) == mine:
                return other, ns + np.int64(costs["compare_cold"])
            ns += np.int64(costs["compare_differ"])
            if frame != NONE and digest_of(mem, cost, frame) == digest:
                mem.totals[t.T_FALSE_MATCHES] += 1
        slot = slot + 1 if slot + 1 < len(table) else 0
    if np.int64(scan["entries"]) >= np.int64(scan["bound"]):
        scan["full"] += 1
        return np.int64(NONE), ns
    table[slot] = np.uint32(page)
    scan["entries"] += 1
    return np.int64(NONE), ns + np.int64(costs["insert"])


@njit
def visit_page(
    mem: Memory,
    cost: np.ndarray,
    scan: Row,
    state: np.ndarray,
    table: np.ndarray,
    page: Number,
) -> Any:
    """One visit: (partner, NONE or ZERO; ns)."""
    costs = cost[0]
    ns = np.int64(costs["scan_step"])
    if np.int64(mem.pages[page]["flags"]) & PINNED:
        return np.int64(NONE), ns
    frame = np.int64(mem.pages[page]["mfn"])
    if frame == mem.totals[t.T_ZERO_FRAME] and np.int64(scan["zero_pages"]):
        return np.int64(NONE), ns
    known = np.int64(state[page]["known"]) != 0
    dirty = np.int64(mem.pages[page]["flags"]) & DIRTY != 0
    if known and not dirty and np.int64(mem.frames[frame]["ref"]) > 1:
        digest = np.uint64(state[page]["digest"])  # a shared frame cannot have changed
    else:
        digest = digest_of(mem, cost, frame)
        ns += np.int64(costs["digest_cold"]) + np.int64(costs["foreign_map"])
        scan["hashed"] += 1
        mem.totals[t.T_STREAMED] += 1
        scan["mapped"] += 1
        changed = np.uint64(state[page]["digest"]) != digest or not known
        clear_flag(mem, page, DIRTY)
        state[page]["digest"] = digest
        state[page]["known"] = np.uint8(1)
        if changed and np.int64(scan["stable"]):
            scan["unstable"] += 1
            return np.int64(NONE), ns
    if np.int64(scan["zero_pages"]) and digest == zero_digest(cost):
        return np.int64(ZERO), ns
    bits, passes = np.int64(costs["digest_bits"]), np.int64(scan["passes"])
    if interval_of(digest, bits, passes) != np.int64(scan["interval"]):
        return np.int64(NONE), ns
    partner, more = _look_up(mem, cost, scan, state, table, page, digest)
    return partner, ns + more


@njit
def _give_feedback(scan: Row, feedback: np.ndarray, outcome: Number) -> Any:
    at = np.int64(scan["feedback"])
    if at < len(feedback) and outcome != MERGED:
        feedback[at, 0] = np.int64(scan["page"])
        feedback[at, 1] = np.int64(scan["partner"])
        feedback[at, 2] = outcome
        scan["feedback"] = at + 1


@njit
def _next_page(mem: Memory, scan: Row, ranges: np.ndarray, starts: np.ndarray) -> Any:
    """The next page of the pass with a frame, and how many were passed over; -1: none in reach."""
    passed = 0
    while np.int64(scan["position"]) < np.int64(scan["count"]) and passed < LARGEST_SKIP:
        position = np.int64(scan["position"])
        random = np.int64(scan["random"]) != 0
        key = np.uint64(scan["key"])
        page = page_at(ranges, starts, position, np.int64(scan["count"]), random, key)
        scan["position"] = position + 1
        if np.int64(mem.pages[page]["mfn"]) != NONE:
            return np.int64(page), passed
        passed += 1
    return np.int64(-1), passed


@njit
def _sweep(
    mem: Memory,
    cost: np.ndarray,
    scan: Row,
    state: np.ndarray,
    table: np.ndarray,
    ranges: np.ndarray,
    starts: np.ndarray,
    now: Number,
    until: Number,
) -> Any:
    """Visits in linear order up to the first that offers a partner or meets a hole.

    The same steps as :func:`_step` makes, with the books kept in registers. A visit's table slot is
    known from the page's contents, so it is asked for a few visits ahead. Returns how many.
    """
    due, local = np.int64(scan["due"]), np.int64(scan["local"])
    position, left = np.int64(scan["position"]), np.int64(scan["left"])
    count = np.int64(scan["count"])
    visits = np.int64(0)
    page, partner = np.int64(scan["page"]), np.int64(NONE)
    base, edge = np.int64(0), position  # positions up to the edge are pages from base on
    while left > 0 and position < count and (due < until or due == now):
        if position == edge:
            base = page_at(ranges, starts, position, count, False, np.uint64(0)) - position
            edge = count
            for later in range(len(starts)):
                if starts[later] > position:
                    edge = min(edge, starts[later])
        if position + AHEAD < edge:
            coming = np.int64(mem.pages[base + position + AHEAD]["mfn"])
            if coming != NONE:
                prefetch(table, slot_of(table, digest_of(mem, cost, coming)))
        if np.int64(mem.pages[base + position]["mfn"]) == NONE:
            break
        page = base + position
        position += 1
        left -= 1
        visits += 1
        partner, ns = visit_page(mem, cost, scan, state, table, page)
        local = due
        due += ns
        if partner != NONE:
            break
    if visits:
        scan["due"], scan["local"] = due, local
        scan["position"], scan["left"] = position, left
        scan["scanned"] += visits
        scan["page"], scan["partner"] = page, partner
        if partner != NONE:
            scan["stage"] = PROTECT
    return visits


@njit
def _step(
    mem: Memory,
    cost: np.ndarray,
    scan: Row,
    state: np.ndarray,
    table: np.ndarray,
    ranges: np.ndarray,
    starts: np.ndarray,
    feedback: np.ndarray,
    due: Number,
    now: Number,
) -> Any:
    """One step of the scanner's cycle at ``due``; returns its ns."""
    stage = np.int64(scan["stage"])
    if stage == VISIT:
        page, passed = _next_page(mem, scan, ranges, starts)
        scan["passed"] += passed
        ns = passed * np.int64(cost[0]["scan_skip"])
        if page < 0:
            return ns
        scan["left"] -= 1
        scan["scanned"] += 1
        partner, more = visit_page(mem, cost, scan, state, table, page)
        log_event(mem, due, ns + more, t.E_VISIT, -1, page, partner if partner < ZERO else -1)
        scan["page"] = page
        scan["partner"] = partner
        if partner != NONE:
            scan["stage"] = PROTECT
        return ns + more
    page = np.int64(scan["page"])
    partner = np.int64(scan["partner"])
    if stage == PROTECT and np.int64(cost[0]["paravirtual"]):
        ns, outcome = offer(mem, cost, page, partner, due)
        scan["stage"] = VISIT
    elif stage == PROTECT:
        ns, outcome = protect(mem, cost, page, partner, due)
        scan["stage"] = COMMIT if outcome == PENDING else VISIT
    elif stage == COMMIT:
        ns, outcome = commit(mem, cost, page, partner, due, now)
        scan["stage"] = FINISH
    else:
        release_pending(mem)
        scan["stage"] = VISIT
        return np.int64(0)
    if outcome != PENDING:
        _give_feedback(scan, feedback, outcome)
    return ns


@njit
def scan(
    mem: Memory,
    cost: np.ndarray,
    scans: np.ndarray,
    state: np.ndarray,
    table: np.ndarray,
    ranges: np.ndarray,
    starts: np.ndarray,
    feedback: np.ndarray,
    now: Number,
    until: Number,
    inline: Number,
) -> Any:
    """The compiled form: run the scanner from its local time; returns (due, stop).

    Stops at the horizon, at the end of the wake-up's budget, at the end of a pass, or to have logs
    drained. Unless ``inline`` it makes one step a call.
    """
    row = scans[0]
    forget_recent(mem, now - 2 * np.int64(cost[0]["quantum"]))
    sweeps = inline and len(mem.log) == 0 and np.int64(row["random"]) == 0
    while True:
        due = np.int64(row["due"])
        if due != now and due >= until:
            return due, HORIZON
        if log_full(mem) or changes_full(mem):
            return due, DRAIN
        if np.int64(row["stage"]) == VISIT:
            if np.int64(row["left"]) == 0:
                return due, BATCH_END
            if np.int64(row["position"]) >= np.int64(row["count"]):
                return due, PASS_END
            if sweeps and _sweep(mem, cost, row, state, table, ranges, starts, now, until):
                continue
        row["local"] = due
        ns = _step(mem, cost, row, state, table, ranges, starts, feedback, due, now)
        row["due"] = due + ns
        if not inline and ns > 0:
            return due + ns, HORIZON
