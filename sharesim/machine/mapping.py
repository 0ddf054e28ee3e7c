"""The one path through which memory changes: allocate, map, unmap, write, free.

Everything here keeps the invariants of the tables (references, M2P as the inverse of P2M,
conservation of frames) and sets the page's attention bit.
"""

from typing import Any

import numpy as np

from sharesim.kernel import Number, njit
from sharesim.machine import tables as t
from sharesim.machine.tables import (
    ABSENT,
    BALLOONED,
    BLOCK,
    BLOCK_PAGES,
    CHANGE_RESERVE,
    CORRUPTED,
    DIRTY,
    LOG_RESERVE,
    MOVED,
    NONE,
    OFFERED,
    PROTECTED,
    READ_ONLY,
    RECENT,
    REFILL,
    Memory,
)

_NONE = np.uint32(NONE)


@njit
def attend(mem: Memory, page: Number) -> Any:
    """Set the attention bit: a visit of this page may now have another outcome."""
    mem.attention[page >> 3] |= np.uint8(1 << (page & 7))


@njit
def vm_of(mem: Memory, page: Number) -> Any:
    """Row of the VM that owns a page (binary search over the VMs' first pages)."""
    low = 0
    high = len(mem.vms) - 1
    while low < high:
        middle = (low + high + 1) >> 1
        if np.int64(mem.vms[middle]["first"]) <= page:
            low = middle
        else:
            high = middle - 1
    return low


@njit
def log_full(mem: Memory) -> Any:
    """Whether a kernel must stop to have the event log drained."""
    rows = len(mem.log)
    return rows > 0 and mem.totals[t.T_LOG_COUNT] + LOG_RESERVE > rows


@njit
def log_event(
    mem: Memory,
    time: Number,
    duration: Number,
    kind: Number,
    actor: Number,
    page: Number,
    other: Number,
) -> Any:
    """Append to the event log, if there is one."""
    if len(mem.log) == 0:
        return
    at = mem.totals[t.T_LOG_COUNT]
    row = mem.log[at]
    row[0] = time
    row[1] = duration
    row[2] = kind
    row[3] = actor
    row[4] = page
    row[5] = other
    mem.totals[t.T_LOG_COUNT] = at + 1


@njit
def note_change(mem: Memory, page: Number, why: Number) -> Any:
    """Tell the policy, if it listens, that a page is not what it was."""
    rows = len(mem.changes)
    if rows == 0:
        return
    at = mem.totals[t.T_CHANGE_COUNT]
    if at < rows:
        mem.changes[at, 0] = page
        mem.changes[at, 1] = why
        mem.totals[t.T_CHANGE_COUNT] = at + 1


@njit
def changes_full(mem: Memory) -> Any:
    """Whether a kernel must stop to have the ring of changes drained."""
    rows = len(mem.changes)
    return rows > 0 and mem.totals[t.T_CHANGE_COUNT] + CHANGE_RESERVE > rows


@njit
def take_frame(mem: Memory) -> Any:
    """A free frame, or NONE as int64."""
    frame = mem.totals[t.T_FREE_HEAD]
    if mem.totals[t.T_FREE] == 0:
        return np.int64(NONE)
    mem.totals[t.T_FREE_HEAD] = np.int64(mem.frames[frame]["head"])
    mem.totals[t.T_FREE] -= 1
    mem.totals[t.T_USED] += 1
    mem.frames[frame]["ref"] = np.uint32(0)
    mem.frames[frame]["head"] = _NONE
    return np.int64(frame)


@njit
def put_frame(mem: Memory, frame: Number) -> Any:
    """Back on the free list."""
    mem.frames[frame]["head"] = np.uint32(mem.totals[t.T_FREE_HEAD])
    mem.totals[t.T_FREE_HEAD] = frame
    mem.totals[t.T_FREE] += 1


@njit
def release_pending(mem: Memory) -> Any:
    """The flush of the frame freed last is complete: it can be used again."""
    frame = mem.totals[t.T_PENDING_FRAME]
    if frame != NONE:
        mem.totals[t.T_PENDING_FRAME] = NONE
        mem.totals[t.T_PENDING] -= 1
        put_frame(mem, frame)


