"""Versions: of the package, and of what its numbers mean."""

from functools import cache

MODEL_VERSION = "4"
"""Changes whenever the same scenario and seed may give other results."""


@cache  # it reads and parses a file
def package_version() -> str:
    """The installed version."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sharesim")
    except PackageNotFoundError:
        return "0+unknown"
