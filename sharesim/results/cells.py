"""Figures as the cells of text tables, and the tables themselves."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

PPM_BELOW = 1e-3
GAP = "  "
LEGEND = "n.d.: not distinguishable from no difference; ± half of the 95 % interval"


def quantity(value: float | None) -> str:
    """Three digits of a small number, all whole digits of a large one."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == 0 else f"{value:.3g}"


def duration(nanoseconds: float | None) -> str:
    """Three digits of a time in the unit that suits."""
    if nanoseconds is None:
        return "-"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if abs(nanoseconds) >= size:
            scaled = nanoseconds / size
            return f"{scaled:,.0f} {unit}" if abs(scaled) >= 100 else f"{scaled:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def percent(value: float, measure: float | None = None, *, signed: bool = False) -> str:
    """A share in %; in ppm where ``measure`` (by default itself) is below 0.1 %."""
    size = abs(value if measure is None else measure)
    small = 0 < size < PPM_BELOW
    scaled = value * (1e6 if small else 100)
    digits = 0 if small or abs(scaled) >= 100 else 1 if abs(scaled) >= 10 else 2
    least = 10.0**-digits
    unit = "ppm" if small else "%"
    if 0 < scaled < least / 2:
        return f"<{least:g} {unit}"
    scaled = round(scaled, digits) + 0.0  # no minus before a zero
    return f"{scaled:{'+' if signed else ''},.{digits}f} {unit}"


def points(value: float, measure: float | None = None, *, signed: bool = False) -> str:
    """A difference of shares: percentage points, so that nobody takes it for a relative one."""
    digits = decimals(100 * (value if measure is None else measure))
    return f"{100 * value:{'+' if signed else ''},.{digits}f} points"


def decimals(value: float) -> int:
    """Decimals that show three digits of a number."""
    if not value:
        return 0
    return min(max(2 - math.floor(math.log10(abs(value))), 0), 9)


class Show(Protocol):
    """Writes a number that belongs to a difference as large as ``measure``."""

    def __call__(self, value: float, measure: float, *, signed: bool) -> str: ...


def with_interval(difference: Mapping[str, Any], show: Show) -> str:
    """A difference with half of its interval, or ``n.d.`` where that holds zero.

    ``difference`` has value, half_width and distinguishable, as in a summary.
    """
    value, half = difference.get("value"), difference.get("half_width")
    if value is None:
        return "-"
    if half is None:  # too few batches for an interval
        return f"{show(value, value, signed=True)} ± ?"
    if value == 0 and half == 0:
        return "equal"
    if not difference.get("distinguishable"):
        return f"n.d. ± {show(half, half, signed=False)}"
    slack = show(half, value, signed=False)
    unit = slack.partition(" ")[2]  # once is enough
    return f"{show(value, value, signed=True).removesuffix(unit).rstrip()} ± {slack}"


def aligned(lines: Sequence[Sequence[str]], *, indent: str = GAP) -> list[str]:
    """Lines of cells below each other: the first column to the left, all others to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = []
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        text.append((indent + GAP.join(cells)).rstrip())
    return text
