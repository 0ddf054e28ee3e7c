"""The cost table as kernels read it: one row of int64, primitives combined as paging needs them."""

import numpy as np

COST = np.dtype(
    [
        (name, "<i8")
        for name in (
            # faults, as the paging mode makes them of its primitives
            "write_fault",  # a write trapped at a read-only entry, without what follows
            "populate_fault",
            "refill_fault",
            "unprotect_fault",
            "entry_update",
            "entry_protect",
            "per_mapping",  # 1: each page-table entry that maps the page is paid for
            "rmap_step",
            "walk",  # one TLB miss
            "walk_native",
            # frames
            "frame_alloc",
            "frame_free",
            "copy",
            "zero_fill",
            "split",
            # comparing
            "digest_cold",
            "digest_hot",
            "compare_cold",
            "compare_hot",
            "compare_differ",
            "zero_check",
            "scan_step",
            "scan_skip",
            "lookup",
            "insert",
            # flushes
            "flush_base",
            "flush_per_cpu",
            "flush_target",
            "tlb_entries",
            # placement in a control domain
            "foreign_map",
            "foreign_unmap",
            # locking, ballooning, sharing options
            "lock_hold",
            "inflate",
            "deflate",
            "interference",
            "last_sharer_copy",  # 1: always copy, as KSM does
            "split_blocks",  # 1: a block is split to share a page inside
            "verify",
            "digest_seed",  # int64 view of the digest's seed
            "digest_bits",
            "quantum",
        )
    ]
)


def cost_row() -> np.ndarray:
    """COST[1], all zero: everything is free until a paging mode fills it."""
    return np.zeros(1, COST)
