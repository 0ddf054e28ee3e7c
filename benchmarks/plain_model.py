"""The same simulation as a user would write it in plain SimPy, to compare the engine with.

One timeout for each page access and each page the scanner visits, Python lists and dicts for
memory, no resource, no kernel. It draws the same numbers as the engine and keeps the same rules, so
at the end its counters must be equal; where it takes short cuts (guests of one vCPU that access
pages at random, one page-table entry a page, nobody interrupted by flushes, a CPU for everybody),
the scenarios of :mod:`benchmarks.cases` stay within them.
"""

from collections.abc import Generator
from typing import Any

import simpy

from sharesim.content.digests import seed_of
from sharesim.content.mixing import stable_hash64
from sharesim.guest.layout import lay_out
from sharesim.resolve import resolve
from sharesim.spec.policies import Cbps
from sharesim.spec.scenario import VM, Scenario
from sharesim.spec.workloads import RandomAccess

Steps = Generator[simpy.Event, Any, None]

MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15
FRACTION = (1 << 24) - 1
READ_ONLY, PROTECTED, REFILL = 1, 2, 4
ZERO = -1
"""As a partner: the zero page."""


def mix64(x: int) -> int:
    """SplitMix64's output function, in Python's integers."""
    z = (x + GAMMA) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def combine(a: int, b: int) -> int:
    """One number from two."""
    return mix64(mix64(a) ^ b)


def stream(seed: int, *parts: int | str) -> int:
    """The key of a stream of draws."""
    for part in parts:
        seed = combine(seed, stable_hash64(part) if isinstance(part, str) else part)
    return seed


