"""What validating one recorded case comes to, whatever is validated, and how it is asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sharesim.spec.scenario import Costs


def _say_nothing(_line: str) -> None:
    """The listener of who does not want to be told."""


@dataclass(frozen=True)
class How:
    """How cases are to be validated; the options of ``sharesim validate``."""

    costs: "Costs | None" = None
    """By default the profile of the machine on which the cases that come with it were recorded."""
    live: bool = False
    """Run the cases on this machine's kernel first, and compare with that."""
    force: bool = False
    """Go on although the kernel's sharing is in use by somebody else."""
    repeats: int = 3
    """How often to run each case live."""
    tell: Callable[[str], None] = _say_nothing
    """Hears, in one line, what is being done; often."""
    cases: tuple[str, ...] = ()
    """Of files with several cases those to take; all for none."""
    variants: tuple[str, ...] = ()
    """Of cases with several variants those to take; all for none."""
    rounds: int | None = None
    """How often each variant has its turn; by default as the case says."""


class Outcome(Protocol):
    """One case (or variant of it), simulated and compared with its recordings."""

    @property
    def case(self) -> str:
        """Its name, good for a file; no two of an invocation are equal."""
        ...

    @property
    def misses(self) -> int:
        """How many figures lie outside their limits."""
        ...

    def to_json(self) -> dict[str, Any] | list[dict[str, Any]]:
        """Plain data, with ``case``; one entry for each variant where a case has several."""
        ...

    def text(self) -> str:
        """A table for a terminal, without a newline at its end."""
        ...

    def picture(self) -> "Figure | None":
        """Simulated and recorded, in the look of :mod:`sharesim.results.style`; None if none."""
        ...
