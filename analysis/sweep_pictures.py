"""The pictures of docs/gallery.md: makes the runs and sweeps that they need, and draws them.

    python -m analysis.sweep_pictures [NAME...]

Runs and sweeps are kept below ``out/gallery``; what is there already is used. The commands are
those that the page shows, so what is drawn is what a reader of the page gets.
"""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from sharesim.cli import main as sharesim
from sharesim.sweep.sweep import load_sweep

IMAGES = Path(__file__).parents[1] / "docs" / "images"

MADE: Mapping[str, str] = {
    "out/gallery/run": "sharesim run scenarios/quickstart.py --out out/gallery/run",
    "out/gallery/rate": "sharesim sweep scenarios/quickstart.py --vary scan_rate=1000:64000:log:7"
    " --vary vms=2,4,6 --set duration='6 s' --replicates 3 --out out/gallery/rate",
    "out/gallery/writes": "sharesim sweep scenarios/synthetic.py --vary scan_rate=500:32000:log:7"
    " --vary write_rate=0,10,100,1000 --set duration='3 s' --set memory='8 MiB' --replicates 2"
    " --out out/gallery/writes",
}
"""What makes each folder."""
DRAWN: Mapping[str, str] = {
    "sweep-lines": "sharesim plot out/gallery/rate --x scan_rate --y saved --y overhead"
    " --color vms",
    "sweep-column": "sharesim plot out/gallery/rate --y overhead --size column --title none",
    "sweep-frontier": "sharesim plot out/gallery/rate --frontier saved overhead",
    "sweep-heat": "sharesim plot out/gallery/writes --heat saved --x scan_rate --y write_rate",
    "sweep-where": "sharesim plot out/gallery/writes --x write_rate --y cow_breaks"
    " --color scan_rate --where scan_rate=500,4000,32000",
    "view-memory": "sharesim plot out/gallery/run --view memory",
    "view-time": "sharesim plot out/gallery/run --view time",
}
"""What draws each picture."""


def call(command: str, *more: str) -> None:
    """Run a command line of the page."""
    words = [*shlex.split(command)[1:], *more]
    print(shlex.join(["sharesim", *words]))
    if sharesim(words) != 0:
        raise SystemExit(f"failed: {command}")


def is_made(folder: Path) -> bool:
    """Whether a run is there, or a sweep with all its runs."""
    if (folder / "sweep.json").exists():
        return load_sweep(folder).missing == 0
    return (folder / "summary.json").exists()


def draw(names: Sequence[str]) -> None:
    """Draw these pictures, and make before what they need."""
    for folder, command in MADE.items():
        if any(folder in DRAWN[name].split() for name in names) and not is_made(Path(folder)):
            call(command, "--quiet")
    for name in names:
        call(DRAWN[name], "--out", str(IMAGES / f"{name}.png"))


def main() -> None:
    """Draw what is asked for, by default all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(DRAWN))
    draw(parser.parse_args().names or list(DRAWN))


if __name__ == "__main__":
    main()
