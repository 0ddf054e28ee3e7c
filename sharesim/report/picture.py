"""Turns a figure into SVG that can be put into a page with others of its kind."""

import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import TYPE_CHECKING

from sharesim.report.blocks import Picture
from sharesim.results.style import figure_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_DROPPED = {f"{{{_SVG}}}metadata", f"{{{_SVG}}}style", f"{{{_SVG}}}script"}
"""Metadata is nobody's concern; matplotlib's style sheet would apply to the whole page, whose own
says the same."""
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Not allowed in XML, but perhaps in a name."""
ENLARGED = 1.8
"""Pixels to a point of a picture at most; 4/3 is its size on paper."""
_HREF = f"{{{_XLINK}}}href"


def picture(draw: Callable[[], "Figure"], name: str, alt: str, caption: str = "") -> Picture:
    """A figure as a block. ``name`` goes before all its ids: matplotlib gives equal ones to all.

    The figure is parsed and written again, so whatever text it holds is text in the page as well.
    """
    with warnings.catch_warnings():
        # Text stays text, so that matplotlib's font lacks a letter does not matter.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        content = figure_bytes(draw(), "svg")
    root = ElementTree.fromstring(_CONTROL.sub(b"", content))
    _clean(root)
    for element in root.iter():
        _rename(element, name)
    width, height = (_points(root.get(side)) for side in ("width", "height"))
    for side in ("width", "height"):
        root.attrib.pop(side, None)
    root.set("role", "img")
    root.set("aria-label", alt)
    root.set("class", "picture")
    root.set("style", f"aspect-ratio: {width:g} / {height:g}; max-width: {width * ENLARGED:g}px")
    return Picture(_text(root), alt, caption)


def _clean(element: ElementTree.Element) -> None:
    for child in list(element):
        if child.tag in _DROPPED:
            element.remove(child)
        else:
            _clean(child)


def _rename(element: ElementTree.Element, name: str) -> None:
    for key, value in element.attrib.items():
        if key == "id":
            element.set(key, f"{name}-{value}")
        elif key in ("href", _HREF) and value.startswith("#"):
            element.set(key, f"#{name}-{value[1:]}")
        else:
            element.set(key, _REFERENCE.sub(rf"url(#{name}-\1)", value))


def _points(length: str | None) -> float:
    return float((length or "0").removesuffix("pt"))


def _text(root: ElementTree.Element) -> str:
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    return ElementTree.tostring(root, encoding="unicode")
