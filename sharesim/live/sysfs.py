"""KSM of the running Linux kernel: its settings and counters in ``/sys/kernel/mm/ksm``.

What the files mean is in the kernel's "Kernel Samepage Merging" administration guide. Settings
belong to the whole machine: whoever changes them does so inside :meth:`Ksm.claimed` and
:meth:`Ksm.restored`.
"""

import errno
import fcntl
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from sharesim.errors import UserError
from sharesim.live.guardian import guarded
from sharesim.live.ksmd import Scheduling, find_ksmd
from sharesim.live.signals import Ending

FOLDER = Path("/sys/kernel/mm/ksm")
PROC = Path("/proc")

DEFAULTS: dict[str, str] = {
    "merge_across_nodes": "1",
    "max_page_sharing": "256",
    "stable_node_chains_prune_millisecs": "2000",
    "use_zero_pages": "0",
    "smart_scan": "1",
    "advisor_target_scan_time": "200",
    "advisor_min_pages_to_scan": "500",
    "advisor_max_pages_to_scan": "30000",
    "advisor_max_cpu": "70",
    "sleep_millisecs": "20",
    "pages_to_scan": "100",
    "advisor_mode": "none",
    "run": "0",
}
"""Every setting of Linux 6.18 with the kernel's own default, in the order they are written.

Two while nothing is merged, those of the advisor before its mode, ``run`` last.
"""

SINCE = {
    "use_zero_pages": "4.11",
    "max_page_sharing": "4.13",
    "stable_node_chains_prune_millisecs": "4.13",
    "pages_scanned": "6.6",
    "ksm_zero_pages": "6.6",
    "smart_scan": "6.7",
    "pages_skipped": "6.7",
}
"""The first Linux with a file; those of the advisor came with 6.8."""

WITHOUT = {"use_zero_pages": "0", "smart_scan": "0", "advisor_mode": "none"}
"""How a kernel behaves that does not have a setting yet."""

NOTHING_MERGED = ("max_page_sharing", "merge_across_nodes")
"""Settings that the kernel only changes while ``pages_shared`` is 0."""

STOP, SCAN, UNMERGE = 0, 1, 2
"""What can be written to ``run``."""


