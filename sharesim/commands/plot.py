"""``sharesim plot``: draws the timeline of a run folder, or what a sweep found."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharesim.errors import UserError, nearest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sharesim.sweep.sweep import Sweep

FORMATS = ("png", "svg", "pdf")
OF_RUNS = {"view": "--view", "metrics": "--metric", "vms": "--vm", "start": "--from", "end": "--to"}
OF_SWEEPS = {
    "x": "--x", "y": "--y", "color": "--color", "where": "--where", "frontier": "--frontier",
    "heat": "--heat",
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="the --out folder of a run or a sweep")
    run = parser.add_argument_group("of a run").add_argument
    run("--view", metavar="NAME",
        help="overview (default), memory: by kind, or time: what it was spent on")  # fmt: skip
    run("--metric", action="append", metavar="NAME", dest="metrics",
        help="draw this column of the timeline, not the overview; may be repeated")  # fmt: skip
    run("--vm", action="append", metavar="NAME", dest="vms",
        help="of what is drawn per VM, only this one; may be repeated")  # fmt: skip
    run("--from", metavar="TIME", dest="start", help='begin there: "10 s", "500 ms" or seconds')
    run("--to", metavar="TIME", dest="end", help="end there")
    sweep = parser.add_argument_group("of a sweep").add_argument
    sweep("--x", metavar="PARAMETER", help="the parameter of the horizontal axis")
    sweep("--y", action="append", metavar="METRIC",
          help="what is drawn over it; may be repeated (of --heat: a parameter)")  # fmt: skip
    sweep("--color", metavar="PARAMETER", help="a line for each value of this parameter")
    sweep("--where", action="append", metavar="NAME=VALUES",
          help="only points with these values, a,b,c, of a parameter; may be repeated")  # fmt: skip
    sweep("--frontier", nargs=2, metavar=("METRIC", "METRIC"),
          help="draw each point's two metrics, and join those that no other one beats")  # fmt: skip
    sweep("--heat", metavar="METRIC", help="draw a metric as colours over two parameters")
    add("--list", action="store_true", help="print what can be drawn, and leave")
    add("--title", metavar="TEXT", help="the picture's title; none leaves it out")
    add("--size", metavar="SIZE", help="column (3.4 inches wide), page (7), screen (10.5), or WxH")
    add("--format", metavar="FORMAT", help="png, svg or pdf (default: as --out ends, or png)")
    add("--out", metavar="FILE", help="where to (default: in the folder, named for what it shows)")


def execute(options: argparse.Namespace) -> int:
    """Draw it, and say where it is."""
    from sharesim.results.style import save_timeline
    from sharesim.sweep.store import Store

    kind = _format(options.format, options.out)
    folder = Path(options.folder)
    is_sweep = Store(folder).exists()
    _refuse_others(folder, options, is_sweep)
    if options.list:
        print("\n".join(_sweep_list(folder) if is_sweep else _run_list(folder)))
        return 0
    figure, name = _sweep(folder, options) if is_sweep else _run(folder, options)
    place = Path(options.out) if options.out else folder / f"{name}.{kind}"
    print(save_timeline(figure, place, kind))
    return 0


def _refuse_others(folder: Path, options: argparse.Namespace, is_sweep: bool) -> None:
    """Options that the other kind of folder has."""
    what, other = ("a sweep", "runs") if is_sweep else ("a run", "sweeps")
    for name, option in (OF_RUNS if is_sweep else OF_SWEEPS).items():
        if getattr(options, name) is not None:
            hint = {"--metric": "; for a sweep: --y METRIC", "--y": "; for a run: --metric NAME",
                    "--x": "; the axis of a run is time"}.get(option, "")  # fmt: skip
            if is_sweep and not hint:
                hint = f"; each of its runs is a folder below {folder / 'runs'}"
            raise UserError(f"{option}: {folder} holds {what}; this option is for {other}{hint}")


# Runs


def _run(folder: Path, options: argparse.Namespace) -> "tuple[Figure, str]":
    from sharesim.results.load import read_summary, read_timeline
    from sharesim.results.plot import VIEWS, plot_timeline
    from sharesim.results.sizes import SCREEN, parse_size

    if options.view is not None and options.view not in VIEWS:
        raise UserError(f"--view: found '{options.view}'{nearest(options.view, VIEWS)}")
    if options.view is not None and options.metrics:
        raise UserError("--view and --metric: a view draws what it does; give one of the two")
    size = parse_size(options.size) if options.size else SCREEN
    start, end = seconds("--from", options.start), seconds("--to", options.end)
    figure = plot_timeline(
        read_timeline(folder),
        read_summary(folder),
        view=options.view,
        metrics=options.metrics,
        vms=options.vms,
        start_s=start,
        end_s=end,
        size=size,
        title=_title(options.title),
    )
    return figure, "timeline" if options.view in (None, "overview") else options.view


def _run_list(folder: Path) -> list[str]:
    """The columns of a timeline, and who has them."""
    from sharesim.commands.list import aligned
    from sharesim.results.load import TimelineSeries, read_timeline
    from sharesim.results.style import shortened

    series = TimelineSeries(read_timeline(folder))
    rows = [["metric", "of"]]
    for name in series.column_names():
        holders = [one for one in series.entities if series.has(one, name)]
        rows += [[name, shortened(", ".join(holders), 60)]] if holders else []
    return aligned(rows)


# Sweeps


def _sweep(folder: Path, options: argparse.Namespace) -> "tuple[Figure, str]":
    """The picture, and the name of its file."""
    from sharesim.results.sizes import parse_size
    from sharesim.sweep.sweep import load_sweep

    size = parse_size(options.size) if options.size else None
    more: dict[str, Any] = {
        "where": parse_where(options.where or ()),
        "size": size,
        "title": _title(options.title),
    }
    sweep = load_sweep(folder)
    if options.frontier:
        return _frontier(sweep, options, more)
    if options.heat:
        return _heat(sweep, options, more)
    from sharesim.results.plot_sweep import plot_sweep

    figure = plot_sweep(sweep, options.x, options.y or (), options.color, **more)
    names = [one for one in (*(options.y or ()), options.x) if one]
    return figure, "-".join(["sweep", *names])


def _frontier(
    sweep: "Sweep", options: argparse.Namespace, more: dict[str, Any]
) -> "tuple[Figure, str]":
    from sharesim.results.plot_frontier import plot_frontier

    _refuse_beside("--frontier", options, ("heat", "x", "y", "color"))
    first, second = options.frontier
    figure = plot_frontier(sweep, first, second, **more)
    return figure, f"frontier-{first}-{second}".replace(":", "-")


def _heat(
    sweep: "Sweep", options: argparse.Namespace, more: dict[str, Any]
) -> "tuple[Figure, str]":
    from sharesim.results.plot_heat import plot_heat

    _refuse_beside("--heat", options, ("color",))
    down = options.y or [None]
    if len(down) > 1:
        raise UserError(f"--heat: one vertical parameter is needed; found --y {' --y '.join(down)}")
    return plot_heat(sweep, options.heat, options.x, down[0], **more), f"heat-{options.heat}"


def _refuse_beside(option: str, options: argparse.Namespace, others: Sequence[str]) -> None:
    given = [OF_SWEEPS[name] for name in others if getattr(options, name) is not None]
    if given:
        raise UserError(f"{option} and {given[0]} are of different pictures; give one of the two")


def parse_where(texts: Sequence[str]) -> dict[str, list[str]]:
    """``NAME=A,B`` by name."""
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not name.strip() or not values.strip():
            raise UserError(f"--where {text}: write it as --where NAME=VALUE or NAME=VALUE,VALUE")
        found.setdefault(name.strip(), []).extend(one.strip() for one in values.split(","))
    return found


def _sweep_list(folder: Path) -> list[str]:
    """The metrics and the parameters of a sweep."""
    from sharesim.commands.list import aligned
    from sharesim.sweep.metrics import METRICS
    from sharesim.sweep.sweep import load_sweep

    sweep = load_sweep(folder)
    rows = [["metric", "what", "unit", "better"]]
    names = [name for name in sweep.table.columns if name in METRICS or "." in name]
    for name in names:
        if sweep.table[name].notna().any():
            one = sweep.metric(name)
            label = one.label if name in METRICS else ""
            rows.append([name, label, "%" if one.percent else one.unit, one.better])
    lines = aligned(rows)
    for axis in sweep.parameters:
        shown = ", ".join(str(value) for value in axis.values[:8])
        more = ", ..." if len(axis.values) > 8 else ""
        lines += ["", "parameters:"] if axis is sweep.parameters[0] else []
        lines.append(f"{axis.name} ({axis.scale}): {shown}{more}")
    return lines


# Both


def _title(given: str | None) -> str | None:
    return "" if given == "none" else given


def _format(given: str | None, out: str | None) -> str:
    kind = given or (Path(out).suffix.lstrip(".") if out else "") or "png"
    if kind.lower() not in FORMATS:
        raise UserError(f"--format: found '{kind}'{nearest(kind, FORMATS)}")
    return kind.lower()


def seconds(option: str, text: str | None) -> float | None:
    """Seconds of ``"10 s"``, or of a plain number of seconds."""
    from sharesim.spec.units import parse_time

    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return parse_time(text) / 1e9
    except ValueError as error:
        raise UserError(f"{option}: {error}") from None
