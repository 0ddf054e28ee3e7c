"""``sharesim list``: what there is to choose from, with its parameters."""

import argparse
import ast
import inspect
import json
import shutil
import sys
import textwrap
import typing
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sharesim.errors import UserError, nearest

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from sharesim.spec.base import Family, Member

KINDS = ("policies", "workloads", "images", "paging", "costs", "targets", "captures")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("kind", metavar="KIND", help=", ".join(KINDS))
    add("--profile", metavar="PROFILE",
        help="of costs: all figures of one profile; its name, or FILE.toml[#PROFILE]")  # fmt: skip
    add("--json", action="store_true", help="as JSON")


def execute(options: argparse.Namespace) -> int:
    """Print them."""
    kind = options.kind
    if kind not in KINDS:
        raise UserError(f"cannot list '{kind}'{nearest(kind, KINDS)}")
    if options.profile is not None and kind != "costs":
        raise UserError(f"--profile is for costs, not for {kind}")
    if kind == "costs":
        data, lines = _profiles() if options.profile is None else _figures(options.profile)
    elif kind == "targets":
        data, lines = _targets()
    elif kind == "captures":
        data, lines = _captures()
    else:
        data, lines = _members(_family(kind))
    print(json.dumps(data, indent=2, ensure_ascii=False) if options.json else "\n".join(lines))
    return 0


def _family(kind: str) -> "Family":
    from sharesim.spec import images, paging, policies, workloads

    return {
        "policies": policies.POLICIES,
        "workloads": workloads.WORKLOADS,
        "images": images.IMAGES,
        "paging": paging.PAGINGS,
    }[kind]


def _members(family: "Family") -> tuple[list[dict[str, Any]], list[str]]:
    from sharesim.spec.base import Member

    data, lines = [], []
    bases: dict[type[Member], None] = {}
    for name, member in family:
        parameters, limits = _parameters(member), _limits(member)
        data.append({"name": name, "help": member.help(), **limits, "parameters": parameters})
        above = [base for base in member.__mro__[1:] if issubclass(base, Member)]
        above = [base for base in above if _own_parameters(base)]
        bases.update(dict.fromkeys(above))
        lines += [f"{name}: {member.help()}", *_rows(_own_parameters(member))]
        if limits:
            lines.append(f"  {_limits_text(limits)}")
        if above:
            lines.append(f"  and those of {' and '.join(base.__name__ for base in above)}")
        lines.append("")
    for base in bases:
        rows = _rows(_own_parameters(base))
        lines += [f"{base.__name__}, in common: {base.help()}", *rows, ""]
    for name, problem in sorted(family.broken.items()):
        print(f"sharesim: {family.what} plug-in '{name}' does not load: {problem}", file=sys.stderr)
        data.append({"name": name, "broken": problem, "parameters": []})
    return data, lines[:-1]


def _limits(member: type["Member"]) -> dict[str, Any]:
    """What a paging mode works with, and why not with the rest; of others nothing."""
    from sharesim.spec.paging import PagingSpec

    if not issubclass(member, PagingSpec):
        return {}
    return {"designs": list(member.designs), "why": member.why, "blocks": member.blocks}


def _limits_text(limits: dict[str, Any]) -> str:
    backing = "4 KiB or 2 MiB" if limits["blocks"] else "4 KiB"
    return f"sharing designs: {', '.join(limits['designs'])}; backing: {backing}"


def _own_parameters(member: type["Member"]) -> list[dict[str, Any]]:
    """The parameters that a class adds to those of its bases."""
    own = inspect.get_annotations(member)
    return [one for one in _parameters(member) if one["name"] in own]


def _rows(parameters: Sequence[dict[str, Any]]) -> list[str]:
    return aligned(
        [
            [f"  {one['name']}", f"{one['type']} = {one['default']}", one["help"]]
            for one in parameters
        ]
    )


def _parameters(member: Any) -> list[dict[str, Any]]:
    helps = field_helps(member)
    found = []
    for name, info in member.model_fields.items():
        kind, unit = _type_of(info)
        default = _default_of(info, unit)
        text = helps.get(name, "")
        found.append({"name": name, "type": kind, "default": default, "unit": unit, "help": text})
    return found


def _type_of(info: "FieldInfo") -> tuple[str, str | None]:
    """The type as a user reads it, and the unit of plain numbers."""
    from sharesim.spec.parameters import type_text
    from sharesim.spec.units import parse_size, parse_time

    text = repr(info.annotation) + repr(info.metadata)
    optional = " | none" if type(None) in typing.get_args(info.annotation) else ""
    for parse, name, unit in ((parse_time, "time", "ns"), (parse_size, "size", "pages")):
        if parse.__name__ in text:
            return name + optional, unit
    return type_text(info.annotation), None


