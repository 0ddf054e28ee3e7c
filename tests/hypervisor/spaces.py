"""Address spaces on the workbench: which entries a page has in place, and uses that fill them."""

from tests.hypervisor.bench import Bench


def in_place(bench: Bench, page: int) -> set[int]:
    """Slots of the entries that a page has in place."""
    mask = int(bench.mem.pages[page]["entries"])
    return {slot for slot in range(8) if mask >> slot & 1}


def enter(bench: Bench, page: int, space: int) -> None:
    """The guest of a page goes into an address space."""
    first = int(bench.mem.vms[bench.vm_of(page)]["vcpu_first"])
    bench.mem.vcpus[first]["space"] = space


def use(bench: Bench, page: int, space: int = 0, *, write: bool = False) -> int:
    """The guest accesses a page in an address space; ns of the faults."""
    enter(bench, page, space)
    spent = bench.access(page, write=write)
    assert spent is not None
    return spent
