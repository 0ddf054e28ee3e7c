"""Where frames come from and go to: populating, starting and stopping, waiting, ballooning."""

from sharesim.spec.scenario import Balloon, Scenario
from tests.golden.case import (
    FAULT,
    SCAN,
    US,
    busy,
    common,
    costs,
    golden,
    own,
    read,
    run,
    scan,
    script,
    untouched,
    vm,
    write,
)


@golden()
def populate_on_demand() -> Scenario:
    """A page gets its frame, zeroed, when it is first touched: read or written.

    10   a reads a.0: exit 50, a frame 5, zero fill 60, entry 20 = 135; at 145 the read
    200  a writes a.1: 135; at 335 the write
    """
    return run(
        vm("a", untouched(2), workload=script(10, read(0), 45, write(1))),
        us=400,
        cost=costs(FAULT),
    )


@golden()
def populate_at_boot() -> Scenario:
    """All pages have frames from the start: no fault on first touch.

    10   a reads a.0; at 100 it writes a.1
    """
    return run(
        vm("a", untouched(2), workload=script(10, read(0), 80, write(1)), populate="boot"),
        us=400,
        cost=costs(FAULT),
    )


@golden()
def start_and_stop() -> Scenario:
    """A guest that comes later takes its frames with it, and gives them back when it stops.

    0    a has 1 of the 3 frames
    100  b starts: 2 frames. It reads every 50 us: at 100, 150, 200, 250 and 300
    320  b stops: its frames are free at once; 4 operations are done, of the fifth 20 us are
    """
    return run(
        vm("a", own()),
        vm("b", own(2), workload=busy(50), start=100 * US, stop=320 * US),
        us=400,
        cost=costs(FAULT),
        sample_us=80,
    )


@golden()
def out_of_frames() -> Scenario:
    """A guest that finds no free frame blocks until somebody gives one back.

    0    the host has two frames, one of them is a's
    50   b writes b.0: takes the last frame, 135; at 185 the write, until 195
    195  b writes b.1: no frame; b is blocked
    300  a stops, b tries again: 135; at 435 the write
    """
    return run(
        vm("a", own(), stop=300 * US),
        vm("b", untouched(2), workload=script(50, write(0), write(1))),
        us=500,
        cost=costs(FAULT),
        memory=2,
        overcommit=True,
    )


@golden()
def merge_frees_a_frame() -> Scenario:
    """The frame that a merge frees goes to whoever waits, but not before the flush is over.

    0    three frames: a.0, b.0 and the scanner's table
    10   c writes c.0: no frame; c is blocked
    57   the merge of a.0 and b.0 begins, 24; until it is over nothing is free
    81   c takes the frame: 135; at 216 the write
    """
    return run(
        vm("a", common("kernel")),
        vm("b", common("kernel")),
        vm("c", untouched(), workload=script(10, write())),
        us=300,
        cost=costs(SCAN, FAULT),
        sharing=scan(2),
        memory=3,
        overcommit=True,
    )


@golden()
def balloon() -> Scenario:
    """The balloon takes free pages first, then page cache, one in 100 us, and gives them back.

    100  told to make do with 2 of its 4 pages: takes a.3, free and without a frame. The guest's
         vCPU, idle, has 7 us of work with it
    200  takes a.2, page cache, and its frame; 7 us. The target is reached
    500  told 4: gives a.2 back, without a frame; 3 us; at 600 a.3; 3 us
    700  the guest reads a.2: populated, 135, and at 835 read
    """
    cost = costs(FAULT, balloon_inflate_page=7, balloon_deflate_page=3)
    targets = ((100 * US, 2), (500 * US, 4))
    return run(
        vm("a", own(2), own(page_class="page-cache"), untouched(),
           balloon=Balloon(targets=targets, rate=10_000, period=100 * US),
           workload=script(700, read(2))),
        us=900,
        cost=cost,
        sample_us=100,
    )  # fmt: skip
