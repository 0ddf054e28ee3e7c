"""``python -m tests.golden [--update] [NAME ...]``: show golden texts, or write them anew."""

import argparse
from difflib import unified_diff
from pathlib import Path

from tests.golden.cases import CASES
from tests.golden.render import text_of


def main() -> None:
    """Print what differs (all of a text that is new); ``--update`` keeps it."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("names", nargs="*", help="cases; by default all")
    parser.add_argument("--update", action="store_true", help="write the texts; review them!")
    parser.add_argument("--show", action="store_true", help="print the whole texts")
    options = parser.parse_args()
    for name in options.names or CASES:
        file = Path(__file__).parent / f"{name}.txt"
        text = text_of(CASES[name])
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        if options.show:
            print(text)
        elif text != before:
            old, new = before.splitlines(), text.splitlines()
            print("\n".join(unified_diff(old, new, f"{name}.txt", "this run", lineterm="")))
        if options.update:
            file.write_text(text, encoding="utf-8")


main()
