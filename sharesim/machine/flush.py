"""TLB shootdowns: the initiator pays and waits, the interrupted CPUs get a debt."""

from typing import Any

import numpy as np

from sharesim.kernel import Number, njit
from sharesim.machine import tables as t
from sharesim.machine.tables import Memory


@njit
def refill_after_flush(mem: Memory, cost: np.ndarray, row: Number, time: Number) -> Any:
    """ns that vCPU ``row`` will spend on walking for entries lost to a flush at ``time``.

    No more than the TLB holds, than it goes back to, and than it can have walked for since its last
    flush.
    """
    costs = cost[0]
    walk = max(np.int64(costs["walk"]), np.int64(1))
    entries = min(np.int64(mem.vcpus[row]["refill_entries"]), np.int64(costs["tlb_entries"]))
    elapsed = max(np.int64(time) - np.int64(mem.vcpus[row]["flushed"]), np.int64(0))
    mem.vcpus[row]["flushed"] = max(np.int64(time), np.int64(mem.vcpus[row]["flushed"]))
    return min(entries, elapsed // walk) * np.int64(costs["walk"])


@njit
def flush_vm(mem: Memory, cost: np.ndarray, vm: Number, initiator: Number, time: Number) -> Any:
    """Flush what may hold translations of a VM's memory; returns the initiator's ns.

    Only CPUs that now run one of its vCPUs are interrupted; each pays for the interrupt and for
    refilling the entries its vCPU will use again. The others flush when they are next dispatched.
    ``initiator`` is the row of a vCPU of that VM that need not be interrupted, or -1.
    """
    costs = cost[0]
    first = np.int64(mem.vms[vm]["vcpu_first"])
    interrupted = 0
    for row in range(first, first + np.int64(mem.vms[vm]["vcpus"])):
        if row == initiator:
            continue
        if mem.vcpus[row]["running"] == 0:
            mem.vcpus[row]["flush_due"] = 1
            continue
        debt = np.int64(costs["flush_target"]) + refill_after_flush(mem, cost, row, time)
        mem.vcpus[row]["debt"] += debt
        mem.totals[t.T_REMOTE_NS] += debt
        interrupted += 1
    if interrupted == 0:
        return np.int64(0)
    mem.totals[t.T_FLUSHES] += 1
    return np.int64(costs["flush_base"]) + interrupted * np.int64(costs["flush_per_cpu"])
