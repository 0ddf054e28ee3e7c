"""The cost table as kernels read it: one row of int64, primitives combined as paging needs them."""

import numpy as np

# Which page-table entries a change of a page's mapping has to touch.
ONE, ALL, FILLED = range(3)

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
            "entry_zap",
            "entries",  # ONE: the hypervisor's own entry; ALL that map the page; the FILLED ones
            "masked",  # 1: entries are in place or not one by one
            "rmap",  # 1: entries are found by an rmap, else by searching all shadow tables
            "rmap_step",
            "table_search",
            "table_setup",
            "walk",  # one TLB miss
            "walk_native",
            # what paging adds to the guests' own page-table activity
            "guest_fault",
            "single_update",  # one update at a fault
            "batch_call",  # a batch of updates: the call, each update, how many at most
            "batch_update",
            "batch",
            "address_switch",
            "new_table",  # a page table made and dropped
            "pin",  # a page becomes a page table, or ceases to be one
            "types_tables",  # 1: page tables are typed frames that cannot be shared
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
            "zero_check_cold",
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
            "partner_stays",  # 1: a merge keeps the partner's frame, however many share the other
            "split_blocks",  # 1: a block is split to share a page inside
            "verify",
            "digest_seed",  # int64 view of the digest's seed
            "digest_bits",
            "quantum",
            # the paravirtual design
            "paravirtual",  # 1: guests take part
            "upcall",  # 1: the guest breaks its shares itself
            "hypercall",
            "event",
            "ring",
            "expiry",
            "balloon_free",  # 1: free pages that are offered go to the balloon
        )
    ]
)


def cost_row() -> np.ndarray:
    """COST[1], all zero: everything is free until a paging mode fills it."""
    return np.zeros(1, COST)
