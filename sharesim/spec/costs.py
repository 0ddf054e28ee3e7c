"""Cost profiles: what each primitive operation costs on one machine.

A profile gives every primitive of :data:`PRIMITIVES` as integer nanoseconds per operation on one
4 KiB page (unless its help says otherwise), with a mark for how far the figure can be trusted and a
source. A profile may inherit from another one; a figure remembers the profile that it comes from.

Published composites, such as a whole COW break or a row of lmbench, are targets to compare a run
with. They live in a section of their own, :func:`load_targets` alone reads them, no profile can
contain one, and nothing that runs asks for them.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from sharesim.content.digest_names import DIGEST_BITS
from sharesim.errors import UserError, nearest

MARKS: dict[str, str] = {
    "quoted": "read in the source's own text",
    "secondary": "read in another text that cites the source",
    "memory": "recalled, not confirmed against the text",
    "derived": "arithmetic on marked figures",
    "measured": "measured on the machine that profile or source names",
    "estimate": "scaled from another figure or chosen for plausibility",
}
"""How far a figure can be trusted."""

PRIMITIVES: dict[str, str] = {
    "exit": "VM exit and entry, both ways",
    "violation_handler": "the hypervisor's code in a violation, without exit, allocation and copy",
    "native_fault": "the guest's own page fault path, without the zero fill",
    "hypercall": "one hypercall, both ways, without its work",
    "event": "send an event to a guest and have it taken",
    "bounce_direct": "direct paging: take a guest's exception and hand it to the guest",
    "pt_validate": "direct paging: validate and write one page-table entry, within a hypercall",
    "pt_pin": "direct paging: type a page as page table, or untype it, within a hypercall",
    "switch_direct": "direct paging: the hypervisor's part of an address-space switch",
    "bounce_shadow": "shadow paging: take a guest's exception and hand it to the guest",
    "pt_sync": "shadow paging: trap a guest's page-table write and make it effective",
    "switch_shadow": "shadow paging: the hypervisor's part of an address-space switch",
    "shadow_fill": "shadow paging: fill one entry in a hidden fault, without the exit",
    "shadow_table": "shadow paging: set up one page of shadow tables, or tear it down",
    "shadow_search": "shadow paging: search one page of shadow tables for a frame's entries",
    "entry_update": "write one P2M, page-table or shadow entry",
    "entry_protect": "write-protect one entry",
    "entry_zap": "clear one entry",
    "rmap_step": "walk to one mapping of a frame",
    "frame_alloc": "take a frame from the free list",
    "frame_free": "return a frame to the free list",
    "copy_cold": "copy a page that is in no cache",
    "copy_hot": "copy a page that is in the cache",
    "zero_fill_cold": "zero a frame that is in no cache",
    "zero_fill_hot": "zero a frame that is in the cache",
    "compare_equal_cold": "compare two equal pages that are in no cache",
    "compare_equal_hot": "compare two equal pages that are in the cache",
    "compare_differ_cold": "compare two cold pages that differ early",
    "zero_check_cold": "test a zero page that is in no cache for being zero",
    "zero_check_hot": "test a zero page that is in the cache for being zero",
    **{
        f"digest_{name}_{state}": f"{name} digest of a page that is {where}"
        for name in DIGEST_BITS
        for state, where in (("cold", "in no cache"), ("hot", "in the cache"))
    },
    "scan_step": "the scanner's bookkeeping for a page it examines",
    "scan_skip": "pass over a page without examining it",
    "table_lookup": "look a digest up in the policy's table",
    "table_insert": "insert a digest into the policy's table",
    "flush_base": "TLB shootdown: the initiator's fixed part",
    "flush_per_cpu": "TLB shootdown: the initiator's part for each remote CPU",
    "flush_target": "TLB shootdown: what each interrupted CPU loses",
    "walk_native": "one page walk after a TLB miss, one level of tables",
    "walk_nested": "one page walk after a TLB miss, nested tables",
    "walk_native_block": "the same, one level of tables, in a 2 MiB mapping",
    "walk_nested_block": "the same, nested tables, backed by a 2 MiB mapping",
    "tlb_entries": "entries of the TLB (a count, not a time)",
    "vcpu_switch": "a physical CPU turns from one vCPU to another",
    "foreign_map": "dom0 maps a page of a guest",
    "foreign_unmap": "dom0 unmaps a page of a guest",
    "lock_hold": "how long a merge or a break holds the sharing lock",
    "balloon_inflate_page": "the balloon takes one page from its guest",
    "balloon_deflate_page": "the balloon gives one page back",
    "block_split": "split a 2 MiB mapping into 512 entries",
    "cache_pages": "pages that a CPU's own cache holds (a count, not a time)",
    "interference_page": "cache pollution by one page streamed (0: not modelled)",
    "ksm_wakeup": "ksmd: a wake-up, with its timer and the switch to it",
    "ksm_scan_start": "ksmd: the start of a full scan",
    **{
        f"ksm_{name}{state}": f"ksmd: {what}{where}"
        for name, what in (
            ("first_visit", "first visit of a page: its item made, its checksum"),
            ("visit", "later visit of a page that is not merged: walk and checksum"),
            ("merged_visit", "visit of a merged page"),
            ("stable_compare", "one page compared on the way through the stable tree"),
            ("unstable_compare", "one page compared on the way through the unstable tree"),
            ("unstable_depth", "an unstable search, for each level beyond 512 pages"),
            ("merge_stable", "merge into a stable page, beside protecting, comparing, remapping"),
            ("merge_pair", "merge of two pages, beside protecting, comparing and remapping"),
        )
        for state, where in (("", ""), ("_cold", "; more right after a wake-up, in cold caches"))
    },
    "ksm_stable_depth": "ksmd: a stable search, for each level beyond 512 pages",
    "ksm_unstable_far": "ksmd: an unstable search, for each level beyond 32768 pages",
    "ksm_merge_zero": "ksmd: merge with the zero page, beside protecting and remapping",
    "ksm_skip": "ksmd: a page that smart scan skips",
    "ksm_hole": "ksmd: an address without a page to examine that is passed over",
    "ksm_dup": "ksmd: one duplicate looked at in a chain",
    "ksm_item_free": "ksmd: an item freed",
    "ksm_warm_pages": "ksmd: pages after which 63 % of the cold share is gone (a count)",
}
"""Each primitive's one-line help, by key; every profile has a figure for all of them."""

