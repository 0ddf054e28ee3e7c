"""Two ways to run a policy through the same steps: as arrays, or compiled.

A driver is asked to scan from its local time up to a horizon, exactly as a vCPU's kernel is. Both
visit a page, and where a partner is offered go through protect, commit and finish, each a step of
its own between which guests run.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from sharesim.errors import PolicyError
from sharesim.hypervisor.merge import PENDING, commit, forget_recent, protect
from sharesim.hypervisor.offers import offer
from sharesim.machine import tables as t
from sharesim.machine.mapping import changes_full, log_event, log_full, release_pending
from sharesim.machine.tables import NONE, ZERO
from sharesim.sharing import cbps_kernel as cbps
from sharesim.sharing.cbps import CbpsPolicy
from sharesim.sharing.cbps_kernel import BATCH_END, DRAIN, HORIZON, LARGEST_SKIP, PASS_END

if TYPE_CHECKING:
    from sharesim.engine import Engine
    from sharesim.sharing.policy import Policy

LARGEST_CHUNK = 256


class Driver:
    """Base class: what the scanner process asks of a driver."""

    takes_time = True
    """Whether the scanner needs a CPU for it."""

    def __init__(self, engine: "Engine", policy: Any) -> None:
        self.engine = engine
        self.policy = policy
        self.passes = 0
        """Passes over memory completed."""

    @property
    def local(self) -> int:
        """Start of the last step committed."""
        return 0

    def begin(self, budget: int, now: int) -> None:
        """A wake-up: so many pages are to be scanned from now on."""
        raise NotImplementedError

    def run(self, now: int, until: int) -> tuple[int, int]:
        """Scan from the local time; returns (due, stop)."""
        raise NotImplementedError

    def end(self) -> int:
        """The wake-up is over: tell the policy what became of its offers; ns that ending costs."""
        raise NotImplementedError

    def move_to(self, due: int) -> None:
        """Set the local time."""
        raise NotImplementedError

    @property
    def left(self) -> int:
        """Pages of this wake-up not yet visited."""
        raise NotImplementedError

    @property
    def scanned(self) -> int:
        """Pages visited so far."""
        raise NotImplementedError

    @property
    def hashed(self) -> int:
        """Pages whose digest was computed."""
        raise NotImplementedError

    @property
    def position(self) -> int:
        """Pages visited in this pass, for the timeline."""
        raise NotImplementedError


class CompiledDriver(Driver):
    """Runs the compiled form of cbps."""

    def __init__(self, engine: "Engine", policy: Any) -> None:
        super().__init__(engine, policy)
        self.row = policy.scans[0]
        self.feedback = np.zeros((4096, 3), np.int64)
        self._scanned_at_pass = 0
        self._idle = False

    def begin(self, budget: int, now: int) -> None:
        self.row["left"] = budget
        self.row["due"] = now
        if len(self.feedback) < budget:
            self.feedback = np.zeros((budget, 3), np.int64)

    def run(self, now: int, until: int) -> tuple[int, int]:
        engine, policy = self.engine, self.policy
        while True:
            due, stop = cbps.scan(
                engine.memory, engine.cost, policy.scans, policy.page, policy.table,
                policy.ranges, policy.starts, self.feedback, now, until, engine.inline,
            )  # fmt: skip
            if stop != PASS_END:
                return int(due), int(stop)
            if not self._pass_over() and self.scanned == self._scanned_at_pass:
                self._idle = True  # a whole pass found no page: enough for this wake-up
                self.row["left"] = 0
                continue
            self._idle = False
            self._scanned_at_pass = self.scanned
            engine.refresh_ranges()
            policy.next_pass()

    def _pass_over(self) -> bool:
        """Count a pass that is over; True when there was none, or when it has been counted."""
        if self.policy.pass_number < 0 or self._idle:
            return True
        self.passes += 1
        return False

    def end(self) -> int:
        count = int(self.row["feedback"])
        if count:
            rows = self.feedback[:count]
            self.policy.merged(rows[:, 0], rows[:, 1], rows[:, 2])
            self.row["feedback"] = 0
        mapped, self.row["mapped"] = int(self.row["mapped"]), 0
        return mapped

    def move_to(self, due: int) -> None:
        self.row["due"] = due

    @property
    def local(self) -> int:
        return int(self.row["local"])

    @property
    def left(self) -> int:
        return int(self.row["left"])

    @property
    def scanned(self) -> int:
        return int(self.row["scanned"])

    @property
    def hashed(self) -> int:
        return int(self.row["hashed"])

    @property
    def position(self) -> int:
        return int(self.row["position"])


class ArrayDriver(Driver):
    """Runs any policy written against the protocol, checking each of its answers."""

    def __init__(self, engine: "Engine", policy: "Policy") -> None:
        super().__init__(engine, policy)
        self._due = 0
        self._local = 0
        self._left = 0
        self._scanned = 0
        self._position = 0
        self._stage = cbps.VISIT
        self._batch = np.zeros(0, np.uint32)
        self._short = True
        """The policy has said that a pass is complete; the next batch begins another."""
        self._begun = False
        self._idle = False
        self._scanned_at_pass = 0
        self._visited: list[tuple[int, int, int]] = []
        """Pages visited but not yet played: (page or -1, partner, ns), the next one last."""
        self._offer = (0, 0)
        self._outcomes: list[tuple[int, int, int]] = []
        self._typical = 1_000
        self._mapped_before = 0

    def begin(self, budget: int, now: int) -> None:
        self._left = budget
        self._due = now

    def run(self, now: int, until: int) -> tuple[int, int]:
        engine = self.engine
        forget_recent(engine.memory, now - 2 * engine.quantum)
        while True:
            if self._due != now and self._due >= until:
                return self._due, HORIZON
            if log_full(engine.memory) or changes_full(engine.memory):
                return self._due, DRAIN
            if self._stage == cbps.VISIT and not self._visited and not self._more(until):
                return self._due, BATCH_END
            self._local = self._due
            ns = self._step(now)
            self._due += ns
            if not engine.inline and ns > 0:
                return self._due, HORIZON

    def _more(self, until: int) -> bool:
        """Visit a chunk of the batch; False when the wake-up's pages are done."""
        size = 1
        if self.engine.inline:
            size = min(max(1, (until - self._due) // self._typical), LARGEST_CHUNK)
        chunk, skipped = self._gather(size)
        skip = int(self.engine.cost[0]["scan_skip"])
        if len(chunk) == 0:
            if skipped:
                self._visited = [(-1, NONE, skipped * skip)]
            return skipped > 0
        view = self.policy.view
        view._begin(chunk)
        partners = self._answer("visit", self.policy.visit(chunk), len(chunk))
        bill = view._end()
        self._typical = max(1, int(bill.sum()) // len(chunk))
        bill[0] += skipped * skip
        self._visited = list(zip(chunk.tolist(), partners.tolist(), bill.tolist(), strict=True))
        self._visited.reverse()
        return True

    def _gather(self, size: int) -> tuple[np.ndarray, int]:
        """Up to ``size`` next pages with a frame, of one run of them, and how many without a frame
        were passed over before them; no pages and none passed over: this wake-up is done."""
        mapped = self.engine.memory.pages["mfn"]
        skipped = 0
        while self._left > 0 and skipped < LARGEST_SKIP:
            if len(self._batch) == 0:
                if (skipped and self._short) or not self._next_batch():
                    break
                continue
            there = mapped[self._batch[: max(size, LARGEST_CHUNK)]] != NONE
            first = int(there.argmax()) if there.any() else len(there)
            first = min(first, LARGEST_SKIP - skipped)
            skipped += first
            self._position += first
            if first == len(there) or skipped == LARGEST_SKIP:
                self._batch = self._batch[first:]
                continue
            run = there[first:]
            count = len(run) if run.all() else int(run.argmin())
            count = min(count, size, self._left)
            chunk = self._batch[first : first + count]
            self._batch = self._batch[first + count :]
            return chunk, skipped
        return np.zeros(0, np.uint32), skipped

    def _next_batch(self) -> bool:
        """Ask for the next pages; False when a whole pass has had none to visit."""
        if self._short and not self._next_pass():
            return False
        batch = self._answer("batch", self.policy.batch(self._left), None)
        if len(batch) > self._left:
            raise self._error("batch", f"found {len(batch)} pages for a budget of {self._left}")
        if len(np.unique(batch)) != len(batch):
            raise self._error("batch", "found a page twice")
        self._short = len(batch) < self._left
        self._batch = batch
        return True

    def _next_pass(self) -> bool:
        """A pass is over, unless none has begun; False when it visited nothing: enough for now."""
        if self._begun and not self._idle:
            self.passes += 1
            if self._scanned == self._scanned_at_pass:
                self._idle = True
                self._left = 0
                return False
        self._begun, self._idle = True, False
        self._scanned_at_pass = self._scanned
        self._position = 0
        self.engine.refresh_ranges()
        return True

    def _answer(self, method: str, answer: Any, length: int | None) -> np.ndarray:
        if not isinstance(answer, np.ndarray) or answer.dtype.kind not in "ui" or answer.ndim != 1:
            found = f"found {type(answer).__name__} {answer!r:.60}"
            raise self._error(method, f"{found}; right would be a one-dimensional integer array")
        if length is not None and len(answer) != length:
            raise self._error(method, f"found {len(answer)} answers for {length} pages")
        limit = self.policy.view.pages
        wrong = (answer < 0) | (answer >= limit)
        allowed = ""
        if method == "visit":
            wrong &= (answer != NONE) & (answer != ZERO)
            allowed = ", or NONE or ZERO"
        if wrong.any():
            raise self._error(
                method, f"found page {answer[wrong][0]}; page ids are 0 to {limit - 1}{allowed}"
            )
        return answer.astype(np.uint32)

    def _error(self, method: str, what: str) -> PolicyError:
        return PolicyError(f"policy '{self.policy.name}', method {method}: {what}")

    def _step(self, now: int) -> int:
        memory, cost, due = self.engine.memory, self.engine.cost, self._due
        if self._stage == cbps.VISIT:
            page, partner, ns = self._visited.pop()
            if page < 0:
                return ns
            self._left -= 1
            self._scanned += 1
            self._position += 1
            log_event(memory, due, ns, t.E_VISIT, -1, page, partner if partner < ZERO else -1)
            if partner != NONE:
                self._offer = (page, partner)
                self._stage = cbps.PROTECT
            return ns
        page, partner = self._offer
        if self._stage == cbps.PROTECT and cost[0]["paravirtual"]:
            ns, outcome = offer(memory, cost, page, partner, due)
            self._stage = cbps.VISIT
        elif self._stage == cbps.PROTECT:
            ns, outcome = protect(memory, cost, page, partner, due)
            self._stage = cbps.COMMIT if outcome == PENDING else cbps.VISIT
        elif self._stage == cbps.COMMIT:
            ns, outcome = commit(memory, cost, page, partner, due, now)
            self._stage = cbps.FINISH
        else:
            release_pending(memory)
            self._stage = cbps.VISIT
            return 0
        if outcome != PENDING:
            self._outcomes.append((page, partner, outcome))
        return int(ns)

    def end(self) -> int:
        if self._outcomes:
            rows = np.array(self._outcomes, np.int64)
            self._outcomes = []
            self.policy.merged(rows[:, 0], rows[:, 1], rows[:, 2])
        view = self.policy.view
        mapped, self._mapped_before = view.mapped - self._mapped_before, view.mapped
        return int(mapped)

    def move_to(self, due: int) -> None:
        self._due = due

    @property
    def local(self) -> int:
        return self._local

    @property
    def left(self) -> int:
        return self._left

    @property
    def scanned(self) -> int:
        return self._scanned

    @property
    def hashed(self) -> int:
        return self.policy.view.hashed

    @property
    def position(self) -> int:
        return self._position


class OracleDriver(Driver):
    """Shares everything at each wake-up, in no time."""

    takes_time = False

    def __init__(self, engine: "Engine", policy: Any) -> None:
        super().__init__(engine, policy)
        self._due = 0
        self._scanned = 0

    def begin(self, budget: int, now: int) -> None:
        self._due = now
        self.engine.refresh_ranges()
        engine = self.engine
        self._scanned += self.policy.share_all(engine.memory, engine.cost, self.policy.view.ranges)
        self.passes += 1

    def run(self, now: int, until: int) -> tuple[int, int]:
        return self._due, BATCH_END

    def end(self) -> int:
        return 0

    def move_to(self, due: int) -> None:
        self._due = due

    @property
    def left(self) -> int:
        return 0

    @property
    def scanned(self) -> int:
        return self._scanned

    @property
    def hashed(self) -> int:
        return 0

    @property
    def position(self) -> int:
        return 0


def driver_for(engine: "Engine", policy: Any, compiled: bool) -> Driver:
    """The driver that suits a policy; ``compiled=False`` forces the array form."""
    if hasattr(policy, "share_all"):
        return OracleDriver(engine, policy)
    if policy.OWNS_FRAMES:  # of its kind there is one
        from sharesim.sharing.ksm_driver import KsmDriver

        return KsmDriver(engine, policy)
    if compiled and type(policy) is CbpsPolicy:
        return CompiledDriver(engine, policy)
    return ArrayDriver(engine, policy)
