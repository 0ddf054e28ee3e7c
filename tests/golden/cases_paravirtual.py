"""Sharing that guests take part in: offer, consent, share, rewrite; break; and refusals."""

from typing import Any

from sharesim.spec.paging import Direct
from sharesim.spec.scenario import VM, Paravirtual, Scanner, Scenario
from sharesim.spec.workloads import Sequential, Workload
from tests.golden.case import (
    DIRECT,
    SCAN,
    US,
    busy,
    common,
    costs,
    equal,
    golden,
    own,
    read,
    run,
    scan,
    script,
    switch,
    vm,
    write,
    zeros,
)

OFFER = {"event": 40, "rmap_step": 1, "zero_check_cold": 5}
"""A page has two entries, its guest's own and that of the kernel's map of all memory, each found in
1 and written in 3: to protect it takes 8, to rewrite it 6. A batch takes an event, 40, and two
hypercalls of 12, the first with a compare of 8 for each page. A break by upcall is 8 + 12, a frame
5, copy 70, entries 8 = 103; that of the last sharer 8 + 12 + 8 = 28."""

_SCAN = {key: us for key, us in SCAN.items() if not key.startswith("entry")}


def together(
    *vms: VM,
    us: int,
    scanned: int,
    every_us: int = 10_000,
    sample_us: int | None = None,
    cpus: int = 4,
    scanner: Scanner | None = None,
    more: dict[str, int] | None = None,
    **options: Any,
) -> Scenario:
    """Guests under direct paging that are offered what cbps finds; ``options`` of Paravirtual."""
    return run(
        *vms,
        us=us,
        cost=costs(_SCAN, DIRECT, OFFER, more or {}),
        cpus=cpus,
        paging=Direct(),
        sharing=scan(scanned, every_us, scanner=scanner, paravirtual=Paravirtual(**options)),
        sample_us=sample_us,
    )


# Offer, consent, share, rewrite


@golden()
def offers_of_a_pair() -> Scenario:
    """Of two pages that nobody shares yet, each is offered to its guest; the second one joins.

    0    a.0 is new: 16; at 16 b.0 is found equal: 21
    37   both are offered. The scanner's batch is over: an event to each guest, both idle
    37   each guest takes the event 40 and write-protects its page 8: until 85
    85   a hands a.0 over: hypercall 12, and from 97 on compare 8. Its frame is now one that others
         may join; its entries are right as they are. Done at 105
    85   b hands b.0 over, 20, and is given the frame of a.0; its own frame must wait
    105  b rewrites two entries by hypercall: 12 + 6. At 123 it has flushed, and the frame is free
    """
    guests = (vm(name, common("kernel")) for name in "ab")
    return together(*guests, us=240, scanned=2, sample_us=60)


@golden()
def offers_in_a_batch() -> Scenario:
    """A batch of three pages takes the event and the two hypercalls once.

    0    a.0 to a.2: 16 each; at 48 b.0 to b.2: 21 each; at 111 the events
    111  consent: event 40 + 3 x 8 = 64
    175  share: 12 + 3 x 8 = 36
    211  a is done; b rewrites: 12 + 3 x 6 = 30, until 241
    """
    guests = (vm(name, common("kernel", 3)) for name in "ab")
    return together(*guests, us=300, scanned=6)


@golden()
def offer_of_a_third_page() -> Scenario:
    """A page whose equal is shared already is offered alone: nobody else has to do anything.

    0 to 123  a.0 and b.0 come together as in "offers of a pair"
    300  second wake-up: c.0 finds the entry of a.0: 21; at 321 it alone is offered. The other page
         of the wake-up begins the next pass: a.0 is shared and not hashed: 1 + 2 + 3 = 6
    327  an event to c: 40 + 8; at 375 share 20; at 395 rewrite 18, until 413. Two frames are saved
    """
    guests = (vm(name, common("kernel")) for name in "abc")
    return together(*guests, us=500, scanned=2, every_us=300)


