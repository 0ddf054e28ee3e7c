"""R31: compare-by-hash, which trusts equal digests: how many pages it merges wrongly.

ESX tells in a footnote how many pages it takes until two of them are likely to have one digest
(Waldspurger, OSDI 2002), and compares bytes; Henson (HotOS 2003) warned of not doing so. What an
ideal digest must give is the birthday law, :mod:`sharesim.content.birthday`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from sharesim.content.birthday import Birthday, even_odds
from sharesim.content.digests import seed_of, simulated_digest
from sharesim.guest.layout import lay_out
from sharesim.kernel import Number, njit
from sharesim.results.run import Run
from sharesim.spec.images import Segment, Segments
from sharesim.spec.policies import Cbps
from sharesim.spec.scenario import VM, Host, Scenario, Sharing
from sharesim.study import Row, Study

RATE = 50_000
"""Pages scanned per second: slow enough for a CPU that has much to merge or to compare."""
SIGMAS = 4
"""Standard deviations by which a judged figure may be off."""
LEAST_PAIRS = 400
"""Colliding pairs that must be expected where a figure is judged."""
_SOURCE = "R31: compare-by-hash"
_ESX = "R31: ESX, OSDI 2002, footnote: chance of a collision"
_BITS_IN_TURN, _ROOT_BITS = 16, 8
_APART = {digest: f"apart-{digest}" for digest in ("sfh", "mmh3", "jhash2")}
"""Runs that tell whether functions of one width collide on the same pages."""


def unlike_pages(
    pages: int, *, bits: int | None = None, digest: str = "sfh", verify: bool = False,
    zero_pages: bool = False, guest: str = "guest", passes: float = 1.0, **settings: Any,
) -> Scenario:  # fmt: skip
    """A guest of pages that all differ, nobody writes to, and a scanner goes over ``passes`` times.

    The guest's name decides its contents. ``settings`` are further fields of the scenario.
    """
    policy = Cbps(
        scan_rate=RATE, digest=digest, digest_bits=bits, verify=verify, zero_pages=zero_pages
    )
    end = round((passes + 0.02) * pages / RATE * 1e9) + 2 * policy.wake_period
    return Scenario(
        title=f"{pages:,} unlike pages, {digest} of {policy.digest_width} bits",
        duration=end,
        sample_every=end // 4,  # what could be shared is counted at each
        host=Host(cpus=1),
        vms=[VM(name=guest, image=Segments(segments=(Segment(size=pages),)))],
        sharing=Sharing(policy=policy),
        **settings,
    )


def guests_in_turn(count: int, pages: int, bits: int) -> Scenario:
    """Guests of unlike pages, one after another, each there for some passes of the scanner.

    They never run together, and a pass begins with an empty table: each guest is an experiment of
    its own.
    """
    policy = Cbps(
        scan_rate=100_000, wake_period="2 ms", digest_bits=bits, verify=False, zero_pages=False
    )
    # What is left of the pass over the guest before, a whole pass of its own, and room.
    stay = round(3 * pages / policy.scan_rate * 1e9) + 2 * policy.wake_period
    image = Segments(segments=(Segment(size=pages),))
    return Scenario(
        title=f"{count:,} guests of {pages} unlike pages in turn, {bits}-bit digests",
        duration=count * stay,
        sample_every=count * stay,
        host=Host(cpus=1),
        vms=[
            VM(name=f"guest{turn}", image=image, start=turn * stay, stop=(turn + 1) * stay)
            for turn in range(count)
        ],
        sharing=Sharing(policy=policy),
    )


@njit
def _digest_each(contents: np.ndarray, seed: Number, bits: Number, out: np.ndarray) -> Any:
    for at in range(len(contents)):
        out[at] = simulated_digest(np.uint64(contents[at]), np.uint64(seed), bits)


def counted(run: Run) -> tuple[int, int]:
    """(colliding pairs, repeats) among a guest's contents, counted by sorting their digests."""
    assert run.scenario.sharing is not None
    policy = run.scenario.sharing.policy
    contents = lay_out(run.scenario.vms[0], run.scenario.host.backing).contents
    digests = np.zeros(len(contents), np.uint64)
    _digest_each(contents, np.uint64(seed_of(policy.digest)), policy.digest_width, digests)
    counts = np.unique(digests, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum()), len(contents) - len(counts)