@njit
def _count_sharers(mem: Memory, frame: Number, vm: Number, step: Number) -> Any:
    """Keep the totals when ``vm`` gains (+1) or loses (-1) a mapping of a frame.

    Called while the frame's count does not include the mapping in question.
    """
    others = np.int64(mem.frames[frame]["ref"])
    if others == 0:
        return
    zero = np.uint64(mem.frames[frame]["content"]) == np.uint64(0)
    change = step
    if others == 1:
        only = np.int64(mem.frames[frame]["head"])
        mem.vms[vm_of(mem, only)]["sharing"] += step
        change = 2 * step
        mem.totals[t.T_SHARED_FRAMES] += step
        if zero:
            mem.totals[t.T_ZERO_SHARED_FRAMES] += step
    mem.vms[vm]["sharing"] += step
    mem.totals[t.T_SHARERS] += change
    if zero:
        mem.totals[t.T_ZERO_SHARERS] += change


@njit
def link(mem: Memory, vm: Number, page: Number, frame: Number) -> Any:
    """Map a page, so far without a frame, to a frame."""
    pages = mem.pages
    _count_sharers(mem, frame, vm, 1)
    head = np.int64(mem.frames[frame]["head"])
    pages[page]["mfn"] = np.uint32(frame)
    pages[page]["prev"] = _NONE
    pages[page]["next"] = np.uint32(head)
    if head != NONE:
        pages[head]["prev"] = np.uint32(page)
    mem.frames[frame]["head"] = np.uint32(page)
    mem.frames[frame]["ref"] = np.uint32(np.int64(mem.frames[frame]["ref"]) + 1)
    attend(mem, page)


@njit
def unlink(mem: Memory, vm: Number, page: Number) -> Any:
    """Unmap a page; gives its frame, now perhaps without mappings (the caller frees it)."""
    pages = mem.pages
    frame = np.int64(pages[page]["mfn"])
    before = np.int64(pages[page]["prev"])
    after = np.int64(pages[page]["next"])
    if before != NONE:
        pages[before]["next"] = np.uint32(after)
    else:
        mem.frames[frame]["head"] = np.uint32(after)
    if after != NONE:
        pages[after]["prev"] = np.uint32(before)
    pages[page]["mfn"] = _NONE
    pages[page]["next"] = _NONE
    pages[page]["prev"] = _NONE
    pages[page]["entries"] = np.uint8(0)
    mem.frames[frame]["ref"] = np.uint32(np.int64(mem.frames[frame]["ref"]) - 1)
    _count_sharers(mem, frame, vm, -1)
    attend(mem, page)
    return frame


@njit
def disown(mem: Memory, frame: Number) -> Any:
    """A frame is no longer what a policy has marked it as."""
    if len(mem.owners) and mem.owners[frame] != _NONE:
        mem.owners[frame] = _NONE
        mem.totals[t.T_DISOWNED] += 1


@njit
def drop_frame(mem: Memory, frame: Number, pending: Number) -> Any:
    """A frame without mappings: free it now, or when its flush is done."""
    disown(mem, frame)
    mem.totals[t.T_USED] -= 1
    if frame == mem.totals[t.T_ZERO_FRAME]:
        mem.totals[t.T_ZERO_FRAME] = NONE
    if pending:
        release_pending(mem)
        mem.totals[t.T_PENDING_FRAME] = frame
        mem.totals[t.T_PENDING] += 1
    else:
        put_frame(mem, frame)


@njit
def hold_frame(mem: Memory, vm: Number, frame: Number) -> Any:
    """A frame that a merge left without mappings waits for the flush of the guest that gave it."""
    disown(mem, frame)
    mem.totals[t.T_USED] -= 1
    mem.totals[t.T_PENDING] += 1
    if frame == mem.totals[t.T_ZERO_FRAME]:
        mem.totals[t.T_ZERO_FRAME] = NONE
    mem.frames[frame]["head"] = np.uint32(np.int64(mem.vms[vm]["held_head"]))
    mem.vms[vm]["held_head"] = frame


@njit
def release_held(mem: Memory, vm: Number) -> Any:
    """That flush is complete: the frames can be used again."""
    frame = np.int64(mem.vms[vm]["held_head"])
    while frame != NONE:
        after = np.int64(mem.frames[frame]["head"])
        mem.totals[t.T_PENDING] -= 1
        put_frame(mem, frame)
        frame = after
    mem.vms[vm]["held_head"] = NONE


