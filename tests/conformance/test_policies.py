"""Policies keep the protocol, and the engine keeps its books whatever a policy answers."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

from sharesim.errors import PolicyError
from sharesim.hypervisor.merge import ABORTED, MERGED, SAME
from sharesim.sharing.conformance import (
    PAIRS,
    Pair,
    check_law,
    check_policy,
    check_round_trip,
    check_runs,
    run_difference,
    small_scenario,
)
from sharesim.sharing.policy import NONE, ZERO, Pages, Policy
from sharesim.simulate import simulate
from sharesim.spec.ksm import Ksm
from sharesim.spec.policies import POLICIES, Cbps, Oracle, PolicySpec
from sharesim.spec.scenario import Scenario
from tests import random_scenarios
from tests.random_scenarios import random_scenario

each_pair = pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].registered_name())
VARIANTS: dict[str, PolicySpec] = {
    "cbps": Cbps(),
    "random order": Cbps(order="random"),
    "three passes": Cbps(passes=3),
    "random order in passes": Cbps(order="random", passes=2),
    "stable": Cbps(stable=True),
    "no zero pages": Cbps(zero_pages=False),
    "small table": Cbps(table_entries=7),
    "compare by hash": Cbps(verify=False),
    "compare by hash, collisions": Cbps(verify=False, digest_bits=6),
    "verify, collisions": Cbps(digest_bits=3, passes=4),
    "other digest": Cbps(digest="xxh64", order="random", stable=True, passes=2),
    "oracle": Oracle(),
}


KSM = {
    "ksm": Ksm(pages_to_scan=30, sleep_millisecs=0),
    "ksm, all knobs": Ksm(
        pages_to_scan=50, sleep_millisecs=0, smart_scan=False, use_zero_pages=True,
        max_page_sharing=2,
    ),
    "ksm, ideal set": Ksm(pages_to_scan=30, sleep_millisecs=0, unstable="set"),
    "ksm before 6.11": Ksm(pages_to_scan=30, sleep_millisecs=0, checksum_first=False),
}  # fmt: skip


@pytest.mark.parametrize("name", KSM)
def test_ksm_conforms(name: str) -> None:
    check_policy(KSM[name], seeds=(1, 2))


def test_every_built_in_policy_is_tested() -> None:
    tested = {type(spec) for spec in (*VARIANTS.values(), *KSM.values())}
    assert {member for _, member in POLICIES if member.__module__.startswith("sharesim.")} <= tested


@pytest.mark.parametrize("name", VARIANTS)
def test_built_in_policies_conform(name: str) -> None:
    check_policy(VARIANTS[name], seeds=(1,))


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "oracle"])
@pytest.mark.parametrize("seed", range(3))
def test_built_in_policies_obey_the_law(name: str, seed: int) -> None:
    check_law(VARIANTS[name], seed)


@pytest.mark.parametrize("pair", random_scenarios.PAIRS, ids="-".join)
@pytest.mark.parametrize("seed", range(6))
def test_both_forms_agree_in_random_scenarios(seed: int, pair: tuple[str, str]) -> None:
    scenario = random_scenario(1_000 + seed, sharing=True, pair=pair)
    assert scenario.sharing is not None
    if isinstance(scenario.sharing.policy, Oracle):
        scenario = _with_policy(scenario, Cbps(scan_rate=50_000, wake_period="1 ms"))
    check_runs(scenario)


@each_pair
@pytest.mark.parametrize("name", ["cbps", "random order in passes", "no zero pages", "oracle"])
def test_both_modes_of_time_save_the_same_of_frozen_memory(name: str, pair: Pair) -> None:
    spec = VARIANTS[name].model_copy(update={"scan_rate": 40_000.0, "wake_period": 1_000_000})
    exact = small_scenario(spec, 1, frozen=True, pair=pair)
    saved = set()
    for scenario in (exact, exact.model_copy(update={"mode": "decoupled"})):
        memory = simulate(scenario).summary["memory"]
        assert memory["saved_pages"] == memory["opportunity_pages"]
        saved.add(memory["saved_pages"])
    assert len(saved) == 1 and saved.pop() > 40


def _with_policy(scenario: Scenario, policy: PolicySpec) -> Scenario:
    assert scenario.sharing is not None
    sharing = scenario.sharing.model_copy(update={"policy": policy})
    return scenario.model_copy(update={"sharing": sharing})


# Policies written by hand, for the suite to catch


class HandSpec(PolicySpec):
    """Parameters of the policies of this file."""

    name: ClassVar[str] = "hand-written"
    scan_rate: float = 50_000.0
    wake_period: Any = 1_000_000
    kind: str = "plain"
    seed: int = 0

    def runtime(self) -> Policy:
        return KINDS[self.kind](self)


class Plain(Policy):
    """Goes through all pages in order and offers nothing."""

    name = "hand-written"
    PAGE: ClassVar[np.dtype[Any]] = np.dtype([("seen", "<u4")])

    def start(self, view: Any, random: np.random.Generator) -> None:
        super().start(view, random)
        self.random = random
        self.cursor = 0

    def batch(self, budget: int) -> Pages:
        if self.cursor >= self.view.pages:
            self.cursor = 0
        end = min(self.cursor + budget, self.view.pages)
        pages = np.arange(self.cursor, end, dtype=np.uint32)
        self.cursor = end
        return pages

    def visit(self, pages: Pages) -> Pages:
        self.view.spend(pages, 100)
        self.page["seen"][pages] += 1
        return np.full(len(pages), NONE, np.uint32)


class Fuzz(Plain):
    """Offers anything: pages unpopulated, pinned or gone, the page itself, ZERO, NONE."""

    def batch(self, budget: int) -> Pages:
        size = int(self.random.integers(0, min(budget, self.view.pages) + 1))
        return self.random.choice(self.view.pages, size, replace=False).astype(np.uint32)

    def visit(self, pages: Pages) -> Pages:
        self.view.spend(pages, int(self.random.integers(0, 500)))
        partners = self.random.integers(0, self.view.pages, len(pages)).astype(np.uint32)
        choice = self.random.integers(0, 8, len(pages))
        partners[choice == 0] = NONE
        partners[choice == 1] = ZERO
        partners[choice == 2] = pages[choice == 2]
        return partners


class LawBreaker(Plain):
    """Offers the first page of each call to the others."""

    def visit(self, pages: Pages) -> Pages:
        partners = super().visit(pages)
        partners[1:] = pages[0]
        return partners


class BillBreaker(Plain):
    """Bills a call, not a page."""

    def visit(self, pages: Pages) -> Pages:
        self.view.spend(pages[:1], 1_000)
        return np.full(len(pages), NONE, np.uint32)


class Forgetful(Plain):
    """Keeps state outside what it was given: each new run-time object acts differently."""

    made = 0

    def start(self, view: Any, random: np.random.Generator) -> None:
        super().start(view, random)
        type(self).made += 1
        self.cursor = type(self).made * 7

    def visit(self, pages: Pages) -> Pages:
        super().visit(pages)
        return np.full(len(pages), ZERO, np.uint32)


KINDS: dict[str, type[Policy]] = {
    "plain": Plain,
    "fuzz": Fuzz,
    "law breaker": LawBreaker,
    "bill breaker": BillBreaker,
    "forgetful": Forgetful,
}


def test_a_plain_policy_conforms() -> None:
    check_policy(HandSpec(), seeds=(1,))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("law breaker", "breaks the law.*partner of page"),
        ("bill breaker", "breaks the law.*ns billed of page"),
        ("forgetful", "batch differently"),
    ],
)
def test_the_suite_catches_what_breaks_the_law(kind: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        check_law(HandSpec(kind=kind), 1)


def test_the_suite_catches_runs_that_differ() -> None:
    with pytest.raises(PolicyError, match="two runs of one scenario differ"):
        check_runs(small_scenario(HandSpec(kind="forgetful"), 1))


def test_parameters_that_do_not_round_trip_are_caught() -> None:
    class Local(HandSpec):
        """Cannot be found by name: it is inside a function."""

    with pytest.raises((PolicyError, ValueError), match=r"imported|round-trip"):
        check_round_trip(Local())


@each_pair
@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_whatever_a_policy_offers_the_books_stay_right(seed: int, verify: bool, pair: Pair) -> None:
    spec = HandSpec(kind="fuzz", seed=seed, verify=verify, digest_bits=4, scan_rate=200_000)
    small = small_scenario(spec, seed, pair=pair)
    names = (pair[0].registered_name(), pair[1])
    for base in (small, random_scenario(2_000 + seed, sharing=True, pair=names)):
        for mode in ("exact", "decoupled"):
            scenario = _with_policy(base, spec).model_copy(update={"mode": mode, "check": True})
            counters = simulate(scenario).summary["counters"]
            assert counters["ineligible"] > 0
            if verify:
                assert counters["wrong_merges"] == counters["corrupted_pages"] == 0
                assert counters["false_matches"] > 0 or base is not small


@each_pair
def test_fuzzing_does_merge_and_does_corrupt_when_digests_are_trusted(pair: Pair) -> None:
    spec = HandSpec(kind="fuzz", verify=False, digest_bits=2, scan_rate=200_000)
    counters = simulate(small_scenario(spec, 1, pair=pair)).summary["counters"]
    assert counters["merges"] > 50
    assert counters["wrong_merges"] > 0


class Diary(Fuzz):
    """Offers anything, and writes down what it is told about it."""

    told: ClassVar[list[tuple[int, int, int]]] = []

    def merged(self, pages: Pages, partners: Pages, outcomes: np.ndarray) -> None:
        self.told += zip(pages.tolist(), partners.tolist(), outcomes.tolist(), strict=True)


@each_pair
def test_a_policy_is_told_what_became_of_its_pairs(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once where the hypervisor shares; where guests do, when they have answered."""
    monkeypatch.setitem(KINDS, "fuzz", Diary)
    monkeypatch.setattr(Diary, "told", [])
    run = simulate(small_scenario(HandSpec(kind="fuzz", scan_rate=200_000), 1, pair=pair))
    counters, outcomes = run.summary["counters"], [outcome for _, _, outcome in Diary.told]
    assert {MERGED, SAME, ABORTED} <= set(outcomes)
    # The last batch may not have been told any more, and the first zero page merges with nobody.
    assert abs(counters["merges"] - outcomes.count(MERGED)) <= 5
    for page, partner, _ in Diary.told:
        assert 0 <= page < 144 and (partner < 144 or partner == ZERO)


