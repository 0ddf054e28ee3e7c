"""R36 as a study: it passes its own rows, and the law of what is lost is right."""

import numpy as np
import pytest

from sharesim.reproductions.passes import Passes, share_found
from sharesim.results.run import Run
from sharesim.results.style import figure_bytes
from sharesim.simulate import simulate


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {name: simulate(scenario) for name, scenario in Passes().runs().items()}


def test_nothing_misses(runs: dict[str, Run]) -> None:
    rows = Passes().rows(runs)
    assert [row for row in rows if row.verdict == "miss"] == []
    assert sum(row.verdict == "pass" for row in rows) == 18
    assert Passes().notes(runs)


def test_more_passes_find_less_in_changing_memory_and_shared_frames_are_hashed_once(
    runs: dict[str, Run],
) -> None:
    found = [runs[f"rewritten-{k}"].summary["counters"]["merges"] for k in (1, 2, 3, 5)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 1.3 * found[-1]
    hashed = {
        kind: runs[f"{kind}-5"].summary["scanner"]["pages_hashed"] for kind in ("pairs", "unlike")
    }
    assert hashed["pairs"] < 0.7 * hashed["unlike"]


def test_it_can_be_drawn(runs: dict[str, Run]) -> None:
    figure = Passes().picture(runs, [])
    assert figure_bytes(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("passes", [1, 2, 5])
@pytest.mark.parametrize("rewritten", [0.001, 0.1, 1.0])
def test_the_share_found_is_what_drawing_pairs_at_random_gives(
    passes: int, rewritten: float
) -> None:
    draw = np.random.default_rng(1)
    pairs = 200_000
    merged = draw.integers(passes, size=pairs) + draw.random((2, pairs)).max(axis=0)
    written = draw.exponential(1 / rewritten, (2, pairs)).min(axis=0)
    assert share_found(passes, rewritten) == pytest.approx(np.mean(merged < written), abs=0.005)
