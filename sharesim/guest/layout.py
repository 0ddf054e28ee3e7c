"""A guest's memory at its start, laid out from its image: one row of arrays per VM."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sharesim.content.capture import open_capture
from sharesim.content.classes import PageClass
from sharesim.content.ksm_case import content_ids as numbered_contents
from sharesim.content.ksm_case import open_case
from sharesim.content.mixing import combine, stable_hash64, wrapping
from sharesim.errors import UserError
from sharesim.kernel import Number, njit
from sharesim.machine.tables import BLOCK, BLOCK_PAGES, PINNED, UNMERGEABLE
from sharesim.spec.images import Captured, Image, Numbered, Scripted, Segment, Segments
from sharesim.spec.scenario import VM
from sharesim.spec.units import show_size

_CLASS_CODES = {kind.name.lower().replace("_", "-"): int(kind) for kind in PageClass}


@dataclass
class Layout:
    """What each guest page is at the start."""

    contents: np.ndarray
    """uint64[pages] content ids."""
    populated: np.ndarray
    """bool[pages]: has a frame from the start."""
    classes: np.ndarray
    """uint8[pages] of PageClass."""
    map_counts: np.ndarray
    """uint8[pages]"""
    flags: np.ndarray
    """uint16[pages]: PINNED, BLOCK."""

    @classmethod
    def empty(cls, pages: int) -> "Layout":
        """All free and unpopulated."""
        return cls(
            contents=np.zeros(pages, np.uint64),
            populated=np.zeros(pages, bool),
            classes=np.full(pages, PageClass.FREE, np.uint8),
            map_counts=np.ones(pages, np.uint8),
            flags=np.zeros(pages, np.uint16),
        )


@njit
@wrapping
def content_ids(key: Number, numbers: np.ndarray, out: np.ndarray) -> Any:
    """Content ids of numbered contents under one key; number 0 stays the zero page."""
    for at in range(len(numbers)):
        number = np.uint64(numbers[at])
        if number == np.uint64(0):
            out[at] = np.uint64(0)
        else:
            made = combine(np.uint64(key), number)
            out[at] = made if made != np.uint64(0) else np.uint64(1)


def ids_of(key: int, numbers: np.ndarray) -> np.ndarray:
    """uint64[n] content ids of contents ``numbers`` (0: zero page) under a key."""
    out = np.zeros(len(numbers), np.uint64)
    content_ids(np.uint64(key), numbers, out)
    return out


def capture_key(sha256: str) -> int:
    """Key of a capture's contents: the same file has the same contents wherever it is used."""
    return int(sha256[:16], 16)


def lay_out(vm: VM, backing: str, *, linear_map: bool = False, typed: bool = False) -> Layout:
    """The memory of a VM as its image and ``populate`` say. The VM's size must be resolved.

    ``linear_map``: the guest kernel's map of all memory has one more entry for each page.
    ``typed``: the guest's page tables are typed frames, which are pinned.
    """
    assert vm.memory is not None
    layout = Layout.empty(vm.memory)
    image = vm.image
    if isinstance(image, Captured):
        _lay_captured(layout, image)
        _count_mappings(layout, slice(None), vm)
    elif isinstance(image, Segments):
        _lay_segments(layout, image.segments, vm)
    elif isinstance(image, Numbered):
        _lay_numbered(layout, image, vm)
    elif isinstance(image, Scripted):
        _lay_scripted(layout, image)
        _count_mappings(layout, slice(None), vm)
    else:
        raise UserError(f"VM '{vm.name}': image '{image.registered_name()}' cannot be laid out")
    if linear_map:
        layout.map_counts = np.minimum(layout.map_counts, 254) + np.uint8(1)
    if typed and not (isinstance(image, Captured) and image.page_tables == "data"):
        layout.flags |= np.where(layout.classes == PageClass.PAGE_TABLE, PINNED, 0).astype(
            np.uint16
        )
    if vm.populate == "boot":
        layout.populated[:] = True
    if backing == "2 MiB":
        _back_with_blocks(layout)
    if not vm.mergeable:
        layout.flags |= np.uint16(UNMERGEABLE)
    return layout


