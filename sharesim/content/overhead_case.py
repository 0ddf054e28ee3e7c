"""Cases of the overhead that a page scanner causes: closed-loop workers, and variants of ksmd.

A file of cases is JSON: a list of cases, each with workers (processes whose memory is mergeable),
variants (knobs of ksmd), and how the live measurement goes: windows of one variant after another,
an *off* window without scanning before every one or two others. :mod:`sharesim.validation.overhead`
runs a case in the simulated world, :mod:`sharesim.live.overhead` on the machine at hand.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np

from sharesim.content.ksm_case import KNOBS
from sharesim.content.ksm_tables import MILLISECOND, Fields, Source
from sharesim.errors import UserError, nearest

WRITES = ("same8",)
"""What a write of a worker leaves: ``same8`` stores back the 8 bytes that it read."""
OFF, HOG = "off", "hog"
"""The windows without scanning; and the control, a compute loop on another CPU instead."""
LARGEST = 1 << 31
"""Of pages and loop counts: more is a mistake."""
LAST_CPU = 1023

_FILE = "a list of cases of a page scanner's overhead"
_RUN = re.compile(r"(\d{1,10}):(\d{1,10}):(\d{1,10}):(\d{1,10})", re.ASCII)

Run = tuple[int, int, int, int]


@dataclass(frozen=True)
class Worker:
    """A process that makes one operation after another: an access, then computing.

    An access goes to one of ``a_pages`` pages from ``a_first`` on with probability ``a_share``,
    else to one of ``b_pages`` from ``b_first`` on, to any of them alike.
    """

    cpu: int | None
    """The CPU it is pinned to; None where it floats."""
    pages: int
    runs: tuple[Run, ...]
    """(start, count, first id, step): what its pages hold at first; equal ids are equal bytes."""
    mergeable: bool
    seed: int
    a_first: int
    a_pages: int
    a_share: float
    b_first: int
    b_pages: int
    write_share: float
    """Share of operations that write, and leave the contents as they are."""
    multiplications: int
    """Dependent multiply-adds that follow each access."""

    @property
    def reach(self) -> int:
        """Pages that it works on."""
        return self.a_pages * (self.a_share > 0) + self.b_pages * (self.a_share < 1)

    def ids(self) -> np.ndarray:
        """int64[pages]: the content id of each page; -1 where none is filled in."""
        ids = np.full(self.pages, -1, np.int64)
        for start, count, first, step in self.runs:
            ids[start : start + count] = first + step * np.arange(count)
        return ids


@dataclass(frozen=True)
class Variant:
    """What runs in a window: ksmd with these knobs, or the control."""

    name: str
    knobs: Mapping[str, int | str] = field(default_factory=dict)

    @property
    def scans(self) -> bool:
        """Whether ksmd runs in it."""
        return self.name not in (OFF, HOG)


@dataclass(frozen=True)
class OverheadCase:
    """Workers, variants of ksmd, and how they are measured."""

    name: str
    workers: tuple[Worker, ...]
    variants: tuple[Variant, ...]
    ksmd_cpus: tuple[int, ...]
    """CPUs that ksmd may run on."""
    window_ns: int
    skip_ns: int
    """Beginning of a window that is not measured."""
    rounds: int
    """How often each variant has its window."""
    unmerges: bool
    """Whether everything is unmerged before a window without scanning; else ksmd only stops."""
    prewarm_scans: int
    """One less than the full scans of all memory before the first window."""

    @property
    def cpus(self) -> int:
        """The least number of CPUs on which it can run."""
        pinned = [worker.cpu for worker in self.workers if worker.cpu is not None]
        return max([1, *pinned, *self.ksmd_cpus]) + 1

    def variant(self, name: str) -> Variant:
        """The variant of that name. Raises UserError where there is none."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        known = [variant.name for variant in self.variants]
        raise UserError(f"case '{self.name}' has no variant '{name}'{nearest(name, known)}")


def read_cases(path: str | Path) -> tuple[OverheadCase, ...]:
    """The cases of a file, in order.

    Raises:
        UserError: the file cannot be read, or is wrong; the message names file, place and value.
    """
    source = Source(Path(path))
    try:
        data = json.loads(source.bytes(_FILE))
    except (ValueError, RecursionError) as error:
        source.fail(f"is not JSON ({error}), expected {_FILE}")
    if not isinstance(data, list) or not data:
        source.fail(f"holds {data!r:.60}, expected {_FILE}")
    cases = tuple(
        _case(_Place(source.path, value, f"[{number}].")) for number, value in enumerate(data)
    )
    _refuse_twins(source, "cases", [case.name for case in cases])
    return cases


def chosen_cases(cases: Sequence[OverheadCase], names: Sequence[str]) -> list[OverheadCase]:
    """Those of these names; a name may be cut short after its number, as ``o12``. All for none."""
    if not names:
        return list(cases)
    known = {case.name: case for case in cases}
    short = {case.name.partition("-")[0]: case for case in cases}
    for name in names:
        if name not in known and name not in short:
            raise UserError(f"no case '{name}'{nearest(name, known)}")
    return list(
        {id(one): one for name in names for one in [known.get(name) or short[name]]}.values()
    )


