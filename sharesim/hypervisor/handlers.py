"""The hypervisor's fault handlers as SimPy sees them: exact mode and step-by-step tracing.

Each fault is then an event of its own. Handlers are generators served by ``yield from`` inside the
faulting vCPU's process, which is four times cheaper than a process per fault.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from sharesim.guest.vcpu_kernel import HORIZON, NO_FRAME, serve_fault
from sharesim.hypervisor.fault import needs_fault

if TYPE_CHECKING:
    from sharesim.engine import Engine
    from sharesim.guest.vcpu import VCpu


class Handlers:
    """Fault handling on behalf of vCPUs."""

    def __init__(self, engine: "Engine") -> None:
        self.engine = engine

    def page_fault(self, vcpu: "VCpu", page: int, write: int) -> Generator[simpy.Event, Any, None]:
        """Populate, refill, unprotect or break, as the page needs; then the vCPU retries.

        ``write`` is READ, WRITE or OVERWRITE of :mod:`sharesim.hypervisor.fault`.
        Nothing is done when somebody else has resolved it meanwhile.
        """
        engine = self.engine
        if not needs_fault(engine.memory, engine.cost, vcpu.row, page, write):
            return
        now = int(engine.env.now)
        due, stop = serve_fault(engine.memory, engine.cost, vcpu.row, page, write, now, now)
        if stop == NO_FRAME:
            yield from vcpu.wait_for_frame(page)
        elif stop == HORIZON and due > now:
            yield from vcpu.sleep_until(int(due))
