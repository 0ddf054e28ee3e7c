"""Linux KSM: ksmd's scan list, its knobs, its advisor and its counters.

After the kernel's documented behaviour (Linux 6.11 to 6.18; docs/ksm.md). The work on pages is
compiled (:mod:`sharesim.sharing.ksm_kernel`); here is what happens once a scan or less often: VMs
come and go, a full scan ends, a knob is written.
"""

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from sharesim.machine import tables as t
from sharesim.machine.mapping import release_pending
from sharesim.machine.tables import NONE
from sharesim.sharing.ksm_advisor import Advisor
from sharesim.sharing.ksm_kernel import COMMIT, FINISH, PROTECT, VISIT, WAKE
from sharesim.sharing.ksm_state import (
    COLD_BITS,
    COST_NAMES,
    FREE_ROW,
    ITEM,
    NODE_ROW,
    PRICE,
    SCAN_ROW,
    VM_STATE,
    Ksm,
)
from sharesim.sharing.pace import AfterBatch
from sharesim.sharing.policy import Pages, Policy, View
from sharesim.spec.ksm import ITEM_BYTES, Knobs
from sharesim.spec.ksm import Ksm as KsmSpec

if TYPE_CHECKING:
    from sharesim.machine.tables import Memory

FIRST_NODES = 1024
DEFAULT_PAGES_TO_SCAN = 100


