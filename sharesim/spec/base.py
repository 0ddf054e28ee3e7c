"""What every part of a scenario's description has in common.

A description is plain, frozen, validated data that round-trips through JSON. Where a user may name
one of several kinds (an image, a workload, a policy) the kind is a *family*: each member is a class
with a ``name``, found by that name, by a Python entry point, or as ``module:Class``.
"""

import importlib
import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SerializeAsAny,
    ValidationError,
    model_serializer,
)

from sharesim.errors import UserError, nearest


class Spec(BaseModel):
    """A frozen piece of description; unknown fields are an error, not ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise UserError(describe(error, type(self))) from None


class Member(Spec):
    """A member of a family: its parameters are its fields, its first docstring line its help."""

    name: ClassVar[str] = ""
    family: ClassVar["Family"]

    @model_serializer(mode="wrap")
    def _with_name(self, handler: Any) -> dict[str, Any]:
        return {"name": self.registered_name(), **handler(self)}

    @classmethod
    def registered_name(cls) -> str:
        """The short name, or ``module:Class`` for one that is registered nowhere."""
        if cls.family.members.get(cls.name) is cls:
            return cls.name
        return f"{cls.__module__}:{cls.__qualname__}"

    @classmethod
    def help(cls) -> str:
        """One line for lists."""
        return (cls.__doc__ or "").strip().split("\n")[0]


_PLACE = re.compile(r"[\w.]+: ")

M = TypeVar("M", bound=type[Member])


class Family:
    """The known members of one kind, by name; plug-ins of ``group`` are loaded on first look-up."""

    def __init__(self, what: str, group: str) -> None:
        self.what = what
        self.group = group
        self.members: dict[str, type[Member]] = {}
        self.broken: dict[str, str] = {}
        self._loaded = False

    def register(self, member: M) -> M:
        """Class decorator: make ``member`` known by its ``name``."""
        self.members[member.name] = member
        return member

    def load_plugins(self) -> None:
        """Import what other packages registered; a broken one is remembered, never fatal."""
        if self._loaded:
            return
        self._loaded = True
        for point in entry_points(group=self.group):
            try:
                member = point.load()
                if not issubclass(member, Member):
                    raise TypeError(f"{member!r} is no {self.what} specification")
                self.members.setdefault(point.name, member)
            except Exception as error:  # a plug-in may fail in any way
                self.broken[point.name] = f"{type(error).__name__}: {error}"

    def __iter__(self) -> Iterator[tuple[str, type[Member]]]:
        self.load_plugins()
        return iter(sorted(self.members.items()))

    def find(self, name: str) -> type[Member]:
        """The member called ``name``, or named as ``module:Class``."""
        if name in self.members:
            return self.members[name]
        self.load_plugins()
        if name in self.members:
            return self.members[name]
        if name in self.broken:
            raise ValueError(f"{self.what} plug-in '{name}' does not load: {self.broken[name]}")
        if ":" in name:
            return self._import(name)
        raise ValueError(f"unknown {self.what} '{name}'{nearest(name, self.members)}")

    def _import(self, name: str) -> type[Member]:
        module_name, _, class_name = name.partition(":")
        try:
            found = getattr(importlib.import_module(module_name), class_name)
        except Exception as error:  # a user's module may fail in any way
            kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
            raise ValueError(f"{self.what} '{name}' cannot be imported: {kind}{error}") from None
        if not (isinstance(found, type) and issubclass(found, Member)):
            raise ValueError(f"'{name}' is no {self.what} specification")
        return found

    def validate(self, value: Any) -> Any:
        """Turn a name, or a mapping with a ``name``, into a member; pass members through."""
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, dict):
            return value
        if "name" not in value:
            raise ValueError(f"a {self.what} needs a 'name'{nearest('', self.members)}")
        fields = {key: item for key, item in value.items() if key != "name"}
        return self.find(str(value["name"]))(**fields)


def member_field(base: type[Member], family: Family) -> Any:
    """The field type of a family: written by name, serialised with its name."""
    return Annotated[SerializeAsAny[base], BeforeValidator(family.validate)]  # type: ignore[valid-type,misc]


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """All problems of one validation as text: where, what was found, what would be right."""
    problems = error.errors()
    places = [problem["loc"] for problem in problems]
    kept = [
        problem
        for problem in problems
        # A list whose items are wrong counts as too short as well: that says nothing new.
        if problem["type"] != "too_short" or not any(_inside(one, problem["loc"]) for one in places)
    ]
    return "\n".join(_describe_one(problem, model) for problem in kept)


def _inside(place: tuple[Any, ...], outer: tuple[Any, ...]) -> bool:
    return len(place) > len(outer) and place[: len(outer)] == outer


def _describe_one(problem: Any, model: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or model.__name__
    message, found = problem["msg"], problem["input"]
    if problem["type"] == "extra_forbidden":
        owner = _model_at(model, problem["loc"][:-1])
        name = str(problem["loc"][-1])
        hint = nearest(name, parameter_names(owner)) if owner is not None else ""
        inside = f" in '{where}'" if len(problem["loc"]) > 1 else ""
        return f"{(owner or model).__name__} has no parameter '{name}'{inside}{hint}"
    if problem["type"] == "missing":
        return f"{model.__name__} needs '{where}'"
    if problem["type"] == "value_error":
        text = str(problem["ctx"]["error"])
        lines = text.split("\n")
        return "\n".join(_below(where, line) for line in lines) if problem["loc"] else text
    if problem["type"] == "too_short":
        context = problem["ctx"]
        return f"{where}: found {context['actual_length']}; at least {context['min_length']} needed"
    return f"{where}: found {_shortly(found)}; {_in_words(message)}"


def _below(where: str, text: str) -> str:
    """The message of a part, with the whole way to it."""
    if text.startswith(f"{where}:"):
        return text
    return f"{where}.{text}" if _PLACE.match(text) else f"{where}: {text}"


def _in_words(message: str) -> str:
    """Pydantic's own sentence, without what only a programmer of it would understand."""
    text = message.removeprefix("Input ").removeprefix("String ").partition(", unable to")[0]
    text = text.replace("valid string", "text").replace("valid integer", "whole number")
    text = text.replace("valid number", "number").replace("a valid boolean", "true or false")
    text = text.replace("valid tuple", "list").replace("valid dictionary", "table of names")
    return f"{text[0].lower()}{text[1:]}".replace("should", "it should", 1)


def _shortly(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]} ..."


def parameter_names(model: type[BaseModel]) -> list[str]:
    """The names that a user gives its parameters by."""
    return [info.alias or name for name, info in model.model_fields.items()]


def _model_at(model: type[BaseModel], place: tuple[Any, ...]) -> type[BaseModel] | None:
    """The class of the part of a description at a place such as ``("host", "costs")``."""
    here: type[BaseModel] | None = model
    for part in place:
        if isinstance(part, int):
            continue
        if here is None:
            return None
        named = {info.alias or name: info for name, info in here.model_fields.items()}
        here = _model_in(named[part].annotation) if part in named else None
    return here


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The one class of descriptions in an annotation such as ``tuple[VM, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = [model for one in get_args(annotation) if (model := _model_in(one)) is not None]
    return found[0] if len(found) == 1 else None
