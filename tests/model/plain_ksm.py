"""Linux's ksmd written down slowly: objects, a linked red-black tree, no arrays, no engine.

What the compiled policy does is compared with it. Contents are integers, and their order is the
order of the pages' bytes. A batch happens all at one instant; its CPU time, if costs are given,
only delays the next one. Forked memory is left out.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from math import exp
from typing import Any

from tests.model.plain_memory import (
    MERGED,
    MS,
    PRIVATE,
    SECOND,
    ZEROED,
    Item,
    Knobs,
    Page,
    Process,
    StableNode,
)
from tests.model.plain_stable import StableTree
from tests.model.plain_unstable import IdealSet, Unstable, UnstableTree

ITEM_BYTES = 64
RUN, UNMERGE = 1, 2
WARM_PAGES = 800
COUNTED = (
    "pages_shared", "pages_sharing", "pages_unshared", "rmap_items", "pages_scanned",
    "pages_skipped", "full_scans", "ksm_zero_pages", "stable_node_chains", "stable_node_dups",
    "cow_ksm",
)  # fmt: skip
Costs = dict[str, tuple[float, float]]


class PlainKsm:
    """ksmd, its trees and its counters. ``tick``: a timer tick, ns; ``costs``: see ``charge``."""

    def __init__(self, knobs: Knobs, tick: int = 4 * MS, costs: Costs | None = None) -> None:
        self.knobs = knobs
        self.tick = tick
        self.costs = costs or {}
        self.now = 0
        self.wake_at: int | None = None
        self.cpu = 0.0
        self.awake = 0
        self.scan_list: list[Process] = []
        self.cursor: Process | None = None
        self.position = 0
        self.count = Counter(dict.fromkeys(COUNTED, 0))
        self.stable = self._new_stable_tree()
        self.unstable = self._new_unstable()
        self.scan_start = 0
        self.advice = (0, 0, 0.0)
        self._start_advisor(knobs.pages_to_scan)

    def _new_stable_tree(self) -> StableTree:
        return StableTree(self.knobs, self.count, self.tick, self.charge)

    def _new_unstable(self) -> Unstable:
        return (IdealSet if self.knobs.unstable == "set" else UnstableTree)(self.charge)

    # Time

    def run_until(self, time: int) -> Iterator[int]:
        """Batches that begin before that time; after each of them its time is yielded."""
        while self.wake_at is not None and self.wake_at < time:
            self.now = self.stable.now = self.wake_at
            self.wake_up()
            yield self.now
        self.now = time

    def wake_up(self) -> None:
        """A turn of the wake loop: a batch, if there is work, and then to sleep."""
        cpu = self.cpu
        if self.has_work:
            self.batch()
        end = self.now + int(self.cpu - cpu)
        self.wake_at = self.end_of_sleep(end) if self.has_work else None

    def end_of_sleep(self, now: int) -> int:
        """When the timer wheel ends a sleep that begins now."""
        if self.knobs.sleep_millisecs == 0:
            return now
        jiffies = -(-self.knobs.sleep_millisecs * MS // self.tick)
        grain = 1
        while jiffies >= 63 * grain:
            grain *= 8
        return ((now // self.tick + jiffies) // grain + 1) * grain * self.tick

    @property
    def has_work(self) -> bool:
        """Whether ksmd scans, or would if it were awake."""
        return self.knobs.run == RUN and bool(self.scan_list)

    def charge(self, event: str, times: float = 1) -> None:
        """CPU time of an event: ``costs`` has its warm cost and what cold caches add, ns.

        Caches warm up with each page that is examined after a sleep.
        """
        if event in self.costs:
            warm, cold = self.costs[event]
            self.cpu += times * (warm + cold * exp(-self.awake / WARM_PAGES))

    # What processes and the administrator do

    def register(self, process: Process) -> None:
        """All of its memory becomes mergeable."""
        self.advise(process, "mergeable", 0, process.size)

    def advise(self, process: Process, advice: str, first: int, count: int) -> None:
        """MADV_MERGEABLE or MADV_UNMERGEABLE of a range."""
        for page in process.pages[first : first + count]:
            page.mergeable = advice == "mergeable"
            if advice == "unmergeable":
                self._break(page)
        if advice == "mergeable" and process not in self.scan_list:
            at = len(self.scan_list) if self.cursor is None else self.scan_list.index(self.cursor)
            self.scan_list.insert(at, process)
            self._rouse()

    def write(self, process: Process, number: int, content: int) -> None:
        """The process overwrites a page."""
        page = process.pages[number]
        self._break(page)
        page.content, page.kind = content, PRIVATE

    def exit(self, process: Process) -> None:
        """The process ends; ksmd cleans up after it when its cursor gets there."""
        process.exited = True
        for page in process.pages:
            self._unmap(page)
            page.mergeable = False
        if process not in self.scan_list or process is self.cursor:
            return
        self.scan_list.remove(process)
        if process.items:
            after = 0 if self.cursor is None else self.scan_list.index(self.cursor) + 1
            self.scan_list.insert(after, process)

    def change_knob(self, name: str, value: Any) -> None:
        """Write to a file of sysfs; nothing happens if the kernel would refuse it."""
        knobs, before = self.knobs, getattr(self.knobs, name)
        if name == "pages_to_scan" and knobs.advisor_mode == "scan-time":
            return
        if name == "max_page_sharing" and self.count["pages_shared"]:
            return
        setattr(knobs, name, value)
        if name == "advisor_mode" and value != before:
            self._start_advisor(100)
        elif name == "run":
            if value == UNMERGE != before:
                self._unmerge_everything()
            self._rouse()
        elif name == "sleep_millisecs" and value != before and self.wake_at is not None:
            self.wake_at = self.now

    def _rouse(self) -> None:
        """Wake ksmd if it waits for work, and not if it sleeps between batches."""
        if self.wake_at is None and self.has_work:
            self.wake_at = self.now

    def _break(self, page: Page) -> None:
        """A page that KSM had merged becomes private; its content stays."""
        if page.kind == MERGED:
            self.count["cow_ksm"] += 1
        if page.kind in (MERGED, ZEROED):
            content = page.content
            self._unmap(page)
            page.content, page.kind = content, PRIVATE

    def _unmap(self, page: Page) -> None:
        if page.node is not None:
            page.node.mappings -= 1
        self.count["ksm_zero_pages"] -= page.kind == ZEROED
        page.content = page.kind = page.node = None

    def _unmerge_everything(self) -> None:
        """run = 2."""
        for process in self.scan_list:
            for page in process.pages:
                self._break(page)
                if page.item is not None:
                    self._free(page)
        self.scan_list = [process for process in self.scan_list if not process.exited]
        self.cursor = None
        self.stable, self.unstable = self._new_stable_tree(), self._new_unstable()
        for name in ("full_scans", "stable_node_chains", "stable_node_dups"):
            self.count[name] = 0

    # Scanning

    def batch(self) -> int:
        """Examine up to pages_to_scan pages, or until a full scan ends; how many they were."""
        if self.knobs.sleep_millisecs:
            self.awake = 0
        self.charge("wakeup")
        before = self.count["pages_scanned"]
        for _ in range(self.knobs.pages_to_scan):
            page = self._next_page()
            if page is None:
                break
            self._examine(page)
            self.awake += 1
            self.count["pages_scanned"] += 1
        return self.count["pages_scanned"] - before

    def _next_page(self) -> Page | None:
        """The next page to examine; None: a full scan has come to its end."""
        if not self.scan_list:
            return None
        if self.cursor is None:
            self.charge("scan_start")
            self.scan_start = self.now
            self.unstable = self._new_unstable()
            self.cursor, self.position = self.scan_list[0], 0
        while self.cursor is not None:
            process = self.cursor
            for number in range(self.position, process.size):
                if self._wanted(process.pages[number]):
                    self.position = number + 1
                    return process.pages[number]
            self._leave(process)
        self._advise()
        self.count["full_scans"] += 1
        return None

    def _wanted(self, page: Page) -> bool:
        """Whether the page is to be examined; one that is not there any more loses its item."""
        if not page.mergeable or page.kind not in (PRIVATE, MERGED):
            self.charge("hole")
            if page.item is not None:
                self._free(page)
            return False
        if page.item is None:
            page.item = Item(page)
            self.count["rmap_items"] += 1
        return page.kind == MERGED or not self._skips(page.item)

    def _skips(self, item: Item) -> bool:
        """smart_scan."""
        if not self.knobs.smart_scan:
            return False
        age = item.age
        item.age = min(age + 1, 255)
        if age < 3:
            return False
        if item.skips == 0:
            item.skips = 1 if age <= 3 else 2 if age <= 5 else 4 if age <= 8 else 8
            return False
        item.skips -= 1
        self.count["pages_skipped"] += 1
        self.charge("skip")
        self._forget(item)
        return True

    def _leave(self, process: Process) -> None:
        """The cursor leaves a process for the next one, or for the head of the list."""
        at = self.scan_list.index(process) + 1
        self.cursor = self.scan_list[at] if at < len(self.scan_list) else None
        self.position = 0
        if not any(page.mergeable for page in process.pages):
            for item in process.items:
                self._free(item.page)
            self.scan_list.remove(process)

    def _free(self, page: Page) -> None:
        """Free a page's item."""
        assert page.item is not None
        self._forget(page.item)
        page.item = None
        self.count["rmap_items"] -= 1
        self.charge("item_free")

    def _forget(self, item: Item) -> None:
        """Take an item out of the tree that it is in."""
        if item.unstable_since is not None:
            if item.unstable_since == self.count["full_scans"]:
                self.unstable.erase(item)
            item.unstable_since = None
            self.count["pages_unshared"] -= 1
        elif item.node is not None:
            self.stable.leave(item)

    # Examining a page

    def _examine(self, page: Page) -> None:
        item, content = page.item, page.content
        assert item is not None and content is not None
        if page.kind == MERGED:
            self.charge("merged_visit")
            return
        self.charge("first_visit" if item.checksum is None else "visit")
        self._forget(item)
        if not self.knobs.checksum_first and self._merge_with_stable(item, content):
            return
        if content != item.checksum:
            item.checksum = content
            return
        if self.knobs.use_zero_pages and content == 0:
            page.kind = ZEROED
            self.count["ksm_zero_pages"] += 1
            self.charge("merge_zero")
            return
        if self.knobs.checksum_first and self._merge_with_stable(item, content):
            return
        twin, inserted = self.unstable.offer(item)
        if inserted:
            item.unstable_since = self.count["full_scans"]
            self.count["pages_unshared"] += 1
        elif twin is not None:
            self.charge("merge_pair")
            self._forget(twin)
            node = StableNode(content)
            self.stable.add(node)
            self.stable.append(twin, node)
            self.stable.append(item, node)

    def _merge_with_stable(self, item: Item, content: int) -> bool:
        node = self.stable.search(content)
        if node is not None:
            self.charge("merge_stable")
            self.stable.append(item, node)
        return node is not None

    # The advisor

    def _start_advisor(self, pages_to_scan: int) -> None:
        """The advisor starts anew; without it so many pages are scanned."""
        self.advice = (0, 0, 0.0)
        if self.knobs.advisor_mode == "scan-time":
            pages_to_scan = self.knobs.advisor_min_pages_to_scan
        self.knobs.pages_to_scan = pages_to_scan

    def _advise(self) -> None:
        """The end of a full scan in scan-time mode: how many pages the next batches examine."""
        knobs = self.knobs
        if knobs.advisor_mode != "scan-time":
            return
        change, last, cpu = self.advice
        scan_time = max(1, (self.now - self.scan_start) // SECOND)
        percent = max(1, int(self.cpu - cpu) // MS * 100 // (scan_time * 1000))
        factor = max(1, knobs.advisor_target_scan_time * 100 // scan_time)
        change = (70 * change + 30 * max(1, scan_time * 100 // (last or scan_time))) // 100
        per_cpu = max(1, knobs.pages_to_scan // percent)
        pages = knobs.pages_to_scan * 100 // factor * change // 100
        pages = max(min(pages, per_cpu * knobs.advisor_max_cpu), per_cpu * 10)
        knobs.pages_to_scan = min(pages, knobs.advisor_max_pages_to_scan)
        self.advice = (change, scan_time, self.cpu)

    # Counters

    def counters(self) -> dict[str, int]:
        """The counters of sysfs, with ``cow_ksm`` and ``rmap_items``."""
        count = self.count
        known = count["pages_shared"] + count["pages_sharing"] + count["pages_unshared"]
        saved = count["pages_sharing"] + count["ksm_zero_pages"]
        return {
            **count,
            "pages_volatile": count["rmap_items"] - known,
            "general_profit": saved * 4096 - count["rmap_items"] * ITEM_BYTES,
            "pages_to_scan": self.knobs.pages_to_scan,
        }


Action = tuple[int, Callable[[], None]]


def replay(
    ksm: PlainKsm, actions: Iterable[Action], samples: Iterable[int]
) -> Iterator[dict[str, int]]:
    """Counters at the sample times; what is done at a time is done before a batch of that time.

    Each row has its ``time`` too. Actions of one time are done in the order given.
    """
    steps: list[tuple[int, Callable[[], None] | None]] = [*actions]
    steps += [(time, None) for time in samples]
    for time, action in sorted(steps, key=lambda step: step[0]):
        for _ in ksm.run_until(time):
            pass
        if action is None:
            yield ksm.counters() | {"time": time}
        else:
            action()