class KsmPolicy(Policy):
    """ksmd, on one :class:`Ksm` table set. ``spec`` is the :class:`sharesim.spec.ksm.Ksm`."""

    name: ClassVar[str] = "ksm"
    OWNS_FRAMES: ClassVar[bool] = True
    state: Ksm
    pace: AfterBatch

    def __init__(self, spec: KsmSpec) -> None:
        super().__init__(spec)
        self.run = spec.run
        self.pages_to_scan = spec.pages_to_scan
        self.sleep_millisecs = spec.sleep_millisecs
        self.advisor = Advisor(spec)
        if spec.advisor_mode == "scan-time":
            self.pages_to_scan = self.advisor.begin()

    def start(self, view: View, random: np.random.Generator) -> None:
        super().start(view, random)
        memory = view._memory
        pages, vms = len(memory.pages), len(memory.vms)
        scan = np.zeros(1, SCAN_ROW)
        price = np.zeros(1, PRICE)
        for name in COST_NAMES:
            price[name] = view.price(f"ksm_{name}")
        ideal = self.spec.unstable == "set"
        self.state = Ksm(
            scan=scan,
            items=np.zeros(pages, ITEM),
            nodes=np.zeros(0, NODE_ROW),
            roots=np.full(2, NONE, np.int64),
            slots=np.zeros(vms + 1, np.int64),
            vms=np.zeros(vms, VM_STATE),
            price=price,
            cold=cold_shares(view.price("ksm_warm_pages")),
            table=np.full(2 * pages if ideal else 0, NONE, np.uint32),
        )
        scan["slot"] = -1
        scan["set"] = ideal
        scan["checksum_first"] = self.spec.checksum_first
        scan["free"] = NONE
        scan["stage"] = VISIT
        self.more_nodes()
        self._apply(Knobs(**{name: getattr(self.spec, name) for name in _SCAN_KNOBS}))

    def more_nodes(self) -> None:
        """Double the table of nodes."""
        old = self.state.nodes
        size = max(FIRST_NODES, 2 * len(old))
        nodes = np.zeros(size, NODE_ROW)
        nodes[: len(old)] = old
        nodes["left"][len(old) :] = np.arange(len(old) + 1, size + 1, dtype=np.uint32)
        scan = self.state.scan
        nodes["left"][-1] = scan["free"][0]
        scan["free"] = len(old)
        scan["room"] += size - len(old)
        self.state = self.state._replace(nodes=nodes)

    # The scan list

    @property
    def awake(self) -> bool:
        """Whether ksmd has something to do."""
        return self.run == 1 and int(self.state.scan["slots"][0]) > 0

    def arrived(self, vm: int, mergeable: int) -> None:
        """A VM has so many mergeable pages now; with the first ones it goes behind the cursor."""
        state, scan = self.state, self.state.scan[0]
        state.vms[vm]["mergeable"] = mergeable
        listed = state.slots[: int(scan["slots"])].tolist()
        if vm in listed or not mergeable:
            return
        slot = int(scan["slot"])
        if slot < 0:
            listed.append(vm)
        else:
            listed.insert(slot, vm)
            scan["slot"] += 1
        self._set_list(listed)
        self.pace.call()

    def left(self, vm: int) -> None:
        """A VM has exited: it is cleaned up next, or at once if ksmd has not met it yet."""
        state, scan = self.state, self.state.scan[0]
        state.vms[vm]["exited"] = 1
        listed = state.slots[: int(scan["slots"])].tolist()
        slot = int(scan["slot"])
        if vm not in listed or (slot >= 0 and listed[slot] == vm):
            return
        at = listed.index(vm)
        del listed[at]
        if at < slot:
            slot -= 1
        if state.vms[vm]["items"]:
            listed.insert(slot + 1, vm)
        scan["slot"] = slot
        self._set_list(listed)

    def _set_list(self, vms: list[int]) -> None:
        self.state.slots[: len(vms)] = vms
        self.state.scan["slots"] = len(vms)

    # Knobs

    def write(self, knobs: Knobs) -> bool:
        """Write knobs to sysfs; True when all that is merged must be unmerged first (run = 2).

        What the kernel would refuse is left as it is: ``pages_to_scan`` under the advisor, and
        ``max_page_sharing`` while pages are shared.
        """
        before = self.run
        if knobs.run is not None:
            self.run = knobs.run
        slept = self.sleep_millisecs
        self._apply(knobs)
        self.pace.call(sleep_changed=self.sleep_millisecs != slept)
        return self.run == 2 and before != 2

    def _apply(self, knobs: Knobs) -> None:
        scan = self.state.scan[0]
        for knob, field in _SCAN_KNOBS.items():
            value = getattr(knobs, knob)
            if value is not None and not (knob == "max_page_sharing" and scan["shared"]):
                scan[field] = int(value) * (1_000_000 if field == "prune" else 1)
        if knobs.sleep_millisecs is not None:
            self.sleep_millisecs = knobs.sleep_millisecs
        mode = self.advisor.on
        self.advisor.write(knobs)
        if self.advisor.on and not mode:
            self.pages_to_scan = self.advisor.begin()
        elif mode and not self.advisor.on:
            self.pages_to_scan = DEFAULT_PAGES_TO_SCAN
        if knobs.pages_to_scan is not None and not self.advisor.on:
            self.pages_to_scan = knobs.pages_to_scan

    def forget_everything(self) -> None:
        """After ``run = 2`` has unmerged all: no items, no nodes, the cursor at the head."""
        state, scan = self.state, self.state.scan[0]
        memory = self.view._memory
        release_pending(memory)
        if scan["stage"] in (PROTECT, COMMIT, FINISH):
            scan["stage"] = VISIT
        scan["left"] = scan["walked"] = scan["walked_ns"] = 0
        kept = [vm for vm in state.slots[: int(scan["slots"])] if not state.vms[vm]["exited"]]
        self._set_list(kept)
        state.items[:] = np.zeros((), ITEM)
        state.vms["items"] = state.vms["merging"] = 0
        memory.owners[:] = NONE
        memory.totals[t.T_DISOWNED] = 0
        state.roots[:] = NONE
        for field in ("full_scans", "items", "shared", "sharing", "unshared", "chains", "dups"):
            scan[field] = 0
        scan["slot"], scan["position"] = -1, 0
        nodes = state.nodes
        nodes["kind"] = FREE_ROW
        nodes["left"] = np.append(np.arange(1, len(nodes), dtype=np.uint32), np.uint32(NONE))
        scan["free"], scan["room"] = 0, len(nodes)

    # Batches

    def begin_batch(self, budget: int, now: int) -> None:
        """ksmd has woken; without a sleep before it its caches are still warm."""
        scan = self.state.scan[0]
        scan["left"], scan["due"] = budget, now
        if self.pace.slept:
            scan["fresh"] = 0
        scan["stage"] = WAKE

    def end_of_scan(self, now: int, cpu: int) -> None:
        """A full scan is over, after ``cpu`` ns of CPU time in all; the batch ends with it."""
        scan = self.state.scan[0]
        if self.advisor.on:
            elapsed = now - int(scan["started"])
            self.pages_to_scan = self.advisor.step(self.pages_to_scan, elapsed, cpu)
        scan["full_scans"] += 1
        scan["scan"] += 1
        scan["left"] = 0

    # For the timeline

    def counters(self) -> dict[str, int]:
        scan, memory = self.state.scan[0], self.view._memory
        shared, sharing, unshared = (int(scan[name]) for name in ("shared", "sharing", "unshared"))
        items, zero = int(scan["items"]), zero_mapped(memory)
        return {
            "pages_shared": shared,
            "pages_sharing": sharing,
            "pages_unshared": unshared,
            "pages_volatile": max(0, items - shared - sharing - unshared),
            "pages_skipped": int(scan["skipped"]),
            "full_scans": int(scan["full_scans"]),
            "ksm_zero_pages": zero,
            "stable_node_chains": int(scan["chains"]),
            "stable_node_dups": int(scan["dups"]),
            "general_profit": (sharing + zero) * 4096 - items * ITEM_BYTES,
            "pages_to_scan": self.pages_to_scan,
            "rmap_items": items,
            "cow_ksm": int(memory.totals[t.T_OWNED_BREAKS]),
            "ksm_run": self.run,
        }

    def vm_counters(self, vm: int) -> dict[str, int]:
        """Figures of one VM: its items, and how many of them are merged."""
        row = self.state.vms[vm]
        return {"ksm_rmap_items": int(row["items"]), "ksm_merging_pages": int(row["merging"])}

    # It has no array form: its trees are walked, not computed with.

    def batch(self, budget: int) -> Pages:
        raise NotImplementedError("ksm runs compiled; see sharesim.sharing.ksm_driver")

    def visit(self, pages: Pages) -> Pages:
        raise NotImplementedError("ksm runs compiled; see sharesim.sharing.ksm_driver")


_SCAN_KNOBS = {
    "smart_scan": "smart_scan",
    "use_zero_pages": "zero_pages",
    "max_page_sharing": "max_sharing",
    "stable_node_chains_prune_millisecs": "prune",
}
"""Knobs that are fields of the scan row."""


def zero_mapped(memory: "Memory") -> int:
    """Pages that map the zero page by ksmd's doing: exact at all times."""
    frame = int(memory.totals[t.T_ZERO_FRAME])
    return 0 if frame == NONE else int(memory.frames["ref"][frame])


def cold_shares(warm_pages: int) -> np.ndarray:
    """int64: exp(-n / warm_pages) in 2**16ths for n = 0, 1, ...; the last entry is 0."""
    if warm_pages == 0:
        return np.zeros(1, np.int64)
    steps = np.arange(12 * warm_pages)
    shares = np.round(np.exp(-steps / warm_pages) * (1 << COLD_BITS)).astype(np.int64)
    return np.append(shares, 0)
