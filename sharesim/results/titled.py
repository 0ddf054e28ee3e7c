"""The title of a picture, as all of sharesim's pictures have it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sharesim.results.sizes import POINTS_PER_INCH, SCREEN, Size, inches_of, wrapped
from sharesim.results.style import INK, MUTED, VERMILLION, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARGIN = 0.035
"""At both sides, of the width."""


@dataclass(frozen=True)
class Head:
    """What stands above the panels: a title, quieter lines, and what nobody may overlook."""

    size: Size
    title: str = ""
    lines: Sequence[str] = ()
    warnings: Sequence[str] = ()
    below: float | None = None
    """Inches for the heading of the first panel; by default for one with a remark."""

    @property
    def _width(self) -> float:
        return self.size.width * (1 - 2 * MARGIN)

    @property
    def _points(self) -> float:
        """Of the quieter lines."""
        return self.size.small if self.size.width < SCREEN.width else 9.5

    def _quiet(self) -> list[str]:
        return [
            part.strip(" ·")
            for line in self.lines
            for part in wrapped(line, self._points, self._width).split("\n")
        ]

    def _fitted_title(self) -> str:
        """The title, cut where it is too wide for its line."""
        most = len(self.title)
        while most > 12 and self._title_inches(most) > self._width:
            most -= 1
        return shortened(self.title, most)

    def _title_inches(self, most: int) -> float:
        return inches_of(shortened(self.title, most), self.size.title, bold=True)

    def _warns_beside(self) -> bool:
        """Whether the warnings have their place right of the title."""
        widths = [inches_of(one, self.size.text, bold=True) for one in self.warnings]
        needed = self._title_inches(len(self.title)) + max(widths, default=0.0) + 0.3
        return bool(self.title) and needed < self._width

    @property
    def _baselines(self) -> list[float]:
        """Inches from the top of the title, the quiet lines, and warnings that stand below."""
        if self.size.width >= SCREEN.width:
            first, step = 0.33, 0.23
        else:
            first, step = 0.1 + self.size.title / POINTS_PER_INCH, 1.45 * self.size.small / 72
        rows = len(self._quiet()) + (0 if self._warns_beside() else len(self.warnings))
        if not self.title:
            return [0.0, *(0.2 + step * row for row in range(rows))]
        return [first, *(first + step * (row + 1) for row in range(rows))]

    @property
    def inches(self) -> float:
        """Height that it takes, the heading of the first panel included."""
        usual = 0.44 if self.size.width >= SCREEN.width else 0.52 if self.size.is_narrow else 0.4
        return self._baselines[-1] + (usual if self.below is None else self.below)

    def write(self, figure: "Figure") -> None:
        """Put it at the top of a figure."""
        height = figure.get_figheight()
        first, *rest = self._baselines
        quiet = self._quiet()
        if self.title:
            figure.text(MARGIN, 1 - first / height, self._fitted_title(), fontsize=self.size.title,
                        fontweight="bold", color=INK)  # fmt: skip
        for line, at in zip(quiet, rest, strict=False):
            figure.text(MARGIN, 1 - at / height, line, fontsize=self._points, color=MUTED)
        warning: dict[str, Any] = {
            "color": VERMILLION,
            "fontweight": "bold",
            "fontsize": self.size.text,
        }
        for row, words in enumerate(self.warnings):
            if self._warns_beside():
                at = 1 - (first + 0.2 * row) / height
                figure.text(1 - MARGIN, at, words, ha="right", **warning)
            else:
                figure.text(MARGIN, 1 - rest[len(quiet) + row] / height, words, **warning)


def titled(figure: "Figure", title: str, subtitle: str) -> None:
    """Write a title and a quieter line below it at the top left of a figure."""
    Head(SCREEN, title, [subtitle]).write(figure)
