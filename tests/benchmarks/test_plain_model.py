"""The plain SimPy model that the engine is compared with does the same work."""

import numpy as np
import pytest

from benchmarks.cases import WITHOUT_INTERRUPTS, accessing, scanning
from benchmarks.measure import build, counters
from benchmarks.plain_model import PlainModel, combine, mix64
from sharesim.content import mixing
from sharesim.spec.scenario import Scenario


def both(scenario: Scenario) -> tuple[dict[str, int], dict[str, int]]:
    plain = PlainModel(scenario)
    plain.run()
    engine = build(scenario)
    engine.run()
    return plain.counters(), counters(engine)


def test_draws_are_the_engines() -> None:
    for x in (0, 1, 0x0123456789ABCDEF, (1 << 64) - 1):
        assert mix64(x) == int(mixing.mix64(np.uint64(x)))
        assert combine(x, 77) == int(mixing.combine(np.uint64(x), np.uint64(77)))


@pytest.mark.parametrize("guests", [1, 2])
def test_accesses_and_scanning_together(guests: int) -> None:
    scenario = accessing(
        "1 MiB", 20_000, guests=guests, op_time=2_000, scan_rate=100_000, mode="exact",
        costs=WITHOUT_INTERRUPTS,
    )  # fmt: skip
    plain, engine = both(scenario)
    assert plain["cow_breaks"] > 0 and plain["merges"] > 0
    assert plain == engine


def test_accesses_of_several_guests() -> None:
    scenario = accessing(
        "1 MiB", 20_000, guests=3, op_time=1_000, scan_rate=1, costs=WITHOUT_INTERRUPTS
    )
    plain, engine = both(scenario)
    assert plain["writes"] > 1_000 and plain["accesses"] > 19_000
    assert plain == engine


def test_scanning_alone() -> None:
    plain, engine = both(scanning("2 MiB", 20, guests=2, costs=WITHOUT_INTERRUPTS))
    assert plain["pages_scanned"] > 2 * 1024
    assert plain["saved_pages"] > 100
    assert plain == engine