@golden()
def offers_within_one_guest() -> Scenario:
    """Two equal pages of one guest are one batch: the first becomes the frame, the second joins.

    0    a.0: 16; at 16 a.1: 21; at 37 both are on the ring of a, a.1 first
    37   event 40 + 2 x 8 = 56
    93   12, a.1 becomes the frame to join 8, a.0 joins it 8 = 28
    121  the two entries of a.0: 12 + 6 = 18, until 139
    """
    return together(vm("a", equal(2)), us=200, scanned=2)


@golden()
def offers_of_zero_pages() -> Scenario:
    """Zero pages: the first becomes the zero frame, the others join it.

    0    three zero pages: 1 + 10 each; at 33 an event with three offers
    33   40 + 3 x 8 = 64
    97   12 + three checks for zero 3 x 5 = 27
    124  a.1 and a.2 are rewritten: 12 + 2 x 6 = 24, until 148. Two frames are saved
    """
    return together(vm("a", zeros(3)), us=200, scanned=3)


@golden()
def offers_to_idle_and_busy() -> Scenario:
    """The event wakes an idle guest; a busy one takes it before its next access. Switches take 10.

    0    CPU 0 is given to b, 10, which has nothing to do; CPU 1 to a, which reads at 10 and 60
    20   CPU 0 is given to the scanner, 10; at 30 it visits a.0: 16; at 46 b.0: 21
    67   offers, an event to both; CPU 0 is given to b, 10
    77   b: 40 + 8; at 125 it hands b.0 over, 20: the first, so that others may join it; until 145
    110  a has finished what it was at: 40 + 8; at 158 it hands a.0 over, 20, which joins b.0; at
         178 it rewrites two entries, 18; at 196 its third read, 86 late
    """
    return together(
        vm("a", common("kernel"), affinity=(1,), workload=busy(50)),
        vm("b", common("kernel"), affinity=(0,)),
        us=220,
        scanned=2,
        cpus=2,
        scanner=Scanner(affinity=(0,), start=20 * US),
        more={"vcpu_switch": 10},
    )


@golden()
def offers_and_flushes() -> Scenario:
    """Before the pages are looked at, and after the entries are rewritten, the guest flushes.

    A flush of another CPU takes 20 + 4, and costs that one 9 + a walk of 1.
    0    both vCPUs of b read b.7 and work 50, again and again
    37   offers of a.0 and b.7; a is done at 105
    50   vCPU b.0 takes the event: 40 + 8
    98   share: 12 + flush 24 + compare 8 = 44. vCPU b.1 pays 10 at its next step, at 100
    142  rewrite: 12 + 6, a walk of its own 1, flush 24 = 43, until 185. b.1 pays 10 at 160
    """
    return together(
        vm("a", common("kernel")),
        vm("b", own(7, populated=False), common("kernel"), vcpus=2,
           workload=busy(50, region_start=7)),
        us=220,
        scanned=2,
        more={"flush_base": 20, "flush_per_cpu": 4, "flush_target": 9, "tlb_entries": 4,
              "walk_native": 1},
    )  # fmt: skip


# Breaks


@golden()
def break_by_upcall() -> Scenario:
    """The fault is handed to the guest, which asks for a copy and has all its entries written.

    0 to 123  a.0 and b.0 come together as in "offers of a pair"
    200  b writes b.0: 103; at 303 the write, until 313
    333  b switches to its other address space, 25 + 10; at 368 it reads b.0: the entry is in place
    400  a, alone with the frame now, writes a.0: 28; at 428 the write
    """
    return together(
        vm("a", common("kernel"), workload=script(400, write())),
        vm("b", common("kernel"), workload=script(200, write(), 20, switch(), read())),
        us=500,
        scanned=2,
    )


@golden()
def break_by_hypervisor() -> Scenario:
    """The hypervisor copies and mends the faulting entry; the page's other one faults later.

    0 to 123  a.0 and b.0 come together as in "offers of a pair"
    200  b writes b.0: hypercall 12, frame 5, copy 70, the other entry is found 1 and cleared 3, the
         faulting one written 3 = 94; at 294 the write, until 304
    324  b switches to its other address space: 25 + 10
    359  it reads b.0 there: the entry is missing: 12 + 3 = 15; at 374 the read
    """
    return together(
        vm("a", common("kernel")),
        vm("b", common("kernel"), workload=script(200, write(), 20, switch(), read())),
        us=500,
        scanned=2,
        cow="hypervisor",
    )


