"""The look of sharesim's pictures: colours, units, direct labels, deterministic files."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sharesim.errors import UserError, nearest
from sharesim.results.files import write_whole
from sharesim.results.places import spread
from sharesim.results.sizes import SCREEN, Size, inches_of, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design", 2008: told apart by all common kinds of colour vision.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
INK, MUTED, FAINT = "#222222", "#666666", "#C4C8CC"
LIGHT_GREEN, PALE = "#93D5C0", "#EFF1F3"
LINE_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, VERMILLION, SKY, BLACK)

# The same hues, darker: thin text needs more contrast than a line or an area.
TEXT_COLOURS = {
    ORANGE: "#9A6700",
    SKY: "#1F78B0",
    GREEN: "#007A59",
    VERMILLION: "#B34E00",
    PURPLE: "#A3437B",
}
MOST_LINES = len(LINE_COLOURS)
Floats = NDArray[np.float64]

FORMATS = ("png", "svg", "pdf")
# Nothing in a file may tell when, or by which version, it was drawn.
_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
_SETTINGS: dict[str, Any] = {
    "figure.dpi": 100,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": "#E3E6E8",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.solid_capstyle": "butt",
    "svg.hashsalt": "sharesim",
    "svg.fonttype": "none",  # words stay words, to be searched and edited
    "pdf.fonttype": 42,  # TrueType, which publishers ask for
    "text.parse_math": False,
}


def settings(size: Size = SCREEN) -> AbstractContextManager[None]:
    """A context in which matplotlib draws as sharesim does, whatever the user's own defaults."""
    from matplotlib import style

    return style.context(_SETTINGS | size.settings, after_reset=True)


