"""Sizes and times as users write them: ``"1 GiB"``, ``"20 ms"``, or plain integers.

Inside sharesim a time is an integer number of nanoseconds and a size an integer number of 4 KiB
pages, so a plain integer means exactly that.
"""

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

PAGE_BYTES = 4096

_TIMES = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_SIZES = {
    "pages": PAGE_BYTES,
    "page": PAGE_BYTES,
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
}
_NUMBER = re.compile(r"\s*([-+]?[0-9][0-9_]*\.?[0-9]*(?:[eE][-+]?[0-9]+)?)\s*([A-Za-zµ]*)\s*")
_LARGEST = 1 << 62


def _scaled(value: Any, units: dict[str, int], what: str, example: str, plain: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(
            f"found {value!r}; a {what} is text such as '{example}' or a whole number of {plain}"
        )
    if isinstance(value, int):
        return Decimal(value) * units[plain]
    match = _NUMBER.fullmatch(value)
    if match is None:
        raise ValueError(f"found {value!r}; a {what} looks like '{example}'")
    unit = match[2]
    if unit not in units:
        known = ", ".join(units)
        raise ValueError(f"found {value!r}; a {what} ends in one of {known}, as in '{example}'")
    try:
        return Decimal(match[1].replace("_", "")) * units[unit]
    except InvalidOperation:
        raise ValueError(f"found {value!r}; a {what} looks like '{example}'") from None


def parse_time(value: Any) -> int:
    """Nanoseconds of ``"20 ms"``, ``"1.5 s"`` or an integer of nanoseconds."""
    scaled = _scaled(value, _TIMES, "time", "20 ms", "ns")
    if scaled != scaled.to_integral_value():
        raise ValueError(f"found {value!r}; the finest time is 1 ns")
    if abs(scaled) > _LARGEST:
        raise ValueError(f"found {value!r}; the longest time is about 146 years")
    return int(scaled)


def parse_size(value: Any) -> int:
    """Pages of ``"1 GiB"`` or an integer of 4 KiB pages; must be whole pages."""
    scaled = _scaled(value, _SIZES, "size", "1 GiB", "pages")
    pages = scaled / PAGE_BYTES
    if pages != pages.to_integral_value():
        raise ValueError(f"found {value!r}; a size is a whole number of 4 KiB pages")
    if abs(pages) >= 1 << 32:
        raise ValueError(f"found {value!r}; the largest size is 16 TiB")
    return int(pages)


def show_time(nanoseconds: int) -> str:
    """The shortest exact text of a time, readable by :func:`parse_time`."""
    for unit in ("s", "ms", "us"):
        if nanoseconds % _TIMES[unit] == 0 and nanoseconds:
            return f"{nanoseconds // _TIMES[unit]} {unit}"
    return f"{nanoseconds} ns"


def show_size(pages: int) -> str:
    """A size for people, in the largest binary unit that keeps it at 1 or more."""
    size = pages * PAGE_BYTES
    for unit in ("GiB", "MiB", "KiB"):
        if abs(size) >= _SIZES[unit]:
            return f"{size / _SIZES[unit]:.4g} {unit}"
    return f"{size} B"


Time = Annotated[int, BeforeValidator(parse_time), Field(ge=0)]
"""A field that holds nanoseconds."""
PositiveTime = Annotated[int, BeforeValidator(parse_time), Field(gt=0)]
Size = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
"""A field that holds pages."""
PositiveSize = Annotated[int, BeforeValidator(parse_size), Field(gt=0)]
