"""The tables that are the simulated machine: plain structured arrays, one row per thing.

No Python object stands for a page. A *page id* is the row of a guest page: guests have contiguous
ranges of rows, so the gfn is the id less the guest's first row. Kernels take a :class:`Memory`.
"""

from typing import NamedTuple

import numpy as np

NONE = 0xFFFF_FFFF
"""No frame, no page."""
ZERO = 0xFFFF_FFFE
"""As a partner: the zero page."""

PAGE = np.dtype(
    [
        ("mfn", "<u4"),  # P2M: the frame, or NONE
        ("next", "<u4"),  # sharers of a frame are a doubly linked list, so that a
        ("prev", "<u4"),  # break is O(1) even for a zero frame with a million mappings
        ("flags", "<u2"),
        ("map_count", "u1"),  # page-table entries that map the page inside the guest
        ("entries", "u1"),  # which of them are in place, a bit each (shadow and direct paging)
    ]
)
FRAME = np.dtype(
    [
        ("content", "<u8"),  # content id; 0 is the all-zero page
        ("ref", "<u4"),  # guest pages that map it
        ("head", "<u4"),  # M2P: its first page; in a free frame the next free one
    ]
)

# Flags of a page. The low bits are its PageClass. As int64 they are values to Numba, not literals
# for each of which it would compile every helper anew.
CLASS_MASK = np.int64(0x7)
OFFERED = np.int64(1 << 3)  # on its guest's ring of offers (paravirtual design)
READ_ONLY = np.int64(1 << 4)  # mapped read-only because its frame is, or was, shared
PROTECTED = np.int64(1 << 5)  # write-protected by a merge under way
REFILL = np.int64(1 << 6)  # an entry of it is not in place: the next access by it pays for that
PINNED = np.int64(1 << 7)  # never shared: guest page tables under direct paging, DMA, dom0 mappings
BLOCK = np.int64(1 << 8)  # backed by a 2 MiB mapping
BALLOONED = np.int64(1 << 9)
CORRUPTED = np.int64(1 << 10)  # reads other bytes than were written: a digest collision was trusted
RECENT = np.int64(1 << 11)  # merged within the last sync quantum
ABSENT = np.int64(1 << 12)  # its VM is not running
UNMERGEABLE = np.int64(1 << 14)  # in a guest that the scanner does not look at
DIRTY = np.int64(1 << 13)  # written since the scanner last read it: a hardware dirty bit
MOVED = np.int64(1 << 15)  # sharing (or cloning) took its entries: filling them is sharing's cost

BLOCK_PAGES = 512
SPACES = 8
"""Address spaces whose entries are told apart: bits of a page's ``entries``."""
TABLE_PAGES = 512
"""Pages that one page of shadow tables maps, at the lowest level (8-byte entries)."""

# Rows of the running totals, an int64 array.
T_FREE = 0  # frames on the free list
T_PENDING = 1  # frames freed, waiting for their flush
T_RESERVED = 2  # frames the hypervisor holds
T_USED = 3  # frames mapped at least once
T_SHARED_FRAMES = 4  # frames mapped at least twice
T_SHARERS = 5  # pages that map shared frames
T_ZERO_SHARED_FRAMES = 6  # of these, with zero contents
T_ZERO_SHARERS = 7
T_MERGES = 8
T_ZERO_MERGES = 9
T_MERGE_ABORTED = 10
T_FALSE_MATCHES = 11
T_INELIGIBLE = 12
T_COW_BREAKS = 13
T_ZERO_BREAKS = 14
T_REUSES = 15
T_POPULATES = 16
T_REFILLS = 17
T_UNPROTECTS = 18
T_SPLITS = 19
T_CORRUPTED = 20  # pages now corrupted
T_WRONG_MERGES = 21  # merges of different contents, ever
T_NEAR_RACES = 22
T_FLUSHES = 23
T_BALLOON_POPPED = 24
T_FREE_HEAD = 25  # first frame of the free list
T_PENDING_FRAME = 26  # the frame that waits for its flush, or NONE
T_ZERO_FRAME = 27  # the frame zero pages are merged with, or NONE
T_LOG_COUNT = 28
T_CHANGE_COUNT = 29
T_RECENT_HEAD = 30
T_RECENT_COUNT = 31
T_BREACH = 32  # number of the invariant broken, in check mode
T_BREACH_PAGE = 33
T_REMOTE_NS = 34  # what flushes have cost others than their initiators
T_LOCK_COUNT = 35  # busy intervals of the sharing lock
T_LOCK_WAIT_NS = 36
T_LOCK_WAITS = 37
T_STREAMED = 38  # pages that scanner and hypervisor have read or written through the caches
T_HIDDEN_FAULTS = 39  # shadow entries filled on first use or after an eviction
T_SHADOW_TABLES = 40  # pages of shadow tables in use
T_SHADOW_EVICTIONS = 41
T_PT_FAULTS = 42  # the guests' own page faults that were declared as activity
T_PT_UPDATES = 43
T_PT_SWITCHES = 44
T_PT_HYPERCALLS = 45
T_PT_PINS = 46
T_PT_UNPINS = 47
T_REFUSED_UPDATES = 48  # writable entries to shared frames that validation refused
T_OFFERS = 49
T_OFFERS_REFUSED = 50
T_OFFERS_EXPIRED = 51
T_OFFERS_DROPPED = 52  # the ring was full
T_OFFERS_SHARED = 53  # frames that became, or joined, frames of the COW owner
T_OFFER_BATCHES = 54
T_UPCALLS = 55  # breaks made by the guest itself
T_NOCOPY = 56  # breaks of pages about to be overwritten as a whole
T_OUTCOME_COUNT = 57
T_OWNED_BREAKS = 58  # copies of frames that the policy had marked as its own (KSM pages)
T_DISOWNED = 59  # marked frames that were freed, and the policy has not come across it yet
TOTALS = 60