def overwrite(page: int = 0) -> Workload:
    """Writes a whole page, and knows it; then 10 us of work."""
    return Sequential(
        region_start=page, region=1, op_time=10 * US, ops=1, operation="overwrite", overwrites=1.0
    )


@golden()
def overwrite_without_copy() -> Scenario:
    """A guest about to overwrite a page asks for a zeroed frame: no fault, no copy.

    0 to 123  a.0 and b.0 come together as in "offers of a pair"
    200  b: hypercall 12, frame 5, zero fill 60, entries 8 = 85; at 285 the write
    400  a, alone with the frame: hypercall 12 + entries 8 = 20; at 420 the write
    """
    return together(
        vm("a", common("kernel"), workload=script(400, overwrite())),
        vm("b", common("kernel"), workload=script(200, overwrite())),
        us=500,
        scanned=2,
    )


# Refusals


@golden()
def offer_of_a_dirty_page() -> Scenario:
    """A guest refuses a page that was written after the scanner looked at it.

    16   b.0 is hashed; 30 b writes it, and works until 40
    37   offers. a: 48, until 85
    40   b takes the event, 40, and refuses
    85   a hands a.0 over: 12, and it differs from b.0 by now: 6. At 103 a makes its entries
         writable again: 12 + 6, until 121
    """
    return together(
        vm("a", common("kernel")),
        vm("b", common("kernel"), workload=script(30, write())),
        us=200,
        scanned=2,
    )


@golden()
def offer_that_expires() -> Scenario:
    """An offer older than 30 is void: the guest was too busy.

    0    b reads b.0, and works for 100
    37   offers. a: 48, and at 85 its page is the one to be joined: 20
    100  b takes the event, 40: the offer is 63 old. At 140 it reads b.0 again
    300  the next pass: a.0, alone on its frame, is hashed again and entered: 16; b.0 finds it: 21
    337  a.0 is shared, b.0 not: it alone is offered. b works until 340, and this time takes it: 48
    388  share 20; at 408 rewrite 18, until 426
    """
    return together(
        vm("a", common("kernel")),
        vm("b", common("kernel"), workload=busy(100)),
        us=500,
        scanned=2,
        every_us=300,
        expiry=30 * US,
    )


@golden()
def offers_beyond_the_ring() -> Scenario:
    """A ring of one offer: what does not fit is dropped, and offered again in the next pass.

    0    a.0 is zero, 11, and offered: the ring is full. a hears of it after the visit of a.1
    22   a.1 is dropped; a takes the event: 48. At 33 a.2 is dropped
    70   a.0: 12 + 5; its frame becomes the zero frame. Done at 87
    200  second pass: a.0 is passed over, 1; a.1 is offered at 212, a.2 dropped at 223
    223  a.1: 48, at 271 share 17, at 288 rewrite 18, until 306
    400  third pass: a.0 and a.1, 1 each; a.2 is offered at 413; 413 to 496
    """
    return together(vm("a", zeros(3)), us=600, scanned=3, every_us=200, ring=1)


@golden()
def free_pages_to_the_balloon() -> Scenario:
    """Of two zero pages the guest knows one to be free: it gives that one away instead.

    0    a.0 and a.1, 11 each; at 22 an event with both
    22   40, a.0 is protected 8, a.1 goes to the balloon 7, its frame to the host = 55
    77   a.0: 12 + 5 = 17; it is the zero frame now, until 94
    """
    return together(
        vm("a", zeros(page_class="anonymous"), zeros(page_class="free")),
        us=200,
        scanned=2,
        more={"balloon_inflate_page": 7},
        free_pages="balloon",
    )


@golden()
def unwilling_guest() -> Scenario:
    """An unwilling guest has no driver: it is not looked at, and shares nothing.

    0    b.0 is new: 16; at 16 c.0 is found equal: 21; from 37 to 123 they come together. a.0, with
         the same content, stays as it is
    """
    return together(
        vm("a", common("kernel"), willing=False),
        vm("b", common("kernel")),
        vm("c", common("kernel")),
        us=200,
        scanned=2,
    )
