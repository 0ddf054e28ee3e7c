"""What a user varies: ``--vary NAME=...`` and ``--zip A,B`` read into axes, and axes into a grid.

==========================  ====================================================================
``vms=2,4,8``               these values, read as ``--set`` reads them
``rate=0:100:5``            5 values, evenly spaced; also ``0:100:linear:5``
``rate=100:100000:log:12``  12 values with equal ratios
``rate=0:100:step:25``      from the first on in steps, up to the last
``rate=100:100000:log``     no values yet: a range to draw from; also ``0:100``
==========================  ====================================================================

Values of a range are rounded to whole numbers where the parameter is one; equal ones are one.
"""

import math
import statistics
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product
from typing import Any, Literal, TypeAlias, Union

from sharesim.errors import UserError, nearest
from sharesim.spec.parameters import Parameter, parse_value, value_text
from sharesim.spec.script import Target

Number: TypeAlias = int | float
Scale = Literal["linear", "log", "category"]

MOST_POINTS = 1_000_000
DIGITS = 12
"""Significant digits of a value from a logarithm, which differs in the last place between machines:
all of them have to come to the same value, and so to the same key."""
LOG_RATIO = 30.0
"""Largest over smallest value of a list from which on it may be meant on a logarithmic scale."""

_WORDS = ("linear", "log", "step")
_BEGINNINGS = tuple("0123456789+-.")
"""Of numbers."""
_PLAIN = (bool, int, float, str, type(None))
"""What a table and a manifest can hold."""


@dataclass(frozen=True)
class Values:
    """A parameter with the values that it takes, in order."""

    name: str
    values: tuple[Any, ...]
    scale: Scale


@dataclass(frozen=True)
class Range:
    """A parameter with the range that its values are drawn from; both ends are in it."""

    name: str
    low: Number
    high: Number
    log: bool
    integer: bool


Axis: TypeAlias = Values | Range


def parse_vary(target: Target, texts: Sequence[str]) -> tuple[Axis, ...]:
    """The axes that ``--vary`` asks for, in order. UserError for whatever is wrong with one."""
    axes: dict[str, Axis] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UserError(f"--vary {text}: write it as --vary NAME=a,b,c or NAME=LOW:HIGH:COUNT")
        parameter = target.parameter(name, "--vary")
        if name in axes:
            raise UserError(f"--vary {text}: {name} is given twice; put all its values in one")
        try:
            axes[name] = _axis(parameter, values.strip())
        except _WrongError as error:
            raise UserError(f"--vary {text}: {error}") from None
    return tuple(axes.values())


def grid(axes: Sequence[Axis], zipped: Sequence[Sequence[str]] = ()) -> list[dict[str, Any]]:
    """The settings of all points, each once, the first parameter varying slowest.

    Parameters that are ``zipped`` go together: the first value of one with the first of the other.
    UserError for a range without a number of values, and for what cannot be zipped.
    """
    groups = _groups([_closed(axis) for axis in axes], zipped)
    count = math.prod(len(group[0].values) for group in groups)
    if count > MOST_POINTS:
        raise UserError(
            f"--vary: found a grid of {count:,} points; {MOST_POINTS:,} are the most. Give fewer"
            " values, or draw some of the points with --sample N"
        )
    rows = [list(zip(*(axis.values for axis in group), strict=True)) for group in groups]
    names = [axis.name for group in groups for axis in group]
    points = []
    for chosen in product(*(dict.fromkeys(values) for values in rows)):
        settings = dict(zip(names, (value for row in chosen for value in row), strict=True))
        points.append({axis.name: settings[axis.name] for axis in axes})
    return points


class _WrongError(ValueError):
    """What is wrong with one ``--vary``, without its text."""


def _axis(parameter: Parameter, text: str) -> Axis:
    _check_plain(parameter, parameter.default)
    if not text:
        raise _WrongError("found no values")
    kinds = _kinds(parameter.annotation)
    is_number = bool(kinds) and set(kinds) <= {int, float}
    if ":" in text and (is_number or _looks_like_range(text)):
        if not is_number:
            raise _WrongError(
                f"a range needs a number, and {parameter.name} is {parameter.type_text}; list the"
                f" values, as {parameter.name}=a,b,c"
            )
        return _range(parameter, text, integer=float not in kinds)
    values = tuple(_read(parameter, one) for one in text.split(","))
    return Values(parameter.name, values, _scale(parameter, values))


