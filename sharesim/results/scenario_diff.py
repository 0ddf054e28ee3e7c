"""What differs between resolved scenarios, field by field, as few lines as that takes."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, BeforeValidator

from sharesim.spec.base import Member
from sharesim.spec.images import IMAGES
from sharesim.spec.paging import PAGINGS
from sharesim.spec.policies import POLICIES
from sharesim.spec.scenario import Scenario
from sharesim.spec.units import parse_size, parse_time, show_size, show_time
from sharesim.spec.workloads import WORKLOADS

ABSENT = "-"
_SHOWN = {parse_time: show_time, parse_size: show_size}
"""How a whole number of a field is written, by what reads it."""
_NAMES_SHOWN = 4
_MEMBER = "name"
_SHARING = ("sharing.design", "sharing.policy")
_DIGEST = re.compile(r"[0-9a-f]{32,}")


@dataclass(frozen=True)
class Difference:
    """A field, and its value in each scenario: text, ``"-"`` where it has no such field."""

    field: str
    values: tuple[str, ...]


def scenario_differences(scenarios: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """The fields in which these scenarios, as in ``scenario.json``, are not all alike.

    VMs go by their names. A field that differs alike in several VMs is one line; costs are one
    line, and so is which VMs there are. Of VMs that only some scenarios have no field is told.
    """
    guests = [{vm["name"]: vm for vm in one.get("vms", ())} for one in scenarios]
    flat = [dict(_leaves(_without_guests(one), "", Scenario)) for one in scenarios]
    return [
        *(one for one in _unequal(flat) if _tells(one)),
        *_costs([one.get("host", {}).get("costs", {}) for one in scenarios]),
        *_guest_sets(guests),
        *_of_guests(guests),
    ]


def _without_guests(scenario: Mapping[str, Any]) -> dict[str, Any]:
    """What can be told field by field: the rest has lines of its own."""
    sharing = scenario.get("sharing") or {"design": "none"}
    host = dict(scenario.get("host", {}))
    host["costs"] = {"profile": host.get("costs", {}).get("profile")}
    return {**scenario, "host": host, "sharing": sharing, "vms": None}


def _unequal(flat: Sequence[Mapping[str, str]]) -> list[Difference]:
    flat = _unlike_members_joined(flat)
    names = dict.fromkeys(name for one in flat for name in one)
    rows = {name: tuple(one.get(name, ABSENT) for one in flat) for name in names}
    return [Difference(name, row) for name, row in rows.items() if len(set(row)) > 1]


def _tells(row: Difference) -> bool:
    """Not so where the only difference is that there is nothing to scan for in one of them."""
    detail = row.field.startswith("sharing.") and row.field not in _SHARING
    return not detail or len(set(row.values) - {ABSENT}) > 1


def _unlike_members_joined(flat: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Policies, workloads and the like that are not of one kind become one field each.

    Their own fields mean nothing to each other: the line names what is not as by default.
    """
    result = [dict(one) for one in flat]
    names = dict.fromkeys(name for one in flat for name in one if name.endswith(f".{_MEMBER}"))
    for name in names:
        owner = name.removesuffix(f".{_MEMBER}")
        if len({one.get(name) for one in result}) > 1:
            for one in result:
                inside = {key: one.pop(key) for key in list(one) if key.startswith(f"{owner}.")}
                one[owner] = _in_short(inside, owner) if inside else ABSENT
    return result


def _in_short(fields: Mapping[str, str], owner: str) -> str:
    """``cbps(scan_rate=10000)``: a member of a family and what is special about it."""
    return _special({key.removeprefix(f"{owner}."): value for key, value in fields.items()})


def member_text(data: Mapping[str, Any]) -> str:
    """A policy, workload, image or paging mode of a ``scenario.json``, and what is special."""
    return _special(dict(_leaves(data, "", _member_class(str(data.get(_MEMBER))))))


def _special(fields: dict[str, str]) -> str:
    name = fields.pop(_MEMBER, "")
    usual = _defaults(name)
    special = [f"{key}={value}" for key, value in fields.items() if usual.get(key) != value]
    return f"{name}({', '.join(special)})" if special else name


def _member_class(name: str) -> type[Member] | None:
    families = (POLICIES, WORKLOADS, IMAGES, PAGINGS)
    return next((one.members[name] for one in families if name in one.members), None)


