"""A folder that answers as ``/sys/kernel/mm/ksm`` does, with the kernel's rules of writing."""

from pathlib import Path

from sharesim.errors import UserError
from sharesim.live.sampler import COUNTERS
from sharesim.live.sysfs import DEFAULTS, NOTHING_MERGED, Ksm

NOBODY = 1 << 23
"""A number that no real process has: that of the fake ksmd."""


class FakeKsm(Ksm):
    """KSM in a folder of plain files; remembers what was written, in order.

    As the kernel: an advisor sets ``pages_to_scan`` when it is switched on, and nobody else may
    then; some settings wait for nothing to be merged; run = 2 unmerges all.
    """

    def __init__(self, root: Path, **found: int | str) -> None:
        folder = root / "ksm"
        folder.mkdir()
        for name in COUNTERS:
            (folder / name).write_text("0\n")
        for name, value in DEFAULTS.items():
            (folder / name).write_text(f"{value}\n")
        super().__init__(folder, _proc(root))
        self.written: list[tuple[str, str]] = []
        for name, value in found.items():
            self._show(name, str(value))

    def write(self, name: str, value: int | str) -> None:
        """As the kernel takes it."""
        advised = self.has("advisor_mode") and self.read("advisor_mode") == "scan-time"
        if name == "pages_to_scan" and advised:
            raise UserError("pages_to_scan is the advisor's")
        if name in NOTHING_MERGED and self.read("pages_shared") != "0":
            raise UserError(f"{name}: pages are merged")
        self.written.append((name, str(value)))
        self._show(name, str(value))
        if (name, str(value)) == ("run", "2"):
            self._show("pages_shared", "0")
        if name == "advisor_mode":
            least = self.read("advisor_min_pages_to_scan") if value == "scan-time" else "100"
            self._show("pages_to_scan", least)

    def _show(self, name: str, value: str) -> None:
        if name == "advisor_mode":
            value = " ".join(
                f"[{mode}]" if mode == value else mode for mode in ("none", "scan-time")
            )
        (self.folder / name).write_text(value + "\n")


def _proc(root: Path) -> Path:
    proc = root / "proc"
    proc.mkdir()
    (proc / "vmstat").write_text("pgfault 5\ncow_ksm 77\nswap_ra 0\n")
    (proc / "meminfo").write_text("MemTotal: 2048 kB\nMemAvailable: 1024 kB\n")
    process(proc, NOBODY, "ksmd", schedstat="1000 200 3\n")
    return proc


def process(proc: Path, number: int, name: str, cmdline: str = "", **files: str) -> Path:
    """A process of the fake ``/proc``."""
    folder = proc / str(number)
    folder.mkdir()
    (folder / "comm").write_text(name + "\n")
    (folder / "cmdline").write_text(cmdline)
    for file, text in files.items():
        (folder / file).write_text(text)
    return folder