@njit
def clear_flag(mem: Memory, page: Number, mask: Number) -> Any:
    """Take flags off a page."""
    mem.pages[page]["flags"] = np.uint16(np.int64(mem.pages[page]["flags"]) & ~mask)


@njit
def set_flag(mem: Memory, page: Number, mask: Number) -> Any:
    """Put flags on a page."""
    mem.pages[page]["flags"] = np.uint16(np.int64(mem.pages[page]["flags"]) | mask)


@njit
def split_mapping(mem: Memory, vm: Number, page: Number) -> Any:
    """Split the 2 MiB mapping a page is in; False when it is in none."""
    if np.int64(mem.pages[page]["flags"]) & BLOCK == 0:
        return False
    first = np.int64(mem.vms[vm]["first"])
    start = page - (page - first) % BLOCK_PAGES
    for other in range(start, min(start + BLOCK_PAGES, len(mem.pages))):
        clear_flag(mem, other, BLOCK)
    mem.totals[t.T_SPLITS] += 1
    return True


@njit
def forget_corruption(mem: Memory, page: Number) -> Any:
    """The page gets new contents, so what it wrongly read is over."""
    if np.int64(mem.pages[page]["flags"]) & CORRUPTED:
        clear_flag(mem, page, CORRUPTED)
        mem.totals[t.T_CORRUPTED] -= 1


@njit
def populate(mem: Memory, vm: Number, page: Number, content: Number) -> Any:
    """Give a page without a frame one with that content; False when none is free."""
    frame = take_frame(mem)
    if frame == NONE:
        return False
    flags = np.int64(mem.pages[page]["flags"])
    if flags & BALLOONED:
        mem.vms[vm]["ballooned"] -= 1
        mem.totals[t.T_BALLOON_POPPED] += 1
    mem.frames[frame]["content"] = content
    link(mem, vm, page, frame)
    mem.vms[vm]["populated"] += 1
    clear_flag(mem, page, BALLOONED | READ_ONLY | PROTECTED | REFILL | MOVED | RECENT)
    if len(mem.truth):
        mem.truth[page] = content
    return True


@njit
def release(mem: Memory, vm: Number, page: Number, flag: Number) -> Any:
    """Take a page's frame away for good; the page becomes unpopulated, or ``flag`` (BALLOONED)."""
    if np.int64(mem.pages[page]["mfn"]) == NONE:
        if flag and not np.int64(mem.pages[page]["flags"]) & flag:
            set_flag(mem, page, flag)
            return True
        return False
    forget_corruption(mem, page)
    split_mapping(mem, vm, page)
    frame = unlink(mem, vm, page)
    if np.int64(mem.frames[frame]["ref"]) == 0:
        drop_frame(mem, frame, False)
    mem.vms[vm]["populated"] -= 1
    clear_flag(mem, page, READ_ONLY | PROTECTED | REFILL | MOVED | RECENT | OFFERED)
    if flag:
        set_flag(mem, page, flag)
    if len(mem.truth):
        mem.truth[page] = np.uint64(0)
    note_change(mem, page, t.BALLOONED_AWAY if flag else t.UNMAPPED)
    return True


@njit
def store(mem: Memory, page: Number, content: Number) -> Any:
    """Write contents to a page that is privately and writably mapped."""
    frame = np.int64(mem.pages[page]["mfn"])
    if len(mem.truth):
        mem.truth[page] = content
        if np.int64(mem.frames[frame]["ref"]) != 1:
            mem.totals[t.T_BREACH] = 5
            mem.totals[t.T_BREACH_PAGE] = page
    mem.frames[frame]["content"] = content
    if np.int64(mem.pages[page]["flags"]) & CORRUPTED:
        forget_corruption(mem, page)
    store_same(mem, page)


@njit
def store_same(mem: Memory, page: Number) -> Any:
    """What any write does, though it leave the contents as they were."""
    if np.int64(mem.pages[page]["flags"]) & DIRTY == 0:
        set_flag(mem, page, DIRTY)
    attend(mem, page)


