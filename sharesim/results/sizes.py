"""How large a picture is, and the sizes of its words, which follow from that."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sharesim.errors import UserError, nearest

LEAST_INCHES, MOST_INCHES = 2.5, 40.0
LEAST_PANEL = 0.45
"""Inches of height below which a panel shows nothing."""
POINTS_PER_INCH = 72.0


@dataclass(frozen=True)
class Margins:
    """Inches between panels, and around them at the bottom, the left and the right."""

    gap: float
    bottom: float
    left: float
    right: float

    def inside(self, width: float) -> float:
        """The part of a picture's width that its panels have."""
        return (width - self.left - self.right) / width


@dataclass(frozen=True)
class Size:
    """Inches; without a height a picture is as high as its panels want."""

    width: float
    height: float | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether it is made for a column of text rather than a page or a screen."""
        return self.width < 5

    @property
    def text(self) -> float:
        """Points of ordinary words, which are readable when the picture is printed as it is."""
        return 7.5 if self.is_narrow else 9.0

    @property
    def small(self) -> float:
        """Points of remarks, labels and ticks."""
        return self.text - 0.5

    @property
    def title(self) -> float:
        """Points of the picture's title."""
        return 9.0 if self.is_narrow else 11.5 if self.width < 9 else 15.0

    @property
    def margins(self) -> Margins:
        """Of panels with labels at their right."""
        if self.width >= 10:
            return Margins(0.46, 0.55, 0.8925, 1.89)
        if self.is_narrow:
            return Margins(0.68, 0.45, 0.58, 1.45)
        return Margins(0.55, 0.5, 0.72, 1.66)

    def stretch(self, heights: Sequence[float], around: float) -> float:
        """By how much panels of these heights, and ``around`` inches for the rest, must be
        stretched so that the picture has its height.

        Raises UserError where they do not fit.
        """
        if self.height is None:
            return 1.0
        least = around + LEAST_PANEL * sum(heights) / min(heights)
        if self.height < least:
            panels = f"{len(heights)} panels need" if len(heights) > 1 else "a panel needs"
            raise UserError(
                f"--size: found a height of {self.height:g} inches; {panels} at least {least:.1f}"
            )
        return (self.height - around) / sum(heights)

    @property
    def settings(self) -> dict[str, Any]:
        """Matplotlib's settings for words of these sizes."""
        sizes = {"font.size": self.text, "axes.titlesize": self.text + 1}
        return sizes | {"xtick.labelsize": self.small, "ytick.labelsize": self.small}


SCREEN = Size(10.5)
"""For a screen; the overview of a run has it."""
PAGE = Size(7.0)
"""The whole width of a page of a paper."""
COLUMN = Size(3.4)
"""One of the two columns of a page."""
NAMED: Mapping[str, Size] = {"column": COLUMN, "page": PAGE, "screen": SCREEN}


def parse_size(text: str) -> Size:
    """``column``, ``page``, ``screen``, or inches as ``5`` or ``5x3.2``.

    Raises UserError on anything else.
    """
    if text in NAMED:
        return NAMED[text]
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:x(\d+(?:\.\d+)?))?", text.strip())
    if match is None:
        hint = nearest(text, NAMED)
        raise UserError(f"--size: found '{text}'{hint} (or inches, such as 5 or 5x3.2)")
    inches = [float(number) for number in match.groups() if number is not None]
    if not LEAST_INCHES <= inches[0] <= MOST_INCHES or inches[-1] > MOST_INCHES:
        raise UserError(
            f"--size: found {text} inches; widths from {LEAST_INCHES:g} to {MOST_INCHES:g},"
            f" and heights up to that, can be drawn"
        )
    return Size(*inches)


@cache
def inches_of(text: str, points: float, *, bold: bool = False) -> float:
    """Width in inches of the longest line of a text at a size of letters."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal", size=points)
    measure = TextToPath().get_text_width_height_descent
    return max(float(measure(line, font, False)[0]) for line in text.split("\n")) / POINTS_PER_INCH


def wrapped(text: str, points: float, inches: float, *, bold: bool = False) -> str:
    """The text in lines that are at most ``inches`` wide, broken between words."""
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and inches_of(longer, points, bold=bold) <= inches:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def balanced(text: str, points: float, inches: float) -> str:
    """The same, in lines of about one length."""
    best = wrapped(text, points, inches)
    for narrower in (0.9, 0.8, 0.7, 0.6, 0.5):
        shorter = wrapped(text, points, narrower * inches)
        if shorter.count("\n") == best.count("\n"):
            best = shorter
    return best
