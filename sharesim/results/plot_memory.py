"""Memory as pictures: what backs the guests' pages, what the host's frames hold, what is saved."""

from typing import TYPE_CHECKING, Any

import numpy as np

from sharesim.content.classes import PageClass
from sharesim.results import style
from sharesim.results.areas import Layer, stack
from sharesim.results.load import TimelineSeries
from sharesim.results.style import EndLabel, Floats
from sharesim.results.table import HELD

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PRIVATE = "#9AA5AF"
# What backs the guests' pages, bottom to top: frames in use first, then what occupies none.
BACKING = (
    ("private_pages", "private", PRIVATE),
    ("shared_frames_pages", "shared frames", style.BLUE),
    ("saved_nonzero", "saved, non-zero", style.GREEN),
    ("saved_zero_pages", "saved, zero", style.LIGHT_GREEN),
    ("ballooned_pages", "ballooned", style.ORANGE),
    ("unpopulated_pages", "unpopulated", style.PALE),
)
IN_USE = 2  # the first entries of BACKING that occupy frames
# What the host's frames hold, bottom to top; together they are its memory.
FRAMES = (
    ("private_pages", "private", PRIVATE),
    ("shared_frames_pages", "shared frames", style.BLUE),
    ("pending_flush_pages", "to be flushed", style.VERMILLION),
    ("reserved_other", "hypervisor's own", style.BLACK),
    ("policy_table_pages", "policy's table", style.PURPLE),
    ("shadow_pool_pages", "shadow pool", style.ORANGE),
    ("rmap_pages", "reverse map", style.SKY),
    ("domain_state_pages", "domain state", "#EAD98B"),
    ("free_pages", "free", style.PALE),
)
CLASS_COLOURS = (
    style.FAINT, style.PALE, style.BLUE, style.ORANGE, style.PURPLE, style.SKY, style.VERMILLION,
    "#6B7780",
)  # fmt: skip
DASHES = (0, (4, 3))


def _host(series: TimelineSeries, column: str) -> Floats:
    """A memory column of the host at its own samples; zeros where it is not recorded."""
    times, _ = series.samples("host", "private_pages")
    if column == "saved_nonzero":
        return _host(series, "saved_pages") - _host(series, "saved_zero_pages")
    if column == "reserved_other":
        held = sum((_host(series, f"{kind}_pages") for kind in HELD), np.zeros(len(times)))
        return np.maximum(_host(series, "reserved_pages") - held, 0.0)
    return np.nan_to_num(series.at("host", column, times))


def _layers(series: TimelineSeries, kinds: Any, unit: style.Unit) -> list[Layer]:
    return [Layer(name, _host(series, column) / unit.raw, colour) for column, name, colour in kinds]


def _total(series: TimelineSeries, kinds: Any) -> Floats:
    return np.asarray(np.sum([_host(series, column) for column, _, _ in kinds], axis=0))


def draw_memory(axes: "Axes", series: TimelineSeries) -> None:
    """The guests' pages by what backs them, and the frames that they would need at best."""
    times, _ = series.samples("host", "private_pages")
    title = "Guest memory, by what backs it"
    total = _total(series, BACKING)
    if not total.any():
        style.heading(axes, title)
        return style.note(axes, "no memory recorded")
    unit = style.memory_unit(float(total.max()))
    style.heading(axes, title, _host_remark(series), unit.name)
    labels = stack(axes, times, _layers(series, BACKING, unit))
    in_use = _total(series, BACKING[:IN_USE])
    axes.plot(times, in_use / unit.raw, color=style.INK, linewidth=1.3)
    labels.append(_level("— in use", in_use, unit, style.INK))
    perfect = in_use + _host(series, "saved_pages") - _host(series, "opportunity_pages")
    if _host(series, "opportunity_pages").any():
        axes.plot(times, perfect / unit.raw, color=style.INK, linewidth=1.1, linestyle=DASHES)
        labels.append(_level("- - in use if perfect", perfect, unit, style.INK))
    axes.set_ylim(0, float(total.max()) * 1.02 / unit.raw)
    style.end_labels(axes, labels)


