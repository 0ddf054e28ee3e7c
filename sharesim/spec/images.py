"""What is in a guest's memory when it starts: segments, or a snapshot of a capture."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from sharesim.spec.base import Family, Member, Spec, member_field
from sharesim.spec.units import PositiveSize, Size, Time

IMAGES = Family("image", "sharesim.images")

MapCount = Annotated[int, Field(ge=1, le=255)]
Fraction = Annotated[float, Field(ge=0, le=1)]
ContentNumber = Annotated[int, Field(ge=0, lt=1 << 63)]
PageClassName = Literal[
    "free", "page-cache", "anonymous", "slab", "page-table", "kernel", "reserved", "unknown"
]


class Image(Member):
    """Base class of images."""

    family: ClassVar[Family] = IMAGES


class Segment(Spec):
    """A run of pages of one page class.

    ``shared_as`` names contents that every segment with that name has in common, page by page (a
    kernel, a file in the page cache); without it the contents are the guest's own. ``zero`` and
    ``duplicate`` are the fractions of pages that are all zero, and that repeat one of
    ``patterns`` contents of the segment; they are spread evenly by a hash of the page's position.
    ``map_count`` is how many page-table entries map each page; by default what the VM's
    ``map_counts`` say of its class.
    """

    size: PositiveSize
    page_class: PageClassName = "anonymous"
    shared_as: str | None = None
    zero: Fraction = 0.0
    duplicate: Fraction = 0.0
    patterns: Annotated[int, Field(ge=1)] = 16
    map_count: MapCount | None = None
    pinned: bool = False
    populated: bool = True

    @model_validator(mode="after")
    def _fractions(self) -> "Segment":
        if self.zero + self.duplicate > 1:
            raise ValueError(
                f"zero + duplicate: found {self.zero + self.duplicate:g}; at most 1 is possible"
            )
        return self


@IMAGES.register
class Segments(Image):
    """Memory laid out as segments, in order; what is left of the guest is free."""

    name: ClassVar[str] = "segments"
    segments: tuple[Segment, ...] = ()


@IMAGES.register
class Captured(Image):
    """Memory of one guest of a capture, as it was at a time."""

    name: ClassVar[str] = "captured"
    capture: str
    """Name of a shipped capture, or path of a file."""
    guest: str | int = 0
    """Which of its guests: name or number."""
    at: Time = 0
    """Time within the capture, from its first snapshot."""
    page_tables: Literal["data", "typed"] = "data"
    """What direct paging makes of pages that the capture reports as page tables: contents like any
    other, equal in all paging modes (the captured guest had none of the machine's frames in them);
    or typed frames, which are pinned and never shared."""


@IMAGES.register
class Scripted(Image):
    """Memory of one process of a recorded KSM case, as it is filled before the case begins."""

    name: ClassVar[str] = "scripted"
    script: str
    """Path of the case's JSON file."""
    process: Annotated[int, Field(ge=0)] = 0
    """Which of its processes."""


@IMAGES.register
class Numbered(Image):
    """Memory filled with numbered contents: equal numbers are equal contents, in all guests."""

    name: ClassVar[str] = "numbered"
    runs: tuple[tuple[Size, PositiveSize, ContentNumber, ContentNumber], ...] = ()
    """(first page, pages, number of the first page, step): a step of 0 fills all pages alike, and
    number 0 is the zero page. Pages in no run are unpopulated; of two runs over a page the later
    counts."""


ImageField = member_field(Image, IMAGES)
