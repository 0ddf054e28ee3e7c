"""``sharesim inspect``: what could be shared in captured memory."""

import argparse
import json


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("capture", metavar="CAPTURE", help="a capture that comes with sharesim, or an .npz file")
    add("--at", metavar="SECONDS", help="the snapshot at that time (default: the first)")
    add("--json", action="store_true", help="as JSON, in pages")


def execute(options: argparse.Namespace) -> int:
    """Print the statistics of one snapshot."""
    from sharesim.commands.plot import seconds
    from sharesim.content.capture import open_capture
    from sharesim.content.inspect import inspect_json, inspect_text

    at = seconds("--at", options.at)
    capture = open_capture(options.capture)
    if options.json:
        print(json.dumps(inspect_json(capture, at), indent=2, ensure_ascii=False))
    else:
        print(inspect_text(capture, at))
    return 0
