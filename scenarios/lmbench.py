"""One row of lmbench, or a Linux build, under one paging mode on the Xen paper's machine."""

from typing import Literal

from sharesim import Scenario
from sharesim.reproductions.lmbench import lmbench
from sharesim.spec.paging import Direct, Native, Shadow


def scenario(
    row: str = "fork",
    paging: Literal["native", "direct", "shadow"] = "shadow",
    shadow_scale: float = 1.0,
    length: int = 20_000,
) -> Scenario:
    """A guest that repeats one operation, to see what paging adds to its native time.

    CPU time per operation under direct or shadow paging, less that under native paging, is the
    excess that the Xen paper (SOSP 2003) published; `sharesim reproduce xen2003` compares all rows.

    row: mmap, fork, exec, sh, linux_build, protection_fault, page_fault, switch_2p_0k ...
    paging: how page tables are virtualized
    shadow_scale: multiplies what shadow tables cost
    length: simulated time, in native times of the operation (of a build: 1/20,000)
    """
    modes = {"native": Native(), "direct": Direct(), "shadow": Shadow(scale=shadow_scale)}
    return lmbench(row, modes[paging], length)
