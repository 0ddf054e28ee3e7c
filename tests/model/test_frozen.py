"""A frozen snapshot of real memory: what is saved in the end is known in closed form."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sharesim.content.capture import open_capture
from sharesim.simulate import simulate
from sharesim.spec.paging import Direct, Nested, PagingSpec, Shadow
from sharesim.spec.scenario import Paravirtual, Scenario
from sharesim.spec.script import load_target

FROZEN = Path(__file__).parents[2] / "scenarios" / "frozen.py"
MIXED6 = "mixed6-60s"
SMALL = "direct, small rings"
PAIRS: dict[str, tuple[PagingSpec, Paravirtual | None]] = {
    "nested": (Nested(), None),
    "shadow": (Shadow(), None),
    "shadow without rmap": (Shadow(rmap="none", pool=64), None),
    "direct": (Direct(), Paravirtual()),
    SMALL: (Direct(), Paravirtual(ring=100, cow="hypervisor")),
}
"""The legal pairs of paging and design, paravirtual where there are options of it."""
PASSES_FOR_OFFERS = 3
"""Passes in which guests under direct paging share it all. Of equal pages in three guests whose
drivers answer at once two may become frames of their own, and offers beyond a ring are dropped:
the next pass finds both."""


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


def saved(seconds: int, pair: str = "nested", **settings: object) -> tuple[int, int]:
    """(pages saved, opportunity) at the end of the shipped scenario."""
    scenario = with_pair(load_target(FROZEN).build({"at": f"{seconds} s", **settings}), pair)
    memory = simulate(scenario).summary["memory"]
    return memory["saved_pages"], memory["opportunity_pages"]


def with_pair(scenario: Scenario, pair: str) -> Scenario:
    """The scenario under another pair of paging and design, with as much time as that takes."""
    paging, guests = PAIRS[pair]
    changes: dict[str, Any] = {"paging": paging}
    assert scenario.sharing is not None
    if guests is not None:
        policy = scenario.sharing.policy
        if policy.scans:  # batches that fit a ring
            policy = policy.model_copy(update={"wake_period": 2_000_000})
        sharing = {"design": "paravirtual", "paravirtual": guests, "policy": policy}
        changes["sharing"] = scenario.sharing.model_copy(update=sharing)
        changes["duration"] = scenario.duration * PASSES_FOR_OFFERS
    return scenario.model_copy(update=changes)


def test_the_shipped_capture_is_what_the_model_page_says() -> None:
    assert closed_form(MIXED6, 0) == 116_971


@pytest.mark.parametrize("passes", [1, 3, 5])
@pytest.mark.parametrize(
    ("order", "seconds"), [("linear", 0), ("random", 0), ("random", 35)], ids=str
)
@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair != SMALL])
def test_cbps_saves_exactly_the_closed_form(
    pair: str, order: str, seconds: int, passes: int
) -> None:
    expected = closed_form(MIXED6, seconds)
    assert saved(seconds, pair, order=order, passes=passes) == (expected, expected)


@pytest.mark.parametrize("seconds", [0, 35])
@pytest.mark.parametrize("pair", PAIRS)
def test_the_oracle_saves_exactly_the_closed_form(pair: str, seconds: int) -> None:
    expected = closed_form(MIXED6, seconds)
    assert saved(seconds, pair, policy="oracle") == (expected, expected)


def test_offers_that_were_dropped_are_made_again_until_all_is_saved() -> None:
    scenario = with_pair(load_target(FROZEN).build({}), SMALL)
    summary = simulate(scenario).summary
    assert summary["memory"]["saved_pages"] == closed_form(MIXED6, 0)
    assert summary["counters"]["offers_dropped"] > 10_000
    assert summary["counters"]["offers_shared"] > summary["counters"]["merges"]


def test_guests_that_give_free_pages_away_leave_less_to_be_shared() -> None:
    """Each page is shared with another, or its guest's balloon has it: none is lost."""
    scenario = with_pair(load_target(FROZEN).build({}), "direct")
    assert scenario.sharing is not None
    balloon = scenario.sharing.model_copy(update={"paravirtual": Paravirtual(free_pages="balloon")})
    memory = simulate(scenario.model_copy(update={"sharing": balloon})).summary["memory"]
    assert memory["ballooned_pages"] > 10_000
    assert memory["saved_pages"] == memory["opportunity_pages"] < closed_form(MIXED6, 0)
    freed = memory["saved_pages"] + memory["ballooned_pages"]
    assert freed >= closed_form(MIXED6, 0)
