"""Check mode: the invariants of the tables, tested over all of memory or around one page."""

from typing import Any

import numpy as np

from sharesim.kernel import Number, njit
from sharesim.machine import tables as t
from sharesim.machine.entries import slots_of
from sharesim.machine.mapping import vm_of
from sharesim.machine.tables import (
    BALLOONED,
    CORRUPTED,
    MOVED,
    NONE,
    PROTECTED,
    READ_ONLY,
    REFILL,
    SPACES,
    TABLE_PAGES,
    Memory,
)

BREACHES = (
    "no breach",
    "a frame's references are not its mappings",
    "M2P is not the inverse of P2M",
    "frames of the host are not conserved",
    "pages of a VM are not conserved",
    "a frame was written while two pages map it",
    "a page reads other contents than were written to it",
    "a shared frame is mapped writable",
    "the running totals of sharing are wrong",
    "the entries in place are not those that flags and shadow tables say",
    "the shadow tables in use are not those that are counted",
)
(
    B_NONE,
    B_REFERENCES,
    B_M2P,
    B_FRAMES,
    B_PAGES,
    B_WRITTEN_SHARED,
    B_ISOLATION,
    B_WRITABLE,
    B_TOTALS,
    B_ENTRIES,
    B_TABLES,
) = range(11)


@njit
def _breach(mem: Memory, what: Number, page: Number) -> Any:
    mem.totals[t.T_BREACH] = what
    mem.totals[t.T_BREACH_PAGE] = page
    return False


@njit
def check_page(mem: Memory, page: Number) -> Any:
    """The invariants around one page: its entries, its links, its frame's count, what it reads."""
    if len(mem.shadow) and not _check_entries(mem, page):
        return False
    pages = mem.pages
    frame = np.int64(pages[page]["mfn"])
    if frame == NONE:
        return True
    if np.int64(pages[page]["flags"]) & BALLOONED:
        return _breach(mem, B_PAGES, page)
    before = np.int64(pages[page]["prev"])
    after = np.int64(pages[page]["next"])
    if before == NONE:
        if np.int64(mem.frames[frame]["head"]) != page:
            return _breach(mem, B_M2P, page)
    elif np.int64(pages[before]["next"]) != page or np.int64(pages[before]["mfn"]) != frame:
        return _breach(mem, B_M2P, page)
    if after != NONE and (
        np.int64(pages[after]["prev"]) != page or np.int64(pages[after]["mfn"]) != frame
    ):
        return _breach(mem, B_M2P, page)
    references = np.int64(mem.frames[frame]["ref"])
    if references < 1 or (references == 1 and (before != NONE or after != NONE)):
        return _breach(mem, B_REFERENCES, page)
    flags = np.int64(pages[page]["flags"])
    if references > 1 and flags & (READ_ONLY | PROTECTED) == 0:
        return _breach(mem, B_WRITABLE, page)
    known = len(mem.truth) > 0 and flags & CORRUPTED == 0
    if known and mem.truth[page] != np.uint64(mem.frames[frame]["content"]):
        return _breach(mem, B_ISOLATION, page)
    return True


@njit
def _check_entries(mem: Memory, page: Number) -> Any:
    """Shadow paging: what is in place has its table, and what misses an entry is marked so."""
    row = mem.pages[page]
    in_place = np.int64(row["entries"])
    if np.int64(row["mfn"]) == NONE:
        return in_place == 0 or _breach(mem, B_ENTRIES, page)
    slots = slots_of(mem, page)
    every = (1 << slots) - 1
    marks = np.int64(row["flags"]) & (REFILL | MOVED)
    if in_place & ~every or (in_place == every) != (marks == 0) or marks == MOVED:
        return _breach(mem, B_ENTRIES, page)
    vm = mem.vms[vm_of(mem, page)]
    table = np.int64(vm["table_first"]) + (page - np.int64(vm["first"])) // TABLE_PAGES
    for slot in range(slots):
        if in_place >> slot & 1 and mem.shadow[table + slot * np.int64(vm["tables"])] == 0:
            return _breach(mem, B_ENTRIES, page)
    return True


