"""Runs ksmd's compiled scan for the scanner process."""

from typing import TYPE_CHECKING, Any

from sharesim.sharing import ksm_kernel as kernel
from sharesim.sharing.cbps_kernel import BATCH_END, DRAIN, HORIZON
from sharesim.sharing.drivers import Driver

if TYPE_CHECKING:
    from sharesim.engine import Engine

_STOPS = {kernel.HORIZON: HORIZON, kernel.BATCH_END: BATCH_END, kernel.DRAIN: DRAIN}


class KsmDriver(Driver):
    """Drives :class:`sharesim.sharing.ksm.KsmPolicy`."""

    def __init__(self, engine: "Engine", policy: Any) -> None:
        super().__init__(engine, policy)
        self.row = policy.state.scan[0]

    def begin(self, budget: int, now: int) -> None:
        self.policy.begin_batch(budget, now)

    def run(self, now: int, until: int) -> tuple[int, int]:
        engine, policy = self.engine, self.policy
        while True:
            due, stop = kernel.scan(
                engine.memory, engine.cost, policy.state, now, until, engine.inline
            )
            if stop == kernel.MORE_NODES:
                policy.more_nodes()
                continue
            if stop == kernel.SCAN_END:
                self.passes += 1
                policy.end_of_scan(int(due), self._cpu_until(int(due)))
                return int(due), BATCH_END
            return int(due), _STOPS[int(stop)]

    def _cpu_until(self, due: int) -> int:
        """ksmd's CPU time when it gets there, its present stretch included."""
        now = int(self.engine.env.now)
        return self.engine.scheduler.utilisation(now)[2] + due - now

    def end(self) -> int:
        return 0

    def move_to(self, due: int) -> None:
        self.row["due"] = due
        self.row["fresh"] = 0  # somebody else has had its CPU: its caches are cold again

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