class _Place(Fields):
    """An object of the file, with the checks that cases need beside the common ones."""

    def refuse(self, key: str, expected: str) -> NoReturn:
        """Raise what is wrong with the value of a key."""
        self.fail(f"'{self.where}{key}' is {self.values.get(key)!r:.60}, expected {expected}")

    def whole(self, key: str, low: int, high: int) -> int:
        """A whole number within bounds."""
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.refuse(key, f"a whole number from {low} to {high}")
        return int(value)

    def number(self, key: str, low: float, high: float) -> float:
        """Any number within bounds."""
        value = self.get(key)
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not good or not low <= value <= high:
            self.refuse(key, f"a number from {low:g} to {high:g}")
        return float(value)

    def seconds(self, key: str) -> int:
        """Nanoseconds, in whole milliseconds: windows begin and end with samples."""
        return round(self.number(key, 0, 3600) * 1000) * MILLISECOND

    def choice(self, key: str, known: Sequence[str]) -> str:
        """One of some words."""
        value = self.text(key)
        if value not in known:
            self.refuse(key, " or ".join(known))
        return value

    def parts(self, key: str) -> list["_Place"]:
        """The objects of a list that is not empty."""
        values = self.entries(key)
        if not values:
            self.refuse(key, "at least one")
        return [
            _Place(self.path, value, f"{self.where}{key}[{at}].") for at, value in enumerate(values)
        ]


def _case(place: _Place) -> OverheadCase:
    name = place.text("name")
    place.where = f"{name}: "
    case = OverheadCase(
        name=name,
        workers=tuple(_worker(one) for one in place.parts("workers")),
        variants=tuple(_variant(one) for one in place.parts("variants")),
        ksmd_cpus=_cpus(place),
        window_ns=place.seconds("window_s"),
        skip_ns=place.seconds("skip_s"),
        rounds=place.whole("rounds", 1, 1000),
        unmerges=place.choice("off", ("stop", "unmerge")) == "unmerge",
        prewarm_scans=place.whole("prewarm_scans", 0, 1000),
    )
    if case.skip_ns >= case.window_ns:
        place.refuse("skip_s", f"less than window_s, {place.get('window_s')}")
    _refuse_twins(place, f"{name}: variants", [one.name for one in case.variants])
    return case


def _cpus(place: _Place) -> tuple[int, ...]:
    cpus = place.entries("ksmd_cpus")
    if not cpus or not all(type(cpu) is int and 0 <= cpu <= LAST_CPU for cpu in cpus):
        place.refuse("ksmd_cpus", "a list of CPU numbers")
    return tuple(sorted(set(cpus)))


def _worker(place: _Place) -> Worker:
    pages = place.whole("pages", 1, LARGEST)
    cpu = place.whole("cpu", -1, LAST_CPU)
    place.choice("wmode", WRITES)
    share = place.number("pa", 0, 1)
    return Worker(
        cpu=None if cpu < 0 else cpu,
        pages=pages,
        runs=_runs(place, pages),
        mergeable=bool(place.whole("mergeable", 0, 1)),
        seed=place.count("seed"),
        a_first=place.whole("a0", 0, pages - 1),
        a_pages=_region(place, "a", pages, used=share > 0),
        a_share=share,
        b_first=place.whole("b0", 0, pages - 1),
        b_pages=_region(place, "b", pages, used=share < 1),
        write_share=place.number("w", 0, 1),
        multiplications=place.whole("k", 0, LARGEST),
    )


def _region(place: _Place, letter: str, pages: int, *, used: bool) -> int:
    """Length of region A or B, which lies within the worker's pages."""
    length = place.count(f"{letter}n")
    room = pages - place.whole(f"{letter}0", 0, pages - 1)
    if length > room or (used and length == 0):
        least = 1 if used else 0
        place.refuse(f"{letter}n", f"{least} to {room}, to the end of the worker's {pages} pages")
    return length


def _runs(place: _Place, pages: int) -> tuple[Run, ...]:
    runs: list[Run] = []
    end = 0
    for text in place.text("fill").split(","):
        found = _RUN.fullmatch(text.strip())
        if found is None:
            place.fail(f"'{place.where}fill' has '{text:.60}', expected START:COUNT:FIRST_ID:STEP")
        start, count, first, step = (int(part) for part in found.groups())
        if start < end or start + count > pages:
            place.fail(
                f"'{place.where}fill' has '{text}', expected runs in order, none over another, and"
                f" within the worker's {pages} pages"
            )
        end = start + count
        runs.append((start, count, first, step))
    return tuple(runs)


def _variant(place: _Place) -> Variant:
    name = place.text("name")
    if name == OFF:
        place.refuse("name", "another name: that is what the windows in between are called")
    knobs = {key: _knob(place, key) for key in place.values if key != "name"}
    if name == HOG and knobs:
        place.fail(f"'{place.where}{next(iter(knobs))}' is set, but ksmd does not run in '{HOG}'")
    return Variant(name, knobs)


def _knob(place: _Place, key: str) -> int | str:
    if key not in KNOBS:
        place.fail(f"'{place.where}{key}' is no knob of KSM{nearest(key, KNOBS)}")
    low, high = KNOBS[key][0], KNOBS[key][-1]
    if isinstance(low, int) and isinstance(high, int):
        return place.whole(key, low, high)
    return place.choice(key, [str(word) for word in KNOBS[key]])


def _refuse_twins(source: Source, what: str, names: Sequence[str]) -> None:
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        source.fail(f"{what}: found '{twins[0]}' twice; names must differ")
