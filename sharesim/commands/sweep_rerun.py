"""``sharesim sweep rerun``: makes one run of a sweep again, alone, and compares."""

import argparse
from pathlib import Path

from sharesim.commands.sweeping import whole_number


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="the --out folder of a sweep")
    add("--point", metavar="N", required=True, help="which point, as `sweep show` numbers them")
    add("--replicate", metavar="N", default="1", help="which of its replicates (default: 1)")
    add("--out", metavar="DIR",
        help="keep the run folder there (default: compare, and keep nothing)")  # fmt: skip
    add("--force", action="store_true", help="replace a run folder that exists")


def execute(options: argparse.Namespace) -> int:
    """Make it; status 1 where it comes out differently."""
    from sharesim.results.provenance import Stopwatch
    from sharesim.sweep.rerun import rerun
    from sharesim.sweep.sweep import Sweep

    sweep = Sweep(options.folder)
    point = whole_number("--point", options.point)
    cell = sweep.cell(point, whole_number("--replicate", options.replicate))
    watch = Stopwatch()
    out = None if options.out is None else Path(options.out)
    differ = rerun(sweep, cell, out, force=options.force)
    if out is not None:
        print(f"run folder {out}")
    print(f"{cell.name}, {watch.seconds:.1f} s: ", end="")
    if differ is None:
        print("the sweep has no result of it to compare with")
        return 0
    if differ:
        print(f"not the same {', '.join(differ)} as in the sweep")
        return 1
    print("the same as in the sweep, bit for bit")
    return 0
