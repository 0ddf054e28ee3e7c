"""The kernel thread ksmd: which process it is, and how it is scheduled."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self


def find_ksmd(proc: Path) -> int | None:
    """The process id of the kernel's ksmd; None where it cannot be seen."""
    for process in proc.glob("[0-9]*"):
        try:
            # A kernel thread has no command line; any process could call itself ksmd.
            if (process / "comm").read_text() == "ksmd\n" and not (
                process / "cmdline"
            ).read_bytes():
                return int(process.name)
        except OSError:  # it has ended meanwhile
            continue
    return None


@dataclass(frozen=True)
class Scheduling:
    """How a process, or with 0 this thread, competes for the CPU, and for which CPUs."""

    process: int
    policy: int
    priority: int
    nice: int
    cpus: frozenset[int]

    @classmethod
    def of(cls, process: int) -> Self:
        """As it is now."""
        return cls(
            process,
            os.sched_getscheduler(process),
            os.sched_getparam(process).sched_priority,
            os.getpriority(os.PRIO_PROCESS, process),
            frozenset(os.sched_getaffinity(process)),
        )

    def put_back(self) -> None:
        """Make it so again, where it is not."""
        with suppress(ProcessLookupError):
            now = Scheduling.of(self.process)
            if now.cpus != self.cpus:
                os.sched_setaffinity(self.process, self.cpus)
            if now != self:
                os.sched_setscheduler(self.process, self.policy, os.sched_param(self.priority))
                os.setpriority(os.PRIO_PROCESS, self.process, self.nice)


def make_urgent(process: int, priority: int) -> bool:
    """Real-time priority, before all ordinary processes; what is forked later inherits it.

    False where it is not allowed, as in some containers.
    """
    try:
        os.sched_setscheduler(process, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return False
    return True
