"""Errors that a user can cause, and how they are worded."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Something the user gave is wrong.

    The message is complete in itself: it names the file or parameter, what was found and what
    would be right. The command line prints it alone and exits with status 2.
    """


class PolicyError(RuntimeError):
    """A sharing policy broke its protocol; the message names policy, method and value."""


class ModelError(AssertionError):
    """The simulated world broke one of its invariants: a defect of sharesim, never of a user."""


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint such as ``"; did you mean 'cbps'?"``, or the list of what there is."""
    known = sorted(names)
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; there is: {', '.join(known)}" if known else ""
