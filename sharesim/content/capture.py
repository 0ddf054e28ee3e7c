"""Captures: what was in the memory of real guests, page by page, snapshot by snapshot.

A capture holds content numbers only: two pages with the same number held the same 4096 bytes at
that moment, and 0 is the all-zero page. `open_capture` finds a capture by path or by the name of
one that ships with sharesim; `sharesim.content.capture_file` describes the file format.
"""

import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property, lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np

from sharesim.content.capture_file import (
    PAGE_SIZE,
    CaptureFile,
    pages_in_ranges,
    read_capture_file,
)
from sharesim.content.classes import translation_table
from sharesim.errors import UserError, nearest

# Snapshots start a few milliseconds late, so "at 5 s" must find the one begun at 5.0002 s.
_TOLERANCE_S = 0.05
_TOLERANCE_OF_INTERVAL = 1 / 40


class CapturedGuest:
    """One guest of a capture: its pages' contents at every snapshot.

    A guest answers to three names: ``name`` is for people and unique in the capture (``"redis"``,
    or ``"g1-nginx"`` where several guests run nginx), ``label`` is the capture's own (``"g1"``),
    and ``g<position>`` is always understood. Arrays handed out are read-only.
    """

    def __init__(
        self,
        name: str,
        label: str,
        meta: dict[str, Any],
        arrays: dict[str, np.ndarray],
        classes: np.ndarray,
    ) -> None:
        self.name = name
        self.label = label
        self.meta = meta
        self.pages: int = len(arrays["base"])
        self._arrays = arrays
        self._class_table = classes
        self._last: tuple[int, np.ndarray] = (0, arrays["base"])

    def __repr__(self) -> str:
        return f"<CapturedGuest {self.name}: {self.pages} pages>"

    @property
    def workload(self) -> str:
        """What ran in the guest, in the capture's words; empty when it does not say."""
        return str(self.meta.get("workload", ""))

    @property
    def snapshots(self) -> int:
        """How many times the guest was read."""
        return len(self._arrays["ptr"]) - 1

    def contents(self, snapshot: int) -> np.ndarray:
        """uint32[pages]: the content number of every page at a snapshot.

        The last answer is kept, so that walking forward applies only what changed in between.
        """
        self._check(snapshot)
        known, contents = self._last
        if known > snapshot:
            known, contents = 0, self._arrays["base"]
        if known < snapshot:
            pointer = self._arrays["ptr"]
            since = slice(pointer[known + 1], pointer[snapshot + 1])
            contents = contents.copy()
            # A page changed more than once takes its last value: NumPy assigns in order.
            contents[self._arrays["idx"][since]] = self._arrays["val"][since]
            contents.flags.writeable = False
        self._last = (snapshot, contents)
        return contents

    def changes(self, snapshot: int) -> tuple[np.ndarray, np.ndarray]:
        """(uint32[k] pages ascending, uint32[k] new contents) since the snapshot before."""
        self._check(snapshot)
        pointer = self._arrays["ptr"]
        found = slice(pointer[snapshot], pointer[snapshot + 1])
        return self._arrays["idx"][found], self._arrays["val"][found]

    def unbacked(self, snapshot: int) -> np.ndarray:
        """bool[pages]: pages without storage on the host (never touched, or ballooned away)."""
        self._check(snapshot)
        pointer = self._arrays["hole_ptr"]
        holes = self._arrays["holes"][pointer[snapshot] : pointer[snapshot + 1]]
        return pages_in_ranges(holes, self.pages)

    @property
    def has_classes(self) -> bool:
        """Whether the guest reported what it used its pages for."""
        return len(self._arrays.get("class", ())) > 0

    def classes(self, seconds: float) -> np.ndarray | None:
        """uint8[pages] of `PageClass`: the guest's last report at or before a time.

        Before the first report that one is used. None when the guest never reported.
        """
        if not self.has_classes:
            return None
        times = self._arrays["class_t"]
        report = max(0, int(np.searchsorted(times, seconds, side="right")) - 1)
        classes: np.ndarray = self._class_table[self._arrays["class"][report]]
        return classes

    def cpu_ns(self, snapshot: int) -> int | None:
        """CPU time used since the guest was started, ns; None when it was not recorded."""
        self._check(snapshot)
        if "cpu" not in self._arrays:
            return None
        return round(float(self._arrays["cpu"][snapshot]) * 1e9)

    def ram_pages(self, snapshot: int) -> int | None:
        """Guest memory by the balloon's own count, pages; None when it was not recorded."""
        self._check(snapshot)
        if "ram" not in self._arrays:
            return None
        return int(self._arrays["ram"][snapshot]) // PAGE_SIZE

    def _check(self, snapshot: int) -> None:
        if not 0 <= snapshot < self.snapshots:
            raise IndexError(f"snapshot {snapshot} of {self.name}: there are {self.snapshots}")


