"""How guest page tables are virtualized: the paging modes a scenario can name, with parameters.

A mode of a user's own subclasses :class:`PagingSpec`, says which sharing designs can work with
it, and names in :meth:`PagingSpec.runtime` what turns a cost profile into costs of faults and
page-table activity (:mod:`sharesim.hypervisor.paging`).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from sharesim.spec.base import Family, Member
from sharesim.spec.units import PositiveSize

PAGINGS = Family("paging mode", "sharesim.paging")

LARGEST_BATCH = 2048
"""Updates in one hypercall: 8 MiB of address space (Barham et al., SOSP 2003)."""
DOMAIN_STATE_PAGES = 5
"""The hypervisor's fixed state of a domain under direct paging, 20 kB (SOSP 2003)."""


class PagingSpec(Member):
    """Base class of paging modes."""

    family: ClassVar[Family] = PAGINGS
    designs: ClassVar[tuple[str, ...]] = ("none",)
    """Sharing designs that can work with it."""
    why: ClassVar[str] = ""
    """Why the others cannot."""
    blocks: ClassVar[bool] = True
    """Whether the hypervisor can back guests with 2 MiB mappings."""

    def held_pages(self, pages: int, vcpus: int) -> dict[str, int]:
        """Frames that the hypervisor holds for a guest of that size, by what they are for."""
        return {}

    def runtime(self, primitives: Mapping[str, int]) -> Any:
        """What makes costs of a profile's primitives; see :mod:`sharesim.hypervisor.paging`."""
        raise NotImplementedError(f"{type(self).__name__} does not say what runs it")


@PAGINGS.register
class Native(PagingSpec):
    """No hypervisor: one address translation. The reference, which no sharing can work with."""

    name: ClassVar[str] = "native"
    why: ClassVar[str] = (
        "without a hypervisor there is no map from guest pages to machine frames that could be"
        " changed; use paging 'nested' or 'shadow' with 'transparent', or 'direct' with"
        " 'paravirtual'"
    )

    def runtime(self, primitives: Mapping[str, int]) -> Any:
        from sharesim.hypervisor.paging import NativePaging

        return NativePaging(self, primitives)


@PAGINGS.register
class Process(PagingSpec):
    """No virtualization: "guests" are processes of the host, whose kernel shares their pages."""

    name: ClassVar[str] = "process"
    designs: ClassVar[tuple[str, ...]] = ("none", "transparent")
    why: ClassVar[str] = (
        "the host's kernel writes the processes' page tables itself, so there is nobody to take"
        " part; use 'transparent'"
    )

    def runtime(self, primitives: Mapping[str, int]) -> Any:
        from sharesim.hypervisor.paging import ProcessPaging

        return ProcessPaging(self, primitives)


@PAGINGS.register
class Nested(PagingSpec):
    """Two levels in hardware (EPT, NPT; Xen: HAP): no guest fault traps, TLB misses cost more."""

    name: ClassVar[str] = "nested"
    designs: ClassVar[tuple[str, ...]] = ("none", "transparent")
    why: ClassVar[str] = (
        "the guest's page tables hold guest pages, so there is no machine frame in them that the"
        " guest could rewrite; use 'transparent'"
    )

    def runtime(self, primitives: Mapping[str, int]) -> Any:
        from sharesim.hypervisor.paging import NestedPaging

        return NestedPaging(self, primitives)


@PAGINGS.register
class Shadow(PagingSpec):
    """Shadow page tables: the hypervisor keeps its own, synced when the guest writes its tables."""

    name: ClassVar[str] = "shadow"
    designs: ClassVar[tuple[str, ...]] = ("none", "transparent")
    why: ClassVar[str] = Nested.why
    blocks: ClassVar[bool] = False
    pool: PositiveSize | None = None
    """Memory for each guest's shadow tables; by default 1 MiB a vCPU and 8 KiB for each MiB of the
    guest. When it is used up, tables are evicted and must be filled again."""
    rmap: Literal["entries", "none"] = "entries"
    """Whether the hypervisor knows the shadow entries of a frame, or must search all tables."""
    scale: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Scales what keeping shadow tables costs: faults, bounces, syncs, fills, address switches."""

    def pool_pages(self, pages: int, vcpus: int) -> int:
        """Pages of shadow tables that a guest may have."""
        return self.pool or 256 * vcpus + 2 * -(-pages // 256)

    def held_pages(self, pages: int, vcpus: int) -> dict[str, int]:
        # An entry of the rmap is as large as the shadow entry it finds, 8 bytes.
        pool = self.pool_pages(pages, vcpus)
        return {"shadow_pool": pool, "rmap": pool if self.rmap == "entries" else 0}

    def runtime(self, primitives: Mapping[str, int]) -> Any:
        from sharesim.hypervisor.paging import ShadowPaging

        return ShadowPaging(self, primitives)


@PAGINGS.register
class Direct(PagingSpec):
    """Validated direct paging (Xen's paravirtual guests): entries hold machine frames, checked."""

    name: ClassVar[str] = "direct"
    designs: ClassVar[tuple[str, ...]] = ("none", "paravirtual")
    why: ClassVar[str] = (
        "the guest's own page tables hold machine frames, which nobody can change behind its back;"
        " use 'paravirtual', in which the guest takes part"
    )
    blocks: ClassVar[bool] = False
    batch: Annotated[int, Field(ge=1, le=LARGEST_BATCH)] = LARGEST_BATCH
    """Page-table updates that the guest queues for one hypercall at most."""

    def held_pages(self, pages: int, vcpus: int) -> dict[str, int]:
        return {"domain_state": DOMAIN_STATE_PAGES}

    def runtime(self, primitives: Mapping[str, int]) -> Any:
        from sharesim.hypervisor.paging import DirectPaging

        return DirectPaging(self, primitives)


PagingField = Annotated[SerializeAsAny[PagingSpec], BeforeValidator(PAGINGS.validate)]
