"""The vocabulary of golden scenarios: round costs, pages by the piece, guests that follow a script.

All times given to these functions are whole microseconds, all sizes pages.
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any

from sharesim.spec.costs import PRIMITIVES
from sharesim.spec.images import Segment, Segments
from sharesim.spec.paging import Nested, PagingSpec
from sharesim.spec.policies import Cbps
from sharesim.spec.scenario import VM, Costs, Host, Paravirtual, Scanner, Scenario, Sharing
from sharesim.spec.workloads import (
    CpuBound,
    Idle,
    PageTableActivity,
    Phases,
    RandomAccess,
    Sequential,
    Workload,
)

US = 1_000
SEED = 1_374_196_614
"""With this seed the first three vCPUs have no start offset, so that times stay round."""

SCAN = {
    "scan_step": 1,
    "digest_sfh_cold": 10,
    "digest_sfh_hot": 5,
    "table_lookup": 2,
    "table_insert": 3,
    "compare_equal_cold": 8,
    "compare_equal_hot": 4,
    "compare_differ_cold": 6,
    "zero_check_hot": 4,
    "entry_protect": 10,
    "entry_update": 20,
}
"""Costs of scanning and merging: a visit of a new content is 1 + 10 + 2 + 3 = 16 us, one that finds
its equal 1 + 10 + 2 + 8 = 21; two pages are protected in 20 and merged in 4 + 20 = 24."""

FAULT = {"exit": 50, "frame_alloc": 5, "copy_cold": 70, "zero_fill_cold": 60, "entry_update": 20}
"""Costs of faults: a COW break is 50 + 20 + 5 + 70 = 145 us, or 135 with a zero fill instead
of the copy; taking a frame over 50 + 20 = 70; a first touch 50 + 5 + 60 + 20 = 135; a refill
50 + 20 = 70."""

SHADOW = {
    "violation_handler": 40,
    "shadow_fill": 15,
    "shadow_table": 7,
    "shadow_search": 9,
    "rmap_step": 1,
    "entry_zap": 6,
    "bounce_shadow": 110,
    "pt_sync": 35,
    "switch_shadow": 80,
}
"""What shadow paging adds to FAULT: a hidden fault is 50 + 15 = 65 us, 72 with a table to be set up
for it; a first touch 50 + 40 + 15 + 5 + 60 + 20 = 190, 197 with a table; a COW break of one entry
50 + 40 + 5 + 70 + 20 = 185; an entry is found in 1, protected in 10, cleared in 6."""

DIRECT = {
    "hypercall": 12,
    "bounce_direct": 8,
    "pt_validate": 3,
    "pt_pin": 11,
    "switch_direct": 25,
    "frame_alloc": 5,
    "copy_cold": 70,
    "zero_fill_cold": 60,
}
"""Costs of direct paging: a guest's fault with its update is 8 + 12 + 3 = 23 us, a batch of n
updates 12 + 3n, a page table made and dropped 2 x (12 + 11) = 46."""


@dataclass(frozen=True)
class Case:
    """A golden scenario; its heading says what it shows and how its times come about."""

    name: str
    heading: str
    build: Callable[[], Scenario]
    clock_events: bool


CASES: dict[str, Case] = {}


def golden(
    *, clock_events: bool = False
) -> Callable[[Callable[[], Scenario]], Callable[[], Scenario]]:
    """Register a function that makes a scenario; its name names the case, its docstring heads it.

    ``clock_events`` also counts the events of the clock.
    """

    def register(build: Callable[[], Scenario]) -> Callable[[], Scenario]:
        assert build.__doc__, f"{build.__name__} says nothing"
        name, heading = build.__name__, cleandoc(build.__doc__)
        assert name not in CASES, f"two cases named {name}"
        CASES[name] = Case(name, heading, build, clock_events)
        return build

    return register


def costs(*tables: dict[str, int], **more: int) -> Costs:
    """All primitives free but those given, in us (``tlb_entries``: a count)."""
    table = dict.fromkeys(PRIMITIVES, 0)
    for given in (*tables, more):
        for key, value in given.items():
            assert key in PRIMITIVES, key
            table[key] = value if key == "tlb_entries" else value * US
    return Costs(table=table)


def common(name: str, pages: int = 1, **options: Any) -> Segment:
    """Pages with the contents of that name: in all guests the same, page by page."""
    return Segment(size=pages, shared_as=name, **options)


def own(pages: int = 1, **options: Any) -> Segment:
    """Pages that no other page equals."""
    return Segment(size=pages, **options)


def equal(pages: int, **options: Any) -> Segment:
    """Pages that are all equal, but to none elsewhere."""
    return Segment(size=pages, duplicate=1.0, patterns=1, **options)


def zeros(pages: int = 1, **options: Any) -> Segment:
    """Zero pages that have frames."""
    return Segment(size=pages, zero=1.0, **options)


def untouched(pages: int = 1) -> Segment:
    """Pages without frames."""
    return Segment(size=pages, page_class="free", populated=False)


def vm(name: str, *segments: Segment, **options: Any) -> VM:
    """A guest; idle unless ``workload`` says otherwise."""
    return VM(name=name, image=Segments(segments=segments), **options)


def read(page: int = 0) -> Workload:
    """One read of a page, then 10 us of work."""
    return Sequential(
        write_fraction=0.0, region_start=page, region=1, op_time=10 * US, ops=1, operation="read"
    )


def write(page: int = 0, leaves: str = "unique") -> Workload:
    """One write to a page, then 10 us of work.

    ``leaves`` something new ("unique"), what was there ("same"), or in all pages so written the
    same new content ("pool").
    """
    return Sequential(
        region_start=page, region=1, op_time=10 * US, ops=1, operation="write",
        new_content=leaves, pool=1, pool_name="pool",
    )  # fmt: skip


def switch() -> Workload:
    """A switch to another address space, then 10 us of work."""
    return page_tables(10, switches=1)


def page_tables(us: int, **activity: int) -> Workload:
    """One operation that works on the guest's page tables; natively it takes so many us in all.

    Its ``faults`` are on the guest's first page. The work is spread evenly over its steps.
    """
    counts = PageTableActivity(**activity)
    return CpuBound(region=1, op_time=us * US, ops=1, activity=counts)


def script(*parts: int | Workload) -> Phases:
    """A guest that follows a script: idle for so many us, or a workload; idle at its end."""
    phases = tuple(Idle(for_=part * US) if isinstance(part, int) else part for part in parts)
    return Phases(phases=(*phases, Idle()))


def busy(op: int = 50, **options: Any) -> Workload:
    """Reads its first page every ``op`` us, and works in between."""
    return RandomAccess(region=1, op_time=op * US, **options)


def run(
    *vms: VM,
    us: int,
    cost: Costs,
    cpus: int = 4,
    sharing: Sharing | None = None,
    sample_us: int | None = None,
    paging: PagingSpec | None = None,
    **host: Any,
) -> Scenario:
    """A scenario of ``us`` microseconds in exact mode, all invariants checked."""
    return Scenario(
        duration=us * US,
        seed=SEED,
        mode="exact",
        sync_quantum=1 * US,
        sample_every=(sample_us or us) * US,
        check=True,
        events=True,
        host=Host(cpus=cpus, costs=cost, **host),
        vms=vms,
        paging=paging or Nested(),
        sharing=sharing,
    )


def scan(
    pages: int,
    every_us: int = 10_000,
    *,
    scanner: Scanner | None = None,
    last_sharer: str = "reuse",
    split_blocks: bool = True,
    paravirtual: Paravirtual | None = None,
    **policy: Any,
) -> Sharing:
    """cbps that visits so many pages at each wake-up, at time 0 and then each ``every_us``.

    The design is transparent, unless ``paravirtual`` is given.
    """
    return Sharing(
        design="paravirtual" if paravirtual else "transparent",
        policy=Cbps(scan_rate=pages * 1e6 / every_us, wake_period=every_us * US, **policy),
        scanner=scanner or Scanner(),
        last_sharer=last_sharer,
        split_blocks=split_blocks,
        paravirtual=paravirtual or Paravirtual(),
    )