def merged_pages(run: Run) -> set[int]:
    """The pages that were merged with an earlier one; the run must have recorded its events."""
    events = run.events
    return set(events.loc[events.kind == "merge", "page"].tolist())


@dataclass(frozen=True)
class Case:
    """Guests of unlike pages, each with other contents, and a digest to trust."""

    digest: str
    bits: int
    guests: int = 1
    """How many, each in a run of its own; what they give is added up."""
    pages: int = 1 << 19
    """2 GiB by default."""

    @property
    def law(self) -> Birthday:
        """What an ideal digest gives for one guest."""
        return Birthday(self.pages, self.bits)

    @property
    def shown(self) -> str:
        """For people."""
        number = f"{self.guests} times " if self.guests > 1 else ""
        return f"{number}{self.pages:,} contents, {self.digest} at {self.bits} bits"

    def names(self) -> list[str]:
        """Of its runs."""
        return [f"{self.digest}-{self.bits}-{guest + 1}" for guest in range(self.guests)]

    def scenario(self, guest: int, *, verify: bool = False) -> Scenario:
        """Its run number ``guest``, or the same with bytes compared."""
        return unlike_pages(
            self.pages, digest=self.digest, bits=self.bits, verify=verify,
            guest=f"guest-{guest + 1}",
        )  # fmt: skip


CASES = (
    Case("sfh", 18),
    Case("mmh3", 18, 2),
    Case("xxh3", 20),
    Case("jhash2", 24),
    Case("crc32", 28),
    Case("sfh", 32, 13),
)


@dataclass
class Collisions(Study):
    """Guests of pages that all differ, under digests that are too short."""

    name: ClassVar[str] = "collisions"
    title: ClassVar[str] = "Compare-by-hash: wrong merges follow the birthday law"
    cases: tuple[Case, ...] = CASES
    """The first one is also run with bytes compared."""
    apart: Case = Case("", 18, pages=1 << 17)
    """Under which several functions are compared with each other."""
    turns: tuple[int, int] = (850, 600)
    """Guests in turn of as many pages as ESX names, and of those that give even odds: so many that
    enough pairs are expected."""

    def runs(self) -> dict[str, Scenario]:
        runs = {
            name: case.scenario(guest)
            for case in self.cases
            for guest, name in enumerate(case.names())
        }
        runs["verify"] = self.cases[0].scenario(0, verify=True)
        for digest, name in _APART.items():
            pages, bits = self.apart.pages, self.apart.bits
            runs[name] = unlike_pages(pages, bits=bits, digest=digest, events=True)
        root, even = self.turns
        runs["in-turn-root"] = guests_in_turn(root, 1 << _ROOT_BITS, _BITS_IN_TURN)
        runs["in-turn-even"] = guests_in_turn(even, even_odds(_BITS_IN_TURN), _BITS_IN_TURN)
        return runs

    def rows(self, runs: Mapping[str, Run]) -> list[Row]:
        return [
            *_by_the_law(self.cases, runs),
            *_of_verifying(self.cases[0], runs),
            *_apart(self.apart.law, runs),
            *_odds(runs),
        ]

    def notes(self, runs: Mapping[str, Run]) -> list[str]:
        return [
            "The digests of a run are ideal functions of the content's number, seeded by the"
            " function's name. A real function is at best as good.",
            "Not run: 2^24 pages under 64 bits. Where a chance is below 0.01 %, no number of runs"
            " that can be made would show it.",
            "n contents under b bits: pairs n(n - 1)/2^(b + 1), of variance pairs (1 - 2^-b); wrong"
            " merges n - m (1 - p) with m = 2^b and p = (1 - 1/m)^n, of variance"
            " m (m - 1)(1 - 2/m)^n + m p - m² p².",
            f"Where {LEAST_PAIRS} pairs or more are expected, a figure must be within {SIGMAS}"
            " standard deviations. Pairs are counted from the digests of the contents, wrong"
            " merges by the run.",
        ]


