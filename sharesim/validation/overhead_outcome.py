"""What validating one overhead case came to: as data, as a table, as a picture."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sharesim.content.overhead_case import OverheadCase
from sharesim.validation.overhead_figures import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_LIMIT = 0.015
"""Of relative throughput: 1.5 percentage points."""
ERRORS = 2
"""Standard errors of the recording within which the simulated value has to lie."""
WIDTH = 110
GAP = "  "
HEADER = (
    "simulated", "recorded", "s.e.", "limit", "ksmd", "recorded", "breaks/s", "recorded",
    "run/wait/sleep ms", "recorded", "verdict",
)  # fmt: skip
SHOWN_LOSS = 0.0005
"""Shares of the workers' time below it are not worth a word."""
TWINS = (
    "rel", "ksmd_share", "breaks_s", "run_ms", "wait_ms", "sleep_ms", "pages_scanned_s",
    "ns_per_page",
)  # fmt: skip
"""What is given both simulated and recorded."""


@dataclass(frozen=True)
class Comparison:
    """A variant of a case, simulated and, where it was, recorded."""

    case: str
    variant: str
    simulated: Result
    recorded: Result | None
    effect: str | None = None
    """Why caches have a part in it, so that it is shown and not judged."""
    with_term: Result | None = None
    """Simulated once more with the term for evicted cache lines."""

    @property
    def limit(self) -> float | None:
        """By how much the simulated throughput may be off; None where nothing was recorded."""
        if self.recorded is None:
            return None
        return max(LEAST_LIMIT, ERRORS * (self.recorded.rel_se or 0.0))

    @property
    def verdict(self) -> str:
        """``"pass"`` or ``"miss"``; ``"shown"`` where caches play a part, or nothing is known."""
        if self.recorded is None or self.limit is None or self.effect is not None:
            return "shown"
        return "pass" if abs(self.simulated.rel - self.recorded.rel) <= self.limit else "miss"

    def to_json(self) -> dict[str, Any]:
        """Plain data. Throughput and shares are parts of 1; null for what is not known."""
        recorded = self.recorded
        data: dict[str, Any] = {"case": self.case, "variant": self.variant}
        for name in TWINS:
            data[f"{name}_simulated"] = _known(getattr(self.simulated, name))
            data[f"{name}_recorded"] = _known(getattr(recorded, name, None))
        return data | {
            "rel_se": _known(getattr(recorded, "rel_se", None)),
            "rel_se_simulated": _known(self.simulated.rel_se),
            "limit": _known(self.limit),
            "verdict": self.verdict,
            "cache_effect": self.effect,
            "rel_with_interference": _known(getattr(self.with_term, "rel", None)),
            "lost": dict(self.simulated.lost or {}),
            "windows": self.simulated.windows,
        }

    def cells(self) -> tuple[str, ...]:
        """The line of a table."""
        one, other = self.simulated, self.recorded
        return (
            f"{one.rel:.3f}",
            "-" if other is None else f"{other.rel:.3f}",
            "-" if other is None or other.rel_se is None else f"{other.rel_se:.3f}",
            "-" if self.limit is None else f"{self.limit:.3f}",
            f"{100 * one.ksmd_share:.1f} %",
            "-" if other is None else f"{100 * other.ksmd_share:.1f} %",
            f"{one.breaks_s:,.0f}",
            "-" if other is None else f"{other.breaks_s:,.0f}",
            _batch(one),
            "-" if other is None else _batch(other),
            self.verdict,
        )

    def losses(self) -> str:
        """Where the workers' time went, beside work."""
        lost = self.simulated.lost or {}
        told = [
            f"{why} {100 * share:.1f} %" for why, share in lost.items() if abs(share) >= SHOWN_LOSS
        ]
        return ", ".join(told) or "nothing"


@dataclass(frozen=True)
class OverheadOutcome:
    """A case with all its variants."""

    overhead_case: OverheadCase
    comparisons: tuple[Comparison, ...]
    operation_ns: Sequence[int]
    """What an operation of each worker takes undisturbed, and where that is known from."""
    operation_origin: str

    @property
    def case(self) -> str:
        """The case's name."""
        return self.overhead_case.name

    @property
    def misses(self) -> int:
        """How many variants lie outside their limits."""
        return sum(one.verdict == "miss" for one in self.comparisons)

    def to_json(self) -> list[dict[str, Any]]:
        """Plain data of each variant."""
        more = {"operation_ns": list(self.operation_ns), "operation_ns_from": self.operation_origin}
        return [one.to_json() | more for one in self.comparisons]

    def text(self) -> str:
        """A table with a line for each variant, and what is to be said about them."""
        lines = [*_folded(self._about()), "", *self._table(), ""]
        for text in self._remarks():
            lines += _folded(text)
        return "\n".join(lines)

    def _about(self) -> str:
        case = self.overhead_case
        workers = f"{len(case.workers)} workers" if len(case.workers) > 1 else "1 worker"
        pages = sum(worker.pages for worker in case.workers)
        where = ", ".join(str(cpu) for cpu in case.ksmd_cpus)
        times = " and ".join(f"{ns:,} ns" for ns in dict.fromkeys(self.operation_ns))
        return (
            f"{case.name}: {workers}, {pages:,} pages, {times} an operation"
            f" ({self.operation_origin}); ksmd on CPU {where}"
        )

    def _table(self) -> Iterator[str]:
        names = ["variant", *(one.variant for one in self.comparisons)]
        rows = [HEADER, *(one.cells() for one in self.comparisons)]
        sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
        left = max(map(len, names))
        for name, cells in zip(names, rows, strict=True):
            padded = [cell.rjust(size) for cell, size in zip(cells[:-1], sizes[:-1], strict=True)]
            yield GAP.join([name.ljust(left), *padded, cells[-1]])

    def _remarks(self) -> Iterator[str]:
        for one in self.comparisons:
            yield f"{one.variant}: workers lost: {one.losses()}"
            if one.with_term is not None:
                yield (
                    f"{one.variant}: {one.with_term.rel:.3f} with the term for evicted cache lines"
                    f" ({Comparison(one.case, one.variant, one.with_term, None).losses()})"
                )
        effects = dict.fromkeys(one.effect for one in self.comparisons if one.effect is not None)
        for effect in effects:
            yield f"shown, not judged: {effect}"

    def picture(self) -> "Figure":
        """Throughput of each variant, simulated beside recorded."""
        from sharesim.validation.overhead_picture import overview

        return overview([self])


def _known(value: float | None) -> float | None:
    """None as well for what is no number: throughput relative to windows without any operation."""
    return value if value is not None and math.isfinite(value) else None


def _batch(result: Result) -> str:
    times = (result.run_ms, result.wait_ms, result.sleep_ms)
    return "/".join("-" if ms is None else f"{ms:.1f}" for ms in times)


def _folded(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")
