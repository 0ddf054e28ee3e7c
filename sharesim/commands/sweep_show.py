"""``sharesim sweep show``: what a sweep found, with intervals."""

import argparse
import sys

from sharesim.errors import UserError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="the --out folder of a sweep")
    add("--metric", action="append", default=[], metavar="NAME", dest="metrics",
        help="show this figure; may be repeated (default: saving and cost)")  # fmt: skip
    add("--against", action="append", default=[], metavar="NAME=VALUE",
        help="show differences to the points with this value, paired by replicate")  # fmt: skip
    add("--confidence", metavar="C", default="0.95", help="of the intervals (default: 0.95)")
    add("--failed", action="store_true", help="list all failed runs, with their tracebacks")
    add("--csv", action="store_true", help="print all points as CSV")
    add("--json", action="store_true", help="print all points as JSON")


def execute(options: argparse.Namespace) -> int:
    """Print it."""
    from sharesim.results.folder import json_text
    from sharesim.sweep.show import estimates, parse_against, shown_metrics, sweep_json, sweep_text
    from sharesim.sweep.sweep import Sweep

    sweep = Sweep(options.folder)
    confidence = _confidence(options.confidence)
    against = parse_against(sweep, options.against)
    if options.failed:
        print(_failures(sweep))
    elif options.csv:
        names = options.metrics or shown_metrics(sweep)
        table = estimates(sweep, names, confidence=confidence, against=against)
        table.to_csv(sys.stdout, index=False)
    elif options.json:
        found = sweep_json(sweep, options.metrics, confidence=confidence, against=against)
        print(json_text(found))
    else:
        print(sweep_text(sweep, options.metrics, confidence=confidence, against=against))
    return 0


def _confidence(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < 1.0:
        raise UserError(f"--confidence {text}: a number between 0 and 1 is needed, such as 0.95")
    return value


def _failures(sweep: "object") -> str:
    from sharesim.sweep.sweep import Sweep

    assert isinstance(sweep, Sweep)
    parts = []
    for cell in sweep.cells:
        failure = {"message": cell.problem} if cell.problem else sweep.store.read_failure(cell.key)
        if failure is not None:
            text = failure.get("traceback") or failure["message"]
            parts.append(f"{cell.name} ({dict(cell.settings)}):\n{text}")
    return "\n".join(parts) or "no run failed"
