"""How far decoupled mode is from exact mode: the same runs in both, seed by seed.

    python -m analysis.mode_error --seeds 20 [--fast]

prints a table for the docs and writes ``docs/data/mode_error.csv`` (``mode_error_fast.csv``). Seeds
are paired, so that what is left is the error of the mode and not the luck of the draw. ``--fast``
is a case that is hard on decoupling: a scan period of 2 ms, and writers to match.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sharesim import VM, Cbps, Host, RandomAccess, Scenario, Segment, Segments, Sharing, simulate
from sharesim.spec.units import show_time

FIGURES = ("saved, mean", "saved, end", "merges", "breaks", "operations", "scanner CPU")
DATA = Path(__file__).parents[1] / "docs" / "data"
QUANTA = (20_000, 100_000, 500_000, 1_000_000)
FAST_QUANTA = (1_000, 10_000, 20_000, 100_000, 500_000)
T_95 = {3: 4.303, 4: 3.182, 5: 2.776, 10: 2.262, 20: 2.093}
"""Student's t, two-sided 95 %, by number of seeds."""


def fast_scenario(seed: int, quantum: int | None = None, *, exact: bool = False) -> Scenario:
    """Four guests on five CPUs that write every 20 us on average, and a scanner that goes round
    their 256 pages in 2 ms without a rest."""
    writes = RandomAccess(
        op_time="20 us", write_fraction=1.0, new_content="pool", pool=8, pool_name="all"
    )
    guests = [VM(name=f"vm{number}", memory=64, workload=writes) for number in range(4)]
    return Scenario(
        title="Error of the decoupled mode, fast scanner",
        duration="100 ms",
        seed=seed,
        mode="exact" if exact else "decoupled",
        sync_quantum=quantum,
        host=Host(cpus=5),
        vms=guests,
        sharing=Sharing(policy=Cbps(scan_rate=128_000, wake_period="2 ms", order="random")),
    )


def scenario(seed: int, quantum: int | None = None, *, exact: bool = False) -> Scenario:
    """Three guests on two CPUs that write what the others write too: merges and breaks all along.

    ``quantum`` in ns; None: the default.
    """
    image = Segments(
        segments=(
            Segment(size=400, page_class="kernel", shared_as="kernel"),
            Segment(size=600, duplicate=0.5, zero=0.1),
        )
    )
    writes = RandomAccess(
        op_time="200 us", write_fraction=0.3, new_content="pool", pool=200, pool_name="all"
    )
    return Scenario(
        title="Error of the decoupled mode",
        duration="1 s",
        seed=seed,
        mode="exact" if exact else "decoupled",
        sync_quantum=quantum,
        host=Host(cpus=2),
        vms=[VM(name=f"vm{number}", image=image, workload=writes) for number in range(3)],
        sharing=Sharing(policy=Cbps(scan_rate=20_000, order="random")),
    )


def figures(
    seed: int, quantum: int | None = None, *, exact: bool = False, fast: bool = False
) -> list[float]:
    """The headline figures of a run, in the order of FIGURES."""
    build = fast_scenario if fast else scenario
    run = simulate(build(seed, quantum, exact=exact))
    rows = run.timeline
    host = rows[rows.entity == "host"]
    counters = run.summary["counters"]
    return [
        float(host.saved_pages.mean()),
        float(host.saved_pages.iloc[-1]),
        float(counters["merges"]),
        float(counters["cow_breaks"]),
        float(run.summary["host"]["operations"]),
        float(run.summary["scanner"]["cpu_ns"]),
    ]


def errors(seeds: Sequence[int], quantum: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """For each figure: decoupled / exact - 1 of the sums, and half of its 95 % interval."""
    exact = np.array([figures(seed, exact=True) for seed in seeds])
    return compare(exact, np.array([figures(seed, quantum) for seed in seeds]))


def compare(exact: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same from figures at hand: float[seeds, figures] each."""
    ratio = other.sum(axis=0) / exact.sum(axis=0)
    count = len(exact)
    spread = (other - ratio * exact).std(axis=0, ddof=1) / np.sqrt(count) / exact.mean(axis=0)
    return ratio - 1, T_95.get(count, 2.0) * spread


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, choices=sorted(T_95))
    parser.add_argument("--fast", action="store_true", help="the case that is hard on decoupling")
    options = parser.parse_args()
    seeds, fast = range(1, options.seeds + 1), options.fast
    exact = np.array([figures(seed, exact=True, fast=fast) for seed in seeds])
    DATA.mkdir(parents=True, exist_ok=True)
    name = "mode_error_fast.csv" if fast else "mode_error.csv"
    with (DATA / name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["quantum_ns", "figure", "exact_mean", "error", "half_width_95"])
        print(f"| sync quantum | {' | '.join(FIGURES)} |")
        print("|---" * (len(FIGURES) + 1) + "|")
        print("| exact, mean | " + " | ".join(f"{x:,.0f}" for x in exact.mean(axis=0)) + " |")
        for quantum in FAST_QUANTA if fast else QUANTA:
            other = np.array([figures(seed, quantum, fast=fast) for seed in seeds])
            error, half = compare(exact, other)
            cells = [f"{100 * e:+.2f} ± {100 * h:.2f} %" for e, h in zip(error, half, strict=True)]
            print(f"| {show_time(quantum)} | {' | '.join(cells)} |", flush=True)
            for row in zip(FIGURES, exact.mean(axis=0), error, half, strict=True):
                writer.writerow([quantum, *row])


if __name__ == "__main__":
    main()