# Causes of the ledger: in exactly one of them is a vCPU at each nanosecond.
WORK, PAGING, SHARING, RECLAIM, INTERFERENCE, INTERRUPTED, READY, BLOCKED, IDLE = range(9)
CAUSES = (
    "work",
    "paging",
    "sharing",
    "reclaim",
    "interference",
    "interrupted",
    "ready",
    "blocked",
    "idle",
)

VM_ROW = np.dtype(
    [
        ("first", "<i8"),  # its first page id
        ("pages", "<i8"),
        ("vcpu_first", "<i8"),
        ("vcpus", "<i8"),
        ("running", "<i8"),
        ("populated", "<i8"),
        ("ballooned", "<i8"),
        ("sharing", "<i8"),  # pages that map shared frames
        ("faults", "<i8"),
        ("cow_breaks", "<i8"),
        ("merged", "<i8"),
        ("debt_reclaim", "<i8"),  # ns of balloon work its first vCPU has yet to do
        ("debt_sharing", "<i8"),  # the same of taking back what it shares, by its own call
        ("table_first", "<i8"),  # its first shadow table, and how many for one address space
        ("tables", "<i8"),
        ("pool", "<i8"),  # pages of shadow tables it may have, and has
        ("pool_used", "<i8"),
        ("pool_hand", "<i8"),  # where the search for a table to evict goes on
        ("willing", "<i8"),  # takes offers
        ("offer_head", "<i8"),  # its ring of offers: first, how many, ...
        ("offer_count", "<i8"),
        ("notified", "<i8"),  # ... an event has told it of them, ...
        ("driver_stage", "<i8"),  # ... what its driver does next with the first ...
        ("driver_batch", "<i8"),  # ... so many
        ("held_head", "<i8"),  # frames that its merges freed, until its flush
    ]
)
OFFER = np.dtype(
    [
        ("page", "<i8"),
        ("partner", "<i8"),  # a page, or ZERO
        ("time", "<i8"),
        ("state", "<i8"),
    ]
)
VCPU_ROW = np.dtype(
    [
        ("vm", "<i8"),
        ("phase", "<i8"),  # row of the phase table
        ("phase_start", "<i8"),  # local time at which the phase began
        ("op", "<i8"),  # operation within the phase
        ("step", "<i8"),  # step within the operation; -1: not begun
        ("steps", "<i8"),  # steps of this operation: page-table activity, then accesses
        ("acts", "<i8"),  # how many of them are page-table activity
        ("space", "<i8"),  # the address space it is in: counts its switches
        ("accesses_before", "<i8"),  # its accesses until the last of them, ...
        ("faulted", "<i8"),  # ... and the pages that its guest's faults touched since then
        ("gap", "<i8"),  # work after each step, and what is left over after the last
        ("gap_last", "<i8"),
        ("arrival", "<i8"),  # when this operation was due to start
        ("due", "<i8"),  # local time: when the next step starts
        ("local", "<i8"),  # start of the last step committed
        ("spent_cause", "<i8"),  # the step in flight: a cause and its ns, ...
        ("spent_ns", "<i8"),
        ("spent_work", "<i8"),  # ... then work
        ("running", "<i8"),  # on a CPU now
        ("flush_due", "<i8"),  # flush when next dispatched
        ("flushed", "<i8"),  # time of its last flush
        ("debt", "<i8"),  # ns of interrupts to pay before the next step
        ("waited", "<i8"),  # ns blocked for a frame on behalf of the next fault
        ("cold", "<i8"),  # ns of cache misses to pay before the next step
        ("streamed", "<i8"),  # T_STREAMED when it last lost its CPU
        ("refill_entries", "<i8"),  # TLB entries it would refill after a flush
        ("operations", "<i8"),
        ("accesses", "<i8"),
        ("writes", "<i8"),
        ("lateness", "<i8"),  # sum over paced operations of end minus arrival
        ("lateness_max", "<i8"),
        ("ledger", "<i8", (9,)),
    ]
)

