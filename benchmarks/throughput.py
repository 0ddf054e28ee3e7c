"""(b) Page accesses and pages scanned per second of wall time, sharing on."""

from benchmarks import cases
from benchmarks.measure import Figure, Timed, build, counters, median, stopwatch, time_engine
from sharesim.spec.scenario import Scenario

ROUNDS = 3
MEMORIES = ((cases.HOT, 1), ("1 GiB", 1), ("1 GiB", 16))


def rate(scenario: Scenario, what: str) -> tuple[float, Timed]:
    """Things per second in the median run."""
    runs = [time_engine(scenario) for _ in range(ROUNDS)]
    return runs[0].counters[what] / median([one.seconds for one in runs]), runs[0]


def title(memory: str, guests: int) -> str:
    """How a row names its memory."""
    return memory if guests == 1 else f"{guests} x {memory}"


def run(quick: bool) -> list[Figure]:
    """Hot set, 1 GiB, 16 guests of 1 GiB; all costs and interrupts as in the default profile."""
    part = 10 if quick else 1
    figures = []
    for memory, guests in MEMORIES:
        scenario = cases.accessing(memory, 8_000_000 // part, guests=guests)
        speed, timed = rate(scenario, "accesses")
        note = f"scanner at 10,000 pages/s; {timed.counters['cow_breaks']} COW breaks"
        figures.append(Figure(f"accesses, {title(memory, guests)}", speed, "accesses/s", note=note))
    for memory, guests in MEMORIES:
        speed, timed = rate(cases.scanning(memory, 4_000 // part, guests=guests), "pages_scanned")
        note = f"guests idle; {timed.counters['merges']} merges"
        name = f"scanning, {title(memory, guests)}"
        figures.append(Figure(name, speed, "pages/s", note=note))
    for memory in (cases.HOT, "1 GiB"):
        speed, timed = rate(cases.under_ksm(memory, 4_000 // part), "pages_scanned")
        note = f"ksmd without sleep; {timed.counters['merges']} merges"
        figures.append(Figure(f"ksm, {memory}", speed, "pages/s", note=note))
    for memory, guests in MEMORIES:
        figures.append(_busy(memory, guests, part))
    return figures


def _busy(memory: str, guests: int, part: int) -> Figure:
    """Scanner and guests at full speed together: visits and accesses per second in all."""
    scenario = cases.scanning(memory, 400 // part // guests + 20, guests=guests, busy=True)
    simulation = build(scenario)
    seconds, _ = stopwatch(simulation.run)
    count = counters(simulation)
    speed = (count["accesses"] + count["pages_scanned"]) / seconds
    note = ", ".join(f"{count[what]} {what}" for what in ("accesses", "pages_scanned", "merges"))
    name = f"scanner and guests busy, {title(memory, guests)}"
    return Figure(name, speed, "accesses + pages/s", note=note)