class Capture:
    """A series of snapshots of the memory of several guests on one host."""

    def __init__(self, name: str, file: CaptureFile) -> None:
        self.name = name
        self.path = file.path
        self.sha256 = file.sha256
        self.meta = file.meta
        self.times = file.times
        self.times_ns = np.rint(file.times * 1e9).astype(np.int64)
        self.class_names: tuple[str, ...] = tuple(file.meta.get("class_names", ()))
        self.guests = _guests(file, translation_table(self.class_names))

    def __repr__(self) -> str:
        return f"<Capture {self.name}: {self.help}>"

    @property
    def snapshots(self) -> int:
        """How many snapshots there are."""
        return len(self.times)

    @property
    def pages(self) -> int:
        """Pages of all guests together."""
        return sum(guest.pages for guest in self.guests)

    @cached_property
    def help(self) -> str:
        """One line for lists: size, length, what runs."""
        seconds = self.times[-1] - self.times[0]
        mib = self.pages * PAGE_SIZE / 2**20
        size = f"{len(self.guests)} guests, {mib:,.0f} MiB, {self.snapshots} snapshots"
        note = self.meta.get("note")
        return f"{size} over {seconds:.0f} s" + (f": {' '.join(str(note).split())}" if note else "")

    def guest(self, which: int | str) -> CapturedGuest:
        """The guest at a position or of a name; `UserError` when there is none."""
        if isinstance(which, int):
            if not 0 <= which < len(self.guests):
                count = len(self.guests)
                raise UserError(f"capture {self.name}: no guest {which}, it has 0 to {count - 1}")
            return self.guests[which]
        for position, guest in enumerate(self.guests):
            if which in (guest.name, guest.label, f"g{position}"):
                return guest
        hint = nearest(which, [guest.name for guest in self.guests])
        raise UserError(f"capture {self.name}: no guest '{which}'{hint}")

    def snapshot_at(self, seconds: float) -> int:
        """The last snapshot begun at or before a time; `UserError` outside the capture.

        A snapshot counts as begun up to 50 ms early (at most a fortieth of the shortest interval):
        captures are taken "every 5 s" and begin a few milliseconds late.
        """
        gaps = np.diff(self.times)
        slack = min(_TOLERANCE_S, *(gaps * _TOLERANCE_OF_INTERVAL).tolist(), math.inf)
        first, last = float(self.times[0]), float(self.times[-1])
        # Not-a-number fails both comparisons, so it is refused here too.
        if not first - slack <= seconds <= last + slack:
            raise UserError(
                f"capture {self.name}: no snapshot at {seconds:g} s, "
                f"it runs from {round(first, 2):g} s to {round(last, 2):g} s"
            )
        return int(np.searchsorted(self.times, seconds + slack, side="right")) - 1


def _guests(file: CaptureFile, classes: np.ndarray) -> tuple[CapturedGuest, ...]:
    descriptions = file.meta["guests"]
    labels = [str(guest.get("name", "")) for guest in descriptions]
    if len(set(labels)) < len(labels) or not all(labels):
        labels = [f"g{position}" for position in range(len(labels))]
    names = _guest_names(labels, [str(guest.get("workload", "")) for guest in descriptions])
    return tuple(
        CapturedGuest(name, label, description, arrays, classes)
        for name, label, description, arrays in zip(
            names, labels, descriptions, file.guests, strict=True
        )
    )


def _guest_names(labels: Sequence[str], workloads: Sequence[str]) -> list[str]:
    """The workload where it tells the guests apart, else label and workload."""
    plain = [re.sub(r"[^A-Za-z0-9._-]+", "-", workload).strip("-") for workload in workloads]
    times = Counter(plain)
    names = []
    for label, workload in zip(labels, plain, strict=True):
        alone = workload and times[workload] == 1 and not re.fullmatch(r"g\d+", workload)
        names.append(workload if alone else "-".join(filter(None, (label, workload))))
    return names if len(set(names)) == len(names) else list(labels)


# -- finding captures ------------------------------------------------------------------------------


def _shipped() -> dict[str, Traversable]:
    folder = resources.files("sharesim.content") / "captures"
    return {
        entry.name.removesuffix(".npz"): entry
        for entry in folder.iterdir()
        if entry.name.endswith(".npz")
    }


def shipped_captures() -> list[str]:
    """Names of the captures that come with sharesim."""
    return sorted(_shipped())


def open_capture(name_or_path: str | Path) -> Capture:
    """The capture of that name, or in the file at that path.

    Whatever holds a folder or ends in ``.npz`` is a path. A capture opened before is not read
    again while its file keeps size and time of change. `UserError` when there is no such capture,
    or when the file is not a sound one.
    """
    text = os.fspath(name_or_path)
    shipped = _shipped()
    if text in shipped:
        with resources.as_file(shipped[text]) as path:
            return _open(path)
    path = Path(text).expanduser()
    if _is_file(path):
        return _open(path)
    if text and path.exists():
        found = "a folder" if path.is_dir() else "not a plain file"
        raise UserError(f"capture {text}: is {found}, expected an .npz file")
    raise UserError(_missing(text, path, list(shipped)))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise UserError(f"capture {path}: cannot be read ({error.strerror or error})") from None


def _open(path: Path) -> Capture:
    status = path.stat()
    return _open_version(path.resolve(), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _open_version(path: Path, _changed_ns: int, _size: int) -> Capture:
    return Capture(path.name.removesuffix(".npz"), read_capture_file(path))


def _missing(text: str, path: Path, shipped: list[str]) -> str:
    if os.sep in text or text.endswith(".npz"):
        folder = path.parent
        beside = [entry.name for entry in folder.glob("*.npz")] if folder.is_dir() else []
        known = beside or shipped
        return f"capture {text}: no such file{nearest(path.name, known)}"
    return f"no capture or file named '{text}'{nearest(text, shipped)}"
