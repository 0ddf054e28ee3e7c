"""How guest page tables are virtualized: a family, each member turning primitives into costs.

A member says what a trapped access costs, which entries map a page, and what it adds to the guest's
own page-table activity. Parameters are in :mod:`sharesim.spec.paging`.

The figures of activity follow the arithmetic of Xen's lmbench tables (Barham et al., SOSP 2003):
a guest's fault is bounced to it (B), an update is made effective (U), an address-space switch has a
part of the hypervisor (A).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from sharesim.machine.cost_row import ALL, FILLED, ONE, cost_row

Table = Mapping[str, int]


class PagingMode:
    """Base class: paging as the bare machine does it. ``spec`` are its parameters."""

    entries: ClassVar[int] = ALL
    """Which entries a change of a page's mapping has to touch."""
    lazy: ClassVar[bool] = False
    """Whether entries are filled one by one, on first use."""
    masked: ClassVar[bool] = False
    """Whether it is known of each entry whether it is in place."""
    linear_map: ClassVar[bool] = False
    """Whether the guest kernel's linear map of all memory has entries to be changed as well."""
    types_tables: ClassVar[bool] = False
    """Whether guests' page tables are typed frames, pinned and never shared."""

    def __init__(self, spec: Any, primitives: Table) -> None:
        self.spec = spec
        self.primitives = primitives

    # A trapped access

    def populate_fault(self) -> int:
        """ns of the trap on first touch, without allocating and clearing the frame."""
        return self.primitives["native_fault"]

    def write_fault(self) -> int:
        """ns of the trap of a write to a read-only entry, without what follows."""
        return self.primitives["native_fault"]

    def unprotect_fault(self) -> int:
        """ns of the trap of a write to a page that is being merged."""
        return self.write_fault()

    def refill_fault(self) -> int:
        """ns of an access by an entry that is not in place."""
        return self.primitives["native_fault"] + self.primitives["entry_update"]

    def entry_change(self) -> dict[str, int]:
        """ns to write, write-protect and clear one entry: ``update``, ``protect``, ``zap``."""
        return {kind: self.primitives[f"entry_{kind}"] for kind in ("update", "protect", "zap")}

    # The guest's own page-table activity: what this mode adds

    def activity(self) -> dict[str, int]:
        """ns that are added, by field of the COST row."""
        return {}

    def walk(self, *, block: bool = False) -> int:
        """ns of a TLB miss, in a 4 KiB or a 2 MiB (``block``) mapping."""
        return self.primitives["walk_native_block" if block else "walk_native"]

    def cost_row(self) -> np.ndarray:
        """The COST row of kernels, paging and plain primitives; sharing options are left at 0."""
        row = cost_row()
        p, costs = self.primitives, row[0]
        for field, key in _PLAIN.items():
            costs[field] = p[key]
        for fault in ("populate_fault", "write_fault", "unprotect_fault", "refill_fault"):
            costs[fault] = getattr(self, fault)()
        for kind, ns in self.entry_change().items():
            costs[f"entry_{kind}"] = ns
        costs["entries"], costs["masked"], costs["rmap"] = self.entries, int(self.masked), 1
        costs["types_tables"] = int(self.types_tables)
        costs["walk"], costs["walk_native"] = self.walk(), p["walk_native"]
        costs["batch"] = _NO_LIMIT
        for field, value in self.activity().items():
            costs[field] = value
        return row


_NO_LIMIT = 1 << 40
"""Updates in a batch where there is no call to be filled."""
_PLAIN = {
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
    "zero_check_cold": "zero_check_cold",
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
    "hypercall": "hypercall",
    "event": "event",
}


class NativePaging(PagingMode):
    """No hypervisor."""


class ProcessPaging(PagingMode):
    """Processes under the host's kernel, which finds a page's entries and writes them in place."""

    def write_fault(self) -> int:
        return self.primitives["native_fault"] + self.primitives["violation_handler"]

    def cost_row(self) -> np.ndarray:
        row = super().cost_row()
        row[0]["tlb_entries"] = 1  # Linux flushes the one page that is remapped
        return row


