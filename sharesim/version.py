"""Versions: of the package, and of what its numbers mean."""

MODEL_VERSION = "3"
"""Changes whenever the same scenario and seed may give other results."""


def package_version() -> str:
    """The installed version."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sharesim")
    except PackageNotFoundError:
        return "0+unknown"
