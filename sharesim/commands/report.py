"""``sharesim report``: writes a sweep or a run as one HTML file."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sharesim.errors import UserError

if TYPE_CHECKING:
    from sharesim.report.blocks import Page

DEFAULT_OUT = "report.html"
ENDINGS = (".html", ".htm")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="the --out folder of a sweep or a run")
    add("--out", metavar="FILE", help=f"the file to write (default: {DEFAULT_OUT} in the folder)")
    add("--title", metavar="TEXT", default="", help="its title (default: the scenario's)")


def execute(options: argparse.Namespace) -> int:
    """Write it, and say where it is."""
    folder = Path(options.folder)
    place = Path(options.out) if options.out else folder / DEFAULT_OUT
    if place.suffix.lower() not in ENDINGS:
        raise UserError(f"--out {place}: found ending '{place.suffix}'; a report ends in .html")
    print(write_report(folder, place, options.title))
    return 0


def write_report(folder: Path, place: Path, title: str = "") -> Path:
    """Write the report of a sweep or run folder, whole or not at all; returns where.

    Raises UserError for what is neither, and for a place that cannot be written.
    """
    from sharesim.report.page import render
    from sharesim.results.files import write_whole

    content = render(_page(folder, title)).encode("utf-8", "replace")
    try:
        write_whole(place, content)
    except OSError as error:
        raise UserError(f"--out {place}: cannot be written: {error.strerror}") from None
    return place


def _page(folder: Path, title: str) -> "Page":
    from sharesim.sweep.store import MANIFEST_FILE

    if (folder / MANIFEST_FILE).is_file():
        from sharesim.report.sweep_page import sweep_page
        from sharesim.sweep.sweep import load_sweep

        return sweep_page(load_sweep(folder), title)
    from sharesim.report.run_page import run_page

    return run_page(folder, title)
