"""Sharing taken back without a write: what ``MADV_UNMERGEABLE`` and KSM's ``run = 2`` do."""

from typing import Any

import numpy as np

from sharesim.hypervisor.fault import owned, replace_frame
from sharesim.kernel import Number, njit
from sharesim.machine import tables as t
from sharesim.machine.check import check_page
from sharesim.machine.entries import entries_of, lose_entries
from sharesim.machine.flush import flush_vm
from sharesim.machine.mapping import clear_flag
from sharesim.machine.tables import NONE, PROTECTED, READ_ONLY, RECENT, Memory


@njit
def unmerge(
    mem: Memory, cost: np.ndarray, vm: Number, first: Number, count: Number, time: Number
) -> Any:
    """Give each merged page of a range a frame of its own again; returns ns that it takes.

    Merged are pages on frames that the policy has marked, and on the zero frame. Where no frame is
    free the rest stays merged.
    """
    ns = np.int64(0)
    for page in range(first, first + count):
        frame = np.int64(mem.pages[page]["mfn"])
        if frame == NONE:
            continue
        clear_flag(mem, page, PROTECTED)  # a merge of it under way will see that and give up
        zero = frame == mem.totals[t.T_ZERO_FRAME]
        if not zero and not owned(mem, frame):
            continue
        alone = np.int64(mem.frames[frame]["ref"]) == 1
        if mem.totals[t.T_FREE] == 0 and not alone:
            break
        ns += _take_back(mem, cost, vm, page, zero)
    if ns:
        ns += flush_vm(mem, cost, vm, -1, time)
    return ns


@njit
def _take_back(mem: Memory, cost: np.ndarray, vm: Number, page: Number, zero: Number) -> Any:
    costs = cost[0]
    entries, ns = entries_of(mem, cost, page)
    ns += np.int64(costs["frame_alloc"]) + entries * np.int64(costs["entry_update"])
    ns += np.int64(costs["zero_fill"]) if zero else np.int64(costs["copy"])
    mem.totals[t.T_COW_BREAKS] += 1
    mem.vms[vm]["cow_breaks"] += 1
    if zero:
        mem.totals[t.T_ZERO_BREAKS] += 1
    else:
        mem.totals[t.T_OWNED_BREAKS] += 1
    replace_frame(mem, vm, page)
    clear_flag(mem, page, READ_ONLY | RECENT | PROTECTED)
    lose_entries(mem, cost, page, entries)
    if len(mem.truth):
        check_page(mem, page)
    return ns