@njit
def _check_tables(mem: Memory) -> Any:
    """Shadow tables are counted: of each VM no more than its pool has, and in all."""
    count = np.int64(0)
    for vm in range(len(mem.vms)):
        row = mem.vms[vm]
        first = np.int64(row["table_first"])
        used = np.int64(0)
        for table in range(first, first + SPACES * np.int64(row["tables"])):
            used += np.int64(mem.shadow[table])
        if used != np.int64(row["pool_used"]) or used > np.int64(row["pool"]):
            return _breach(mem, B_TABLES, np.int64(row["first"]))
        count += used
    return count == mem.totals[t.T_SHADOW_TABLES] or _breach(mem, B_TABLES, 0)


@njit
def check_all(mem: Memory, counts: np.ndarray) -> Any:
    """All invariants over all of memory; ``counts`` is int64[frames] of scratch.

    False when one is broken: totals then name it and a page.
    """
    counts[:] = 0
    for vm in range(len(mem.vms)):
        first = np.int64(mem.vms[vm]["first"])
        populated = 0
        ballooned = 0
        sharing = 0
        for page in range(first, first + np.int64(mem.vms[vm]["pages"])):
            if not check_page(mem, page):
                return False
            frame = np.int64(mem.pages[page]["mfn"])
            if np.int64(mem.pages[page]["flags"]) & BALLOONED:
                ballooned += 1
            if frame != NONE:
                populated += 1
                counts[frame] += 1
                if np.int64(mem.frames[frame]["ref"]) > 1:
                    sharing += 1
        if populated != np.int64(mem.vms[vm]["populated"]):
            return _breach(mem, B_PAGES, first)
        if ballooned != np.int64(mem.vms[vm]["ballooned"]):
            return _breach(mem, B_PAGES, first)
        if sharing != np.int64(mem.vms[vm]["sharing"]):
            return _breach(mem, B_TOTALS, first)
    if len(mem.shadow) and not _check_tables(mem):
        return False
    return _check_frames(mem, counts)


@njit
def _check_frames(mem: Memory, counts: np.ndarray) -> Any:
    used = 0
    shared = 0
    sharers = 0
    zero_shared = 0
    zero_sharers = 0
    for frame in range(len(mem.frames)):
        count = counts[frame]
        if count == 0:
            continue
        if np.int64(mem.frames[frame]["ref"]) != count:
            return _breach(mem, B_REFERENCES, np.int64(mem.frames[frame]["head"]))
        used += 1
        if count > 1:
            shared += 1
            sharers += count
            if np.uint64(mem.frames[frame]["content"]) == np.uint64(0):
                zero_shared += 1
                zero_sharers += count
    totals = mem.totals
    held = totals[t.T_FREE] + totals[t.T_PENDING] + totals[t.T_RESERVED]
    if used != totals[t.T_USED] or held + used != len(mem.frames):
        return _breach(mem, B_FRAMES, 0)
    if shared != totals[t.T_SHARED_FRAMES] or sharers != totals[t.T_SHARERS]:
        return _breach(mem, B_TOTALS, 0)
    if zero_shared != totals[t.T_ZERO_SHARED_FRAMES] or zero_sharers != totals[t.T_ZERO_SHARERS]:
        return _breach(mem, B_TOTALS, 0)
    return _check_free_list(mem) and _check_pending(mem)


@njit
def _check_free_list(mem: Memory) -> Any:
    count = 0
    frame = mem.totals[t.T_FREE_HEAD]
    while frame != NONE and count <= mem.totals[t.T_FREE]:
        count += 1
        frame = np.int64(mem.frames[frame]["head"])
    if count != mem.totals[t.T_FREE]:
        return _breach(mem, B_FRAMES, 0)
    return True


@njit
def _check_pending(mem: Memory) -> Any:
    """Pending is what waits for the scanner's flush, and what waits for the flush of a guest."""
    count = np.int64(mem.totals[t.T_PENDING_FRAME] != NONE)
    for vm in range(len(mem.vms)):
        frame = np.int64(mem.vms[vm]["held_head"])
        while frame != NONE and count <= mem.totals[t.T_PENDING]:
            count += 1
            frame = np.int64(mem.frames[frame]["head"])
    return count == mem.totals[t.T_PENDING] or _breach(mem, B_FRAMES, 0)
