"""Linux KSM as a policy: the knobs of ``/sys/kernel/mm/ksm``, under their own names.

What ksmd does with them is in :mod:`sharesim.sharing.ksm`; docs/ksm.md tells it for users.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from sharesim.spec.base import Spec
from sharesim.spec.policies import POLICIES, SharingPolicy
from sharesim.spec.units import Time

ITEM_BYTES = 64
"""An rmap_item on a 64-bit kernel: what KSM holds for each page it has met."""

Pages = Annotated[int, Field(ge=1, le=1 << 31)]
Milliseconds = Annotated[int, Field(ge=0, le=1 << 31)]
Seconds = Annotated[int, Field(ge=1, le=1 << 31)]
Percent = Annotated[int, Field(ge=1, le=100)]


class Knobs(Spec):
    """Values written to sysfs at one time; what is None is left alone."""

    run: Literal[0, 1, 2] | None = None
    pages_to_scan: Pages | None = None
    sleep_millisecs: Milliseconds | None = None
    smart_scan: bool | None = None
    use_zero_pages: bool | None = None
    max_page_sharing: Annotated[int, Field(ge=2, le=1 << 31)] | None = None
    stable_node_chains_prune_millisecs: Milliseconds | None = None
    advisor_mode: Literal["none", "scan-time"] | None = None
    advisor_target_scan_time: Seconds | None = None
    advisor_min_pages_to_scan: Pages | None = None
    advisor_max_pages_to_scan: Pages | None = None
    advisor_max_cpu: Percent | None = None


@POLICIES.register
class Ksm(SharingPolicy):
    """Linux KSM: ksmd scans, and merges by a stable and an unstable tree of contents."""

    name: ClassVar[str] = "ksm"
    designs: ClassVar[tuple[str, ...]] = ("transparent",)
    last_sharer: ClassVar[Literal["copy", "reuse"]] = "copy"
    pages_to_scan: Pages = 100
    """Pages examined in a batch; the advisor sets it in mode scan-time."""
    sleep_millisecs: Milliseconds = 20
    """Sleep after each batch; it ends with a timer tick (``host.hz``), so it takes longer."""
    run: Literal[0, 1, 2] = 1
    """0: ksmd stops, what is merged stays merged; 1: it runs; 2: it stops and all is unmerged."""
    smart_scan: bool = True
    """Skip pages that did not merge in earlier scans (Linux 6.7)."""
    use_zero_pages: bool = False
    """Map pages of zeros to the zero page."""
    max_page_sharing: Annotated[int, Field(ge=2, le=1 << 31)] = 256
    """Pages that one frame may stand for; more of the same content get a frame of their own."""
    stable_node_chains_prune_millisecs: Milliseconds = 2000
    """How often frames of the same content are gone through as a whole."""
    advisor_mode: Literal["none", "scan-time"] = "none"
    """scan-time: ``pages_to_scan`` is set after each full scan (Linux 6.8)."""
    advisor_target_scan_time: Seconds = 200
    """Seconds that a full scan should take."""
    advisor_min_pages_to_scan: Pages = 500
    """Where the advisor starts; it may go below."""
    advisor_max_pages_to_scan: Pages = 30_000
    """The advisor's upper limit."""
    advisor_max_cpu: Percent = 70
    """Percent of a CPU that the advisor lets ksmd use at most."""
    ksmd_cpu_before: Time = 0
    """CPU time that ksmd had used before the run began; the advisor's first step counts it."""
    checksum_first: bool = True
    """Look at the checksum before the stable tree; False: the order before Linux 6.11."""
    unstable: Literal["tree", "set"] = "tree"
    """The kernel's tree, which writes disorder; or an ideal set, faster, which misses none."""
    changes: tuple[tuple[Time, Knobs], ...] = ()
    """(when, knobs): what is written to sysfs in the course of the run."""

    @model_validator(mode="after")
    def _in_order(self) -> "Ksm":
        times = [when for when, _ in self.changes]
        if times != sorted(times):
            raise ValueError("changes: found times out of order; give them in ascending order")
        return self

    def held_bytes(self, pages: int) -> int:
        return pages * ITEM_BYTES

    def sleep(self, tick: int) -> int:
        """ns from the start of one batch to that of the next, if batches are short."""
        if self.sleep_millisecs == 0:
            return tick
        return (-(-self.sleep_millisecs * 1_000_000 // tick) + 1) * tick

    def intervals(self, pages: int, tick: int) -> dict[str, int]:
        return {"scanner's sleep": self.sleep(tick)}

    def runtime(self) -> Any:
        from sharesim.sharing.ksm import KsmPolicy

        return KsmPolicy(self)