class NestedPaging(PagingMode):
    """EPT/NPT (Xen: HAP): the hypervisor has one entry per guest page; guests fault on their own.

    Only violations of the second level trap; each costs an exit and the handler. TLB misses walk
    both levels.
    """

    entries = ONE

    def populate_fault(self) -> int:
        return self.primitives["exit"] + self.primitives["violation_handler"]

    def write_fault(self) -> int:
        return self.populate_fault()

    def refill_fault(self) -> int:
        return self.populate_fault() + self.primitives["entry_update"]

    def walk(self, *, block: bool = False) -> int:
        return self.primitives["walk_nested_block" if block else "walk_nested"]


class ShadowPaging(PagingMode):
    """Shadow tables: filled on hidden faults, synced on each trapped write to a guest's table.

    A hidden fault is one that the guest never sees: the guest's own entry is fine, the shadow's is
    missing. It costs a trap and one entry made effective.
    """

    entries = FILLED
    lazy = masked = True

    def __init__(self, spec: Any, primitives: Table) -> None:
        scaled = {key: round(primitives[key] * spec.scale) for key in _SHADOW}
        super().__init__(spec, {**primitives, **scaled})

    def populate_fault(self) -> int:
        p = self.primitives
        return p["exit"] + p["violation_handler"] + p["shadow_fill"]

    def write_fault(self) -> int:
        return self.primitives["exit"] + self.primitives["violation_handler"]

    def refill_fault(self) -> int:
        return self.primitives["exit"] + self.primitives["shadow_fill"]

    def activity(self) -> dict[str, int]:
        p = self.primitives
        return {
            "guest_fault": p["bounce_shadow"],
            "single_update": p["pt_sync"],
            "batch_update": p["pt_sync"],
            "batch": 1,
            "address_switch": p["switch_shadow"],
            "new_table": 2 * p["shadow_table"],
            "table_setup": p["shadow_table"],
            "table_search": p["shadow_search"],
            "rmap": int(self.spec.rmap == "entries"),
        }


_SHADOW = (
    "exit",
    "violation_handler",
    "bounce_shadow",
    "pt_sync",
    "switch_shadow",
    "shadow_fill",
    "shadow_table",
    "shadow_search",
)
"""Primitives that ``Shadow.scale`` scales: traps, and the code that keeps shadow tables."""


class DirectPaging(PagingMode):
    """Validated direct paging: the guest writes machine frames into its tables, by hypercall.

    Page tables are typed frames, checked when they are pinned and at each update. Entries are
    rewritten in place, so nothing has to be filled again, except where the hypervisor alone broke a
    share and left the page's other entries out.
    """

    masked = linear_map = types_tables = True

    def populate_fault(self) -> int:
        """The guest asks for the frame; there is no fault."""
        return self.primitives["hypercall"]

    def write_fault(self) -> int:
        """Handed to the guest, which calls back; see :func:`set_design` for the other way."""
        return self.primitives["bounce_direct"] + self.primitives["hypercall"]

    def refill_fault(self) -> int:
        """The hypervisor writes the entry that it left out at the break; one transition."""
        return self.primitives["hypercall"] + self.primitives["pt_validate"]

    def entry_change(self) -> dict[str, int]:
        return dict.fromkeys(("update", "protect", "zap"), self.primitives["pt_validate"])

    def activity(self) -> dict[str, int]:
        p = self.primitives
        return {
            "guest_fault": p["bounce_direct"],
            "single_update": p["hypercall"] + p["pt_validate"],
            "batch_call": p["hypercall"],
            "batch_update": p["pt_validate"],
            "batch": self.spec.batch,
            "address_switch": p["switch_direct"],
            "new_table": 2 * (p["hypercall"] + p["pt_pin"]),
            "pin": p["hypercall"] + p["pt_pin"],
        }
