"""Which scheduler a host has."""

import simpy

from sharesim.machine.eevdf import EevdfScheduler
from sharesim.machine.scheduler import FairScheduler, Scheduler
from sharesim.spec.scenario import Host


def scheduler_for(env: simpy.Environment, host: Host, switch: int) -> Scheduler:
    """The scheduler of a host as its description says; ``switch`` is the ns a switch takes."""
    if host.scheduler == "eevdf":
        return EevdfScheduler(env, host.cpus, host.hz, host.tick_offset, switch)
    return FairScheduler(env, host.cpus, host.time_slice, host.wakeup_granularity, switch)