class Ksm:
    """The KSM of one machine, by the files under which its kernel shows it.

    `UserError` if there is none. Writing needs root, reading mostly does not.
    """

    def __init__(self, folder: Path = FOLDER, proc: Path = PROC) -> None:
        if not (folder / "run").exists():
            raise UserError(
                f"this machine has no KSM: there is no {folder / 'run'} (it takes Linux with"
                " CONFIG_KSM; some containers hide /sys)"
            )
        self.folder = folder
        self.proc = proc
        self.kernel = platform.release()
        """Its version, such as ``"6.18.44"``."""

    def has(self, name: str) -> bool:
        """Whether this kernel has that setting or counter."""
        return (self.folder / name).exists()

    def read(self, name: str) -> str:
        """A setting or counter as text; of ``"[none] scan-time"`` the word that is chosen."""
        place = self.folder / name
        try:
            text = place.read_text().strip()
        except OSError as error:
            raise UserError(f"{place} cannot be read: {error.strerror}") from None
        return text[text.find("[") + 1 : text.find("]")] if "[" in text else text

    def write(self, name: str, value: int | str) -> None:
        """Change a setting; `UserError` if the kernel refuses."""
        place = self.folder / name
        try:
            place.write_text(str(value))
        except OSError as error:
            reason = _REFUSALS.get(error.errno or 0, error.strerror)
            raise UserError(f"{place} cannot be set to {value}: {reason}") from None

    def settings(self) -> dict[str, str]:
        """All settings that this kernel has, in the order of `DEFAULTS`."""
        return {name: self.read(name) for name in DEFAULTS if self.has(name)}

    def check_writable(self) -> None:
        """`UserError` if this user, or this place, cannot change settings."""
        place = self.folder / "run"
        if not os.access(place, os.W_OK):
            why = errno.EROFS if os.geteuid() == 0 else errno.EACCES
            raise UserError(f"{place} cannot be written: {_REFUSALS[why]}")

    def check_knows(self, wanted: Mapping[str, int | str], who: str) -> None:
        """`UserError` if ``who`` wants a setting that this kernel has not got.

        A value that means what kernels do that lack the setting is no obstacle.
        """
        for name, value in wanted.items():
            if not self.has(name) and WITHOUT.get(name) != str(value):
                raise UserError(
                    f"{who} sets {name}={value}, but the KSM of this kernel ({self.kernel}) has no"
                    f" {name} (since Linux {_since(name)})"
                )

    def configure(self, wanted: Mapping[str, int | str]) -> None:
        """Stop, forget all merged pages, then set what is wanted and all else to its default.

        ``run`` stays 0, and ksmd waits for it: not asleep for a period that was set earlier. A
        scan-time advisor, if wanted, starts from its beginning.
        """
        self._unmerge()
        self._switch_advisor_off()
        self._wake()
        target = DEFAULTS | {name: str(value) for name, value in wanted.items()} | {"run": "0"}
        for name, value in target.items():
            if self.has(name):
                self._settle(name, value)

    def _settle(self, name: str, value: str) -> None:
        if self.read(name) != value:
            self.write(name, value)

    def _unmerge(self) -> None:
        self.write("run", UNMERGE)
        self.write("run", STOP)

    def _switch_advisor_off(self) -> None:
        """Also makes ``pages_to_scan`` writable: under an advisor it is not."""
        if self.has("advisor_mode"):
            self._settle("advisor_mode", "none")

    def _wake(self) -> None:
        """Cut a timed sleep of ksmd short: it ends when ksmd sees another ``sleep_millisecs``."""
        self.write("sleep_millisecs", 2 if self.read("sleep_millisecs") == "1" else 1)
        time.sleep(0.02)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Inside, no other sharesim of this machine can be here; `UserError` if one is."""
        place = self.folder / "run"
        with place.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    "another sharesim is using this machine's KSM; wait for it to end"
                ) from None
            yield

    @contextmanager
    def restored(self) -> Iterator[ExitStack]:
        """Puts all settings, and how ksmd is scheduled, back as they are now.

        On errors, Ctrl-C, SIGTERM and SIGHUP too; if this process is killed, another one does it.
        What was merged meanwhile is unmerged first. Yields a stack for what else is to be undone,
        before that. Once undoing has begun, signals wait for its end.
        """
        put_back = self._keeper()
        with Ending() as ending, guarded(put_back):
            undo = ExitStack()
            undo.callback(put_back)
            try:
                try:
                    yield undo
                finally:
                    ending.hold()
            finally:  # a signal just before it was held comes here too
                undo.close()

    def _keeper(self) -> Callable[[], None]:
        """Puts back what is now."""
        keeper = ExitStack()
        keeper.callback(self.restore, self.settings())
        ksmd = find_ksmd(self.proc)
        if ksmd is not None:
            with suppress(ProcessLookupError):
                keeper.callback(Scheduling.of(ksmd).put_back)
        return keeper.close

    def restore(self, found: Mapping[str, str]) -> None:
        """Write settings back, the rest even if one fails; `UserError` names those that did."""
        failed = [str(error) for error in self._restoring(found)]
        if failed:
            raise UserError("KSM is not as it was found: " + "; ".join(failed))

    def _restoring(self, found: Mapping[str, str]) -> Iterator[UserError]:
        steps: list[Callable[[], None]] = [self._unmerge, self._switch_advisor_off]
        steps += [partial(self._settle, name, value) for name, value in _in_order(found)]
        for step in steps:
            try:
                step()
            except UserError as error:
                yield error


def _in_order(found: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Settings as they can be written back, one after the other.

    An advisor that is switched on sets ``pages_to_scan`` to the least it is allowed, and then
    nobody else can: so that least is, for a moment, the number that was found.
    """
    least, advisor = "advisor_min_pages_to_scan", found.get("advisor_mode", "none")
    for name, value in found.items():
        if advisor == "none" or name not in ("pages_to_scan", "advisor_mode"):
            yield name, value
        elif name == "advisor_mode":
            yield least, found["pages_to_scan"]
            yield name, value
            yield least, found[least]


def _since(name: str) -> str:
    return "6.8" if name.startswith("advisor_") else SINCE.get(name, "2.6.32")


_REFUSALS = {
    errno.EACCES: "that takes root (sudo)",
    errno.EPERM: "that takes root (sudo)",
    errno.EROFS: "/sys is read-only here, as in many containers",
    errno.EINVAL: "the kernel refuses this value",
    errno.EBUSY: "the kernel refuses it while pages are merged",
}
