"""Optional libraries: imported when first needed, and named clearly where they are missing."""

from importlib import import_module
from types import ModuleType

from sharesim.errors import UserError


def require(module: str, extra: str) -> ModuleType:
    """The module, or a UserError that says which extra of sharesim brings it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or module.split(".")[0] != error.name.split(".")[0]:
            raise  # it is there, and broken
        raise UserError(
            f"this needs {error.name}, which is not installed: pip install 'sharesim[{extra}]'"
        ) from None