DEFAULT_PROFILE = "modern-x86-ept"

_LARGEST = 10**12
_SHIPPED = "sharesim/spec/costs.toml"
_FORM = '{ ns = 298, mark = "quoted", source = "..." }'


@dataclass(frozen=True)
class CostFigure:
    """One figure: integer ns (of ``tlb_entries``: a count) and where it comes from."""

    ns: int
    mark: str
    """A key of :data:`MARKS`."""
    source: str
    profile: str
    """The profile that states the figure; if another than the one asked for, it is inherited."""


@dataclass(frozen=True)
class CostProfile:
    """All primitives of one machine; ``figures`` has exactly the keys of :data:`PRIMITIVES`."""

    name: str
    description: str
    figures: dict[str, CostFigure]

    def ns(self, key: str) -> int:
        """Nanoseconds of the primitive ``key`` (of ``tlb_entries``: a count).

        Raises:
            UserError: there is no such primitive.
        """
        if key not in self.figures:
            raise UserError(f"unknown cost '{key}'{nearest(key, self.figures)}")
        return self.figures[key].ns

    def table(self) -> dict[str, int]:
        """Every primitive's nanoseconds, in alphabetical order of the keys."""
        return {key: self.figures[key].ns for key in sorted(self.figures)}


@dataclass(frozen=True)
class CostTarget:
    """A published composite, to compare results with; the engine never reads one."""

    name: str
    description: str
    profile: str
    """The shipped profile whose runs it is compared with."""
    ns: int
    mark: str
    source: str


@dataclass(frozen=True)
class _Declared:
    """A profile as its file states it: its own figures only."""

    description: str
    inherits: str | None
    figures: dict[str, CostFigure]


def profile_names() -> list[str]:
    """Names of the shipped profiles, in alphabetical order."""
    return sorted(_shipped())


def load_profile(name: str) -> CostProfile:
    """The shipped profile ``name``, complete.

    Raises:
        UserError: there is no such profile.
    """
    if name not in _shipped():
        raise UserError(f"unknown cost profile '{name}'{nearest(name, _shipped())}")
    return _resolve(name, _shipped(), _SHIPPED)


def load_profile_file(path: str | Path) -> dict[str, CostProfile]:
    """The profiles of a user's TOML file, by name, complete.

    The file has the form of the shipped ``costs.toml``, without its targets. A profile may inherit
    one of the same file or a shipped one, but not take a shipped one's name: results must not
    show a known name beside unknown costs.

    Raises:
        UserError: the file cannot be read, or is wrong; the message names file, key and value.
    """
    where = str(path)
    document = _parse(_read(path), where)
    for section in document:
        if section != "profiles":
            raise UserError(f"{where}: found [{section}]; a cost file holds [profiles.NAME] only")
    declared = _declare_all(document, where)
    for name in declared:
        if name in _shipped():
            raise UserError(f"{where}: profile '{name}' is a shipped one; give yours another name")
    known = {**_shipped(), **declared}
    return {name: _resolve(name, known, where) for name in declared}


def find_profile(name: str) -> CostProfile:
    """The profile that a user names: a shipped one, or one of a file, ``FILE.toml[#PROFILE]``.

    Raises:
        UserError: there is no such profile or file, or the file is wrong or has several profiles.
    """
    path, _, wanted = name.partition("#")
    if not path.endswith(".toml"):
        if name not in _shipped() and Path(name).exists():
            raise UserError(f"{name}: a file of costs ends in .toml")
        return load_profile(name)
    profiles = load_profile_file(path)
    if not wanted and len(profiles) > 1:
        raise UserError(f"{path} has {', '.join(profiles)}; choose one: {path}#NAME")
    wanted = wanted or next(iter(profiles))
    if wanted not in profiles:
        raise UserError(f"{path} has no profile '{wanted}'{nearest(wanted, profiles)}")
    return profiles[wanted]


