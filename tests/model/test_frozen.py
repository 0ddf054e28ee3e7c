"""A frozen snapshot of real memory: what is saved in the end is known in closed form."""

from pathlib import Path

import numpy as np
import pytest

from sharesim.content.capture import open_capture
from sharesim.simulate import simulate
from sharesim.spec.script import load_target

FROZEN = Path(__file__).parents[2] / "scenarios" / "frozen.py"
MIXED6 = "mixed6-60s"


def closed_form(capture_name: str, seconds: float) -> int:
    """reclaimable + zero_backed - 1, counted by sorting: nothing here is shared with the model."""
    capture = open_capture(capture_name)
    snapshot = capture.snapshot_at(seconds)
    backed = np.concatenate(
        [guest.contents(snapshot)[~guest.unbacked(snapshot)] for guest in capture.guests]
    )
    stored = backed[backed != 0]
    zero = len(backed) - len(stored)
    return len(stored) - len(np.unique(stored)) + max(0, zero - 1)


def saved(seconds: int, **settings: object) -> tuple[int, int]:
    """(pages saved, opportunity) at the end of the shipped scenario."""
    scenario = load_target(FROZEN).build({"at": f"{seconds} s", **settings})
    memory = simulate(scenario).summary["memory"]
    return memory["saved_pages"], memory["opportunity_pages"]


def test_the_shipped_capture_is_what_the_model_page_says() -> None:
    assert closed_form(MIXED6, 0) == 116_971


@pytest.mark.parametrize("passes", [1, 3, 5])
@pytest.mark.parametrize(
    ("order", "seconds"), [("linear", 0), ("random", 0), ("random", 35)], ids=str
)
def test_cbps_saves_exactly_the_closed_form(order: str, seconds: int, passes: int) -> None:
    expected = closed_form(MIXED6, seconds)
    assert saved(seconds, order=order, passes=passes) == (expected, expected)


@pytest.mark.parametrize("seconds", [0, 35])
def test_the_oracle_saves_exactly_the_closed_form(seconds: int) -> None:
    expected = closed_form(MIXED6, seconds)
    assert saved(seconds, policy="oracle") == (expected, expected)
