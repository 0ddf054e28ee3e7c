"""Whether a policy keeps the protocol: run this from the tests of a policy of your own.

``check_policy(MyPolicy(...))`` lets the policy scan small machines and raises PolicyError, naming
what is broken, when it finds an answer of the wrong shape, a breach of the law of visits, results
that depend on the form it is run in, or a merge that corrupts though bytes are compared. Runs are
made with each sharing design: where guests cooperate, a policy hears late what became of its pairs.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from sharesim.engine import Engine
from sharesim.errors import PolicyError
from sharesim.hypervisor.fault import WAIT, WRITE, fault, needs_fault
from sharesim.hypervisor.merge import PENDING, commit, protect
from sharesim.machine import tables as t
from sharesim.machine.mapping import release_pending, store
from sharesim.machine.tables import NONE
from sharesim.resolve import resolve
from sharesim.simulate import simulate
from sharesim.spec.images import Segment, Segments
from sharesim.spec.paging import Direct, Nested, PagingSpec, Shadow
from sharesim.spec.policies import POLICIES, PolicySpec, SharingPolicy
from sharesim.spec.scenario import VM, Design, Host, Scenario, Sharing
from sharesim.spec.workloads import Idle, RandomAccess

ROUNDS = 24
"""Batches that the law is tested on, for each seed."""


Pair = tuple[PagingSpec, Design]
PAIRS: tuple[Pair, ...] = (
    (Nested(), "transparent"),
    (Shadow(pool=4), "transparent"),
    (Direct(), "paravirtual"),
)
"""Paging modes, each with the sharing design that works with it."""


def small_scenario(
    policy: SharingPolicy, seed: int, *, frozen: bool = False, pair: Pair = PAIRS[0]
) -> Scenario:
    """Three guests of 48 pages with much in common; they write now and then unless ``frozen``."""
    paging, design = pair
    image = Segments(
        segments=(
            Segment(size=16, shared_as="kernel", page_class="kernel"),
            Segment(size=20, zero=0.3, duplicate=0.4, patterns=3),
            Segment(size=1, pinned=True, zero=1.0),
            Segment(size=4, populated=False),
        )
    )
    work = RandomAccess(write_fraction=0.3, op_time="40 us", new_content="pool", pool=8)
    vms = tuple(
        VM(
            name=f"guest{number}",
            memory=48,
            image=image,
            workload=Idle() if frozen else work,
        )  # type: ignore[call-arg, unused-ignore]
        for number in range(3)
    )
    return Scenario(
        title="conformance",
        duration="40 ms",
        seed=seed,
        mode="exact",
        sync_quantum="10 us",
        host=Host(cpus=2, memory="2 MiB"),
        vms=vms,
        paging=paging,
        sharing=Sharing(design=design, policy=policy),
        check=True,
        events=True,
    )


def check_policy(spec: SharingPolicy, *, seeds: Iterable[int] = (1, 2)) -> None:
    """Run all checks; PolicyError for the first one that fails.

    The law is one of policies that scan at a rate, in batches that the engine asks for.
    """
    check_round_trip(spec)
    for seed in seeds:
        if isinstance(spec, PolicySpec):
            check_law(spec, seed)
        for pair in PAIRS:
            if pair[1] not in spec.designs:
                continue
            check_runs(small_scenario(_brisk(spec), seed, pair=pair))


def _brisk(spec: SharingPolicy) -> SharingPolicy:
    """The same parameters at a pace that fits a small machine."""
    if not isinstance(spec, PolicySpec):
        return spec
    return spec.model_copy(update={"scan_rate": 40_000.0, "wake_period": 1_000_000})


def _broken(spec: SharingPolicy, what: str) -> PolicyError:
    return PolicyError(f"policy '{spec.registered_name()}': {what}")


# Its description


def check_round_trip(spec: SharingPolicy) -> None:
    """The parameters survive being written as plain data and found again by name."""
    data = spec.model_dump(mode="json")
    again = POLICIES.validate(data)
    if again != spec:
        raise _broken(spec, f"its parameters do not round-trip: {spec!r} became {again!r}")


# The law: visit(a + b) answers as visit(a) followed by visit(b)


class _Twin:
    """A policy on a machine of its own, driven by hand."""

    def __init__(self, scenario: Scenario) -> None:
        self.engine = Engine(resolve(scenario), compiled=False)
        self.policy: Any = self.engine.policy

    def batch(self, budget: int) -> np.ndarray:
        """The next pages, checked for shape."""
        pages: Any = self.policy.batch(budget)
        what = "method batch: "
        if not isinstance(pages, np.ndarray) or pages.dtype != np.uint32 or pages.ndim != 1:
            raise _broken(self.policy.spec, what + f"found {pages!r:.60}; right is uint32[n]")
        if len(pages) > budget or len(np.unique(pages)) != len(pages):
            raise _broken(
                self.policy.spec,
                what + f"found {len(pages)} pages, {len(np.unique(pages))} of them different, for"
                f" a budget of {budget}",
            )
        return pages

    def visit(self, pages: np.ndarray, cuts: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
        """(partners, bills) of pages visited in as many calls as the cuts make."""
        partners, bills = [], []
        for part in np.split(pages, list(cuts)):
            if len(part) == 0:
                continue
            self.policy.view._begin(part)
            answer: Any = self.policy.visit(part)
            if (
                not isinstance(answer, np.ndarray)
                or answer.dtype != np.uint32
                or answer.shape != part.shape
            ):
                raise _broken(
                    self.policy.spec,
                    f"method visit: found {answer!r:.60} for {len(part)} pages; right is"
                    f" uint32[{len(part)}]",
                )
            partners.append(answer)
            bills.append(self.policy.view._bill.copy())
        if not partners:
            return np.zeros(0, np.uint32), np.zeros(0, np.int64)
        return np.concatenate(partners), np.concatenate(bills)

    def play(self, pages: np.ndarray, partners: np.ndarray) -> None:
        """Merge what was offered, and tell the policy."""
        memory, cost = self.engine.memory, self.engine.cost
        memory.totals[t.T_LOG_COUNT] = 0
        rows = []
        for page, partner in zip(pages.tolist(), partners.tolist(), strict=True):
            if partner == NONE:
                continue
            _ns, outcome = protect(memory, cost, page, partner, 0)
            if outcome == PENDING:
                _ns, outcome = commit(memory, cost, page, partner, 0, 0)
                release_pending(memory)
            rows.append((page, partner, int(outcome)))
        if rows:
            table = np.array(rows, np.int64)
            self.policy.merged(table[:, 0], table[:, 1], table[:, 2])

    def write(self, page: int, content: int) -> None:
        """A guest writes a page."""
        memory, cost = self.engine.memory, self.engine.cost
        vm = int(np.searchsorted(memory.vms["first"], page, side="right")) - 1
        me = int(memory.vms[vm]["vcpu_first"])
        while needs_fault(memory, cost, me, page, WRITE):
            _ns, stop, _cause = fault(memory, cost, me, page, WRITE, 0, 0)
            if stop == WAIT:
                return
        store(memory, page, np.uint64(content))


def check_law(spec: PolicySpec, seed: int) -> None:
    """Twins on equal machines, one visiting whole batches and one in pieces, always agree."""
    scenario = small_scenario(_brisk(spec), seed, frozen=True)
    whole, pieces = _Twin(scenario), _Twin(scenario)
    random = np.random.Generator(np.random.PCG64(seed))
    count = len(whole.engine.memory.pages)
    for _ in range(ROUNDS):
        budget = int(random.integers(1, 70))
        pages, same = whole.batch(budget), pieces.batch(budget)
        if not np.array_equal(pages, same):
            raise _broken(spec, "two policies that saw the same answer batch differently")
        cuts = np.sort(random.integers(0, len(pages) + 1, int(random.integers(1, 6))))
        partners, bill = whole.visit(pages, [])
        again, bill_again = pieces.visit(same, cuts)
        _compare_visits(spec, pages, (partners, bill), (again, bill_again))
        if whole.policy.page.tobytes() != pieces.policy.page.tobytes():
            raise _broken(spec, "its state of pages depends on how a batch is cut into visits")
        for twin in (whole, pieces):
            twin.play(pages, partners)
        for page in random.integers(0, count, 6).tolist():
            content = int(random.integers(0, 5))
            whole.write(page, content)
            pieces.write(page, content)
    if whole.policy.counters() != pieces.policy.counters():
        raise _broken(spec, "its counters depend on how a batch is cut into visits")


_Visit = tuple[np.ndarray, np.ndarray]


def _compare_visits(spec: PolicySpec, pages: np.ndarray, whole: _Visit, pieces: _Visit) -> None:
    for what, mine, other in zip(("partner", "ns billed"), whole, pieces, strict=True):
        wrong = np.flatnonzero(mine != other)
        if len(wrong):
            at = int(wrong[0])
            raise _broken(
                spec,
                f"method visit breaks the law visit(a + b) = visit(a), visit(b): {what} of page"
                f" {pages[at]} is {mine[at]} in one call and {other[at]} in several",
            )


# Whole runs


def check_runs(scenario: Scenario) -> None:
    """Both forms and both modes run with all invariants tested; exact forms agree in everything."""
    assert scenario.sharing is not None
    spec = scenario.sharing.policy
    exact = scenario.model_copy(update={"mode": "exact", "events": True, "check": True})
    first = simulate(exact)
    difference = run_difference(first, simulate(exact))
    if difference:
        raise _broken(spec, f"two runs of one scenario differ: {difference}")
    difference = run_difference(first, simulate(exact, compiled=False))
    if difference:
        raise _broken(spec, f"its compiled and its array form differ: {difference}")
    loose = exact.model_copy(update={"mode": "decoupled"})
    for run in (first, simulate(loose), simulate(loose, compiled=False)):
        wrong = int(run.summary["counters"]["wrong_merges"])
        if spec.hashing()[2] and wrong:
            raise _broken(spec, f"{wrong} merges of different pages though bytes are compared")


def run_difference(one: Any, other: Any) -> str:
    """Where two runs differ, in words; empty when they do not."""
    for what in ("events", "timeline"):
        difference = table_difference(getattr(one, what), getattr(other, what))
        if difference:
            return f"{what}, {difference}"
    for key in one.summary:
        if one.summary[key] != other.summary[key]:
            return f"summary, {key}: {one.summary[key]} and {other.summary[key]}"
    return ""


def table_difference(one: Any, other: Any) -> str:
    """Where two data frames differ, in words; empty when they do not."""
    if list(one.columns) != list(other.columns):
        return f"columns {list(one.columns)} and {list(other.columns)}"
    rows = min(len(one), len(other))
    left, right = one.iloc[:rows].reset_index(drop=True), other.iloc[:rows].reset_index(drop=True)
    unequal = ~((left == right) | (left.isna() & right.isna())).to_numpy()
    if unequal.any():
        row = int(np.flatnonzero(unequal.any(axis=1))[0])
        names = [name for name, differs in zip(one.columns, unequal[row], strict=True) if differs]
        mine = {name: left[name][row] for name in names}
        theirs = {name: right[name][row] for name in names}
        return f"row {row} at {left['time_ns'][row]} ns: {mine} and {theirs}"
    if len(one) != len(other):
        return f"{len(one)} rows and {len(other)}"
    return ""
