"""A study: several scenarios run together, and a table of rows that compares what came out.

A script with a function ``study`` makes one, and so does each built-in reproduction. A study says
what to run (:meth:`Study.runs`) and what the results mean (:meth:`Study.rows`); running, printing
and writing are the same for all of them, see :mod:`sharesim.conduct`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sharesim.version import MODEL_VERSION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sharesim.results.run import Run
    from sharesim.spec.scenario import Scenario

STUDY_FILE = "study.json"
"""What a study's folder holds beside the folders of its runs."""
RUNS_FOLDER = "runs"

Relation = Literal["near", "at most", "at least", "equal"]
Verdict = Literal["pass", "miss", "shown"]


@dataclass(frozen=True)
class Row:
    """One figure: what is published or claimed, what was simulated, and whether they agree.

    A row is judged where it states a tolerance (``tolerance`` or ``within``; a bound that must hold
    as it stands has ``within=0``) or asks for equality; any other row is shown only. Tolerances are
    stated before running. Raises ValueError for a row that contradicts itself, above all for one
    that judges by a figure from memory.
    """

    source: str
    """Where the figure is from, such as ``"R18: Xen, SOSP 2003, table 5"``."""
    figure: str
    """What is compared, such as ``"mmap, shadow: excess over native"``."""
    published: float | None
    """The published figure, or the bound that is claimed; None where there is only a simulated one.
    """
    simulated: float | None
    """None where the simulation gave none; a judged row then misses."""
    unit: str = ""
    tolerance: float | None = None
    """Share of the published figure by which the simulated one may be off."""
    relation: Relation = "near"
    """How the simulated figure should lie to the published one."""
    within: float | None = None
    """Absolute tolerance in ``unit``, instead of the relative one."""
    mark: str = "quoted"
    """How sure the published figure is: quoted, derived, secondary, claimed, memory ..."""
    note: str = ""
    """Why it is shown only, or what explains a miss."""

    def __post_init__(self) -> None:
        if self.relation not in ("near", "at most", "at least", "equal"):
            self._refuse(f"there is no relation '{self.relation}'")
        if self.tolerance is not None and self.within is not None:
            self._refuse("give tolerance or within, not both")
        if self.relation == "equal" and self._slack:
            self._refuse("what must be equal has no tolerance")
        if not (0 <= self._slack < math.inf):
            self._refuse("a tolerance is a number from 0 on")
        if not self.judged:
            return
        if "memory" in self.mark:
            self._refuse("a figure from memory judges nothing; leave the tolerance out")
        if self.published is None or not math.isfinite(self.published):
            self._refuse("without a published figure there is nothing to judge by")

    def _refuse(self, problem: str) -> None:
        raise ValueError(f"row '{self.source}: {self.figure}': {problem}")

    @property
    def _slack(self) -> float:
        """The tolerance as it is given."""
        return next((one for one in (self.tolerance, self.within) if one is not None), 0.0)

    @property
    def judged(self) -> bool:
        """Whether the row can pass or miss at all."""
        return self.relation == "equal" or self.tolerance is not None or self.within is not None

    @property
    def error(self) -> float | None:
        """simulated / published - 1; None for bounds, and where there is no such quotient."""
        if self.relation in ("at most", "at least") or not self.published:
            return None
        if self.simulated is None or not math.isfinite(self.simulated):
            return None
        return float(self.simulated / self.published - 1)

    @property
    def verdict(self) -> Verdict:
        """``"pass"`` or ``"miss"`` of a judged row, else ``"shown"``."""
        if not self.judged:
            return "shown"
        return "pass" if self._holds() else "miss"

    def _holds(self) -> bool:
        if self.simulated is None or self.published is None:
            return False
        if self.relation == "equal":
            return self.simulated == self.published
        slack = self._slack if self.within is not None else self._slack * abs(self.published)
        above = self.simulated - self.published
        return {
            "near": abs(above) <= slack,
            "at most": above <= slack,
            "at least": -above <= slack,
        }[self.relation]

    def to_json(self) -> dict[str, Any]:
        """Plain data, with error and verdict; what is not finite becomes null."""
        fields = {name: _plain(value) for name, value in asdict(self).items()}
        fields.update(error=_plain(self.error), verdict=self.verdict)
        return {name: fields[name] for name in ROW_FIELDS}


ROW_FIELDS = (
    "source", "figure", "published", "simulated", "unit", "error", "tolerance", "relation",
    "within", "mark", "verdict", "note",
)  # fmt: skip


def _plain(value: Any) -> Any:
    """Numbers as JSON knows them, whatever NumPy type they came as."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if math.isfinite(value) else None


class Study(ABC):
    """Several scenarios and what their results are compared with.

    Subclass it, as a dataclass where it has parameters, and give ``name`` and ``title``. ``runs``
    is called first and once; the other methods see finished runs that read from their folders.
    """

    name: ClassVar[str] = ""
    """One word, such as ``"xen2003"``; a script's study may leave it to the script's name."""
    title: ClassVar[str] = ""
    """One line that says what is studied."""

    @abstractmethod
    def runs(self) -> dict[str, "Scenario"]:
        """The scenarios by name, in the order to run them; each name becomes a folder's."""

    @abstractmethod
    def rows(self, runs: Mapping[str, "Run"]) -> list[Row]:
        """What came out beside what is published, or claimed."""

    def notes(self, runs: Mapping[str, "Run"]) -> list[str]:
        """Lines below the table: degrees of freedom, assumptions."""
        return []

    def picture(self, runs: Mapping[str, "Run"], rows: list[Row]) -> "Figure | None":
        """The study's picture, drawn under the settings of :mod:`sharesim.results.style`."""
        return None


@dataclass(frozen=True)
class Findings:
    """What a study found: its rows and notes, to be printed or kept as ``study.json``."""

    name: str
    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    seed: int | None = None
    """The lowest seed of its runs."""

    def count(self, verdict: Verdict) -> int:
        """How many rows came out so."""
        return sum(row.verdict == verdict for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Plain data: of ``study.json``, and of each study that ``--json`` prints."""
        return {
            "name": self.name,
            "title": self.title,
            "rows": [row.to_json() for row in self.rows],
            "notes": list(self.notes),
            "passed": self.count("pass"),
            "missed": self.count("miss"),
            "shown": self.count("shown"),
            "model_version": MODEL_VERSION,
            "seed": self.seed,
        }


def runs_within(folder: Path) -> str:
    """What to give instead of a study's folder where a run's is needed."""
    runs = folder / RUNS_FOLDER
    names = sorted(entry.name for entry in runs.iterdir()) if runs.is_dir() else []
    return f"give {runs / 'NAME'}, where NAME is one of {', '.join(names) or 'its runs'}"
