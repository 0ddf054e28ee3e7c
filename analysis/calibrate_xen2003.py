"""The paging figures of the profiles xen-2003 and vmware-ws-2003, and what else they explain.

    python -m analysis.calibrate_xen2003

An operation with f faults, k updates of page-table entries and s address-space switches takes

    t = native + f * B + k * U + s * A

where B hands an exception to the guest, U makes an update effective and A is the hypervisor's part
of a switch. Three rows of lmbench (Barham et al., Xen and the Art of Virtualization, SOSP 2003,
tables 3 to 5) give B, U and A of each mode with nothing left over: direct paging under Xen, and
shadow tables under VMware Workstation 3.2 on the same machine.

The other rows test them. How many faults such an operation takes is not published, so each row has
one count, n = f = k, which both modes share: whatever the guest does, it does under either. The
count is the one whose larger error is the least; that the two modes agree on one is the test.
"""

from dataclasses import dataclass

from sharesim.spec.costs import load_targets

MODES = ("direct", "shadow")
CALIBRATION = ("lmbench_protection_fault", "lmbench_page_fault", "lmbench_switch_2p_0k")
"""A fault alone; a fault and an update; a switch alone."""
SWITCHES = {
    "lmbench_mmap": 0,
    "lmbench_fork": 2,  # to the child, and back when it has ended
    "lmbench_exec": 2,  # the same: a fork whose child replaces its program
    "lmbench_sh": 4,  # to the shell and back, to the program that it starts and back
    "linux_build": 0,  # of no weight beside millions of faults
}
"""The rows that are predicted, and the address-space switches of one operation; assumed."""


@dataclass(frozen=True)
class Paging:
    """What a paging mode adds, integer ns."""

    bounce: int
    """B: an exception handed to the guest."""
    update: int
    """U: one page-table entry written and made effective."""
    switch: int
    """A: an address-space switch."""

    def excess(self, count: float, switches: int) -> float:
        """ns over native of ``count`` faults, each with its update, and ``switches``."""
        return count * (self.bounce + self.update) + switches * self.switch


@dataclass(frozen=True)
class Prediction:
    """One published row in one mode."""

    row: str
    mode: str
    count: int
    """Faults with their updates, the same in both modes."""
    published: int
    """Excess over native, ns."""
    predicted: float

    @property
    def error(self) -> float:
        """Predicted / published - 1."""
        return self.predicted / self.published - 1


def excess(row: str, mode: str) -> int:
    """What ``mode`` adds to the native time of a published row, ns."""
    targets = load_targets()
    return targets[f"{row}_{mode}"].ns - targets[f"{row}_native"].ns


def calibrated(mode: str) -> Paging:
    """B, U and A of a mode from its three rows."""
    fault, fault_and_update, switch = (excess(row, mode) for row in CALIBRATION)
    return Paging(bounce=fault, update=fault_and_update - fault, switch=switch)


def transition() -> int:
    """ns of one way into Xen and back: a page fault takes two, its delivery and its update.

    What is left of U is validating and writing the entry. The paper names the two transitions, not
    their times; that they are equal is our assumption.
    """
    return excess("lmbench_page_fault", "direct") // 2


def common_count(row: str) -> float:
    """The count of faults with which the larger of the two modes' errors is the least.

    With it the errors have the same size and opposite signs.
    """
    level = slope = 0.0
    for mode in MODES:
        paging, published = calibrated(mode), excess(row, mode)
        level += 1 - paging.excess(0, SWITCHES[row]) / published
        slope += (paging.bounce + paging.update) / published
    return level / slope


def predictions() -> list[Prediction]:
    """Every predicted row in both modes."""
    found = []
    for row, switches in SWITCHES.items():
        count = round(common_count(row))
        for mode in MODES:
            predicted = calibrated(mode).excess(count, switches)
            found.append(Prediction(row, mode, count, excess(row, mode), predicted))
    return found


def freedom(predicted: int) -> list[str]:
    """What was fitted to what, as lines; ``predicted``: the number of predicted figures."""
    used, fitted = len(CALIBRATION) * len(MODES), len(SWITCHES)
    return [
        f"Degrees of freedom: B, U and A take all {used} calibrating figures.",
        f"The {predicted} predicted ones have one fitted count a row: "
        f"{fitted} taken, {predicted - fitted} left.",
        "Switches are assumed, not fitted. The Linux build is published in whole seconds:",
        "direct paging adds 8 s, give or take one.",
    ]


def main() -> None:
    """Print the calibration, then the predictions."""
    print("Calibrated on", ", ".join(CALIBRATION))
    print(f"{'':8}{'B, ns':>10}{'U, ns':>10}{'A, ns':>10}")
    for mode in MODES:
        paging = calibrated(mode)
        print(f"{mode:8}{paging.bounce:10,}{paging.update:10,}{paging.switch:10,}")
    crossing, update = transition(), calibrated("direct").update
    print(f"direct: U = hypercall {crossing:,} + pt_validate {update - crossing:,}")
    print("\nExcess over native, us")
    titles = f"{'count n':>12}{'switches':>10}{'published':>14}{'predicted':>14}{'error':>9}"
    print(f"{'row':14}{'mode':8}{titles}")
    rows = predictions()
    for one in rows:
        counts = f"{one.count:12,}{SWITCHES[one.row]:10}"
        times = f"{one.published / 1e3:14,.1f}{one.predicted / 1e3:14,.1f}{one.error:+9.1%}"
        print(f"{one.row:14}{one.mode:8}{counts}{times}")
    print()
    print("\n".join(freedom(len(rows))))


if __name__ == "__main__":
    main()
