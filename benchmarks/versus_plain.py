"""(a) The engine against the same simulation in plain SimPy, side by side, equal counters."""

from collections.abc import Callable

from benchmarks import cases
from benchmarks.measure import Figure, Timed, alternate, at_least, median, stopwatch, time_engine
from benchmarks.plain_model import GAMMA, MASK, PlainModel, mix64
from sharesim.spec.scenario import Scenario

ROUNDS = 3
DRAWS = 200_000


def time_plain(scenario: Scenario) -> Timed:
    """Run a scenario with the plain model; building it is not timed."""
    model = PlainModel(scenario)
    seconds, cpu_seconds = stopwatch(model.run)
    return Timed(seconds, cpu_seconds, model.counters())


def compare(
    title: str, what: str, scenario: Scenario, aim: float, check: Callable[[Timed, Timed], None]
) -> list[Figure]:
    """The median of the ratios of runs next to each other, and both rates."""
    runs = alternate(lambda: time_plain(scenario), lambda: time_engine(scenario), ROUNDS)
    for plain, engine in runs:
        check(plain, engine)
    count = runs[0][0].counters[what]
    ratio = median([plain.seconds / engine.seconds for plain, engine in runs])
    cpu_ratio = median([plain.cpu_seconds / engine.cpu_seconds for plain, engine in runs])
    done = ", ".join(f"{value} {name}" for name, value in runs[0][1].counters.items())
    per_second = f"{what.replace('_', ' ')}/s"
    plain_rate = count / median([plain.seconds for plain, _ in runs])
    engine_rate = count / median([engine.seconds for _, engine in runs])
    return [
        at_least(f"{title}: engine / plain SimPy", ratio, "x", aim, f"equal counters: {done}"),
        Figure(f"{title}: the same in CPU time", cpu_ratio, "x"),
        *without_draws(title, what, runs),
        Figure(f"{title}: plain SimPy", plain_rate, per_second),
        Figure(f"{title}: engine", engine_rate, per_second),
    ]


def without_draws(title: str, what: str, runs: list[tuple[Timed, Timed]]) -> list[Figure]:
    """The ratio of accesses had the plain model got its draws for nothing."""
    if what != "accesses":
        return []
    _, one_draw = stopwatch(lambda: [mix64(at * GAMMA & MASK) for at in range(DRAWS)])
    ratios = []
    for plain, engine in runs:
        draws = plain.counters["accesses"] + plain.counters["writes"]
        spared = plain.cpu_seconds - one_draw / DRAWS * draws
        ratios.append(spared / engine.cpu_seconds)
    return [Figure(f"{title}: without the plain model's draws", median(ratios), "x")]


def equal(plain: Timed, engine: Timed) -> None:
    """Both must have done the same work, or their times say nothing."""
    if plain.counters != engine.counters:
        raise AssertionError(
            f"the plain model counted {plain.counters}, the engine {engine.counters}"
        )


def run(quick: bool) -> list[Figure]:
    """Accesses on a hot set and on 1 GiB, scanner on; scanning of both, guests idle."""
    part = 10 if quick else 1
    costs = cases.WITHOUT_INTERRUPTS
    figures: list[Figure] = []
    for size, aim in ((cases.HOT, 100.0), ("1 GiB", 30.0)):
        scenario = cases.accessing(size, 1_000_000 // part, scan_rate=1_000, costs=costs)
        figures += compare(f"accesses, {size}", "accesses", scenario, aim, equal)
    for size in (cases.HOT, "1 GiB"):
        scenario = cases.scanning(size, 1_500 // part, costs=costs)
        figures += compare(f"scanning, {size}", "pages_scanned", scenario, 20.0, equal)
    return figures
