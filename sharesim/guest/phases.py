"""A workload as the vCPU's kernel reads it: rows of a phase table and what they point to."""

from typing import NamedTuple

import numpy as np

# How an operation's accesses choose their pages.
UNIFORM, ZIPF, HOT, SEQUENTIAL, FILE, REPLAY = range(6)
# What a write leaves.
UNIQUE, POOL, SAME = range(3)
# What a replayed change is.
CHANGE_WRITE, CHANGE_SAME, CHANGE_RELEASE, CHANGE_CLASS, CHANGE_PIN, CHANGE_UNPIN = range(6)

FRACTION_BITS = 24
"""Fractions of accesses are integers of this many bits: no float decides an event."""

PHASE = np.dtype(
    [
        ("pattern", "<i8"),
        ("idle", "<i8"),  # 1: does nothing until it ends
        ("first", "<i8"),  # first page id of its region, and its length
        ("span", "<i8"),
        ("hot", "<i8"),  # pages of the hot set, or of the first of two regions
        ("hot_share", "<i8"),  # share of accesses to it, of 2**24
        ("other", "<i8"),  # first page id of what is not hot, or of the other region
        ("write_share", "<i8"),  # of 2**24
        ("miss_share", "<i8"),  # of 2**24
        ("miss_work", "<i8"),  # ns of a TLB miss: natively, and what paging adds
        ("miss_excess", "<i8"),
        ("miss_excess_block", "<i8"),  # the same in a 2 MiB block
        ("accesses", "<i8"),  # in an operation
        ("op_ns", "<i8"),  # its work, page-table activity included
        ("act_faults", "<i8"),  # its page-table activity: guest faults, ...
        ("act_updates", "<i8"),  # ... entries written, of which one at each fault, ...
        ("act_tables", "<i8"),  # ... page tables made and dropped, ...
        ("act_switches", "<i8"),  # ... address-space switches
        ("overwrite_share", "<i8"),  # share of writes that replace the whole page, of 2**24
        ("period", "<i8"),  # ns between operations; 0: closed loop. Operation i is due at
        ("period_num", "<i8"),  # i * period + i * num // den, so that no rate drifts
        ("period_den", "<i8"),
        ("ops", "<i8"),  # ends after so many operations; 0: does not
        ("time", "<i8"),  # ends after so many ns; 0: does not
        ("refill_entries", "<i8"),  # TLB entries it would refill after a flush
        ("cached", "<i8"),  # pages of its work that the CPU's own cache can have
        ("content", "<i8"),
        ("pool", "<i8"),
        ("file_pages", "<i8"),
        ("file_random", "<i8"),
        ("table", "<i8"),  # offset into Zipf tables, or row of the tick tables
        ("ticks", "<i8"),
        ("access_key", "<u8"),  # keys of the counter-based draws
        ("content_key", "<u8"),
        ("pool_key", "<u8"),
        ("miss_key", "<u8"),
        ("activity_key", "<u8"),
        ("overwrite_key", "<u8"),
        ("scatter", "<i8"),  # Zipf rank r is page r * scatter mod span
    ]
)


class Work(NamedTuple):
    """All phases of all vCPUs and the tables they share."""

    phases: np.ndarray
    """PHASE[phases]"""
    zipf_accept: np.ndarray
    """uint32: alias tables, probability of the own rank in 2**32nds ..."""
    zipf_alias: np.ndarray
    """uint32: ... and the rank to take otherwise."""
    tick_at: np.ndarray
    """int64[ticks]: when each tick of each replay is due, ns from its start."""
    tick_first: np.ndarray
    """int64: first change of each tick of each replay (one more entry than ticks)."""
    tick_work: np.ndarray
    """int64[ticks]: ns of work."""
    tick_faults: np.ndarray
    """int64[ticks]: guest faults, each with one update."""
    change_page: np.ndarray
    """uint32: page id of each change."""
    change_content: np.ndarray
    """uint64: its new content, or the new page class."""
    change_kind: np.ndarray
    """uint8"""
