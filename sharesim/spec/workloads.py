"""What a guest does: each workload declares its operation and activity as data.

A *closed-loop* workload starts an operation when the one before is done (its measure is
throughput); with a ``rate`` it is *paced*: operations arrive at that rate and lateness is the
measure. ``ops`` or ``for_`` end it, so that workloads can be put in sequence as phases.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from sharesim.spec.base import Family, Member, Spec, member_field
from sharesim.spec.images import Fraction
from sharesim.spec.units import PositiveSize, PositiveTime, Size, Time

WORKLOADS = Family("workload", "sharesim.workloads")
Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(ge=1)]


class PageTableActivity(Spec):
    """What one operation does to the guest's own page tables; equal for all paging modes.

    The time that it takes natively is part of the operation's ``op_time``.
    """

    faults: Count = 0
    """Guest page faults."""
    updates: Count = 0
    """Page-table entries written: one at each fault, the others in batches."""
    tables: Count = 0
    """Page tables made and dropped again."""
    switches: Count = 0
    """Address-space switches."""


class Workload(Member):
    """Base class of workloads."""

    family: ClassVar[Family] = WORKLOADS
    ops: PositiveCount | None = None
    """End after this many operations."""
    for_: PositiveTime | None = None
    """End after this much time."""

    @model_validator(mode="after")
    def _one_end(self) -> "Workload":
        if self.ops is not None and self.for_ is not None:
            raise ValueError("found both ops and for_; a phase ends by one of them")
        return self


class Accessing(Workload):
    """Operations that compute and access pages; the common parameters of most workloads."""

    operation: str = "access"
    """What one operation stands for."""
    accesses: Count = 1
    """Page accesses in an operation."""
    op_time: Time = 1_000
    """CPU time of an operation, natively; its page-table activity included."""
    write_fraction: Fraction = 0.0
    """Share of accesses that write."""
    overwrites: Fraction = 0.0
    """Share of writes that replace the whole page; a cooperating guest then needs no copy."""
    region: PositiveSize | None = None
    """Pages it works on; by default all of the guest's memory behind ``region_start``."""
    region_start: Size = 0
    """Where its region begins in the guest's memory."""
    activity: PageTableActivity = PageTableActivity()
    """What an operation does to the guest's page tables."""
    tlb_miss: Fraction = 0.0
    """Share of accesses that miss the TLB and walk the page tables."""
    rate: Annotated[float, Field(ge=0.001, le=1e9)] | None = None
    """Operations per second; none: as fast as it can (closed loop)."""
    new_content: Literal["unique", "pool", "same"] = "unique"
    """What a write leaves: something new, one of ``pool`` contents, or what was there."""
    pool: PositiveCount = 256
    """Contents in the pool that writes choose from."""
    pool_name: str | None = None
    """Pools of the same name have the same contents in all guests."""


@WORKLOADS.register
class Idle(Workload):
    """Does nothing, and leaves its CPU to others."""

    name: ClassVar[str] = "idle"

    @model_validator(mode="after")
    def _no_operations(self) -> "Idle":
        if self.ops is not None:
            raise ValueError("ops: an idle guest has no operations; end it with for_")
        return self


@WORKLOADS.register
class CpuBound(Accessing):
    """Computes; touches no page that sharing could have taken."""

    name: ClassVar[str] = "cpu"
    operation: str = "unit of computing"
    accesses: Count = 0
    op_time: Time = 100_000


@WORKLOADS.register
class RandomAccess(Accessing):
    """Accesses pages of its region uniformly at random."""

    name: ClassVar[str] = "random"


@WORKLOADS.register
class ZipfAccess(Accessing):
    """Accesses pages with Zipf popularity: the r-th most popular page with weight r^-exponent."""

    name: ClassVar[str] = "zipf"
    exponent: Annotated[float, Field(ge=0, le=4)] = 1.0
    """0 is uniform; the larger, the more a few pages are preferred."""


