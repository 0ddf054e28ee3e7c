"""``sharesim params``: what a script of a scenario or a study lets one set."""

import argparse
import json
import shlex
from typing import TYPE_CHECKING

from sharesim.errors import UserError

if TYPE_CHECKING:
    from sharesim.spec.script import Target


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("target", metavar="SCRIPT", help="a script of a scenario or a study")
    parser.add_argument("--json", action="store_true", help="as JSON")


def execute(options: argparse.Namespace) -> int:
    """Print them."""
    from sharesim.spec.script import load_target

    target = load_target(options.target)
    if not target.is_script:
        raise UserError(f"{target.path} is a finished scenario; only scripts have parameters")
    print(_as_json(target) if options.json else _as_text(target))
    return 0


def _as_json(target: "Target") -> str:
    parameters = [
        {"name": one.name, "type": one.type_text, "default": one.default, "help": one.help}
        for one in target.parameters.values()
    ]
    data = {
        "script": str(target.path),
        "makes": target.makes,
        "help": target.help,
        "parameters": parameters,
    }
    return json.dumps(data, indent=2, ensure_ascii=False, default=str)


def _as_text(target: "Target") -> str:
    from sharesim.commands.list import aligned
    from sharesim.spec.parameters import value_text

    lines = [f"{target.path}: {target.help}" if target.help else str(target.path), ""]
    if not target.parameters:
        return "\n".join([*lines, "it has no parameters"])
    rows = [
        [f"  {one.name}", one.type_text, f"= {value_text(one.default)}", one.help]
        for one in target.parameters.values()
    ]
    lines += aligned(rows)
    example = next(iter(target.parameters.values()))
    setting = shlex.quote(f"{example.name}={value_text(example.default)}")
    lines += ["", f"Set them as in: sharesim run {target.path} --set {setting}"]
    return "\n".join(lines)
