"""Content-based page sharing as the 2006 thesis discovered pages, with compare-by-hash or not.

Each page of a pass is hashed and looked up in a table. In an interval pass only digests of one of
``passes`` intervals are entered, so that a table for a fraction of memory is enough; it is cleared
after each pass (Kloster, Kristensen and Mejlholm 2006, as taken over by Difference Engine, OSDI
2008). The stability rule is KSM's: a page is entered only when its digest did not change since its
last visit.

The class is the array form; :mod:`sharesim.sharing.cbps_kernel` is the same policy compiled. The
test suite runs both.
"""

import numpy as np

from sharesim.content.mixing import combine
from sharesim.hypervisor.merge import ABORTED, FALSE_MATCH, INELIGIBLE
from sharesim.machine.tables import NONE, ZERO
from sharesim.sharing.cbps_kernel import SCAN_ROW, interval_of, slot_of
from sharesim.sharing.order import page_block
from sharesim.sharing.policy import Pages, Policy, View


class CbpsPolicy(Policy):
    """The array form, and the state that both forms share."""

    PAGE = np.dtype([("digest", "<u8"), ("known", "u1")])
    name = "cbps"

    def start(self, view: View, random: np.random.Generator) -> None:
        super().start(view, random)
        spec = self.spec
        self.scans = np.zeros(1, SCAN_ROW)
        self._row = row = self.scans[0]
        row["random"] = int(spec.order == "random")
        row["passes"], row["stable"] = spec.passes, int(spec.stable)
        row["zero_pages"] = int(spec.zero_pages)
        row["bound"] = spec.entries(view.pages)
        self.table = np.full(int(row["bound"] * 4 // 3) + 2, NONE, np.uint32)
        self.pass_number = -1
        self._told = True
        """The end of a pass has been told, by a short batch: the next batch begins another."""
        self._seed = np.uint64(random.integers(0, 1 << 63))
        self.ranges = np.zeros((0, 2), np.int64)
        self.starts = np.zeros(0, np.int64)

    def next_pass(self) -> None:
        """Clear the table and go on with the next interval, over the guests there are now."""
        row = self._row
        self.pass_number += 1
        row["interval"] = self.pass_number % self.spec.passes
        self.table.fill(NONE)
        row["entries"] = row["position"] = 0
        self.ranges = self.view.ranges.copy()
        self.starts = np.concatenate(([0], np.cumsum(self.ranges[:, 1])))[: len(self.ranges)]
        row["count"] = int(self.ranges[:, 1].sum())
        row["key"] = combine(self._seed, np.uint64(self.pass_number))

    def batch(self, budget: int) -> Pages:
        row = self._row
        if self._told:
            self.next_pass()
        size = min(budget, int(row["count"] - row["position"]))
        self._told = size < budget
        block = np.zeros(size, np.uint32)
        page_block(
            self.ranges, self.starts, row["position"], row["count"],
            bool(row["random"]), row["key"], block,
        )  # fmt: skip
        row["position"] += size
        return block

    def visit(self, pages: Pages) -> Pages:
        view, row = self.view, self._row
        partners = np.full(len(pages), NONE, np.uint32)
        view.spend(pages, view.price("scan_step"))
        asked = ~view.pinned(pages)
        if self.spec.zero_pages:
            asked &= ~view.is_zero_frame(pages)
        digests, unstable = self._digests(pages, asked)
        row["unstable"] += int(unstable.sum())
        asked &= ~unstable
        if self.spec.zero_pages:
            zero = asked & (digests == np.uint64(view.zero_digest()))
            partners[zero] = ZERO
            asked &= ~zero
        interval, bits, passes = int(row["interval"]), self.spec.digest_width, self.spec.passes
        for at in np.flatnonzero(asked):
            if interval_of(digests[at], bits, passes) == interval:
                partners[at] = self._look_up(pages[at : at + 1], digests[at])
        return partners

    def _digests(self, pages: Pages, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Digests of the pages asked for, and which of them the stability rule holds back.

        A shared frame that was hashed before cannot have changed and is not hashed again.
        """
        state, view = self.page, self.view
        known = state["known"][pages] != 0
        again = asked & ~(view.shared(pages) & known & ~view.dirty(pages))
        digests = state["digest"][pages].copy()
        digests[again] = view.digest(pages[again])
        self._row["hashed"] += int(again.sum())
        changed = (digests != state["digest"][pages]) | ~known
        state["digest"][pages[again]] = digests[again]
        state["known"][pages[again]] = 1
        return digests, again & changed & bool(self.spec.stable)

    def _look_up(self, page: Pages, digest: np.uint64) -> int:
        view, table, row = self.view, self.table, self._row
        view.spend(page, view.price("table_lookup"))
        slot = int(slot_of(table, digest))
        while table[slot] != NONE:
            other = table[slot : slot + 1]
            if self.page["digest"][other[0]] == digest:
                if view.same_frame(page, other)[0]:  # they share it already
                    return NONE
                if not self.spec.verify:
                    return int(other[0])
                row["compared"] += 1
                if view.equal(page, other)[0]:
                    return int(other[0])
            slot = (slot + 1) % len(table)
        if row["entries"] >= row["bound"]:
            row["full"] += 1
            return NONE
        table[slot] = page[0]
        row["entries"] += 1
        view.spend(page, view.price("table_insert"))
        return NONE

    def merged(self, pages: Pages, partners: Pages, outcomes: np.ndarray) -> None:
        """A stale entry makes way for the page that found it so."""
        stale = (outcomes == ABORTED) | (outcomes == INELIGIBLE) | (outcomes == FALSE_MATCH)
        for page, partner in zip(pages[stale].tolist(), partners[stale].tolist(), strict=True):
            if partner < ZERO:
                self._replace(partner, page)

    def _replace(self, stale: int, page: int) -> None:
        digest = self.page["digest"][page]
        if self.page["digest"][stale] != digest:
            return
        slot = int(slot_of(self.table, digest))
        while self.table[slot] != NONE:
            if self.table[slot] == stale:
                self.table[slot] = page
                return
            slot = (slot + 1) % len(self.table)

    def counters(self) -> dict[str, int]:
        row = self._row
        return {
            "pages_hashed": int(row["hashed"]),
            "pages_compared": int(row["compared"]),
            "pages_unstable": int(row["unstable"]),
            "table_entries": int(row["entries"]),
            "table_full": int(row["full"]),
        }
