"""Reading a capture file and proving it sound before anything is built from it.

Format ``page-content-trace/0``: a NumPy ``.npz`` with, for guest number i,

======================  ================  =====================================================
array                   type              meaning
======================  ================  =====================================================
meta                    uint8[n]          JSON: format, guests, class names, note
times                   float64[S]        start of each snapshot, seconds, ascending
gi_base                 uint32[pages]     content number of every page at snapshot 0
gi_ptr                  int64[S+1]        changes found at snapshot s are ptr[s]:ptr[s+1]
gi_idx, gi_val          uint32[changes]   changed page, ascending in a snapshot; its new content
gi_hole_ptr, gi_holes   int64[S+1],       page ranges (first, count) with no storage on the host
                        uint32[k, 2]      at a snapshot
gi_class, gi_class_t    uint8[K, pages],  optional: what the guest used each page for, and when
                        float64[K]
gi_cpu                  float32[S]        optional: CPU seconds used so far
gi_ram                  int64[S]          optional: guest memory by the balloon's count, bytes
======================  ================  =====================================================

Other arrays are left alone. Nothing is ever unpickled, and every defect is one `UserError` that
names the file, what was found in it and what would be right.
"""

import hashlib
import json
import lzma
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from sharesim.errors import UserError

FORMAT = "page-content-trace/0"
PAGE_SIZE = 4096