# Kinds of logged events.
EVENT_KINDS = (
    "access",
    "write",
    "populate",
    "cow break",
    "zero fill",
    "reuse",
    "refill",
    "unprotect",
    "visit",
    "protect",
    "merge",
    "merge aborted",
    "false match",
    "ineligible",
    "already shared",
    "split",
    "balloon inflate",
    "balloon deflate",
    "release",
    "hidden fault",
    "offer",
    "consent",
    "refuse",
    "expire",
    "share",
    "rewrite",
    "pin",
    "unpin",
    "evict",
    "guest fault",
    "update",
    "switch",
)
(
    E_ACCESS,
    E_WRITE,
    E_POPULATE,
    E_BREAK,
    E_ZERO_FILL,
    E_REUSE,
    E_REFILL,
    E_UNPROTECT,
    E_VISIT,
    E_PROTECT,
    E_MERGE,
    E_ABORT,
    E_FALSE,
    E_INELIGIBLE,
    E_SAME,
    E_SPLIT,
    E_INFLATE,
    E_DEFLATE,
    E_RELEASE,
    E_HIDDEN,
    E_OFFER,
    E_CONSENT,
    E_REFUSE,
    E_EXPIRE,
    E_SHARE,
    E_REWRITE,
    E_PIN,
    E_UNPIN,
    E_EVICT,
    E_GUEST_FAULT,
    E_UPDATE,
    E_SWITCH,
) = range(32)
LOG_COLUMNS = 6
"""time, duration, kind, actor (vCPU row, or -1 the scanner, -2 - VM a balloon), page, other."""
RING = 256
"""Offers that a guest's ring holds at most."""
LOG_RESERVE = 16 + 2 * RING
"""Rows one kernel step may write; with fewer left the kernel stops to have the log drained."""
CHANGE_RESERVE = 8 + RING
"""The same for the ring of changes."""

# Why a page changed, as policies are told.
BROKEN, UNMAPPED, BALLOONED_AWAY, SWAPPED, EXITED = range(5)

# Latency histograms: one per VM and kind of fault.
L_POPULATE, L_BREAK, L_REFILL, L_UNPROTECT, L_HIDDEN = range(5)
LATENCY_KINDS = ("populate", "cow break", "refill", "unprotect", "hidden fault")
LATENCY_BUCKETS = 320
"""Eight buckets an octave, as :func:`sharesim.machine.mapping.latency_bucket` numbers them."""

RECENT_CAPACITY = 4096
OUTCOME_ROWS = 1 << 14
"""Outcomes of offers between two wake-ups of the scanner; the policy misses what is beyond."""
LOCK_CAPACITY = 256


