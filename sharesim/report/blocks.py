"""What a report is made of: plain data, without a word of HTML.

``templates/blocks.html.j2`` has a macro for each kind of block, by its class's name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


class Block:
    """Base class of what a section holds."""

    @property
    def kind(self) -> str:
        """The name of its macro."""
        return type(self).__name__.lower()


@dataclass(frozen=True)
class Text(Block):
    """Paragraphs."""

    paragraphs: tuple[str, ...]
    role: str = ""
    """``"note"`` for an aside, ``"warning"`` for what must not be missed."""


@dataclass(frozen=True)
class Tile:
    """A figure to see at first glance."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Tiles(Block):
    """Some of them in a row."""

    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Facts(Block):
    """Names and what is so called."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Cell:
    """A cell of a table."""

    text: str
    sort: float | str = ""
    """What it is sorted by; its text where that is empty."""
    numeric: bool = False
    best: bool = False


@dataclass(frozen=True)
class Table(Block):
    """A table; the first cell of each row names it."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    live: bool = False
    """Whether it can be sorted, filtered and copied, where there is JavaScript."""
    note: str = ""


@dataclass(frozen=True)
class Picture(Block):
    """A picture as SVG that is safe to be put into the page as it is; see report/picture.py."""

    svg: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Code(Block):
    """Commands, or a file, to be copied."""

    text: str
    label: str
    command: bool = True


@dataclass(frozen=True)
class Fold(Block):
    """Details that are closed until somebody wants them."""

    summary: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Section:
    """A part of the page under its heading."""

    name: str
    """For links: unique, of letters."""
    heading: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """All of a report."""

    title: str
    kind: str
    """``"Sweep"`` or ``"Run"``."""
    subtitle: str
    sections: tuple[Section, ...]
    made_by: str
    """Which version made the results."""
    data: dict[str, Any] = field(default_factory=dict)
    """The main table once more, for programs."""


def number_cell(text: str, value: float | None, *, best: bool = False) -> Cell:
    """A cell that is sorted by a number; those without one come last."""
    return Cell(text, float("inf") if value is None else value, numeric=True, best=best)


def plain_table(
    caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: bool = True
) -> Table:
    """A table of texts, the first column of names and the others of figures."""
    made = tuple(
        tuple(Cell(text, numeric=numeric and at > 0) for at, text in enumerate(row)) for row in rows
    )
    return Table(caption, tuple(columns), made)
