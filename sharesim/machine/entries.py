"""The page-table entries that map a guest page: how many, which are in place, and in what tables.

A page is mapped by ``map_count`` entries, in as many address spaces, of which the first
:data:`~sharesim.machine.tables.SPACES` are told apart. Shadow paging fills them one by one, on
first use, in shadow tables that it takes from a pool; a full pool evicts tables round robin.
"""

from typing import Any

import numpy as np

from sharesim.kernel import Number, njit
from sharesim.machine import tables as t
from sharesim.machine.cost_row import ALL, FILLED, ONE
from sharesim.machine.flush import flush_vm
from sharesim.machine.mapping import clear_flag, log_event, set_flag, vm_of
from sharesim.machine.tables import MOVED, REFILL, SPACES, TABLE_PAGES, Memory


@njit
def slots_of(mem: Memory, page: Number) -> Any:
    """Entries of a page that are told apart."""
    return min(max(np.int64(mem.pages[page]["map_count"]), 1), SPACES)


@njit
def entry_in_place(mem: Memory, cost: np.ndarray, me: Number, page: Number) -> Any:
    """Whether vCPU row ``me`` finds its entry of a page, some of whose are not in place."""
    if np.int64(cost[0]["masked"]) == 0:
        return False
    space = np.int64(mem.vcpus[me]["space"])
    return (np.int64(mem.pages[page]["entries"]) >> (space % slots_of(mem, page))) & 1 != 0


@njit
def filled_entries(mem: Memory, page: Number) -> Any:
    """How many of a page's entries are in place."""
    mask = np.int64(mem.pages[page]["entries"])
    count = np.int64(0)
    while mask:
        count += mask & 1
        mask >>= 1
    return count


@njit
def entries_of(mem: Memory, cost: np.ndarray, page: Number) -> Any:
    """How many entries must be changed to change the mapping of a page, and the ns to find them."""
    kind = np.int64(cost[0]["entries"])
    if kind == ONE:
        return np.int64(1), np.int64(0)
    if kind == ALL:
        count = np.int64(mem.pages[page]["map_count"])
        return count, count * np.int64(cost[0]["rmap_step"])
    count = filled_entries(mem, page)
    return count, find_entries(mem, cost, page, count)


@njit
def find_entries(mem: Memory, cost: np.ndarray, page: Number, count: Number) -> Any:
    """ns to find so many shadow entries of a page: by the rmap, or by searching all tables."""
    if count == 0:
        return np.int64(0)
    if np.int64(cost[0]["rmap"]):
        return count * np.int64(cost[0]["rmap_step"])
    tables = np.int64(mem.vms[vm_of(mem, page)]["pool_used"])
    return tables * np.int64(cost[0]["table_search"])


@njit
def fill_entry(mem: Memory, cost: np.ndarray, me: Number, page: Number, time: Number) -> Any:
    """Put the entry in place by which vCPU row ``me`` accesses a page; ns for its table."""
    if np.int64(mem.pages[page]["flags"]) & REFILL == 0:
        return np.int64(0)
    if np.int64(cost[0]["masked"]) == 0:
        clear_flag(mem, page, REFILL | MOVED)
        return np.int64(0)
    slots = slots_of(mem, page)
    slot = np.int64(mem.vcpus[me]["space"]) % slots
    ns = np.int64(0)
    if np.int64(cost[0]["entries"]) == FILLED:
        ns = _need_table(mem, cost, me, page, slot, time)
    mask = np.int64(mem.pages[page]["entries"]) | (1 << slot)
    mem.pages[page]["entries"] = np.uint8(mask)
    if mask == (1 << slots) - 1:
        clear_flag(mem, page, REFILL | MOVED)
    return ns


@njit
def _need_table(
    mem: Memory, cost: np.ndarray, me: Number, page: Number, slot: Number, time: Number
) -> Any:
    """The shadow table for a page in an address space is there from now on; its ns."""
    vm = np.int64(mem.vcpus[me]["vm"])
    each = np.int64(mem.vms[vm]["tables"])
    block = (page - np.int64(mem.vms[vm]["first"])) // TABLE_PAGES
    table = np.int64(mem.vms[vm]["table_first"]) + slot * each + block
    if mem.shadow[table]:
        return np.int64(0)
    ns = np.int64(cost[0]["table_setup"])
    if np.int64(mem.vms[vm]["pool_used"]) >= np.int64(mem.vms[vm]["pool"]):
        ns += _evict(mem, cost, me, vm, time)
    mem.shadow[table] = np.uint8(1)
    mem.vms[vm]["pool_used"] += 1
    mem.totals[t.T_SHADOW_TABLES] += 1
    return ns


@njit
def _evict(mem: Memory, cost: np.ndarray, me: Number, vm: Number, time: Number) -> Any:
    """Give one shadow table back to the pool: all its entries must be filled again."""
    each = np.int64(mem.vms[vm]["tables"])
    first = np.int64(mem.vms[vm]["table_first"])
    hand = np.int64(mem.vms[vm]["pool_hand"])
    while mem.shadow[first + hand] == 0:
        hand = (hand + 1) % (SPACES * each)
    mem.shadow[first + hand] = np.uint8(0)
    mem.vms[vm]["pool_hand"] = (hand + 1) % (SPACES * each)
    mem.vms[vm]["pool_used"] -= 1
    mem.totals[t.T_SHADOW_TABLES] -= 1
    mem.totals[t.T_SHADOW_EVICTIONS] += 1
    slot = hand // each
    start = np.int64(mem.vms[vm]["first"]) + hand % each * TABLE_PAGES
    end = min(start + TABLE_PAGES, np.int64(mem.vms[vm]["first"]) + np.int64(mem.vms[vm]["pages"]))
    zapped = np.int64(0)
    for page in range(start, end):
        mask = np.int64(mem.pages[page]["entries"])
        if (mask >> slot) & 1:
            mem.pages[page]["entries"] = np.uint8(mask & ~(1 << slot))
            set_flag(mem, page, REFILL)
            zapped += 1
    ns = np.int64(cost[0]["table_setup"]) + zapped * np.int64(cost[0]["entry_zap"])
    ns += flush_vm(mem, cost, vm, me, time)
    log_event(mem, time, ns, t.E_EVICT, me, start, -1)
    return ns


@njit
def lose_entries(mem: Memory, cost: np.ndarray, page: Number, count: Number) -> Any:
    """Sharing took ``count`` entries of a page away, or changed the one: who uses it next pays.

    Where there were none, their first use is not sharing's doing.
    """
    if np.int64(cost[0]["entries"]) == ALL:
        return  # rewritten in place
    set_flag(mem, page, REFILL | MOVED if count else REFILL)
