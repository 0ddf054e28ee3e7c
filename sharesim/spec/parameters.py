"""Parameters of a scenario script: what their annotations allow, and reading values from text."""

import inspect
import json
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, Union

from sharesim.errors import UserError, nearest

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_LARGEST_EXPONENT = 400


def value_text(value: Any) -> str:
    """A value as ``--set`` would take it."""
    if isinstance(value, list | tuple):
        return ",".join(value_text(one) for one in value)
    return str(value)


@dataclass(frozen=True)
class Parameter:
    """One parameter of the function ``scenario``."""

    name: str
    annotation: Any
    default: Any
    help: str = ""

    @property
    def type_text(self) -> str:
        """The annotation as a user would write it."""
        return type_text(self.annotation)


def parameter_of(one: inspect.Parameter, help_text: str, place: str) -> Parameter:
    """From a signature; UserError when annotation or default is missing."""
    if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD, one.POSITIONAL_ONLY):
        raise UserError(f"{place}: parameter '{one}' cannot be set by name; give plain parameters")
    example = f"`{one.name}: int = 4`"
    if one.annotation is one.empty:
        raise UserError(f"{place}: parameter '{one.name}' has no annotation; write it as {example}")
    if one.default is one.empty:
        raise UserError(f"{place}: parameter '{one.name}' has no default; write it as {example}")
    return Parameter(one.name, one.annotation, one.default, help_text)


def parse_value(parameter: Parameter, text: str, option: str = "--set") -> Any:
    """The value that a text stands for; UserError when the annotation does not allow it."""
    try:
        return _parse(parameter.annotation, text.strip())
    except ValueError as error:
        raise UserError(f"{option} {parameter.name}: {error}") from None


def type_text(annotation: Any) -> str:
    """``int``, ``"linear" | "random"``, ``int | None`` and the like."""
    origin = typing.get_origin(annotation)
    if annotation is None or annotation is type(None):
        return "none"
    if origin is Literal:
        return " | ".join(str(choice) for choice in typing.get_args(annotation))
    if origin in (Union, types.UnionType):
        return " | ".join(type_text(one) for one in typing.get_args(annotation))
    if origin is typing.Annotated:
        return type_text(typing.get_args(annotation)[0])
    if annotation is Ellipsis:
        return "..."
    if origin is not None:
        inner = ", ".join(type_text(one) for one in typing.get_args(annotation))
        return f"{getattr(origin, '__name__', origin)}[{inner}]"
    return getattr(annotation, "__name__", str(annotation))


def _parse(annotation: Any, text: str) -> Any:
    origin = typing.get_origin(annotation)
    if annotation in _READERS:
        return _READERS[annotation](text)
    if origin is Literal:
        return _parse_choice(typing.get_args(annotation), text)
    if origin in (Union, types.UnionType):
        return _parse_union(typing.get_args(annotation), text)
    return _parse_otherwise(annotation, text)


def _parse_none(text: str) -> None:
    if text.lower() not in ("none", "null", ""):
        raise ValueError(f"found '{text}'; none is needed")


def _parse_int(text: str) -> int:
    number = _decimal(text, "a whole number")
    if number != number.to_integral_value():
        raise ValueError(f"found '{text}'; a whole number is needed")
    return int(number)


def _parse_float(text: str) -> float:
    _decimal(text, "a number")
    return float(text.replace("_", ""))


def _decimal(text: str, what: str) -> Decimal:
    try:
        number = Decimal(text.replace("_", ""))
    except InvalidOperation:
        raise ValueError(f"found '{text}'; {what} is needed") from None
    if not number.is_finite() or number.adjusted() > _LARGEST_EXPONENT:
        raise ValueError(f"found '{text}'; {what} is needed")
    return number


def _parse_bool(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"found '{text}'; true or false is needed")


def _parse_choice(choices: tuple[Any, ...], text: str) -> Any:
    for choice in choices:
        if text == str(choice) or (choice is None and text.lower() == "none"):
            return choice
    names = [str(choice) for choice in choices]
    raise ValueError(
        f"found '{text}'; one of {', '.join(names)} is needed{_only_near(text, names)}"
    )


def _only_near(text: str, names: list[str]) -> str:
    hint = nearest(text, names)
    return hint if "did you mean" in hint else ""


def _parse_union(choices: tuple[Any, ...], text: str) -> Any:
    """The first that takes the text, a plain ``str`` last: it would take anything."""
    ordered = sorted(choices, key=lambda one: one is str)
    ordered.sort(key=lambda one: one not in (type(None), None))
    for one in ordered:
        try:
            return _parse(one, text)
        except ValueError:
            continue
    wanted = " or ".join(type_text(one) for one in choices)
    raise ValueError(f"found '{text}'; {wanted} is needed")


def _parse_otherwise(annotation: Any, text: str) -> Any:
    """Anything that pydantic knows: units such as ``Time``, and lists written as JSON."""
    from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

    try:
        adapter = TypeAdapter(annotation)
    except PydanticSchemaGenerationError:
        raise ValueError(f"type {type_text(annotation)} cannot be given as text") from None
    problem = ""
    for value in _readings(text):
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            first = error.errors()[0]
            cause = first.get("ctx", {}).get("error")
            problem = str(cause or f"found '{text}'; {first['msg'][0].lower()}{first['msg'][1:]}")
    raise ValueError(problem)


def _readings(text: str) -> list[Any]:
    """What a text may stand for: JSON, a list with commas, a list of one, or itself."""
    values: list[Any] = []
    try:
        values.append(json.loads(text))
    except (ValueError, RecursionError):
        if "," in text:
            values.append([part.strip() for part in text.split(",")])
    return [*values, [text], text]


_READERS: dict[Any, Callable[[str], Any]] = {
    int: _parse_int,
    float: _parse_float,
    bool: _parse_bool,
    str: str,
    type(None): _parse_none,
    None: _parse_none,
}
