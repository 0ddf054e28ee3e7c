"""Cooperating guests on the workbench: what the tests of the paravirtual design begin with."""

from typing import Any

from sharesim.hypervisor.merge import PENDING
from sharesim.machine import tables as t
from sharesim.spec.paging import Direct
from sharesim.spec.scenario import Paravirtual, Sharing
from tests.hypervisor.bench import Bench

A, B, C = 1, 9, 17
"""A page of guest 0, one of guest 1, one of guest 2 where there is one."""
SAME_CONTENT, OTHER = 7_001, 7_002


def guests(*sizes: int, options: dict[str, Any] | None = None, **more: Any) -> Bench:
    """A bench of cooperating guests under direct paging; ``options`` are of Paravirtual."""
    design = Sharing(design="paravirtual", paravirtual=Paravirtual(**options or {}))
    return Bench(sizes or (8, 8), paging=Direct(), sharing=design, **more)


def offered(**more: Any) -> Bench:
    """A and B are equal, and their guests have been offered to share them."""
    bench = guests(**more)
    bench.fill({A: SAME_CONTENT, B: SAME_CONTENT})
    assert bench.offer(B, A) == PENDING
    return bench


def shared(**more: Any) -> Bench:
    """A and B share the frame that was A's."""
    bench = offered(**more)
    bench.answer(0)
    bench.answer(1)
    assert bench.saved() == 1
    bench.mem.totals[t.T_OUTCOME_COUNT] = 0
    return bench


def states(bench: Bench, vm: int) -> list[int]:
    """What has become of each offer on a guest's ring."""
    return [state for _page, _partner, state in bench.ring(vm)]