def _default_of(info: "FieldInfo", unit: str | None) -> str:
    from pydantic import BaseModel

    from sharesim.spec.units import show_size, show_time

    value = info.default
    if info.is_required():
        return "(needed)"
    if value is None:
        return "none"
    if unit and isinstance(value, int):
        return show_time(value) if unit == "ns" else show_size(value)
    if isinstance(value, BaseModel):
        changed = ", ".join(f"{key}={item}" for key, item in value if item)
        return f"{type(value).__name__}({changed})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def field_helps(member: type) -> dict[str, str]:
    """The docstrings below the fields of a class and of its bases, by field."""
    helps: dict[str, str] = {}
    for base in reversed(member.__mro__):
        if base is object or base.__module__.partition(".")[0] == "pydantic":
            continue
        try:
            source = textwrap.dedent(inspect.getsource(base))
        except (OSError, TypeError):  # typed in at a prompt
            continue
        helps.update(_docstrings(source))
    return helps


def _docstrings(source: str) -> dict[str, str]:
    body = getattr(ast.parse(source).body[0], "body", [])
    found: dict[str, str] = {}
    for one, after in pairwise(body):
        if not (isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            text = " ".join(str(after.value.value).split())
            found[one.target.id] = text.replace("``", "")
    return found


def _profiles() -> tuple[list[dict[str, Any]], list[str]]:
    from sharesim.spec.costs import load_profile, profile_names

    profiles = [load_profile(name) for name in profile_names()]
    data = [{"name": one.name, "help": one.description} for one in profiles]
    lines = aligned([[one.name, one.description] for one in profiles])
    return data, [*lines, "", "All figures of one: sharesim list costs --profile PROFILE"]


def _figures(name: str) -> tuple[dict[str, Any], list[str]]:
    """Each primitive of a profile; as text by the profile that states it, the own ones first."""
    from sharesim.spec.costs import PRIMITIVES, find_profile

    chosen = find_profile(name)
    figures = [
        {"name": key, "ns": one.ns, "mark": one.mark, "profile": one.profile,
         "source": one.source, "help": PRIMITIVES[key]}
        for key, one in chosen.figures.items()
    ]  # fmt: skip
    groups = _grouped(figures)
    own = groups.pop(chosen.name, [])
    lines = [f"{chosen.name}: {chosen.description}", "ns of each primitive", *own]
    for profile, rows in groups.items():
        lines += [f"inherited from {profile}", *rows]
    return {"name": chosen.name, "help": chosen.description, "primitives": figures}, lines


def _targets() -> tuple[list[dict[str, Any]], list[str]]:
    """The published composites; as text by the profile whose runs are compared with them."""
    from sharesim.spec.costs import load_targets

    targets = [
        {"name": name, "ns": one.ns, "mark": one.mark, "profile": one.profile,
         "source": one.source, "help": one.description}
        for name, one in load_targets().items()
    ]  # fmt: skip
    lines = ["ns, to compare runs with; no run reads them"]
    for profile, rows in _grouped(targets).items():
        lines += [f"for {profile}", *rows]
    return targets, lines


def _grouped(figures: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """The figures as aligned lines, by profile."""
    groups: dict[str, list[list[str]]] = {}
    for one in figures:
        text = f"{one['help']}; {one['source']}"
        row = [f"  {one['name']}", f"{one['ns']:,}", one["mark"], text]
        groups.setdefault(one["profile"], []).append(row)
    return {profile: aligned(rows, right=1) for profile, rows in groups.items()}


def _captures() -> tuple[list[dict[str, Any]], list[str]]:
    from sharesim.content.capture import open_capture, shipped_captures

    data, lines = [], []
    for name in shipped_captures():
        capture = open_capture(name)
        guests = [{"name": one.name, "workload": one.workload} for one in capture.guests]
        data.append({"name": name, "help": capture.help, "guests": guests})
        lines += aligned([[name, capture.help]])
        lines += aligned([[f"  {one['name']}", one["workload"]] for one in guests])
    return data, lines


def aligned(rows: Sequence[Sequence[str]], right: int | None = None) -> list[str]:
    """Columns in line, the last one folded to the width of the terminal."""
    if not rows:
        return []
    width = min(max(shutil.get_terminal_size((100, 24)).columns, 80), 120)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    indent = sum(widths) + 2 * len(widths)
    lines = []
    for row in rows:
        cells = [
            cell.rjust(size) if number == right else cell.ljust(size)
            for number, (cell, size) in enumerate(zip(row[:-1], widths, strict=True))
        ]
        folded = textwrap.wrap(row[-1], max(width - indent, 30)) or [""]
        lines.append(("  ".join(cells) + "  " + folded[0]).rstrip())
        lines += [" " * indent + more for more in folded[1:]]
    return lines