def _host_remark(series: TimelineSeries) -> str:
    """What of the host's memory backs no guest: free, and held by the hypervisor."""
    remarks = []
    _, free = series.samples("host", "free_pages")
    if len(free):
        unit = style.memory_unit(float(free.max()))
        span = f"{style.number(free[0] / unit.raw)} → {style.amount(free[-1], unit)}"
        remarks.append(f"free on the host: {span}")
    held = {kind: float(_host(series, f"{kind}_pages")[-1]) for kind in HELD}
    if any(pages for kind, pages in held.items() if kind != "policy_table"):
        total = sum(held.values())
        amount = style.amount(total, style.memory_unit(total))
        remarks.append(f"held by the hypervisor: {amount}")
    return "   ·   ".join(remarks)


def draw_frames(axes: "Axes", series: TimelineSeries) -> None:
    """The host's frames by what they hold; the top is its memory."""
    times, memory = series.samples("host", "memory_pages")
    if not memory.any():
        style.heading(axes, "Frames of the host, by what they hold")
        return style.note(axes, "no memory recorded")
    unit = style.memory_unit(float(memory.max()))
    remark = f"memory of the host: {style.amount(memory[-1], unit)}"
    style.heading(axes, "Frames of the host, by what they hold", remark, unit.name)
    labels = stack(axes, times, _layers(series, FRAMES, unit))
    axes.set_ylim(0, float(memory.max()) * 1.02 / unit.raw)
    style.end_labels(axes, labels)


def draw_saving(axes: "Axes", series: TimelineSeries) -> None:
    """What is saved, under what perfect sharing would save at once."""
    times, _ = series.samples("host", "private_pages")
    saved, perfect = _host(series, "saved_pages"), _host(series, "opportunity_pages")
    net = _host(series, "net_saved_pages")
    title = "Saved, against instant perfect sharing"
    highest = float(max((line.max() for line in (saved, perfect) if len(line)), default=0.0))
    if highest <= 0:
        style.heading(axes, title)
        return style.note(axes, "nothing to share, and nothing shared")
    unit = style.memory_unit(highest)
    style.heading(axes, title, _realised_remark(saved, perfect), unit.name)
    labels = stack(axes, times, _layers(series, BACKING[IN_USE : IN_USE + 2], unit))
    for name, line, linestyle, colour in _saving_lines(series, saved):
        axes.plot(times, line / unit.raw, color=colour, linestyle=linestyle, linewidth=1.3)
        labels.append(_level(name, line, unit, colour))
    axes.set_ylim(min(0.0, float(net.min()) / unit.raw), highest * 1.08 / unit.raw)
    style.end_labels(axes, labels)


def _saving_lines(series: TimelineSeries, saved: Floats) -> list[tuple[str, Floats, Any, str]]:
    """The lines over the saved areas that differ enough to be seen: name, pages, dashes, colour."""
    perfect, net = _host(series, "opportunity_pages"), _host(series, "net_saved_pages")
    zero = _host(series, "opportunity_zero_pages")
    visible = float(max(perfect.max(), saved.max())) / 50
    lines: list[tuple[str, Floats, Any, str]] = []
    if perfect.any():
        lines.append(("opportunity", perfect, DASHES, style.INK))
    if float(zero.max()) > visible and (perfect > zero).any():
        lines.append(("of it non-zero", perfect - zero, DASHES, style.MUTED))
    if series.has("host", "net_saved_pages") and float(np.abs(saved - net).max()) > visible:
        lines.append(("net of what is held", net, ":", style.INK))
    return lines


def _level(name: str, values: Floats, unit: style.Unit, colour: str) -> EndLabel:
    last = float(values[-1]) / unit.raw
    return EndLabel(last, f"{name} {style.number(last)}", colour)


def _realised_remark(saved: Floats, perfect: Floats) -> str:
    if not perfect.any():
        return ""
    return f"{100 * saved.sum() / perfect.sum():.0f} % of the opportunity realised in this window"


def draw_opportunity(axes: "Axes", series: TimelineSeries) -> None:
    """What perfect sharing would save, by what the guests use the pages for."""
    title = "What could be saved, by use of the pages"
    times, _ = series.samples("host", "private_pages")
    kinds = [
        (f"opportunity_{kind.name.lower()}_pages", kind.label, colour)
        for kind, colour in zip(PageClass, CLASS_COLOURS, strict=True)
    ]
    total = _total(series, kinds)
    if not total.any():
        style.heading(axes, title)
        return style.note(axes, "nothing to share")
    unit = style.memory_unit(float(total.max()))
    style.heading(axes, title, "perfect sharing at each moment", unit.name)
    labels = stack(axes, times, _layers(series, kinds, unit))
    axes.set_ylim(0, float(total.max()) * 1.03 / unit.raw)
    style.end_labels(axes, labels)