def _defaults(name: str) -> dict[str, str]:
    """The fields of a member that need not be given, as they then are."""
    model = _member_class(name)
    if model is None:
        return {}
    usual = model.model_construct().model_dump(mode="json", by_alias=True)
    return dict(_leaves(usual, "", model))


def _costs(costs: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """One line: how many primitives cost something else than in the first, and which most so."""
    tables = [one.get("table") or {} for one in costs]
    values = tuple(_cost_change(tables[0], table) for table in tables)
    return [Difference("host.costs.table", values)] if any(values[1:]) else []


def _cost_change(first: Mapping[str, int], table: Mapping[str, int]) -> str:
    changed = [key for key in {**first, **table} if first.get(key) != table.get(key)]
    if not changed:
        return ""
    most = max(changed, key=lambda key: _factor(first.get(key), table.get(key)))
    before, now = first.get(most, ABSENT), table.get(most, ABSENT)
    return f"{len(changed)} of {len(first)} differ, most {most}: {before} → {now} ns"


def _factor(before: int | None, now: int | None) -> float:
    low, high = sorted((before or 0, now or 0))
    return (high + 1) / (low + 1)


def _guest_sets(guests: Sequence[Mapping[str, Any]]) -> list[Difference]:
    if len({tuple(one) for one in guests}) == 1:
        return []
    return [Difference("vms", tuple(f"{len(one)}: {_listed(list(one))}" for one in guests))]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    shown = ", ".join(names[:_NAMES_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def _of_guests(guests: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """Fields of VMs that all scenarios have; VMs that differ alike together."""
    common = [name for name in guests[0] if all(name in one for one in guests)]
    model = _within(Scenario.model_fields["vms"].annotation)
    alike: dict[Difference, list[str]] = {}
    for name in common:
        for row in _unequal([dict(_leaves(one[name], "", model)) for one in guests]):
            alike.setdefault(row, []).append(name)
    rows = []
    for row, names in alike.items():
        several = "*" if len(names) == len(common) else f"{{{_listed(names)}}}"
        who = names[0] if len(names) == 1 else several
        rows.append(Difference(f"vms.{who}.{row.field}", row.values))
    return rows


# Fields as text


def _leaves(data: Any, path: str, kind: Any) -> Iterator[tuple[str, str]]:
    """(path, value) of each plain value; ``kind`` is the annotation or class it was read by."""
    if isinstance(data, Mapping):
        fields = _fields(kind, data)
        for name, value in data.items():
            yield from _leaves(value, f"{path}.{name}" if path else name, fields.get(name))
    elif isinstance(data, list) and any(isinstance(one, Mapping) for one in data):
        for number, one in enumerate(data):
            yield from _leaves(one, f"{path}[{number}]", _within(kind))
    else:
        yield path, _text(data, kind)


def _fields(kind: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """What the fields of an object are annotated as; empty for classes that are not loaded."""
    model: Any = _within(kind)
    if isinstance(model, type) and issubclass(model, Member) and hasattr(model, "family"):
        model = model.family.members.get(str(data.get("name")))
    if model is None:
        return {}
    return {
        info.alias or name: (info.annotation, *info.metadata)
        for name, info in model.model_fields.items()
    }


def _parts(kind: Any) -> tuple[Any, ...]:
    return kind if isinstance(kind, tuple) else get_args(kind)


def _within(kind: Any) -> type[BaseModel] | None:
    """The class of descriptions in an annotation such as ``tuple[VM, ...]``; None for none."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return next((found for one in _parts(kind) if (found := _within(one)) is not None), None)


def _text(value: Any, kind: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, int):
        return _measure(value, kind)
    if isinstance(value, str):
        return f"{value[:12]}…" if _DIGEST.fullmatch(value) else value
    return json.dumps(value, ensure_ascii=False)


def _measure(value: int, kind: Any) -> str:
    """A whole number with its unit, where its field reads times or sizes."""
    for part in _parts(kind):
        if isinstance(part, BeforeValidator) and part.func in _SHOWN:
            return _SHOWN[part.func](value)
        nested = _measure(value, part)
        if nested != str(value):
            return nested
    return str(value)