def test_a_policy_that_finds_no_page_lets_the_scanner_sleep() -> None:
    spec = HandSpec(kind="plain")
    scenario = small_scenario(spec, 1)
    KINDS["plain"], before = type("Nothing", (Plain,), {"batch": _nothing}), Plain
    try:
        run = simulate(scenario)
    finally:
        KINDS["plain"] = before
    assert run.summary["scanner"]["pages_scanned"] == 0
    assert run.summary["scanner"]["cpu_share"] < 0.5


def _nothing(self: Any, budget: int) -> Pages:
    return np.zeros(0, np.uint32)


# Wrong answers

Answer = Callable[[Any, Pages], Any]
WRONG_VISITS: dict[str, tuple[Answer, str]] = {
    "a list": (lambda policy, pages: [NONE] * len(pages), "list"),
    "None": (lambda policy, pages: None, "None"),
    "floats": (lambda policy, pages: np.full(len(pages), 1.5), "1.5"),
    "booleans": (lambda policy, pages: pages > 5, "True|False"),
    "two dimensions": (lambda policy, pages: np.full((len(pages), 1), NONE, np.uint32), "array"),
    "too short": (lambda policy, pages: pages[:0], "0 answers for"),
    "too long": (lambda policy, pages: np.full(len(pages) + 1, NONE, np.uint32), "answers for"),
    "out of range": (
        lambda policy, pages: np.full(len(pages), policy.view.pages, np.uint32),
        "144",
    ),
    "beyond 32 bits": (
        lambda policy, pages: np.full(len(pages), 2**32 + 3, np.int64),
        "4294967299",
    ),
    "negative": (lambda policy, pages: np.full(len(pages), -1, np.int64), "-1"),
}
WRONG_BATCHES: dict[str, tuple[Answer, str]] = {
    "a list": (lambda policy, pages: [1, 2], "list"),
    "floats": (lambda policy, pages: np.array([1.0]), "1"),
    "twice": (lambda policy, pages: np.array([3, 3], np.uint32), "3|twice"),
    "too many": (lambda policy, pages: np.arange(100, dtype=np.uint32), "100 pages for"),
    "out of range": (lambda policy, pages: np.array([144], np.uint32), "144"),
    "NONE": (lambda policy, pages: np.array([NONE], np.uint32), str(NONE)),
    "beyond 32 bits": (lambda policy, pages: np.array([2**32 + 3], np.int64), "4294967299"),
    "negative": (lambda policy, pages: np.array([-2], np.int64), "-2"),
}