class PlainModel:
    """Guests and a scanner over lists that stand for memory."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario = resolve(scenario)
        self.env = simpy.Environment(0)
        self.costs = dict(scenario.host.costs.table or {})
        self.content: list[int] = []  # of each frame
        self.sharers: list[int] = []  # pages that map each frame
        self.free: list[int] = []
        self.frame: list[int] = []  # of each page
        self.state: list[int] = []  # of each page: READ_ONLY, PROTECTED, REFILL
        self.scanned_pages: list[int] = []
        self.zero_frame = -1
        self.accesses = self.writes = self.pages_scanned = 0
        self.merges = self.merge_aborted = self.cow_breaks = 0
        for row, vm in enumerate(scenario.vms):
            self._add_guest(row, vm)
        self._add_scanner()

    def _add_guest(self, row: int, vm: VM) -> None:
        first = len(self.frame)
        contents = lay_out(vm, "4 KiB").contents.tolist()
        self.content += contents
        self.sharers += [1] * len(contents)
        self.frame += range(first, first + len(contents))
        self.state += [0] * len(contents)
        if vm.mergeable:
            self.scanned_pages += range(first, first + len(contents))
        if isinstance(vm.workload, RandomAccess):
            self.env.process(self.guest(row, vm, vm.workload, first, len(contents)))

    def _add_scanner(self) -> None:
        if not self.scenario.shares or self.scenario.sharing is None:
            return
        policy = self.scenario.sharing.policy
        assert isinstance(policy, Cbps)
        self.digest_seed = seed_of(policy.digest)
        self.digest_shift = 64 - policy.digest_width
        self.digest_cost = self.costs[f"digest_{policy.digest}_cold"]
        self.zero_digest = self.digest_of(0)
        self.digest = [-1] * len(self.frame)  # as last seen, -1: never
        self.dirty = [False] * len(self.frame)  # written since
        self.table: dict[int, list[int]] = {}  # pages by digest
        self.env.process(self.scanner(policy))

    def run(self) -> None:
        """Run it up to its end; what would start then does not."""
        self.env.run(until=self.scenario.duration)

    def counters(self) -> dict[str, int]:
        """What it counted, by the engine's names."""
        return {
            "accesses": self.accesses,
            "writes": self.writes,
            "pages_scanned": self.pages_scanned,
            "merges": self.merges,
            "merge_aborted": self.merge_aborted,
            "cow_breaks": self.cow_breaks,
            "saved_pages": sum(count - 1 for count in self.sharers if count > 1),
        }

    # Guests

    def guest(self, row: int, vm: VM, work: RandomAccess, first: int, span: int) -> Steps:
        """A guest's only vCPU: access, compute, access, compute ..."""
        timeout, state, frame, content = self.env.timeout, self.state, self.frame, self.content
        dirty = self.dirty if self.scenario.shares else [False] * len(frame)
        seed = self.scenario.seed
        access_key, content_key = stream(seed, vm.name, 0, 0, 1), stream(seed, vm.name, 0, 0, 2)
        write_share = round(work.write_fraction * (1 << 24))
        gap, index = work.op_time, 0
        yield timeout(combine(seed, row + 1) % 1_000)
        while True:
            draw = mix64(access_key + index * GAMMA & MASK)
            page = first + ((draw >> 32) * span >> 32)
            write = draw & FRACTION < write_share
            now = state[page]
            while now & REFILL or (write and now):
                yield timeout(self.fault(page, write))
                now = state[page]
            if write:
                content[frame[page]] = mix64(content_key + index * GAMMA & MASK) | 1
                dirty[page] = True
                self.writes += 1
            self.accesses += 1
            index += 1
            yield timeout(gap)

    def fault(self, page: int, write: bool) -> int:
        """Serve a fault; returns its ns."""
        costs, state = self.costs, self.state[page]
        ns = costs["exit"] + costs["violation_handler"]
        if write and state & PROTECTED:
            self.state[page] &= ~(PROTECTED | REFILL)
            return ns + costs["entry_protect"]
        if write and state & READ_ONLY:
            return ns + self.cow_break(page)
        self.state[page] &= ~REFILL
        return ns + costs["entry_update"]

    def cow_break(self, page: int) -> int:
        """A private copy for the page, or the frame itself for its last sharer; returns ns."""
        costs, frame = self.costs, self.frame[page]
        ns = costs["entry_update"]
        if self.sharers[frame] == 1:
            if frame == self.zero_frame:
                self.zero_frame = -1
        else:
            content = self.content[frame]
            ns += costs["frame_alloc"]
            ns += costs["copy_cold"] if content else costs["zero_fill_cold"]
            self.sharers[frame] -= 1
            fresh = self.free.pop()
            self.content[fresh] = content
            self.sharers[fresh] = 1
            self.frame[page] = fresh
        self.state[page] = 0
        self.cow_breaks += 1
        return ns

    # The scanner

    def digest_of(self, content: int) -> int:
        """The simulated digest."""
        return mix64(content ^ self.digest_seed) >> self.digest_shift

    def scanner(self, policy: Cbps) -> Steps:
        """Wake each period, visit what the rate asks for, merge what is found equal."""
        env, count = self.env, len(self.scanned_pages)
        rate, period = round(policy.scan_rate * 1000), policy.wake_period
        wake, position = 0, count
        while True:
            budget = (wake + period) * rate // 10**12 - wake * rate // 10**12
            refused: list[tuple[int, int]] = []
            for _ in range(budget):
                if position == count:
                    self.table.clear()
                    position = 0
                page = self.scanned_pages[position]
                position += 1
                ns, partner = self.visit(page)
                yield env.timeout(ns)
                if partner is not None:
                    yield from self.merge(page, partner, refused)
            self.replace(refused)
            wake += period
            now = int(env.now)
            if now > wake:
                wake += (now - wake) // period * period
            elif wake > now:
                yield env.timeout(wake - now)

    def visit(self, page: int) -> tuple[int, int | None]:
        """Hash a page and look for its like: (ns, partner)."""
        self.pages_scanned += 1
        ns, frame = self.costs["scan_step"], self.frame[page]
        if frame == self.zero_frame:
            return ns, None
        if self.digest[page] < 0 or self.dirty[page] or self.sharers[frame] == 1:
            ns += self.digest_cost
            self.digest[page] = self.digest_of(self.content[frame])
            self.dirty[page] = False
        if self.digest[page] == self.zero_digest:
            return ns, ZERO
        more, partner = self.look_up(page, frame)
        return ns + more, partner

    def look_up(self, page: int, frame: int) -> tuple[int, int | None]:
        """A page of the same digest and contents, or none and the page is entered."""
        costs, ns = self.costs, self.costs["table_lookup"]
        entries = self.table.setdefault(self.digest[page], [])
        for other in entries:
            if self.frame[other] == frame:
                return ns, None
            if self.content[self.frame[other]] == self.content[frame]:
                return ns + costs["compare_equal_cold"], other
            ns += costs["compare_differ_cold"]
        entries.append(page)
        return ns + costs["table_insert"], None

    def merge(self, page: int, partner: int, refused: list[tuple[int, int]]) -> Steps:
        """Protect both pages, look again, remap one."""
        pages = (page,) if partner == ZERO else (page, partner)
        ns = 0
        for one in pages:
            if not self.state[one] & READ_ONLY:
                self.state[one] |= PROTECTED
                ns += self.costs["entry_protect"]
        yield self.env.timeout(ns)
        ns, freed = self.commit(page, partner, pages, refused)
        yield self.env.timeout(ns)
        if freed is not None:
            self.free.append(freed)

    def commit(
        self, page: int, partner: int, pages: tuple[int, ...], refused: list[tuple[int, int]]
    ) -> tuple[int, int | None]:
        """Merge if nobody wrote meanwhile: (ns, the frame that falls free when they are over)."""
        costs, state = self.costs, self.state
        intact = all(state[one] & (PROTECTED | READ_ONLY) for one in pages)
        wanted = 0 if partner == ZERO else self.content[self.frame[partner]]
        equal = intact and self.content[self.frame[page]] == wanted
        ns = 0
        if intact and partner == ZERO:
            ns = costs["zero_check_hot"]
        elif intact:
            ns = costs["compare_equal_hot"] if equal else costs["compare_differ_cold"]
        if not equal:
            self.merge_aborted += 1
            refused.append((page, partner))
            for one in pages:
                if state[one] & PROTECTED:
                    state[one] &= ~PROTECTED
                    ns += costs["entry_protect"]
            return ns, None
        ns += costs["entry_update"]
        if partner == ZERO and self.zero_frame < 0:  # from now on the others are merged with it
            self.zero_frame = self.frame[page]
            state[page] = READ_ONLY | state[page] & REFILL
            return ns, None
        self.merges += 1
        target = self.zero_frame
        if partner != ZERO:
            if self.sharers[self.frame[page]] > self.sharers[self.frame[partner]]:
                page, partner = partner, page
            state[partner] = READ_ONLY | state[partner] & REFILL
            target = self.frame[partner]
        freed = self.move(page, target)
        return ns if freed is None else ns + costs["frame_free"], freed

    def move(self, page: int, target: int) -> int | None:
        """Map a page to another frame; the frame it had, if nobody maps that any more."""
        old = self.frame[page]
        self.sharers[old] -= 1
        self.frame[page] = target
        self.sharers[target] += 1
        self.state[page] = READ_ONLY | REFILL
        if self.sharers[old]:
            return None
        if old == self.zero_frame:
            self.zero_frame = -1
        return old

    def replace(self, refused: list[tuple[int, int]]) -> None:
        """After a batch: a stale entry makes way for the page that found it so."""
        for page, stale in refused:
            entries = self.table.get(self.digest[page], [])
            if stale in entries:
                entries[entries.index(stale)] = page
