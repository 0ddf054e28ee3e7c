"""What the tests of guests share: a run whose memory can be looked at afterwards."""

from typing import Any

import numpy as np

from sharesim.machine.tables import NONE
from sharesim.resolve import resolve
from sharesim.simulate import Simulation
from sharesim.spec.images import Segment, Segments
from sharesim.spec.scenario import VM, Host, Scenario
from sharesim.spec.workloads import Workload

HOLE = np.uint64(0xDEAD_BEEF_DEAD_BEEF)
"""Stands for a page without a frame."""


def finished(scenario: Scenario) -> Simulation:
    """The scenario, run to its end."""
    simulation = Simulation(resolve(scenario), with_opportunity=False)
    simulation.run()
    return simulation


def alone(
    workload: Workload, *, pages: int = 1_000, duration: str = "1 s", **more: Any
) -> Scenario:
    """One guest with a CPU to itself, all its pages populated and different, nothing shared."""
    image = Segments(segments=(Segment(size=pages),))
    return Scenario(
        duration=duration,
        host=Host(cpus=1, memory=pages * 2 + 64),
        vms=[VM(name="vm", memory=pages, image=image, workload=workload)],
        sharing=None,
        **{"events": True, "sample_every": duration, **more},
    )


def contents(simulation: Simulation, vm: int = 0) -> np.ndarray:
    """uint64[pages]: content id of each page of a guest, HOLE where there is no frame."""
    memory = simulation.engine.memory
    first, pages = int(memory.vms[vm]["first"]), int(memory.vms[vm]["pages"])
    frames = memory.pages["mfn"][first : first + pages]
    mapped = frames != NONE
    held: np.ndarray = memory.frames["content"][np.where(mapped, frames, 0)]
    return np.where(mapped, held, HOLE)


def accesses(simulation: Simulation, vm: str = "vm") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(time, page, whether it writes) of every access of a guest, in order."""
    table = {name: np.asarray(column) for name, column in simulation.event_table().items()}
    chosen = np.isin(table["kind"], ("access", "write")) & (table["vm"] == vm)
    return table["time_ns"][chosen], table["page"][chosen], table["kind"][chosen] == "write"


def switch_ns(simulation: Simulation) -> int:
    """What it costs to switch to a vCPU that was not the last on its CPU."""
    return simulation.engine.primitives["vcpu_switch"]
