"""Readings of KSM's counters, of the CPU time of ksmd and of copy-on-write breaks."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from sharesim.live.ksmd import find_ksmd
from sharesim.live.sysfs import Ksm

COUNTERS = (
    "pages_shared", "pages_sharing", "pages_unshared", "pages_volatile", "pages_scanned",
    "pages_skipped", "full_scans", "ksm_zero_pages", "stable_node_chains", "stable_node_dups",
    "general_profit", "pages_to_scan",
)  # fmt: skip
"""What is read in ``/sys/kernel/mm/ksm``, in this order."""
BESIDE = ("ksmd_cpu_ns", "cow_ksm", "ksmd_wait_ns")
"""What is read elsewhere in ``/proc``: CPU time of ksmd, breaks, its wait for a CPU."""


class Sampler:
    """Reads everything at once, through files that are kept open; a context.

    ``columns`` are the names of what :meth:`read` returns: those of `COUNTERS`, of ``also`` (more
    files of the same folder) and of `BESIDE` that this kernel shows to this user.
    """

    def __init__(self, ksm: Ksm, also: Sequence[str] = ()) -> None:
        self._open = ExitStack()
        self._files = {name: self._file(ksm.folder / name)
                       for name in (*COUNTERS, *also) if ksm.has(name)}  # fmt: skip
        self._vmstat = self._vmstat_file(ksm.proc / "vmstat")
        self._schedstat = self._schedstat_file(ksm.proc)
        self.columns = (*self._files, *self._beside())

    def read(self) -> list[int]:
        """One reading; counters are read one after the other, not at one instant."""
        counters = [int(os.pread(file, 64, 0)) for file in self._files.values()]
        cpu, wait = self._ksmd()
        return [*counters, *cpu, *self._breaks(), *wait]

    def close(self) -> None:
        """Close the files."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, where: TracebackType | None
    ) -> None:
        self.close()

    def _file(self, path: Path) -> int:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._open.callback(os.close, file)
        return file

    def _vmstat_file(self, path: Path) -> int | None:
        """Open only where breaks are counted (since Linux 5.19)."""
        shown = path.exists() and b"\ncow_ksm " in path.read_bytes()
        return self._file(path) if shown else None

    def _schedstat_file(self, proc: Path) -> int | None:
        ksmd = find_ksmd(proc)
        path = proc / f"{ksmd}/schedstat"
        return self._file(path) if ksmd is not None and path.exists() else None

    def _beside(self) -> Iterator[str]:
        for name in BESIDE:
            file = self._vmstat if name == "cow_ksm" else self._schedstat
            if file is not None:
                yield name

    def _ksmd(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """CPU time and time waiting for a CPU, ns; both empty if ksmd is out of sight."""
        if self._schedstat is None:
            return (), ()
        cpu, wait = os.pread(self._schedstat, 128, 0).split()[:2]
        return (int(cpu),), (int(wait),)

    def _breaks(self) -> tuple[int, ...]:
        if self._vmstat is None:
            return ()
        text = os.pread(self._vmstat, 1 << 16, 0)
        return (int(text[text.index(b"\ncow_ksm ") + 9 :].split(None, 1)[0]),)