def load_targets() -> dict[str, CostTarget]:
    """The published composites by name, for display and validation only."""
    return {
        name: CostTarget(name=name, **target) for name, target in _document()["targets"].items()
    }


@cache
def _document() -> dict[str, Any]:
    text = files("sharesim.spec").joinpath("costs.toml").read_text(encoding="utf-8")
    return _parse(text, _SHIPPED)


@cache
def _shipped() -> dict[str, _Declared]:
    return _declare_all(_document(), _SHIPPED)


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")  # some editors begin with a byte mark
    except UnicodeDecodeError:
        raise UserError(f"{path}: found bytes that are no UTF-8; a cost file is text") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: the cost file cannot be read: {reason}") from None


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # its message ends in line and column
        raise UserError(f"{where}: this is no valid TOML: {error}") from None


def _declare_all(document: Mapping[str, Any], where: str) -> dict[str, _Declared]:
    profiles = document.get("profiles")
    if not isinstance(profiles, dict) or not profiles:
        raise UserError(f"{where}: there is no profile; a profile begins with [profiles.NAME]")
    return {name: _declare(name, entries, where) for name, entries in profiles.items()}


def _declare(name: str, entries: Any, where: str) -> _Declared:
    if not isinstance(entries, dict):
        raise UserError(
            f"{where}: profiles.{name}: found {entries!r}; a profile is a table, [profiles.{name}]"
        )
    description = _text(f"{where}: profiles.{name}.description", entries.get("description"))
    inherits = entries.get("inherits")
    if inherits is not None:
        inherits = _text(f"{where}: profiles.{name}.inherits", inherits)
    figures = {
        key: _figure(name, key, entry, where)
        for key, entry in entries.items()
        if key not in ("description", "inherits")
    }
    return _Declared(description, inherits, figures)


def _figure(profile: str, key: str, entry: Any, where: str) -> CostFigure:
    place = f"{where}: profiles.{profile}.{key}"
    if key not in PRIMITIVES:
        hint = nearest(key, [*PRIMITIVES, "description", "inherits"])
        raise UserError(f"{place}: unknown cost '{key}'{hint}")
    if not isinstance(entry, dict):
        raise UserError(f"{place}: found {entry!r}; a cost looks like {_FORM}")
    for field in entry:
        if field not in ("ns", "mark", "source"):
            hint = nearest(field, ["ns", "mark", "source"])
            raise UserError(f"{place}: unknown field '{field}'{hint}")
    return CostFigure(
        ns=_nanoseconds(f"{place}.ns", entry.get("ns")),
        mark=_mark(f"{place}.mark", entry.get("mark")),
        source=_text(f"{place}.source", entry.get("source")),
        profile=profile,
    )


def _nanoseconds(place: str, value: Any) -> int:
    if value is None:
        raise UserError(f"{place}: missing; a cost looks like {_FORM}")
    if isinstance(value, bool) or not isinstance(value, int):
        raise UserError(f"{place}: found {value!r}; a cost is a whole number of nanoseconds")
    if not 0 <= value <= _LARGEST:
        raise UserError(f"{place}: found {value}; a cost lies between 0 and {_LARGEST} ns")
    return value


def _mark(place: str, value: Any) -> str:
    mark = _text(place, value)
    if mark not in MARKS:
        raise UserError(f"{place}: found '{mark}'{nearest(mark, MARKS)}")
    return mark


def _text(place: str, value: Any) -> str:
    if value is None:
        raise UserError(f"{place}: missing; it is a text")
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{place}: found {value!r}; it is a text that is not empty")
    return value


def _resolve(name: str, known: Mapping[str, _Declared], where: str) -> CostProfile:
    """Put a profile's own figures over those that it inherits."""
    lineage = _lineage(name, known, where)
    figures: dict[str, CostFigure] = {}
    for ancestor in reversed(lineage):
        figures.update(known[ancestor].figures)
    missing = sorted(PRIMITIVES.keys() - figures.keys())
    if missing:
        raise UserError(
            f"{where}: profile '{name}' has no figure for {', '.join(missing)}; add them, or "
            f'inherits = "{DEFAULT_PROFILE}"'
        )
    ordered = {key: figures[key] for key in PRIMITIVES}
    return CostProfile(name, known[name].description, ordered)


def _lineage(name: str, known: Mapping[str, _Declared], where: str) -> list[str]:
    """The profile, then its ancestors, nearest first."""
    lineage = [name]
    while (parent := known[lineage[-1]].inherits) is not None:
        place = f"{where}: profiles.{lineage[-1]}.inherits"
        if parent not in known:
            raise UserError(f"{place}: unknown cost profile '{parent}'{nearest(parent, known)}")
        if parent in lineage:
            circle = " -> ".join([*lineage[lineage.index(parent) :], parent])
            raise UserError(f"{place}: found '{parent}'; inheritance goes round: {circle}")
        lineage.append(parent)
    return lineage