@WORKLOADS.register
class HotSet(Accessing):
    """Accesses a hot set most of the time, the rest of its region otherwise."""

    name: ClassVar[str] = "hotset"
    hot: Fraction = 0.1
    """Share of the region that is hot (at least one page)."""
    hot_accesses: Fraction = 0.9
    """Share of accesses that go there."""


@WORKLOADS.register
class TwoRegions(Accessing):
    """Accesses its region with a given probability, else another one; each uniformly at random."""

    name: ClassVar[str] = "two-regions"
    share: Fraction = 0.5
    """Share of accesses that go to its region."""
    other: PositiveSize | None = None
    """Pages of the other region; by default all of the guest's memory behind ``other_start``."""
    other_start: Size = 0
    """Where the other region begins in the guest's memory; the two may overlap."""


@WORKLOADS.register
class Sequential(Accessing):
    """Goes through its region page by page, again and again."""

    name: ClassVar[str] = "sequential"
    write_fraction: Fraction = 1.0
    """Share of accesses that write."""


@WORKLOADS.register
class FileReader(Accessing):
    """Reads a file through the page cache; files of one name have the same contents everywhere."""

    name: ClassVar[str] = "file"
    operation: str = "page of the file read"
    file: str = "data"
    """Name of the file."""
    file_size: PositiveSize = 65536
    """Size of the file; it may be larger than the region that caches it."""
    order: Literal["sequential", "random"] = "sequential"
    """Order in which its pages are read."""


@WORKLOADS.register
class PageTableHeavy(Accessing):
    """Starts processes: a mix of fork, exec and mmap that rewrites page tables.

    Time and counts per operation are those of a shell starting a small program: the row "sh" of
    lmbench in Xen's tables (SOSP 2003), on a Xeon at 2.4 GHz.
    """

    name: ClassVar[str] = "processes"
    operation: str = "process started"
    accesses: Count = 120
    op_time: Time = 4_000_000
    write_fraction: Fraction = 0.7
    activity: PageTableActivity = PageTableActivity(faults=572, updates=572, switches=4)


@WORKLOADS.register
class Replay(Workload):
    """Replays the changes of a captured guest, paced as they were seen."""

    name: ClassVar[str] = "replay"
    tick: PositiveTime = 10_000_000
    """The guest wakes this often and makes the changes that fell due; one operation."""
    cpu_scale: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Scales the CPU time that the captured guest used."""
    hidden_writes: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Extra writes per seen change that leave contents as they are but break sharing."""
    repeat: bool = False
    """Start over at the capture's end instead of falling idle."""


@WORKLOADS.register
class Scripted(Workload):
    """Writes whole pages at the times that a recorded KSM case says, and idles in between."""

    name: ClassVar[str] = "scripted"
    script: str
    """Path of the case's JSON file."""
    process: Annotated[int, Field(ge=0)] = 0
    """Which of its processes."""


@WORKLOADS.register
class Phases(Workload):
    """One workload after another; the last one goes on until the end of the run."""

    name: ClassVar[str] = "phases"
    phases: tuple["WorkloadField", ...]  # type: ignore[valid-type]
    """The workloads, in order; each but the last needs ``ops`` or ``for_``."""
    repeat: bool = False
    """Begin again after the last one."""

    @model_validator(mode="after")
    def _each_ends(self) -> "Phases":
        if not self.phases:
            raise ValueError("phases: found none; at least one is needed")
        for number, phase in enumerate(self.phases):
            if isinstance(phase, Phases):
                raise ValueError(f"phases.{number}: phases cannot be nested")
            endless = phase.ops is None and phase.for_ is None
            if endless and (number < len(self.phases) - 1 or self.repeat):
                raise ValueError(f"phases.{number}: needs ops= or for_=, or it never ends")
        return self


WorkloadField = member_field(Workload, WORKLOADS)
Phases.model_rebuild()