def small() -> float:
    """Points of remarks and labels in the picture that is being drawn."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties

    return float(FontProperties(size=rcParams["xtick.labelsize"]).get_size_in_points())


@dataclass(frozen=True)
class Unit:
    """A unit of an axis: its name, and how many of the raw quantity make one."""

    name: str
    raw: float


def memory_unit(pages: float) -> Unit:
    """The unit in which up to ``pages`` pages of 4 KiB read well: KiB, MiB or GiB."""
    if pages < 256:
        return Unit("KiB", 1 / 4)
    return Unit("MiB", 256) if pages < 16 * 262_144 else Unit("GiB", 262_144)


def number(value: float) -> str:
    """Three significant digits, thousands set apart, no exponent for ordinary sizes."""
    size = abs(value)
    if size >= 100 or size == 0:
        return f"{value:,.0f}"
    if size < 0.001:
        return f"{value:.1e}"
    text = f"{value:.{2 - int(np.floor(np.log10(size)))}f}"
    return text.rstrip("0").rstrip(".")


def amount(pages: float, unit: Unit) -> str:
    """Pages in a unit, with its name."""
    return f"{number(pages / unit.raw)} {unit.name}"


def shortened(text: str, most: int = 22) -> str:
    """A name cut in its middle so that it fits into a label: VMs often differ at the end only."""
    if len(text) <= most:
        return text
    tail = most // 2
    return f"{text[: most - 1 - tail]}…{text[-tail:]}"


@dataclass(frozen=True)
class EndLabel:
    """A label at the right edge of an axis.

    The data height it points at, its words, their colour, and the colour of the area it names.
    """

    height: float
    text: str
    colour: str
    swatch: str = ""


def end_labels(axes: "Axes", labels: Sequence[EndLabel]) -> None:
    """Writes labels right of the axis at the height of their data, moved apart where needed.

    Call it when the limits of the axis are final.
    """
    line = small() * 11 / 8.5 / 72 / inches(axes)[1]  # one line of text, in heights of the axis
    heights = [_axes_height(axes, label.height) for label in labels]
    order = sorted(range(len(labels)), key=lambda index: heights[index])
    lines = [labels[index].text.count("\n") + 1 for index in order]
    gaps = [line * (below + above) / 2 for below, above in pairwise(lines)]
    places = spread([heights[index] for index in order], gaps, 0.02, 0.98)
    for index, place in zip(order, places, strict=True):
        _one_label(axes, labels[index], heights[index], place)


def inches(axes: "Axes") -> tuple[float, float]:
    """Width and height of a panel in inches."""
    figure, box = axes.figure, axes.get_position()
    assert figure is not None
    width, height = figure.get_figwidth(), figure.get_figheight()  # type: ignore[union-attr]
    return float(box.width * width), float(box.height * height)


def _room(axes: "Axes") -> float:
    """Inches from the left of a panel to the right end of the picture."""
    figure = axes.figure
    assert figure is not None
    width = figure.get_figwidth()  # type: ignore[union-attr]
    return float((1 - axes.get_position().x0) * width) - 0.05


def _axes_height(axes: "Axes", height: float) -> float:
    shown = axes.transAxes.inverted().transform(axes.transData.transform((0.0, height)))
    return float(np.clip(shown[1], 0.0, 1.0))


def _one_label(axes: "Axes", label: EndLabel, height: float, place: float) -> None:
    from matplotlib.lines import Line2D

    width, _ = inches(axes)

    def beside(distance: float) -> float:
        return 1.0 + distance / width

    leader = Line2D((beside(0.015), beside(0.09)), (height, place), clip_on=False)
    leader.set(color=FAINT, linewidth=0.7, transform=axes.transAxes)
    axes.add_line(leader)
    if label.swatch:
        axes.plot(
            beside(0.17),
            place,
            "s",
            color=label.swatch,
            markeredgecolor=FAINT,
            markeredgewidth=0.5,
            markersize=6,
            transform=axes.transAxes,
            clip_on=False,
        )
    axes.text(
        beside(0.24 if label.swatch else 0.125),
        place,
        label.text,
        transform=axes.transAxes,
        color=TEXT_COLOURS.get(label.colour, label.colour),
        va="center",
        fontsize=small(),
        linespacing=1.1,
    )


def heading(
    axes: "Axes", title: str, remark: str = "", unit: str = "", *, beneath: bool = False
) -> None:
    """Title of a panel at its left, a quieter remark at its right, the unit on its axis.

    Where both do not fit beside one another, or with ``beneath``, the remark is below the title.
    """
    width, letters = inches(axes)[0], small()
    room = _room(axes)
    needed = inches_of(title, letters + 1.5, bold=True) + inches_of(remark, letters) + 0.2
    below = wrapped(remark, letters, room) if remark and (beneath or needed > width) else ""
    pad = 6 + 1.25 * letters * (below.count("\n") + 1) if below else 6
    shown = wrapped(title, letters + 1.5, room, bold=True)
    axes.set_title(shown, loc="left", color=INK, fontweight="bold", pad=pad)
    quiet: dict[str, Any] = {"color": MUTED, "fontsize": letters}
    if below:
        axes.annotate(below, (0, 1), (0, 5), "axes fraction", "offset points", **quiet)
    else:
        axes.set_title(remark, loc="right", pad=6, **quiet)
    axes.set_ylabel(unit)
    axes.yaxis.set_label_coords(-0.0654 * letters / width, 0.5)
    _plain_numbers(axes)
    axes.grid(True, which="major")


def _plain_numbers(axes: "Axes") -> None:
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")


def log_with_zero(axes: "Axes", low: float, high: float) -> None:
    """A log axis of at most six decades with a short linear piece down to zero."""
    from matplotlib.ticker import FixedLocator

    top = int(np.ceil(np.log10(high * 1.05)))
    bottom = max(int(np.floor(np.log10(low))), top - 6)
    axes.set_yscale("symlog", linthresh=10.0**bottom, linscale=0.4)
    axes.set_ylim(0, 10.0**top)
    _plain_numbers(axes)
    step = 1 if top - bottom <= 4 else 2
    powers = [10.0**power for power in range(bottom, top + 1, step)]
    axes.yaxis.set_major_locator(FixedLocator([0.0, *powers]))
    axes.yaxis.set_minor_locator(FixedLocator([]))


def note(axes: "Axes", text: str) -> None:
    """Says in the middle of a panel why nothing is drawn there."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED)
    axes.set_yticks([])
    axes.grid(False)


def stacked_figure(
    heights: Sequence[float],
    size: Size = SCREEN,
    top: float = 1.0,
    timed: Sequence[bool] | None = None,
) -> tuple["Figure", list["Axes"]]:
    """A figure of stacked panels; heights and ``top``, the margin for the title, in inches.

    They share the time axis, but for those that ``timed`` excepts. Raises UserError where the
    panels do not fit into the height of ``size``.
    """
    from matplotlib.figure import Figure

    margins = size.margins
    around = margins.gap * (len(heights) - 1) + top + margins.bottom
    scale = size.stretch(heights, around)
    total = scale * sum(heights) + around
    figure = Figure(figsize=(size.width, total), facecolor="white")
    grid: list[Axes] = []
    upper, shared = total - top, None
    for height, is_timed in zip(heights, timed or [True] * len(heights), strict=True):
        span = scale * height
        box = (margins.left / size.width, (upper - span) / total,
               margins.inside(size.width), span / total)  # fmt: skip
        grid.append(figure.add_axes(box, sharex=shared if is_timed else None))
        shared = grid[-1] if is_timed else shared
        upper -= span + margins.gap
    return showable(figure), grid