def image_pages(image: Image) -> int:
    """Pages that an image describes."""
    if isinstance(image, Captured):
        return open_capture(image.capture).guest(image.guest).pages
    if isinstance(image, Segments):
        return sum(segment.size for segment in image.segments)
    if isinstance(image, Scripted):
        return open_case(image.script).processes[image.process].pages
    if isinstance(image, Numbered):
        return max((first + count for first, count, _, _ in image.runs), default=0)
    return 0


def _lay_captured(layout: Layout, image: Captured) -> None:
    capture = open_capture(image.capture)
    guest = capture.guest(image.guest)
    seconds = image.at / 1e9
    snapshot = capture.snapshot_at(seconds)
    n = guest.pages
    layout.contents[:n] = ids_of(capture_key(capture.sha256), guest.contents(snapshot))
    layout.populated[:n] = ~guest.unbacked(snapshot)
    classes = guest.classes(seconds)
    layout.classes[:n] = PageClass.UNKNOWN if classes is None else classes


def _lay_scripted(layout: Layout, image: Scripted) -> None:
    contents, populated = open_case(image.script).contents(image.process)
    layout.contents[: len(contents)] = contents
    layout.populated[: len(contents)] = populated
    layout.classes[: len(contents)] = PageClass.ANONYMOUS


def _count_mappings(layout: Layout, part: slice, vm: VM) -> None:
    for name, count in vm.map_counts.items():
        chosen = layout.classes[part] == _CLASS_CODES[name]
        layout.map_counts[part][chosen] = count


def _lay_segments(layout: Layout, segments: tuple[Segment, ...], vm: VM) -> None:
    at = 0
    for number, segment in enumerate(segments):
        if at + segment.size > len(layout.contents):
            raise UserError(
                f"VM '{vm.name}': image.segments.{number} ends at {show_size(at + segment.size)}"
                f" but the VM has {show_size(len(layout.contents))}"
            )
        part = slice(at, at + segment.size)
        layout.classes[part] = _CLASS_CODES[segment.page_class]
        if segment.map_count is None:
            _count_mappings(layout, part, vm)
        else:
            layout.map_counts[part] = segment.map_count
        layout.populated[part] = segment.populated
        layout.flags[part] = PINNED if segment.pinned else 0
        if segment.populated:
            layout.contents[part] = _segment_contents(segment, vm.name, number)
        at += segment.size


def _lay_numbered(layout: Layout, image: Numbered, vm: VM) -> None:
    for first, count, number, step in image.runs:
        part = slice(first, first + count)
        numbers = np.uint64(number) + np.uint64(step) * np.arange(count, dtype=np.uint64)
        layout.contents[part] = numbered_contents(numbers)
        layout.populated[part] = True
        layout.classes[part] = PageClass.ANONYMOUS
        _count_mappings(layout, part, vm)


def _segment_contents(segment: Segment, vm_name: str, number: int) -> np.ndarray:
    own = f"own:{vm_name}:{number}"
    name = f"shared:{segment.shared_as}" if segment.shared_as else own
    key = stable_hash64(name)
    numbers = np.arange(1, segment.size + 1, dtype=np.uint64)
    spread = ids_of(stable_hash64(f"{name}:kind"), numbers) >> np.uint64(32)
    zero = int(segment.zero * 2**32)
    repeated = int((segment.zero + segment.duplicate) * 2**32)
    patterns = ids_of(stable_hash64(f"{name}:pattern"), numbers) % np.uint64(segment.patterns)
    contents = ids_of(key, numbers)
    repeats = ids_of(stable_hash64(f"{name}:repeat"), patterns + np.uint64(1))
    contents = np.where(spread < repeated, repeats, contents)
    filled: np.ndarray = np.where(spread < zero, np.uint64(0), contents)
    return filled


def _back_with_blocks(layout: Layout) -> None:
    """Aligned blocks that are wholly populated from the start get 2 MiB mappings."""
    whole = len(layout.populated) // BLOCK_PAGES * BLOCK_PAGES
    full = layout.populated[:whole].reshape(-1, BLOCK_PAGES).all(axis=1)
    layout.flags[:whole] |= np.where(np.repeat(full, BLOCK_PAGES), BLOCK, 0).astype(np.uint16)
