"""The command ``sharesim``: parses, calls, prints; see :mod:`sharesim.commands`."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from sharesim.errors import PolicyError, UserError, nearest

COMMANDS = {
    "run": "run a scenario or a study; print what came out, and write its folder",
    "sweep": "run a scenario with many settings; goes on where it was stopped",
    "tune": "search the setting that is best at something, within limits",
    "sensitivity": "say which parameter moves a result most",
    "reproduce": "run published results again, and say which come out",
    "validate": "replay what was recorded on real machines, and say how far off the model is",
    "calibrate": "measure this machine's costs, for runs with --costs",
    "record": "sample what the KSM of this machine does, as it does it",
    "params": "show the parameters of a script",
    "plot": "draw the timeline of a run, or what a sweep found",
    "compare": "lay runs side by side, with paired differences",
    "report": "write a sweep or a run as one HTML page",
    "inspect": "show what could be shared in captured memory",
    "list": "list policies, workloads, images, paging modes, costs, targets or captures",
}
ACTIONS = {
    "sweep show": "print what a sweep found, with intervals",
    "sweep merge": "put the shards of a sweep together",
    "sweep rerun": "make one run of a sweep again, alone, and compare",
}
"""Commands of two words, beside the command that the first of them is."""
ALL = COMMANDS | ACTIONS
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


class Parser(argparse.ArgumentParser):
    """Errors in sharesim's own form: one message, the nearest right word, status 2."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}\nsee `{self.prog} --help`")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = _run(given)
        sys.stdout.flush()
        return status
    except (UserError, PolicyError) as error:
        print(f"sharesim: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except MemoryError as error:
        print(f"sharesim: not enough memory on this machine: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("sharesim: interrupted; nothing was written", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has enough. Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE


def _run(arguments: list[str]) -> int:
    parser = _parser()
    words, arguments = arguments, joined(arguments)
    if arguments and not arguments[0].startswith("-") and arguments[0] not in ALL:
        parser.error(f"unknown command '{arguments[0]}'{nearest(arguments[0], COMMANDS)}")
    chosen = arguments[0] if arguments and arguments[0] in ALL else None
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    for name, text in ALL.items():
        shown: dict[str, Any] = {"help": text} if name in COMMANDS else {}
        one = commands.add_parser(name, description=text, allow_abbrev=False, **shown)
        if name == chosen:  # the others' options are not needed
            command = import_module(f"sharesim.commands.{name.replace(' ', '_')}")
            command.add_options(one)
            one.set_defaults(command=command.execute, parser=one)
    try:
        options, left = parser.parse_known_args(arguments)
    except SystemExit as leaving:  # --help, --version
        return int(leaving.code or 0)
    options.words = ("sharesim", *words)
    if left:
        _refuse(options.parser if chosen else parser, left[0])
    if chosen is None:
        parser.print_help()
        return 0 if not arguments else EXIT_USER_ERROR
    return int(options.command(options))


def joined(arguments: list[str]) -> list[str]:
    """Two words that are one command, as one."""
    pair = " ".join(arguments[:2])
    return [pair, *arguments[2:]] if pair in ACTIONS else arguments


def _refuse(parser: argparse.ArgumentParser, word: str) -> NoReturn:
    known = [name for name in parser._option_string_actions if name.startswith("--")]
    if not word.startswith("-"):
        parser.error(f"found '{word}', which is one argument too many")
    hint = nearest(word.partition("=")[0], known)
    parser.error(f"unknown option '{word}'{hint}")


def _parser() -> Parser:
    parser = Parser(
        prog="sharesim",
        description="Simulates memory sharing between virtual machines on one host:"
        " what it saves, how soon, and what it costs.",
        epilog="Each command has its own help: sharesim run --help",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version)
    return parser


class _Version(argparse.Action):
    """Prints the version, which is looked up only now."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and leave")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from sharesim.version import MODEL_VERSION, package_version

        print(f"sharesim {package_version()} (model {MODEL_VERSION})")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
