"""``sharesim plot``: draws the timeline of a run folder."""

import argparse
from pathlib import Path

from sharesim.errors import UserError, nearest

FORMATS = ("png", "svg", "pdf")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("folder", metavar="RUNFOLDER", help="the --out folder of a run")
    add("--metric", action="append", metavar="NAME", dest="metrics",
        help="draw this column of the timeline, not the overview; may be repeated")  # fmt: skip
    add("--vm", action="append", metavar="NAME", dest="vms",
        help="of what is drawn per VM, only this one; may be repeated")  # fmt: skip
    add("--from", metavar="TIME", dest="start", help='begin there: "10 s", "500 ms" or seconds')
    add("--to", metavar="TIME", dest="end", help="end there")
    add("--format", metavar="FORMAT", help="png, svg or pdf (default: as --out ends, or png)")
    add("--out", metavar="FILE", help="where to (default: timeline.FORMAT in the run folder)")


def execute(options: argparse.Namespace) -> int:
    """Draw it, and say where it is."""
    from sharesim.results.load import read_summary, read_timeline
    from sharesim.results.plot import plot_timeline, save_timeline

    kind = _format(options.format, options.out)
    start, end = seconds("--from", options.start), seconds("--to", options.end)
    folder = Path(options.folder)
    timeline = read_timeline(folder)
    figure = plot_timeline(
        timeline,
        read_summary(folder),
        metrics=options.metrics,
        vms=options.vms,
        start_s=start,
        end_s=end,
    )
    place = Path(options.out) if options.out else folder / f"timeline.{kind}"
    print(save_timeline(figure, place, kind))
    return 0


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
