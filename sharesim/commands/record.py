"""``sharesim record``: samples this machine's KSM while it does what it does."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sharesim.errors import UserError

LEAST_INTERVAL_NS = 1_000_000
ENDED_BY_SIGNAL = 128


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("what", choices=["ksm"], metavar="ksm",
        help="what to record: the counters of this machine's KSM, and ksmd's CPU time")  # fmt: skip
    add("--seconds", required=True, metavar="TIME", help='how long: 60, "10 min", ...')
    add("--out", required=True, metavar="FILE", help="where to: a table in Parquet")
    add("--interval", default="25 ms", metavar="TIME",
        help="between two samples (default: 25 ms; at least 1 ms)")  # fmt: skip
    add("--plot", action="store_true", help="draw it too, in a .png beside FILE")
    add("--quiet", action="store_true", help="no progress bar and no summary")


def execute(options: argparse.Namespace) -> int:
    """Record; 128 and the signal's number when one ended it early."""
    from sharesim.live.record import record

    length = _nanoseconds("--seconds", options.seconds)
    interval = _nanoseconds("--interval", options.interval)
    if interval < LEAST_INTERVAL_NS:
        raise UserError(f"--interval: found '{options.interval}'; the shortest is 1 ms")
    if length < interval:
        raise UserError(f"--seconds: found '{options.seconds}'; that is less than one --interval")
    place = Path(options.out)
    with _bar(quiet=options.quiet) as progress:
        recording = record(place, duration_ns=length, interval_ns=interval, progress=progress)
    if options.plot:
        _draw(place)
    if not options.quiet:
        from sharesim.live.summary import recording_text

        print(recording_text(recording))
    if recording.ended_by is None:
        return 0
    after = f"after {recording.length_ns / 1e9:.4g} s"
    print(f"sharesim: interrupted {after}; what was sampled is in {place}", file=sys.stderr)
    return ENDED_BY_SIGNAL + recording.ended_by


def _nanoseconds(option: str, text: str) -> int:
    from sharesim.commands.plot import seconds

    value = seconds(option, text)
    if value is None or not 0 < value < 1e9:
        raise UserError(f"{option}: found '{text}'; it must be a time above 0")
    return round(value * 1e9)


def _draw(recorded: Path) -> None:
    from sharesim.live.picture import draw_recording
    from sharesim.results.style import save_timeline

    save_timeline(draw_recording(recorded), recorded.with_suffix(".png"))


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on a terminal, told of ns that have passed and of all there are."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    form = "recording {percentage:3.0f}%|{bar}| {n:.4g} of {total:.4g} s"
    with tqdm(file=sys.stderr, bar_format=form, dynamic_ncols=True) as bar:

        def show(now: int, end: int) -> None:
            bar.total = end / 1e9
            bar.update(now / 1e9 - bar.n)

        yield show
