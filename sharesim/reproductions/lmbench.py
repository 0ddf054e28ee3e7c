"""Rows of the Xen paper as workloads: operations that keep page tables busy, one after another.

Barham et al., Xen and the Art of Virtualization, SOSP 2003: lmbench (tables 3 to 5) and the build
of a Linux kernel (figure 3), natively, under Xen's direct paging, and under the shadow tables of
VMware Workstation 3.2, all on one machine.

An operation takes its published native time and does the same to page tables in every mode. How
much that is was not published. A row that is predicted has one count n of faults, each with its
update, that both modes share: the one with which the larger of the two errors is the least
(``python -m analysis.calibrate_xen2003``). So n stands for all page-table work of the operation,
hidden faults and tables made included. Switches are assumed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sharesim.errors import UserError, nearest
from sharesim.results.run import Run
from sharesim.spec.costs import CostTarget, load_targets
from sharesim.spec.images import Segment, Segments
from sharesim.spec.paging import PagingSpec
from sharesim.spec.scenario import VM, Costs, Host, Scenario
from sharesim.spec.workloads import PageTableActivity, PageTableHeavy

PROFILE = "xen-2003"
"""It has the figures of both hypervisors."""
GUEST_MEMORY = 64 * 256
"""In pages; the domain of the paper's balloon experiment."""
LENGTH = 20_000
"""A run is as long as so many operations, or slices of one, take natively."""


@dataclass(frozen=True)
class Operation:
    """A row of the paper, and what one operation does to page tables, equal in all modes."""

    title: str
    where: str
    """In the paper."""
    target: str
    """Its published times, without the mode's name."""
    faults: int = 0
    updates: int = 0
    switches: int = 0
    slices: int = 1
    """A run's operation is one of so many equal parts, where the whole takes too long."""

    def published(self, mode: str) -> CostTarget:
        """What the paper says of it in a mode: native, direct or shadow."""
        return load_targets()[f"{self.target}_{mode}"]

    def measured(self, run: Run) -> float | None:
        """ns of CPU time that it took in a run, on average; None if none was finished."""
        each: float | None = run.summary["host"]["cpu_ns_per_operation"]
        return None if each is None else each * self.slices

    def workload(self) -> PageTableHeavy:
        """One operation (or slice) after another, as fast as they go."""
        counts = {"faults": self.faults, "updates": self.updates, "switches": self.switches}
        return PageTableHeavy(
            operation=self.title if self.slices == 1 else f"1/{self.slices} of a {self.title}",
            op_time=self.published("native").ns // self.slices,
            accesses=0,  # what it does to memory is in its native time
            activity=PageTableActivity(**{key: n // self.slices for key, n in counts.items()}),
        )


def _switch(shape: str) -> Operation:
    """A context switch in a ring of so many processes, which keep that much memory in use."""
    target = f"lmbench_switch_{shape.replace('/', '_').lower()}"
    return Operation(f"context switch {shape}", "table 4", target, switches=1)


def _counted(title: str, where: str, target: str, count: int, switches: int = 0) -> Operation:
    """A row with a fitted count."""
    return Operation(title, where, target, faults=count, updates=count, switches=switches)


CALIBRATING: Mapping[str, Operation] = {
    "protection_fault": Operation(
        "protection fault", "table 5", "lmbench_protection_fault", faults=1
    ),
    "page_fault": Operation("page fault", "table 5", "lmbench_page_fault", faults=1, updates=1),
    "switch_2p_0k": _switch("2p/0K"),
}
"""A fault alone, a fault with an update, a switch alone: what the profile's figures come from."""
PREDICTED: Mapping[str, Operation] = {
    "mmap": _counted("mmap", "table 5", "lmbench_mmap", 52),
    # To the child, and back when it has ended; exec is measured with a fork.
    "fork": _counted("fork", "table 3", "lmbench_fork", 66, switches=2),
    "exec": _counted("exec", "table 3", "lmbench_exec", 168, switches=2),
    # To the shell and back, to the program that it starts and back.
    "sh": _counted("sh", "table 3", "lmbench_sh", 572, switches=4),
    "linux_build": Operation(
        "Linux build", "figure 3", "linux_build", 6_280_000, 6_280_000, slices=20_000
    ),
}
"""Rows with a count of their own."""
LARGER_SWITCHES: Mapping[str, Operation] = {
    "switch_2p_16k": _switch("2p/16K"),
    "switch_2p_64k": _switch("2p/64K"),
    "switch_8p_16k": _switch("8p/16K"),
    "switch_8p_64k": _switch("8p/64K"),
    "switch_16p_16k": _switch("16p/16K"),
    "switch_16p_64k": _switch("16p/64K"),
}
"""The same as the one that calibrates, as far as page tables go."""
OPERATIONS: Mapping[str, Operation] = {**CALIBRATING, **PREDICTED, **LARGER_SWITCHES}


def lmbench(row: str, paging: str | PagingSpec, length: int = LENGTH) -> Scenario:
    """A guest with one vCPU, on one CPU, that repeats a row's operation in a closed loop.

    The run lasts as long as ``length`` operations take natively. Raises UserError where there is
    no such row.
    """
    if row not in OPERATIONS:
        raise UserError(f"row: there is no '{row}'{nearest(row, OPERATIONS)}")
    operation = OPERATIONS[row]
    work = operation.workload()
    image = Segments(segments=(Segment(size=GUEST_MEMORY),))
    duration = length * work.op_time
    scenario = Scenario(
        duration=duration,
        warmup=duration // 10,  # shadow tables are set up
        sample_every=max(duration // 20, 1),  # nothing changes but counts
        host=Host(cpus=1, costs=Costs(profile=PROFILE)),
        vms=[VM(name="guest", image=image, workload=work)],
        paging=paging,
        sharing=None,
    )
    title = f"{operation.title}, {scenario.paging.registered_name()} paging"
    return scenario.model_copy(update={"title": title})
