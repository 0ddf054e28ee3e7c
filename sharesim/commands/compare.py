"""``sharesim compare``: lays runs side by side, in figures and in one picture."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sharesim.errors import UserError, nearest

if TYPE_CHECKING:
    from sharesim.results.compare import Comparison

DEFAULT_OUT = "compare.png"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("runs", metavar="RUN", nargs="+",
        help="a run folder; SWEEP:POINT or SWEEP:POINT/REPLICATE is one of a sweep")  # fmt: skip
    add("--metric", action="append", default=[], metavar="NAME", dest="metrics",
        help="tell this figure, not the headline ones; may be repeated")  # fmt: skip
    add("--out", metavar="FILE",
        help=f"the picture: .png, .svg or .pdf (default: {DEFAULT_OUT} here)")  # fmt: skip
    add("--json", action="store_true", help="print all of it as JSON")
    add("--csv", action="store_true", help="print all of it as CSV, a line for each value")
    add("--no-plot", action="store_true", help="draw no picture")


def execute(options: argparse.Namespace) -> int:
    """Compare them, print it, draw it."""
    from sharesim.results.compare import compare
    from sharesim.results.sides import open_sides

    _check(options)
    comparison = compare(open_sides(options.runs), options.metrics)
    place = None if options.no_plot else _draw(comparison, Path(options.out or DEFAULT_OUT))
    _print(comparison, options)
    if place is not None:
        print(f"\npicture    {place}", file=sys.stderr if options.json or options.csv else None)
    return 0


def _check(options: argparse.Namespace) -> None:
    from sharesim.results.style import FORMATS

    if options.json and options.csv:
        raise UserError("--json and --csv: only one of them can be printed")
    if options.out is None:
        return
    if options.no_plot:
        raise UserError(f"--out {options.out} with --no-plot: there is no picture to write")
    kind = Path(options.out).suffix.lstrip(".").lower()
    if kind not in FORMATS:
        found = f"ending '.{kind}'" if kind else "no ending"
        raise UserError(f"--out {options.out}: found {found}{nearest(kind, FORMATS)}")


def _draw(comparison: "Comparison", place: Path) -> Path | None:
    from sharesim.results.plot_compare import MOST_RUNS, plot_comparison
    from sharesim.results.style import save_timeline

    if len(comparison.sides) > MOST_RUNS:
        print(
            f"sharesim: no picture: it could tell {MOST_RUNS} runs apart, and these are"
            f" {len(comparison.sides)}",
            file=sys.stderr,
        )
        return None
    return save_timeline(plot_comparison(comparison), place)


def _print(comparison: "Comparison", options: argparse.Namespace) -> None:
    from sharesim.results.compare_text import comparison_csv, comparison_text
    from sharesim.results.folder import json_text

    if options.json:
        print(json_text(comparison.to_json()))
    elif options.csv:
        print(comparison_csv(comparison), end="")
    else:
        print(comparison_text(comparison))