class Memory(NamedTuple):
    """All tables, as kernels take them: p pages, f frames, v VMs, c vCPUs."""

    pages: np.ndarray
    """PAGE[p]"""
    frames: np.ndarray
    """FRAME[f]"""
    vms: np.ndarray
    """VM_ROW[v]"""
    vcpus: np.ndarray
    """VCPU_ROW[c]"""
    totals: np.ndarray
    """int64[TOTALS]"""
    attention: np.ndarray
    """uint8[(p + 7) // 8]: a bit a page, set by whatever could change a visit's outcome."""
    truth: np.ndarray
    """uint64[p] in check mode, else empty: what each page was last given."""
    latency: np.ndarray
    """int64[v, 5, LATENCY_BUCKETS]"""
    log: np.ndarray
    """int64[rows, LOG_COLUMNS]; no rows: nothing is logged."""
    changes: np.ndarray
    """int64[rows, 2]: (page, why) for policies that ask for it; no rows: nobody does."""
    recent: np.ndarray
    """int64[RECENT_CAPACITY, 2]: ring of (page, time) of the last merges."""
    lock: np.ndarray
    """int64[LOCK_CAPACITY, 2]: busy intervals of the sharing lock."""
    shadow: np.ndarray
    """uint8[s], for each VM and address space one for each TABLE_PAGES pages: in use (shadow)."""
    offers: np.ndarray
    """OFFER[v, RING]: rings of offers (paravirtual design), else no rows."""
    outcomes: np.ndarray
    """int64[rows, 3]: (page, partner, outcome) of offers, for the policy (paravirtual design)."""
    owners: np.ndarray
    """uint32[f]: a policy's own name of a frame, or NONE; freeing a frame clears it. Only if the
    policy asks for it, else no rows."""


def allocate(pages: int, frames: int, vms: int, vcpus: int, *, check: bool = False) -> Memory:
    """Tables for that many pages and machine frames; all frames free, nothing mapped."""
    memory = Memory(
        pages=np.zeros(pages, PAGE),
        frames=np.zeros(frames, FRAME),
        vms=np.zeros(vms, VM_ROW),
        vcpus=np.zeros(vcpus, VCPU_ROW),
        totals=np.zeros(TOTALS, np.int64),
        attention=np.zeros((pages + 7) // 8, np.uint8),
        truth=np.zeros(pages if check else 0, np.uint64),
        latency=np.zeros((vms, len(LATENCY_KINDS), LATENCY_BUCKETS), np.int64),
        log=np.zeros((0, LOG_COLUMNS), np.int64),
        changes=np.zeros((0, 2), np.int64),
        recent=np.zeros((RECENT_CAPACITY, 2), np.int64),
        lock=np.zeros((LOCK_CAPACITY, 2), np.int64),
        shadow=np.zeros(0, np.uint8),
        offers=np.zeros((0, RING), OFFER),
        outcomes=np.zeros((0, 3), np.int64),
        owners=np.zeros(0, np.uint32),
    )
    for name in ("mfn", "next", "prev"):
        memory.pages[name] = NONE
    memory.pages["flags"] = ABSENT
    memory.pages["map_count"] = 1
    memory.vms["held_head"] = NONE
    memory.frames["head"][:-1] = np.arange(1, frames, dtype=np.uint32)
    memory.frames["head"][-1] = NONE
    memory.totals[T_FREE] = frames
    memory.totals[T_FREE_HEAD] = 0
    memory.totals[T_PENDING_FRAME] = NONE
    memory.totals[T_ZERO_FRAME] = NONE
    return memory


def with_log(memory: Memory, rows: int) -> Memory:
    """The same tables with an event log of that many rows."""
    return memory._replace(log=np.zeros((rows, LOG_COLUMNS), np.int64))


def with_changes(memory: Memory, rows: int) -> Memory:
    """The same tables with a ring of page changes for the policy."""
    return memory._replace(changes=np.zeros((rows, 2), np.int64))


def with_shadow_tables(memory: Memory) -> Memory:
    """The same tables with shadow tables for all VMs; their pools are still to be set."""
    first = 0
    for vm in memory.vms:
        vm["table_first"], vm["tables"] = first, -(-int(vm["pages"]) // TABLE_PAGES)
        first += SPACES * int(vm["tables"])
    return memory._replace(shadow=np.zeros(first, np.uint8))


def with_offers(memory: Memory) -> Memory:
    """The same tables with a ring of offers for each VM."""
    rows = len(memory.vms)
    return memory._replace(
        offers=np.zeros((rows, RING), OFFER),
        outcomes=np.zeros((OUTCOME_ROWS, 3), np.int64),
    )


def with_owners(memory: Memory) -> Memory:
    """The same tables with room for a policy's own name of each frame."""
    return memory._replace(owners=np.full(len(memory.frames), NONE, np.uint32))


def resident_bytes(memory: Memory) -> int:
    """Bytes of all tables."""
    return sum(table.nbytes for table in memory)
