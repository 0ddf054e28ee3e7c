"""``sharesim calibrate``: measures this machine's costs, for simulations with ``--costs``."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sharesim.errors import UserError

if TYPE_CHECKING:
    from sharesim.live.calibrate import Calibration

CLEAR = "\r\x1b[K"
"""Of a terminal's line."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--out", metavar="FILE.toml", help="write a cost profile, for run --costs FILE.toml")
    add("--quick", action="store_true", help="less exactly: some 20 s instead of 2 min")
    add("--no-ksm", action="store_true", help="leave this machine's KSM alone, though we are root")
    add("--force", action="store_true",
        help="replace a FILE that exists; and use KSM though others do: their pages are unmerged"
        " meanwhile")  # fmt: skip
    add("--quiet", action="store_true", help="no progress and no table")
    add("--json", action="store_true", help="print all as JSON, not the table")


def execute(options: argparse.Namespace) -> int:
    """Measure; print a table, write the profile."""
    from sharesim.commands.run import tell_compiling
    from sharesim.live.calibrate import calibrate
    from sharesim.results.folder import json_text

    place = None if options.out is None else _checked(Path(options.out), force=options.force)
    tell_compiling(quiet=options.quiet)
    progress = _Progress(quiet=options.quiet)
    try:
        measured = calibrate(
            quick=options.quick, ksm=not options.no_ksm, force=options.force, tell=progress.tell
        )
    finally:
        progress.close()
    if place is not None:
        _write(place, measured.to_toml(place.stem))
    for warning in measured.warnings:
        print(f"sharesim: warning: {warning}", file=sys.stderr)
    for reason in measured.why_not.values():
        print(f"sharesim: not measured: {reason}", file=sys.stderr)
    if options.json:
        print(json_text(measured.to_json()))
    elif not options.quiet:
        _print_table(measured, place)
    return 0


def _checked(place: Path, *, force: bool) -> Path:
    """The file to write, before anything is measured for it."""
    from sharesim.spec.costs import profile_names

    if place.suffix != ".toml":
        raise UserError(f"--out {place}: a file of costs ends in .toml")
    if place.stem in profile_names():
        raise UserError(
            f"--out {place}: the profile takes the file's name, and '{place.stem}' is a shipped one"
        )
    if place.exists() and not force:
        raise UserError(f"--out {place}: exists; --force replaces it")
    if not place.parent.is_dir():
        raise UserError(f"--out {place}: there is no folder {place.parent}")
    return place


def _write(place: Path, text: str) -> None:
    """At one go: what is there before is whole, or gone."""
    beside = place.with_name(f".{place.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(place)
    except OSError as error:
        raise UserError(f"--out {place}: cannot be written: {error.strerror}") from None


def _print_table(measured: "Calibration", place: Path | None) -> None:
    from sharesim.commands.list import aligned
    from sharesim.live.calibrate_profile import BASE, not_measured
    from sharesim.spec.costs import load_profile

    base = load_profile(BASE)
    found = measured.found
    rows = [["cost", "here", BASE, "ratio", "spread", "mark"]]
    for key, one in found.items():
        before = base.ns(key)
        ratio = f"{one.ns / before:.2f}" if before else "-"
        rows.append([key, str(one.ns), str(before), ratio, f"{one.spread:.0%}", one.mark])
    print("\n".join([measured.machine, "", *aligned(rows)]))
    inherited = sum(len(keys) for keys in not_measured(found, measured.why_not).values())
    print(f"\n{len(found)} costs measured, in ns; {inherited} are those of {BASE}")
    if place is None:
        print("to use them: sharesim calibrate --out FILE.toml, then run --costs FILE.toml")
    else:
        print(f"profile    {place}, for run --costs {place}")


class _Progress:
    """What is measured now: one line on a terminal, wiped at the end; else nothing."""

    def __init__(self, *, quiet: bool) -> None:
        self._shown = not quiet and sys.stderr.isatty()

    def tell(self, what: str) -> None:
        if self._shown:
            print(f"{CLEAR}measuring {what} ...", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._shown:
            print(CLEAR, end="", file=sys.stderr, flush=True)