def showable(figure: "Figure") -> "Figure":
    """The same figure, which notebooks show: a bare one only answers them under pyplot."""
    setattr(figure, "_repr_png_", partial(figure_bytes, figure))  # noqa: B010
    return figure


def draw_lines(
    axes: "Axes",
    lines: dict[str, Floats],
    times: Floats,
    names: dict[str, str],
    among: Sequence[str] = (),
) -> None:
    """One line for each entity, labelled at its end; many of them as a crowd with its median.

    A line holds one value for each of ``times``, or one for each interval between them. Colours
    go by the place ``among`` all entities of a picture, so that panels agree on them.
    """
    highest = max(float(np.nanmax(line, initial=0.0)) for line in lines.values())
    lowest = min(float(np.nanmin(line, initial=0.0)) for line in lines.values())
    axes.set_ylim(lowest * 1.08, highest * 1.08 if highest > 0 else 1.0)
    known = {name: line for name, line in lines.items() if np.isfinite(line).any()}
    if len(known) > MOST_LINES:
        return _draw_crowd(axes, known, times)
    order = list(among) if 0 < len(among) <= MOST_LINES else list(known)
    labels = []
    for name, line in known.items():
        colour = LINE_COLOURS[order.index(name)]
        _trace(axes, times, line, colour, 1.2)
        labels.append(EndLabel(_last(line), shortened(names[name], 22), colour))
    end_labels(axes, labels)


def _trace(axes: "Axes", times: Floats, line: Floats, colour: str, width: float) -> None:
    if len(times) == len(line):
        axes.plot(times, line, color=colour, linewidth=width)
    else:
        axes.stairs(line, times, baseline=None, color=colour, linewidth=width)


def _last(line: Floats) -> float:
    return float(line[np.isfinite(line)][-1])


def _draw_crowd(axes: "Axes", lines: dict[str, Floats], times: Floats) -> None:
    """All lines faintly, the median boldly, and the two that end lowest and highest by name."""
    stacked = np.vstack(list(lines.values()))
    known = np.isfinite(stacked).any(axis=0)
    middle = np.full(stacked.shape[1], np.nan)
    middle[known] = np.nanmedian(stacked[:, known], axis=0)
    for line in stacked:
        _trace(axes, times, line, FAINT, 0.7)
    labels = []
    ends = [_late_mean(line) for line in stacked]
    for words, index, colour in (
        ("ends lowest", int(np.argmin(ends)), VERMILLION),
        ("ends highest", int(np.argmax(ends)), BLUE),
    ):
        _trace(axes, times, stacked[index], colour, 1.1)
        text = f"{words}: {shortened(list(lines)[index], 9)}"
        labels.append(EndLabel(_last(stacked[index]), text, colour))
    _trace(axes, times, middle, INK, 1.8)
    labels.append(EndLabel(_last(middle), f"median of {len(lines)}", INK))
    end_labels(axes, labels)


def _late_mean(line: Floats) -> float:
    """Mean of the last quarter of what is known of a line."""
    known = line[np.isfinite(line)]
    return float(known[-max(len(known) // 4, 1) :].mean())


def figure_bytes(figure: "Figure", format: str = "png") -> bytes:
    """The figure as a file's content; equal figures give equal bytes."""
    buffer = BytesIO()
    width = figure.get_figwidth()
    # About as many pixels whatever the size in print: a small picture is looked at closely.
    dpi = 130.0 if width > 8 else min(1365 // width, 300.0)
    with settings():
        figure.savefig(buffer, format=format, metadata=_METADATA[format], dpi=dpi)
    return buffer.getvalue()


def save_timeline(figure: "Figure", path: str | Path, format: str | None = None) -> Path:
    """Writes the figure as png, svg or pdf (by default as the name ends), whole or not at all.

    Raises UserError on an unknown format or a place that cannot be written.
    """
    place = Path(path)
    kind = (format or place.suffix.lstrip(".") or "png").lower()
    if kind not in FORMATS:
        raise UserError(f"no picture format '{kind}'{nearest(kind, FORMATS)}")
    content = figure_bytes(figure, kind)
    try:
        write_whole(place, content)
    except OSError as error:
        raise UserError(f"the picture {place} cannot be written: {error.strerror}") from None
    return place
