"""How guest page tables are virtualized: a family, each member turning primitives into costs.

A member says what a trapped access costs, how many entries map a page, and what it adds to the
guest's own page-table activity. Shadow and direct paging, which need tables of their own, belong
here too.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from sharesim.content.digests import seed_of
from sharesim.machine.cost_row import cost_row
from sharesim.spec.workloads import PageTableActivity

Table = Mapping[str, int]


class PagingMode:
    """Base class: paging as the bare machine does it."""

    name: ClassVar[str] = "native"
    help: ClassVar[str] = "one address translation, no hypervisor: the reference"
    per_mapping: ClassVar[bool] = True
    """Whether each page-table entry that maps a page is changed (by rmap), or one per page."""

    def __init__(self, primitives: Table) -> None:
        self.primitives = primitives

    def populate_fault(self) -> int:
        """ns of the trap on first touch, without allocating and clearing the frame."""
        return self.primitives["native_fault"]

    def write_fault(self) -> int:
        """ns of the trap of a write to a read-only entry, without what follows."""
        return self.primitives["native_fault"]

    def refill_fault(self) -> int:
        """ns of the first access after a mapping was changed."""
        return self.primitives["native_fault"] + self.primitives["entry_update"]

    def walk(self, *, block: bool = False) -> int:
        """ns of a TLB miss, in a 4 KiB or a 2 MiB (``block``) mapping."""
        return self.primitives["walk_native_block" if block else "walk_native"]

    def activity_work(self, activity: PageTableActivity) -> int:
        """ns that page-table activity costs natively: part of the guest's work."""
        p = self.primitives
        return (
            activity.faults * p["native_fault"]
            + activity.updates * p["pt_update"]
            + activity.switches * p["address_space_switch"]
        )

    def activity_excess(self, activity: PageTableActivity, refill_entries: int) -> int:
        """ns that this mode adds to page-table activity.

        An address-space switch empties the TLB; the entries used again are walked for.
        """
        extra = self.walk() - self.primitives["walk_native"]
        return activity.switches * refill_entries * extra

    def cost_row(self) -> np.ndarray:
        """The COST row of kernels, paging and plain primitives; sharing options are left at 0."""
        row = cost_row()
        p, costs = self.primitives, row[0]
        costs["populate_fault"] = self.populate_fault()
        costs["write_fault"] = costs["unprotect_fault"] = self.write_fault()
        costs["refill_fault"] = self.refill_fault()
        costs["per_mapping"] = int(self.per_mapping)
        costs["walk"], costs["walk_native"] = self.walk(), p["walk_native"]
        for field, key in _PLAIN.items():
            costs[field] = p[key]
        return row


_PLAIN = {
    "entry_update": "entry_update",
    "entry_protect": "entry_protect",
    "rmap_step": "rmap_step",
    "frame_alloc": "frame_alloc",
    "frame_free": "frame_free",
    "copy": "copy_cold",
    "zero_fill": "zero_fill_cold",
    "split": "block_split",
    "compare_cold": "compare_equal_cold",
    "compare_hot": "compare_equal_hot",
    "compare_differ": "compare_differ_cold",
    "zero_check": "zero_check_hot",
    "scan_step": "scan_step",
    "scan_skip": "scan_skip",
    "lookup": "table_lookup",
    "insert": "table_insert",
    "flush_base": "flush_base",
    "flush_per_cpu": "flush_per_cpu",
    "flush_target": "flush_target",
    "tlb_entries": "tlb_entries",
    "foreign_map": "foreign_map",
    "foreign_unmap": "foreign_unmap",
    "lock_hold": "lock_hold",
    "inflate": "balloon_inflate_page",
    "deflate": "balloon_deflate_page",
    "interference": "interference_page",
}


class Native(PagingMode):
    """No hypervisor."""


class Nested(PagingMode):
    """EPT/NPT (Xen: HAP): the hypervisor has one entry per guest page; guests fault on their own.

    Only violations of the second level trap; each costs an exit and the handler. TLB misses walk
    both levels.
    """

    name = "nested"
    help = "two levels in hardware (EPT/NPT): guest faults do not trap, TLB misses walk both levels"
    per_mapping = False

    def populate_fault(self) -> int:
        return self.primitives["exit"] + self.primitives["violation_handler"]

    def write_fault(self) -> int:
        return self.populate_fault()

    def refill_fault(self) -> int:
        return self.populate_fault() + self.primitives["entry_update"]

    def walk(self, *, block: bool = False) -> int:
        return self.primitives["walk_nested_block" if block else "walk_nested"]


PAGING_MODES: dict[str, type[PagingMode]] = {mode.name: mode for mode in (Native, Nested)}


def set_sharing(
    row: np.ndarray, primitives: Table, *, digest: str, bits: int, verify: bool
) -> None:
    """Fill in what depends on the policy: the digest and how equality is decided."""
    costs = row[0]
    costs["digest_cold"] = primitives[f"digest_{digest}_cold"]
    costs["digest_hot"] = primitives[f"digest_{digest}_hot"]
    costs["digest_seed"] = np.uint64(seed_of(digest)).astype(np.int64)
    costs["digest_bits"] = bits
    costs["verify"] = int(verify)