@njit
def latency_bucket(ns: Number) -> Any:
    """Bucket of a latency: eight an octave, exact below 16 ns."""
    if ns < 16:
        return ns
    octave = 0
    rest = ns
    while rest >= 16:
        rest >>= 1
        octave += 1
    return min(16 + (octave - 1) * 8 + (rest - 8), 319)


@njit
def drop_shadow_tables(mem: Memory, vm: Number) -> Any:
    """All shadow tables of a VM go, with it."""
    first = np.int64(mem.vms[vm]["table_first"])
    if len(mem.shadow) == 0:
        return
    for table in range(first, first + t.SPACES * np.int64(mem.vms[vm]["tables"])):
        mem.shadow[table] = np.uint8(0)
    mem.totals[t.T_SHADOW_TABLES] -= np.int64(mem.vms[vm]["pool_used"])
    mem.vms[vm]["pool_used"] = 0


@njit
def start_vm(mem: Memory, vm: Number) -> Any:
    """Its pages are there from now on."""
    first = np.int64(mem.vms[vm]["first"])
    for page in range(first, first + np.int64(mem.vms[vm]["pages"])):
        clear_flag(mem, page, ABSENT)
    mem.vms[vm]["running"] = 1


@njit
def stop_vm(mem: Memory, vm: Number) -> Any:
    """All its frames are freed; its pages are gone."""
    first = np.int64(mem.vms[vm]["first"])
    for page in range(first, first + np.int64(mem.vms[vm]["pages"])):
        release(mem, vm, page, 0)
        if np.int64(mem.pages[page]["flags"]) & BALLOONED:
            mem.vms[vm]["ballooned"] -= 1
        clear_flag(mem, page, BALLOONED)
        set_flag(mem, page, ABSENT)
    release_held(mem, vm)
    mem.vms[vm]["offer_count"] = 0
    mem.vms[vm]["driver_stage"] = 0
    mem.vms[vm]["driver_batch"] = 0
    mem.vms[vm]["notified"] = 0
    drop_shadow_tables(mem, vm)
    mem.vms[vm]["running"] = 0


@njit
def fill_vm(
    mem: Memory,
    vm: Number,
    contents: np.ndarray,
    populated: np.ndarray,
    classes: np.ndarray,
    map_counts: np.ndarray,
    extra_flags: np.ndarray,
) -> Any:
    """Lay a guest's image out: frames for what is populated, classes for all; False: no frames."""
    first = np.int64(mem.vms[vm]["first"])
    for gfn in range(np.int64(mem.vms[vm]["pages"])):
        page = first + gfn
        flags = np.int64(classes[gfn]) | np.int64(extra_flags[gfn])
        mem.pages[page]["flags"] = np.uint16(flags)
        mem.pages[page]["map_count"] = map_counts[gfn]
        if populated[gfn] and not populate(mem, vm, page, contents[gfn]):
            return False
    mem.vms[vm]["running"] = 1
    return True


@njit
def clone_vm(mem: Memory, vm: Number, parent: Number) -> Any:
    """Map all of the parent's populated pages, copy-on-write (Potemkin's delta virtualization)."""
    first = np.int64(mem.vms[vm]["first"])
    source = np.int64(mem.vms[parent]["first"])
    for gfn in range(np.int64(mem.vms[vm]["pages"])):
        page = first + gfn
        origin = source + gfn
        flags = np.int64(mem.pages[origin]["flags"])
        mem.pages[page]["flags"] = np.uint16(flags & (t.CLASS_MASK | t.PINNED))
        mem.pages[page]["map_count"] = mem.pages[origin]["map_count"]
        frame = np.int64(mem.pages[origin]["mfn"])
        if frame == NONE:
            continue
        if flags & t.PINNED:  # never shared: the clone gets a copy
            populate(mem, vm, page, mem.frames[frame]["content"])
            continue
        set_flag(mem, origin, READ_ONLY)
        clear_flag(mem, origin, t.BLOCK)
        link(mem, vm, page, frame)
        set_flag(mem, page, READ_ONLY | REFILL | MOVED)
        mem.vms[vm]["populated"] += 1
        if flags & CORRUPTED:
            set_flag(mem, page, CORRUPTED)
            mem.totals[t.T_CORRUPTED] += 1
        if len(mem.truth):
            mem.truth[page] = mem.truth[origin]
    mem.vms[vm]["running"] = 1