def _by_the_law(cases: Sequence[Case], runs: Mapping[str, Run]) -> list[Row]:
    """Pairs and wrong merges of each case, summed over its guests, beside the law."""
    pairs, merges, repeats = [], [], []
    for case in cases:
        mine = [runs[name] for name in case.names()]
        counts = [counted(run) for run in mine]
        wrong = sum(run.summary["counters"]["wrong_merges"] for run in mine)
        law, guests, root = case.law, case.guests, math.sqrt(case.guests)
        expect = partial(judged, pairs_expected=guests * law.pairs)
        pairs.append(
            expect(
                f"{_SOURCE}, colliding pairs", case.shown, guests * law.pairs,
                sum(pairs for pairs, _ in counts), root * law.pairs_spread,
            )
        )  # fmt: skip
        merges.append(
            expect(
                f"{_SOURCE}, wrong merges", case.shown, guests * law.repeats, wrong,
                root * law.repeats_spread,
            )
        )  # fmt: skip
        repeats.append(
            Row(
                f"{_SOURCE}, wrong merges counted from digests", case.shown,
                sum(repeats for _, repeats in counts), wrong, relation="equal", mark="counted",
            )
        )  # fmt: skip
    return [*pairs, *merges, *repeats]


def judged(
    source: str, figure: str, expected: float, simulated: float | None, spread: float, *,
    pairs_expected: float,
) -> Row:  # fmt: skip
    """A row within four standard deviations; shown only where too few pairs are expected."""
    if pairs_expected < LEAST_PAIRS:
        note = f"fewer than {LEAST_PAIRS} pairs expected"
        return Row(source, figure, expected, simulated, mark="derived", note=note)
    within = max(SIGMAS * spread, 1e-9 * expected)  # what floats can tell apart
    return Row(source, figure, expected, simulated, within=within, mark="derived")


def _of_verifying(case: Case, runs: Mapping[str, Run]) -> list[Row]:
    trusted = runs[case.names()[0]].summary["counters"]
    verified = runs["verify"].summary["counters"]
    return [
        Row(
            f"{_SOURCE}, corrupted pages", f"{case.shown}, trusted", trusted["wrong_merges"],
            trusted["corrupted_pages"], relation="equal", mark="derived",
            note="nobody writes, so each wrong merge leaves a page wrong",
        ),
        Row(
            f"{_SOURCE}, corrupted pages", f"{case.shown}, bytes compared", 0,
            verified["corrupted_pages"], relation="equal", mark="derived",
            note=f"{verified['false_matches']:,} equal digests of unequal pages were met",
        ),
    ]  # fmt: skip


def _apart(law: Birthday, runs: Mapping[str, Run]) -> list[Row]:
    """Pages that are merged wrongly under both of two functions, which only chance can do.

    The i-th page scanned is merged with one of the i before it with probability 1 - (1 - 1/m)^i
    under either function. The spread takes pages for independent, which they nearly are.
    """
    merged = {digest: merged_pages(runs[name]) for digest, name in _APART.items()}
    both = np.expm1(np.arange(law.pages) * math.log1p(-(2.0**-law.bits))) ** 2
    spread = math.sqrt(float((both * (1 - both)).sum()))
    first, *others = _APART
    return [
        judged(
            f"{_SOURCE}, pages merged wrongly under both of two functions",
            f"{law.pages:,} pages, {first} and {other} at {law.bits} bits", float(both.sum()),
            len(merged[first] & merged[other]), spread, pairs_expected=law.pairs,
        )
        for other in others
    ]  # fmt: skip


def _odds(runs: Mapping[str, Run]) -> list[Row]:
    """Of many guests, how many had a collision at all."""
    note = "one half at about 2^(b/2) pages; by the law at 1.18 times as many"
    figure = f"2^{_ROOT_BITS} pages at {_BITS_IN_TURN} bits"
    half = Row(_ESX, figure, 0.5, _share_hit(runs["in-turn-root"]), mark="quoted", note=note)
    rows = []
    for name in ("in-turn-root", "in-turn-even"):
        vms = runs[name].scenario.vms
        law = Birthday(vms[0].memory or 0, _BITS_IN_TURN)
        rows.append(
            judged(
                f"{_SOURCE}, chance of a collision", f"{law.pages} pages at {law.bits} bits",
                law.chance, _share_hit(runs[name]),
                math.sqrt(law.chance * (1 - law.chance) / len(vms)),
                pairs_expected=len(vms) * law.pairs,
            )
        )  # fmt: skip
    return [*rows, half]


def _share_hit(run: Run) -> float:
    """Share of the guests that had a page merged."""
    timeline = run.timeline
    guests = timeline[timeline.entity.isin([vm.name for vm in run.scenario.vms])]
    return float((guests.groupby("entity").merged.max() > 0).mean())


def study() -> Study:
    """As ``sharesim reproduce collisions`` runs it."""
    return Collisions()
