"""What a sweep asks: written into its folder before anything is run."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sharesim.errors import UserError

FORMAT = 1
"""Of the folder; raised when a reader of the old one could not read the new."""
Scale = Literal["linear", "log", "category"]


@dataclass(frozen=True)
class Axis:
    """A parameter that varies: its distinct values in the order of the first points with them."""

    name: str
    values: tuple[Any, ...]
    scale: Scale


@dataclass(frozen=True)
class Manifest:
    """The question and how it was put. What results are, is in the store beside it."""

    script: str
    """The name of the script, or scenario.json, that the folder keeps below ``code/``."""
    axes: tuple[Axis, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that are the same for all points, as ``--set`` gave them."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What was changed of every scenario: exact, check, baseline, costs."""
    seed: int = 1
    """The master seed, of which the replicates' seeds are made."""
    replicates: int = 1
    """Of each point, at least."""
    title: str = ""
    help: str = ""
    parameters: tuple[Mapping[str, str], ...] = ()
    """All parameters of the script: name, type, default, help."""
    inputs: str = ""
    """Hash of all that decides what the points are; see :mod:`sharesim.sweep.plan`."""
    model_version: str = ""
    sharesim: str = ""
    command: tuple[str, ...] = ()
    """That began it, to be given again."""
    made_by: str = "sweep"
    """The command: sweep, tune or sensitivity."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What that command asks beyond a sweep, such as the objective of a search."""

    def to_json(self) -> dict[str, Any]:
        """Plain data, of ``sweep.json``."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_text(cls, text: str, where: str) -> "Manifest":
        """The inverse; UserError that names ``where`` for what is no manifest."""
        try:
            data = json.loads(text)
            number = data.pop("format")
        except (ValueError, AttributeError, KeyError, RecursionError):
            raise UserError(
                f"{where} is damaged: it holds no sweep's question. Remove that file and give the"
                " sweep's command again: the finished runs beside it are used"
            ) from None
        if number != FORMAT:
            raise UserError(
                f"{where}: format {number!r}; this version of sharesim reads format {FORMAT}: use"
                " the version that wrote it, or give another --out"
            )
        try:
            data["axes"] = tuple(
                Axis(one["name"], tuple(one["values"]), one["scale"]) for one in data["axes"]
            )
            data["command"] = tuple(data["command"])
            data["parameters"] = tuple(data["parameters"])
            return cls(**data)
        except (TypeError, KeyError) as error:
            raise UserError(f"{where} is damaged: {error}") from None

    def axis(self, name: str) -> Axis | None:
        """The parameter of that name, if it varies."""
        return next((one for one in self.axes if one.name == name), None)

    def differences(self, other: "Manifest") -> list[str]:
        """In which of the things that are asked two manifests differ, for people to read."""
        found = []
        if self.script != other.script:
            found.append(f"script {self.script}, now {other.script}")
        if self.made_by != other.made_by:
            found.append(f"made by `sharesim {self.made_by}`, now {other.made_by}")
        for name in dict.fromkeys([*(a.name for a in self.axes), *(a.name for a in other.axes)]):
            ours, theirs = self.axis(name), other.axis(name)
            if ours is None or theirs is None or set(ours.values) != set(theirs.values):
                found.append(f"{name} {_values(ours)}, now {_values(theirs)}")
        for what in ("settings", "options", "extra"):
            found += _changed(getattr(self, what), getattr(other, what))
        if self.seed != other.seed:
            found.append(f"seed {self.seed}, now {other.seed}")
        return found


def axes_of(points: Sequence[Mapping[str, Any]], scales: Mapping[str, Scale]) -> tuple[Axis, ...]:
    """The parameters of points and the values that they take."""
    names: Iterable[str] = dict.fromkeys(name for point in points for name in point)
    return tuple(
        Axis(
            name,
            tuple(dict.fromkeys(point[name] for point in points if name in point)),
            scales.get(name, "category"),
        )
        for name in names
    )


def _values(axis: Axis | None) -> str:
    if axis is None:
        return "not varied"
    shown = [str(value) for value in axis.values]
    return ", ".join(shown) if len(shown) <= 4 else f"{', '.join(shown[:3])} ... {shown[-1]}"


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    names = dict.fromkeys([*before, *now])
    return [
        f"{name} {before.get(name, 'not given')}, now {now.get(name, 'not given')}"
        for name in names
        if before.get(name) != now.get(name)
    ]
