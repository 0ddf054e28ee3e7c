"""Runs benchmarks, prints a table, writes ``benchmarks/results.json``."""

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import cases
from benchmarks.measure import Figure, time_engine

BENCHMARKS = {
    "versus_plain": "the engine against plain SimPy, equal counters",
    "throughput": "page accesses and pages scanned per second",
    "memory": "bytes for each simulated page",
    "startup": "whole processes",
    "outside": "memory outside the scan list",
    "vcpus": "simulated seconds per second",
    "modes": "exact mode against decoupled",
    "sweeps": "many runs: what a point costs, two processes, memory, going on",
}
RESULTS = Path(__file__).parent / "results.json"
LIBRARIES = ("sharesim", "simpy", "numpy", "numba", "pyarrow")


def main() -> int:
    """The command line; status 1 when a benchmark failed (not when an aim was missed)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="shorter runs, less exact")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write (JSON)")
    options = parser.parse_args()
    for name in options.names:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    _warm_up()
    results: dict[str, list[Figure]] = {}
    failed: dict[str, str] = {}
    for name in options.names or BENCHMARKS:
        _run_one(name, options.quick, results, failed)
    _write(options.out, options.quick, results, failed)
    print(f"\nwritten to {options.out}")
    return 1 if failed else 0


def _warm_up() -> None:
    """Compile or load the kernels, so that no benchmark pays for it."""
    for mode in ("decoupled", "exact"):
        time_engine(cases.accessing("4 MiB", 10_000, mode=mode))


def _run_one(
    name: str, quick: bool, results: dict[str, list[Figure]], failed: dict[str, str]
) -> None:
    print(f"\n{name}: {BENCHMARKS[name]}", flush=True)
    before = time.perf_counter()
    try:
        results[name] = import_module(f"benchmarks.{name}").run(quick)
    except Exception as error:  # the others are worth having all the same
        failed[name] = f"{type(error).__name__}: {error}"
        print(f"  FAILED: {failed[name]}", file=sys.stderr)
        return
    for figure in results[name]:
        print(_line(figure))
    print(f"  ({time.perf_counter() - before:.0f} s)", flush=True)


def _line(figure: Figure) -> str:
    met = "" if figure.met is None else ("reached" if figure.met else "MISSED")
    value = f"{figure.value:,.0f}" if figure.value >= 1000 else f"{figure.value:.3g}"
    return f"  {figure.name:<58} {value:>12} {figure.unit:<18} {figure.aim:<8} {met}".rstrip()


def _write(
    path: Path, quick: bool, results: dict[str, list[Figure]], failed: dict[str, str]
) -> None:
    """Versions and kind of machine, no names of hosts or folders: they are nobody's business."""
    document: dict[str, Any] = {
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "cores": os.cpu_count(),
        },
        "quick": quick,
        "results": {name: [asdict(one) for one in figures] for name, figures in results.items()},
        "failed": failed,
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