_WHAT = f"a page-content capture (.npz, format '{FORMAT}')"
_GUEST_ARRAYS = {
    "base": ("uint32", 1),
    "ptr": ("int64", 1),
    "idx": ("uint32", 1),
    "val": ("uint32", 1),
    "hole_ptr": ("int64", 1),
    "holes": ("uint32", 2),
}
_OPTIONAL_GUEST_ARRAYS = {
    "class": ("uint8", 2),
    "class_t": ("float64", 1),
    "cpu": ("float32", 1),
    "ram": ("int64", 1),
}
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
# What NumPy, zipfile and zlib raise on damaged, encrypted or hostile archives.
_DAMAGE = (
    ValueError,
    EOFError,
    KeyError,
    OSError,
    MemoryError,
    OverflowError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


@dataclass(frozen=True)
class CaptureFile:
    """The arrays of one sound capture file, not yet given a meaning.

    ``guests[i]`` maps the array names without their ``gi_`` to read-only arrays.
    """

    path: str
    sha256: str
    meta: dict[str, Any]
    times: np.ndarray
    guests: tuple[dict[str, np.ndarray], ...]


def read_capture_file(path: Path) -> CaptureFile:
    """Read and check the capture at ``path``; `UserError` when it is not a sound capture."""
    return _Reader(path).read()


class _Reader:
    """Reads one file; every complaint goes through `fail`, so that each names the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fail(self, found: str) -> NoReturn:
        raise UserError(f"capture {self.path}: {found}")

    def read(self) -> CaptureFile:
        sha256, arrays = self._load()
        meta = self._meta(arrays)
        times = self._times(arrays)
        guests = []
        for number, description in enumerate(meta["guests"]):
            guest = self._guest_arrays(arrays, number)
            self._check_guest(f"g{number}", guest, description, len(times))
            guests.append(guest)
        if f"g{len(guests)}_base" in arrays:
            self.fail(f"meta.guests lists {len(guests)} guests, the arrays are of more")
        return CaptureFile(str(self.path), sha256, meta, times, tuple(guests))

    # -- the archive ---------------------------------------------------------------------------

    def _load(self) -> tuple[str, dict[str, np.ndarray]]:
        try:
            with self.path.open("rb") as stream:
                if stream.read(1) == b"":
                    self.fail(f"the file is empty, expected {_WHAT}")
                stream.seek(0)
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
                stream.seek(0)
                return sha256, self._unpack(stream)
        except OSError as error:
            self.fail(f"cannot be read ({error.strerror or error})")

    def _unpack(self, stream: Any) -> dict[str, np.ndarray]:
        magic = stream.read(4)
        stream.seek(0)
        if magic not in _ZIP_MAGIC:  # NumPy would take it for one array, or for a pickle
            self.fail(f"is not an .npz archive, expected {_WHAT}")
        try:
            with np.load(stream, allow_pickle=False) as archive:
                names = list(archive.files)
                self._check_names(names)
                return {name: archive[name] for name in names if self._wanted(name)}
        except UserError:
            raise
        except _DAMAGE as error:
            if "allow_pickle" in str(error):
                self.fail(f"holds Python objects, which are never loaded; expected {_WHAT}")
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            self.fail(f"is truncated or damaged ({reason}); copy or capture it again")

    def _check_names(self, names: list[str]) -> None:
        if "meta" not in names or "times" not in names:
            found = ", ".join(sorted(names)[:6]) or "nothing"
            self.fail(f"is an .npz of something else (it holds {found}), expected {_WHAT}")

    @staticmethod
    def _wanted(name: str) -> bool:
        suffix = name.partition("_")[2]
        known = suffix in _GUEST_ARRAYS or suffix in _OPTIONAL_GUEST_ARRAYS
        return known or name in ("meta", "times")

    def _array(self, arrays: dict[str, np.ndarray], name: str, kind: str, ndim: int) -> np.ndarray:
        """The named array as exactly ``kind``; what cannot be converted without loss is refused."""
        array = arrays.get(name)
        if array is None:
            self.fail(f"array {name} is missing, expected {kind} with {ndim} dimension(s)")
        if not isinstance(array, np.ndarray) or not np.can_cast(array.dtype, kind, "safe"):
            found = getattr(array, "dtype", "no array")
            self.fail(f"array {name} is {found}, expected {kind}")
        if array.ndim != ndim:
            self.fail(f"array {name} has {array.ndim} dimensions, expected {ndim}")
        array = np.ascontiguousarray(array, dtype=kind)
        array.flags.writeable = False
        return array

    # -- what all guests have in common --------------------------------------------------------

    def _meta(self, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        raw = self._array(arrays, "meta", "uint8", 1)
        try:
            meta = json.loads(raw.tobytes().decode("utf-8"))
        except (ValueError, RecursionError) as error:
            self.fail(f"meta is not JSON ({error})")
        if not isinstance(meta, dict) or "format" not in meta:
            self.fail(f"meta does not name a format, expected '{FORMAT}'")
        if meta["format"] != FORMAT:
            self.fail(f"has format {meta['format']!r}, this version reads '{FORMAT}'")
        if meta.get("page_size", PAGE_SIZE) != PAGE_SIZE:
            self.fail(f"has pages of {meta['page_size']!r} bytes, expected {PAGE_SIZE}")
        self._check_lists(meta)
        return meta

    def _check_lists(self, meta: dict[str, Any]) -> None:
        guests = meta.get("guests")
        if not isinstance(guests, list) or not all(isinstance(guest, dict) for guest in guests):
            self.fail("meta.guests is not a list of guests")
        if not guests:
            self.fail("holds no guests")
        names = meta.get("class_names", [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self.fail("meta.class_names is not a list of names")

    def _times(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        times = self._array(arrays, "times", "float64", 1)
        if len(times) == 0:
            self.fail("holds no snapshots (times is empty)")
        # Far below 2^63 ns, so that every time has an integer of nanoseconds.
        if not np.isfinite(times).all() or np.abs(times).max() > 1e9:
            self.fail("times are not all finite seconds")
        if not (np.diff(times) > 0).all():
            self.fail(f"times do not ascend (at snapshot {_first(np.diff(times) <= 0) + 1})")
        return times

    # -- one guest -----------------------------------------------------------------------------

    def _guest_arrays(self, arrays: dict[str, np.ndarray], number: int) -> dict[str, np.ndarray]:
        guest = {
            suffix: self._array(arrays, f"g{number}_{suffix}", kind, ndim)
            for suffix, (kind, ndim) in _GUEST_ARRAYS.items()
        }
        for suffix, (kind, ndim) in _OPTIONAL_GUEST_ARRAYS.items():
            if f"g{number}_{suffix}" in arrays:
                guest[suffix] = self._array(arrays, f"g{number}_{suffix}", kind, ndim)
        return guest

    def _check_guest(
        self, label: str, guest: dict[str, np.ndarray], meta: dict[str, Any], snapshots: int
    ) -> None:
        pages = len(guest["base"])
        if pages == 0:
            self.fail(f"guest {label} has no pages")
        if meta.get("pages", pages) != pages:
            self.fail(f"{label}_base has {pages} pages, meta says {meta['pages']!r}")
        self._check_pointer(f"{label}_ptr", guest["ptr"], len(guest["idx"]), snapshots)
        self._check_pointer(f"{label}_hole_ptr", guest["hole_ptr"], len(guest["holes"]), snapshots)
        self._check_changes(label, guest, pages)
        self._check_holes(label, guest, pages)
        self._check_classes(label, guest, pages)
        for suffix in ("cpu", "ram"):
            if suffix in guest:
                self._check_series(f"{label}_{suffix}", guest[suffix], snapshots)

    def _check_pointer(self, name: str, pointer: np.ndarray, entries: int, snapshots: int) -> None:
        if len(pointer) != snapshots + 1:
            self.fail(f"{name} has {len(pointer)} entries, expected {snapshots + 1}")
        if pointer[0] != 0 or pointer[-1] != entries:
            self.fail(f"{name} runs {pointer[0]} to {pointer[-1]}, expected 0 to {entries}")
        if (np.diff(pointer) < 0).any():
            self.fail(f"{name} falls at snapshot {_first(np.diff(pointer) < 0)}")

    def _check_changes(self, label: str, guest: dict[str, np.ndarray], pages: int) -> None:
        pointer, index = guest["ptr"], guest["idx"]
        if len(guest["val"]) != len(index):
            self.fail(f"{label}_val has {len(guest['val'])} entries, {label}_idx {len(index)}")
        if pointer[1] != 0:
            self.fail(f"{label}_ptr has changes at snapshot 0, which has nothing before it")
        if len(index) and int(index.max()) >= pages:
            self.fail(f"{label}_idx names page {int(index.max())} of {pages}")
        falls = np.diff(index.astype(np.int64)) <= 0
        starts = pointer[(pointer > 0) & (pointer < len(index))]
        falls[starts - 1] = False  # a new snapshot starts anew
        if falls.any():
            entry = _first(falls) + 1
            snapshot = int(np.searchsorted(pointer, entry, side="right")) - 1
            self.fail(f"{label}_idx does not ascend in snapshot {snapshot} (entry {entry})")

    def _check_holes(self, label: str, guest: dict[str, np.ndarray], pages: int) -> None:
        holes, pointer = guest["holes"], guest["hole_ptr"]
        if holes.shape[1] != 2:
            self.fail(f"{label}_holes has {holes.shape[1]} columns, expected 2 (first, count)")
        ends = holes.astype(np.int64).sum(axis=1)
        if (ends > pages).any():
            first, count = holes[_first(ends > pages)]
            self.fail(f"{label}_holes has {count} pages from {first} on, the guest {pages} pages")
        contents = guest["base"].copy()
        for snapshot in range(len(pointer) - 1):
            changes = slice(guest["ptr"][snapshot], guest["ptr"][snapshot + 1])
            contents[guest["idx"][changes]] = guest["val"][changes]
            inside = pages_in_ranges(holes[pointer[snapshot] : pointer[snapshot + 1]], pages)
            filled = inside & (contents != 0)
            if filled.any():
                self.fail(
                    f"page {_first(filled)} of {label} lies in a hole at snapshot {snapshot} "
                    f"but holds content {contents[_first(filled)]}, expected 0"
                )

    def _check_classes(self, label: str, guest: dict[str, np.ndarray], pages: int) -> None:
        if "class" not in guest:
            return
        reports = guest["class"]
        if reports.shape[1] != pages:
            self.fail(f"{label}_class covers {reports.shape[1]} pages of {pages}")
        times = guest.get("class_t")
        if times is None or len(times) != len(reports):
            self.fail(f"{label}_class has {len(reports)} reports, {label}_class_t does not fit it")
        if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            self.fail(f"{label}_class_t does not ascend")

    def _check_series(self, name: str, series: np.ndarray, snapshots: int) -> None:
        if len(series) != snapshots:
            self.fail(f"{name} has {len(series)} entries, expected {snapshots}")
        if not np.isfinite(series).all() or (series < 0).any():
            self.fail(f"{name} holds values that are negative or not finite")


def pages_in_ranges(ranges: np.ndarray, pages: int) -> np.ndarray:
    """bool[pages]: which pages lie in the ranges (uint32[k, 2]: first page, count)."""
    inside = np.zeros(pages, dtype=bool)
    for first, count in ranges.tolist():
        inside[first : first + count] = True
    return inside


def _first(mask: np.ndarray) -> int:
    return int(np.argmax(mask))
