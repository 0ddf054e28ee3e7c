"""docs/tune.md names every option of the two commands that it is about."""

import argparse
import re
from importlib import import_module
from pathlib import Path

import pytest

from sharesim.cli import Parser
from sharesim.commands.sweeping import add_running_options

DOCS = Path(__file__).parents[2] / "docs"


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {name for name in parser._option_string_actions if name.startswith("--")}


@pytest.mark.parametrize("command", ["tune", "sensitivity"])
def test_options_are_documented(command: str) -> None:
    mine, shared = Parser(prog=command), Parser(prog="shared")
    import_module(f"sharesim.commands.{command}").add_options(mine)
    add_running_options(shared)
    told = set(re.findall(r"--[a-z][a-z-]*", (DOCS / "tune.md").read_text(encoding="utf-8")))
    assert not options_of(mine) - options_of(shared) - told
