"""The parameters of sharing policies; what they do is in :mod:`sharesim.sharing`."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from sharesim.content.digest_names import DIGEST_BITS, DigestName
from sharesim.spec.base import Family, Member, member_field
from sharesim.spec.units import PositiveTime

POLICIES = Family("policy", "sharesim.policies")

ENTRY_BYTES = 16
"""A hash table's entry in a hypervisor: hash, page, link; ESX's frames are as large (OSDI 2002)."""


class SharingPolicy(Member):
    """Base class of all policies; a user's own subclasses :class:`PolicySpec`."""

    family: ClassVar[Family] = POLICIES
    designs: ClassVar[tuple[str, ...]] = ("transparent", "paravirtual")
    """Sharing designs that it can work in."""
    last_sharer: ClassVar[Literal["copy", "reuse"]] = "reuse"
    """What a write to a frame with one mapping left does, where the scenario does not say."""

    def hashing(self) -> tuple[str, int, bool]:
        """(digest, its width in bits, whether bytes are compared before merging)."""
        return "xxh64", 64, True

    def held_bytes(self, pages: int) -> int:
        """Bytes of tables that a hypervisor must hold to scan so many pages: against the saving."""
        return 0

    def intervals(self, pages: int, tick: int) -> dict[str, int]:
        """Times in ns, by what they are, that the sync quantum must be small against.

        ``pages`` are those of all guests, ``tick`` is the host's timer tick in ns.
        """
        return {}

    def runtime(self) -> Any:
        """A new run-time object of the policy (see :class:`sharesim.sharing.policy.Policy`)."""
        raise NotImplementedError(f"{type(self).__name__} does not say what runs it")


class PolicySpec(SharingPolicy):
    """Policies that scan at a rate: how fast the scanner goes, and how equality is decided.

    A user's policy subclasses this, adds its own parameters and names its run-time class in
    :meth:`runtime`.
    """

    scans: ClassVar[bool] = True
    """Whether it goes through memory page by page; the default sync quantum looks at its rate."""
    scan_rate: Annotated[float, Field(gt=0, le=1e9)] = 1_000.0
    """Pages to scan per second of simulated time."""
    wake_period: PositiveTime = 20_000_000
    """The scanner wakes this often and scans what is due."""
    verify: bool = True
    """Compare bytes before merging; otherwise equal digests are trusted (compare-by-hash)."""
    digest: DigestName = "sfh"
    """The hash function."""
    digest_bits: Annotated[int, Field(ge=1, le=64)] | None = None
    """Width to keep of the digest; by default all that the function gives, at most 64."""

    @model_validator(mode="after")
    def _width(self) -> "PolicySpec":
        native = DIGEST_BITS[self.digest]
        if self.digest_bits is not None and self.digest_bits > native:
            raise ValueError(
                f"digest_bits: found {self.digest_bits}; {self.digest} gives {native} bits"
            )
        return self

    @property
    def digest_width(self) -> int:
        """Effective width of the digest in bits, 1..64."""
        return self.digest_bits or DIGEST_BITS[self.digest]

    def hashing(self) -> tuple[str, int, bool]:
        return self.digest, self.digest_width, self.verify

    def intervals(self, pages: int, tick: int) -> dict[str, int]:
        found = {"scanner's wake period": self.wake_period}
        if self.scans:
            found["full scan period"] = max(1, round(pages * 1_000_000_000 / self.scan_rate))
        return found


@POLICIES.register
class Cbps(PolicySpec):
    """Content-based page sharing: scan, hash, look the digest up, merge what is equal."""

    name: ClassVar[str] = "cbps"
    order: Literal["linear", "random"] = "linear"
    """Order within a pass; random is a new permutation for each pass."""
    passes: Annotated[int, Field(ge=1, le=64)] = 1
    """Passes over intervals of digests that cover all memory once: the table holds 1/passes."""
    table_entries: Annotated[int, Field(ge=1)] | None = None
    """Bound of the hash table; by default what one interval of all scanned pages needs."""
    stable: bool = False
    """Enter a page into the table only when its digest is what it was at the last visit."""
    zero_pages: bool = True
    """Recognise the zero page by its digest and merge it without the table."""

    def entries(self, pages: int) -> int:
        """Entries the table holds: one interval of all pages, with room for chance (6 sigma)."""
        if self.table_entries is not None:
            return self.table_entries
        share = pages / self.passes
        spread = 6 * share**0.5 if self.passes > 1 else 0
        return min(pages, int(share + spread) + 16)

    def held_bytes(self, pages: int) -> int:
        return self.entries(pages) * ENTRY_BYTES

    def runtime(self) -> Any:
        from sharesim.sharing.cbps import CbpsPolicy

        return CbpsPolicy(self)


@POLICIES.register
class Oracle(PolicySpec):
    """Perfect sharing at no cost, each wake-up: the upper bound of what any policy can do."""

    name: ClassVar[str] = "oracle"
    scans: ClassVar[bool] = False
    scan_rate: Annotated[float, Field(gt=0, le=1e12)] = 1e9

    def runtime(self) -> Any:
        from sharesim.sharing.oracle import OraclePolicy

        return OraclePolicy(self)


PolicyField = member_field(SharingPolicy, POLICIES)