def _wrong(monkeypatch: pytest.MonkeyPatch, method: str, answer: Answer) -> None:
    kind = type("Wrong", (Plain,), {method: answer})
    monkeypatch.setitem(KINDS, "plain", kind)


@pytest.mark.parametrize("what", WRONG_VISITS)
def test_a_wrong_visit_is_an_error_that_names_policy_method_and_value(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, value = WRONG_VISITS[what]
    _wrong(monkeypatch, "visit", answer)
    with pytest.raises(PolicyError, match=f"hand-written.*visit.*({value})"):
        simulate(small_scenario(HandSpec(), 1))


@pytest.mark.parametrize("what", WRONG_BATCHES)
def test_a_wrong_batch_is_an_error_that_names_policy_method_and_value(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, value = WRONG_BATCHES[what]
    _wrong(monkeypatch, "batch", answer)
    with pytest.raises(PolicyError, match=f"hand-written.*batch.*({value})"):
        simulate(small_scenario(HandSpec(), 1))


WRONG_QUESTIONS: dict[str, tuple[Answer, str]] = {
    "digest out of range": (lambda policy, pages: policy.view.digest(pages + 1_000), "digest.*1"),
    "digest negative": (lambda policy, pages: policy.view.digest([-1]), "digest.*-1"),
    "unknown function": (lambda policy, pages: policy.view.digest(pages, "md6"), "md6"),
    "equal out of range": (
        lambda policy, pages: policy.view.equal(pages, pages + 1_000),
        "equal.*1",
    ),
    "negative time": (lambda policy, pages: policy.view.spend(pages, -5), "-5"),
    "unknown price": (lambda policy, pages: policy.view.price("tabel_lookup"), "table_lookup"),
}


@pytest.mark.parametrize("what", WRONG_QUESTIONS)
def test_a_wrong_question_is_an_error_too(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    question, value = WRONG_QUESTIONS[what]
    _wrong(monkeypatch, "visit", question)
    with pytest.raises(PolicyError, match=value):
        simulate(small_scenario(HandSpec(), 1))


def test_run_difference_says_where() -> None:
    scenario = small_scenario(Cbps(scan_rate=40_000, wake_period="1 ms"), 1)
    one = simulate(scenario)
    other = simulate(scenario.model_copy(update={"seed": 2}))
    assert run_difference(one, one) == ""
    assert run_difference(one, other).startswith("events, row ")