def _kinds(annotation: Any) -> list[Any]:
    """The types that a parameter may have: ``None`` left out, units such as ``Time`` as int."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _kinds(arguments[0])
    if origin in (Union, types.UnionType):
        return [kind for one in arguments for kind in _kinds(one)]
    return [] if annotation in (None, type(None)) else [annotation]


def _looks_like_range(text: str) -> bool:
    """Whether numbers, maybe with a unit, are on both sides of the first colon."""
    first, last, *_ = (part.strip() for part in text.split(":"))
    return "," not in text and first.startswith(_BEGINNINGS) and last.startswith(_BEGINNINGS)


def _read(parameter: Parameter, text: str) -> Any:
    if not text.strip():
        raise _WrongError("found an empty value")
    try:
        value = parse_value(parameter, text)
    except UserError as error:
        raise _WrongError(str(error).removeprefix(f"--set {parameter.name}: ")) from None
    _check_plain(parameter, value)
    return value


def _check_plain(parameter: Parameter, value: Any) -> None:
    if not isinstance(value, _PLAIN):
        raise _WrongError(
            f"values of type {parameter.type_text} cannot be varied; let the script take a name or"
            " a number that stands for one"
        )


# Ranges


def _range(parameter: Parameter, text: str, *, integer: bool) -> Axis:
    """``LO:HI``, ``LO:HI:N``, ``LO:HI:WORD`` or ``LO:HI:WORD:N``."""
    first, last, *rest = (part.strip() for part in text.split(":"))
    low, high = _read(parameter, first), _read(parameter, last)
    word = rest.pop(0) if rest and rest[0][:1].isalpha() else "linear"
    if word not in _WORDS:
        raise _WrongError(f"'{word}' is no kind of range{nearest(word, _WORDS)}")
    if len(rest) > 1:
        raise _WrongError("found too many colons; a range is LOW:HIGH:COUNT or LOW:HIGH:log:COUNT")
    if low is None or high is None or low >= high:
        raise _WrongError(f"a range goes from low to high, and {first} is not below {last}")
    if word == "log" and low <= 0:
        raise _WrongError(f"a logarithmic range begins above 0; found {first}")
    if word == "step":
        values: Iterable[Number | Fraction] = _steps(low, high, _step(parameter, rest))
    elif not rest:
        return Range(parameter.name, low, high, word == "log", integer)
    else:
        values = (_logarithmic if word == "log" else _linear)(low, high, _count(rest[0]))
    whole = dict.fromkeys(round(one) if integer else float(one) for one in values)
    return Values(parameter.name, tuple(whole), "log" if word == "log" else "linear")


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 2:
        raise _WrongError(f"found '{text}' for how many values; a whole number from 2 is needed")
    _check_count(count)
    return count


def _check_count(count: int) -> None:
    if count > MOST_POINTS:
        raise _WrongError(f"these are {count:,} values; {MOST_POINTS:,} are the most")


def _linear(low: Number, high: Number, count: int) -> Iterator[Fraction]:
    """Exact, as the numbers are written: 0.1:0.5:5 has 0.3 in it, not 0.30000000000000004."""
    start, width = _exact(low), _exact(high) - _exact(low)
    return (start + width * number / (count - 1) for number in range(count))


def _logarithmic(low: Number, high: Number, count: int) -> Iterator[Number]:
    yield low
    first, width = math.log(low), math.log(high) - math.log(low)
    for number in range(1, count - 1):
        yield in_range(math.exp(first + width * number / (count - 1)), low, high)
    yield high


def _step(parameter: Parameter, texts: Sequence[str]) -> Number:
    if not texts:
        raise _WrongError("the step is missing; write LOW:HIGH:step:STEP")
    step: Number | None = _read(parameter, texts[0])
    if step is None or step <= 0:
        raise _WrongError(f"a step is above 0; found {texts[0]}")
    return step


def _steps(low: Number, high: Number, step: Number) -> Iterator[Fraction]:
    start, width = _exact(low), _exact(step)
    count = (_exact(high) - start) // width + 1
    if count < 2:
        raise _WrongError(f"a step of {step} is more than the whole range")
    _check_count(count)
    return (start + width * number for number in range(count))


def _exact(value: Number) -> Fraction:
    """A number as it is written in decimals."""
    return Fraction(str(value))


def in_range(value: float, low: Number, high: Number) -> float:
    """A computed value, the same on all machines, and not past the ends."""
    return min(max(float(f"{value:.{DIGITS}g}"), low), high)


# Lists


def _scale(parameter: Parameter, values: Sequence[Any]) -> Scale:
    """How a list of values is meant; what is no number has no scale."""
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
    if not numbers or typing.get_origin(parameter.annotation) is Literal:
        return "category"
    return "log" if _is_geometric(values) else "linear"


def _is_geometric(values: Sequence[Number]) -> bool:
    """Whether positive numbers spread wide, and ratios are more alike than differences."""
    ordered = sorted(set(values))
    if ordered[0] <= 0 or ordered[-1] / ordered[0] < LOG_RATIO:
        return False
    return _unevenness([math.log(one) for one in ordered]) <= _unevenness(ordered)


def _unevenness(ordered: Sequence[float]) -> float:
    """Coefficient of variation of the gaps between numbers."""
    gaps = [after - before for before, after in pairwise(ordered)]
    return statistics.pstdev(gaps) / statistics.fmean(gaps)


# Grids


def _closed(axis: Axis) -> Values:
    if isinstance(axis, Values):
        return axis
    kind = ":log" if axis.log else ""
    text = f"{axis.name}={value_text(axis.low)}:{value_text(axis.high)}{kind}"
    raise UserError(
        f"--vary {text}: how many values? Add their number, as {text}:8, or draw points from the"
        " range with --sample N"
    )


def _groups(axes: Sequence[Values], zipped: Sequence[Sequence[str]]) -> list[list[Values]]:
    """The axes that go together, each group at the place of its first one."""
    by_name = {axis.name: axis for axis in axes}
    partners: dict[str, tuple[str, ...]] = {name: (name,) for name in by_name}
    for names in zipped:
        _check_zip(names, by_name, partners)
        partners |= dict.fromkeys(names, tuple(names))
    together = dict.fromkeys(partners[axis.name] for axis in axes)
    return [[by_name[name] for name in names] for names in together]


def _check_zip(
    names: Sequence[str], axes: dict[str, Values], partners: dict[str, tuple[str, ...]]
) -> None:
    option = f"--zip {','.join(names)}"
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(f"{option}: give two or more different parameters, as --zip a,b")
    for name in names:
        if name not in axes:
            hint = nearest(name, axes) or "; nothing is varied"
            raise UserError(f"{option}: '{name}' is not varied{hint}")
        if len(partners[name]) > 1:
            raise UserError(f"{option}: {name} is zipped already; name all that go with it in one")
    counts = {name: len(axes[name].values) for name in names}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise UserError(f"{option}: they need equally many values; {found}")
