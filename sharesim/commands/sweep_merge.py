"""``sharesim sweep merge``: puts the shards of a sweep together."""

import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("folders", metavar="FOLDER", nargs="+", help="folders that --shard made")
    add("--out", metavar="DIR", required=True, help="the folder of the whole sweep")
    add("--quiet", action="store_true", help="print nothing")


def execute(options: argparse.Namespace) -> int:
    """Do it, and say what is still missing."""
    from sharesim.sweep.merge import merge

    sweep = merge(options.folders, options.out)
    if options.quiet:
        return 0
    print(f"{len(sweep.done)} of {len(sweep.cells)} runs are in {options.out}")
    if sweep.missing:
        print(f"{sweep.missing} are missing: give the missing shards, or run the sweep's command")
    return 0
