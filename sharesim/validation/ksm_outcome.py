"""What the replay of one KSM case came to: as data, as a table, as a picture."""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sharesim.content.ksm_case import Case
from sharesim.validation.errors import CounterErrors, Series
from sharesim.validation.limits import BY_PROGRESS, BY_PROGRESS_COUNTERS, LIMITS, Miss, misses

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADER = ("error", "nearest", "spread", "limit", "by progress", "simulated", "recorded", "verdict")
WIDTH = 110
GAP = "  "


@dataclass(frozen=True)
class Speed:
    """How fast a case was replayed, and how fast ksmd itself had been."""

    simulated_seconds: float
    wall_seconds: float
    pages_per_cpu_second: float
    """Pages that the simulated ksmd examined, by the CPU time that this took."""
    ksmd_pages_per_cpu_second: float | None
    """Pages that ksmd examined by its CPU time, mean of the repeats; None if it used none."""

    @property
    def real_time(self) -> float:
        """Simulated seconds per second."""
        return self.simulated_seconds / self.wall_seconds

    @property
    def times_ksmd(self) -> float | None:
        """How much faster than ksmd the simulation examines pages."""
        theirs = self.ksmd_pages_per_cpu_second
        return self.pages_per_cpu_second / theirs if theirs else None


@dataclass(frozen=True, eq=False)
class KsmOutcome:
    """A case, its simulated and recorded counters, and how far they are apart."""

    recorded_case: Case
    simulated: Series
    recorded: Mapping[str, Series]
    """By the names of the repeats."""
    errors: dict[str, CounterErrors]
    """By counter."""
    wall_seconds: float = field(default=0.0)
    scan_cpu_seconds: float = field(default=0.0)
    notes: tuple[str, ...] = ()
    """What is to be known about the recordings."""

    @property
    def case(self) -> str:
        """The case's name."""
        return self.recorded_case.name

    @cached_property
    def missed(self) -> tuple[Miss, ...]:
        """All figures that lie outside their limits."""
        return tuple(misses(self.recorded_case, self.errors))

    @property
    def misses(self) -> int:
        """How many figures lie outside their limits."""
        return len(self.missed)

    @property
    def speed(self) -> Speed:
        """How fast that was."""
        rates = [
            one["pages_scanned"][-1] / one["ksmd_cpu_ns"][-1] * 1e9
            for one in self.recorded.values()
            if one["ksmd_cpu_ns"][-1] > 0
        ]
        examined = float(self.simulated["pages_scanned"][-1])
        return Speed(
            simulated_seconds=float(self.simulated.times[-1]) / 1e9,
            wall_seconds=max(self.wall_seconds, 1e-9),
            pages_per_cpu_second=examined / max(self.scan_cpu_seconds, 1e-9),
            ksmd_pages_per_cpu_second=float(sum(rates) / len(rates)) if rates else None,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data. Errors are parts of 1, null where the recording is 0 and the simulation not.

        ``final_recorded`` has a value for each repeat; ``limit`` is what ``error`` may be, null for
        counters that are shown only.
        """
        speed = self.speed
        return {
            "case": self.case,
            "title": self.recorded_case.title,
            "repeats": list(self.recorded),
            "counters": {name: self._counter_json(name) for name in self.errors},
            "notes": list(self.notes),
            "missed": [vars(miss) for miss in self.missed],
            "speed": vars(speed) | {"real_time": speed.real_time, "times_ksmd": speed.times_ksmd},
        }

    def _counter_json(self, name: str) -> dict[str, Any]:
        errors = self.errors[name]
        limit = LIMITS.get(name)
        judged = name in BY_PROGRESS_COUNTERS
        return vars(errors) | {
            "final_recorded": list(errors.final_recorded),
            "limit": limit.of(errors.spread) if limit else None,
            "limit_by_progress": BY_PROGRESS.of(errors.spread_by_progress) if judged else None,
            "verdict": self.verdict(name),
        }

    def verdict(self, counter: str) -> str:
        """``"pass"``, ``"miss"``, or ``"shown"`` for a counter that nothing is asked of."""
        if any(miss.counter == counter for miss in self.missed):
            return "miss"
        return "pass" if counter in LIMITS else "shown"

    def text(self) -> str:
        """A table of all counters that were ever above 0."""
        case, repeats = self.recorded_case, len(self.recorded)
        pages = sum(process.pages for process in case.processes)
        about = f"{case.name}: {case.title} ({pages:,} pages, {case.duration_ns / 1e9:g} s)"
        shown = [name for name in self.errors if not self._is_idle(name)]
        idle = [name for name in self.errors if self._is_idle(name)]
        lines = [*textwrap.wrap(about, WIDTH, subsequent_indent="  "), "", *self._table(shown), ""]
        if idle:
            text = f"0 all the time, simulated and recorded: {', '.join(idle)}"
            lines += textwrap.wrap(text, WIDTH, subsequent_indent="  ")
        lines += [*self._remarks(), f"{repeats} recorded; {self._total()}"]
        return "\n".join(lines)

    def _is_idle(self, counter: str) -> bool:
        series = (self.simulated, *self.recorded.values())
        return not any(one[counter].any() for one in series)

    def _total(self) -> str:
        verdicts = [self.verdict(name) for name in self.errors]
        counts = ((verdicts.count(one), one) for one in ("pass", "miss", "shown"))
        return ", ".join(f"{count} {one}" for count, one in counts)

    def _table(self, counters: list[str]) -> list[str]:
        rows = [self._cells(name) for name in counters]
        sizes = [max(map(len, column)) for column in zip(HEADER, *rows, strict=True)]
        name_size = max(map(len, ("counter", *counters)))
        lines = []
        for name, cells in zip(("counter", *counters), (HEADER, *rows), strict=True):
            padded = [cell.rjust(size) for cell, size in zip(cells[:-1], sizes[:-1], strict=True)]
            lines.append(GAP.join([name.ljust(name_size), *padded, cells[-1]]))
        return lines

    def _cells(self, counter: str) -> tuple[str, ...]:
        errors = self.errors[counter]
        limit = LIMITS.get(counter)
        low, high = min(errors.final_recorded), max(errors.final_recorded)
        return (
            *(percent(one) for one in (errors.error, errors.nearest, errors.spread)),
            percent(limit.of(errors.spread)) if limit else "-",
            percent(errors.by_progress),
            _figure(counter, errors.final_simulated),
            _figure(counter, low) + ("" if low == high else f" - {_figure(counter, high)}"),
            self.verdict(counter),
        )

    def _remarks(self) -> Iterator[str]:
        kinds = {"error": "by time", "by_progress": "by progress", "final": "at the end"}
        for miss in self.missed:
            yield f"miss: {miss.counter} {kinds[miss.kind]}: {miss.found}, wanted {miss.wanted}"
        yield from self.notes
        speed = self.speed
        times = f", {speed.times_ksmd:.1f} times what ksmd did" if speed.times_ksmd else ""
        yield (
            f"replayed in {speed.wall_seconds:.2f} s, {speed.real_time:.0f} times faster than live;"
            f" {speed.pages_per_cpu_second / 1e6:.2f} M pages scanned per CPU second{times}"
        )

    def picture(self) -> "Figure":
        """Simulated counters over all recorded ones."""
        from sharesim.validation.overlay import overlay

        return overlay(self)


def percent(share: float | None) -> str:
    """A share as percent with one digit after the point, two below 1 %."""
    if share is None:
        return "-"
    return f"{100 * share:.1f} %" if share >= 0.0995 else f"{100 * share:.2f} %"


def _figure(counter: str, value: int) -> str:
    """A counter's value; times in ms."""
    return f"{value / 1e6:,.1f} ms" if counter.endswith("_ns") else f"{value:,}"
