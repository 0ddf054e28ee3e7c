"""From a question to the runs that answer it: points, replicates, and the key of each run.

A key is the hash of the resolved scenario, its seed and the version of the model, so a result that
is stored under it is the result, whoever computed it and for which sweep. Building ten thousand
scenarios takes half a minute; a sweep that goes on takes the keys that it noted down before, as
long as nothing that they depend on has changed.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sharesim.errors import PolicyError, UserError
from sharesim.resolve import resolve
from sharesim.simulate import native_without_sharing, without_sharing
from sharesim.spec.scenario import Scenario
from sharesim.spec.script import Target
from sharesim.sweep.seeds import replicate_seed
from sharesim.version import MODEL_VERSION, package_version

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One replicate of one point: a run to be made, under its key."""

    point: int
    """From 1, in the order of the question."""
    replicate: int
    """From 1."""
    seed: int
    settings: Settings
    """The parameters that vary, and their values at this point."""
    key: str
    """Empty where the scenario cannot be built; ``problem`` says why."""
    p1: str = ""
    """Key of its pair without sharing; empty where none is wanted."""
    p0: str = ""
    """Key of its pair without sharing on native paging."""
    problem: str = ""

    @property
    def pairs(self) -> dict[str, str]:
        """Label and key of each pair that it is compared with."""
        return {label: key for label, key in (("P1", self.p1), ("P0", self.p0)) if key}

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"point {self.point}, replicate {self.replicate}"


class Builder:
    """Builds the scenario of any cell of one sweep, always in the same way."""

    def __init__(
        self,
        target: Target,
        fixed: Settings,
        change: Callable[[Scenario], Scenario],
        *,
        options: Settings,
        seed: int,
        baseline: bool,
    ) -> None:
        """``change`` is what ``options`` make of any scenario; ``seed`` the master seed."""
        self.target = target
        self.fixed = dict(fixed)
        self.change = change
        self.options = dict(options)
        self.seed = seed
        self.baseline = baseline
        self._seeded = "seed" in target.parameters

    def scenario(self, settings: Settings, replicate: int) -> Scenario:
        """The resolved scenario of a cell. Raises UserError for what is wrong with the point."""
        seed = replicate_seed(self.seed, replicate)
        given = {**self.fixed, **settings}
        if self._seeded and "seed" not in settings:
            given["seed"] = seed
        scenario = self.change(self.target.build(given))
        return resolve(scenario.model_copy(update={"seed": seed, "baseline": self.baseline}))

    def pairs(self, scenario: Scenario) -> dict[str, Scenario]:
        """The runs without sharing that a resolved scenario is compared with."""
        if not (self.baseline and scenario.shares):
            return {}
        pairs = {"P1": without_sharing(scenario), "P0": native_without_sharing(scenario)}
        if scenario.code:  # without the policy some of the user's code may not be needed any more
            pairs = {label: resolve(pair) for label, pair in pairs.items()}
        return pairs

    def cell(self, point: int, replicate: int, settings: Settings) -> Cell:
        """A cell with its keys."""
        seed = replicate_seed(self.seed, replicate)
        try:
            scenario = self.scenario(settings, replicate)
        except (UserError, PolicyError) as error:
            return Cell(point, replicate, seed, settings, "", problem=str(error))
        return self._keyed(point, replicate, settings, scenario)

    def cells(self, point: int, replicates: Iterable[int], settings: Settings) -> list[Cell]:
        """The same for several replicates, which differ in their seed only."""
        numbers = list(replicates)
        if self._seeded or not numbers:
            return [self.cell(point, number, settings) for number in numbers]
        try:
            scenario = self.scenario(settings, numbers[0])
        except (UserError, PolicyError):
            return [self.cell(point, number, settings) for number in numbers]
        seeds = {number: replicate_seed(self.seed, number) for number in numbers}
        return [
            self._keyed(point, number, settings, scenario.model_copy(update={"seed": seed}))
            for number, seed in seeds.items()
        ]

    def _keyed(self, point: int, replicate: int, settings: Settings, scenario: Scenario) -> Cell:
        keys = {name: pair.key(MODEL_VERSION) for name, pair in self.pairs(scenario).items()}
        key = scenario.key(MODEL_VERSION)
        return Cell(
            point, replicate, scenario.seed, settings, key, keys.get("P1", ""), keys.get("P0", "")
        )

    def inputs(self) -> str:
        """Hash of all that the keys depend on, but for the settings of each point.

        The files of the script and what it imported from beside it, what is fixed, the versions.
        """
        digest = hashlib.sha256()
        for name, source in sorted(self.target.code().items()):
            digest.update(name.encode() + b"\0" + source.read_bytes() + b"\0")
        rest = {
            "fixed": self.fixed,
            "options": self.options,
            "seed": self.seed,
            "baseline": self.baseline,
            "model": MODEL_VERSION,
            "sharesim": package_version(),
        }
        digest.update(json.dumps(rest, sort_keys=True, default=str).encode())
        return digest.hexdigest()[:16]


class Plan:
    """The cells of a sweep, in order of point and replicate; it can grow."""

    def __init__(self, builder: Builder, known: Sequence[Cell] = (), *, keep: bool = False) -> None:
        """``known``: cells as noted down by an earlier command of the same sweep; ``keep`` takes
        them even where their keys would now be others."""
        self.builder = builder
        self._points: dict[str, list[Cell]] = {}
        self._count = 0
        self._known = {(settings_text(one.settings), one.replicate): one for one in known}
        if not (keep or self._still_right()):
            self._known.clear()
        self._noted: dict[str, int] = dict(sorted(self._known))
        """The most replicates of each point that were noted down: none is dropped again."""

    def _still_right(self) -> bool:
        """Whether cells noted down before are what they would be now, judged by three of them."""
        known = [one for one in self._known.values() if one.key]
        chosen = {id(one): one for one in (*known[:1], *known[len(known) // 2 :][:1], *known[-1:])}
        return all(
            one == self.builder.cell(one.point, one.replicate, one.settings)
            for one in chosen.values()
        )

    @property
    def cells(self) -> list[Cell]:
        """All of them."""
        return [cell for cells in self._points.values() for cell in cells]

    @property
    def count(self) -> int:
        """How many they are."""
        return self._count

    def add(self, settings: Settings, replicates: int) -> list[Cell]:
        """The cells of a point, at least ``replicates`` of them; one once met keeps its number."""
        text = settings_text(settings)
        cells = self._points.setdefault(text, [])
        point = cells[0].point if cells else len(self._points)
        most = max(replicates, self._noted.get(text, 0))
        wanted = range(len(cells) + 1, most + 1)
        noted = [self._known.get((text, number)) for number in wanted]
        new = {
            one.replicate: replace(one, point=point, settings=settings)
            for one in noted
            if one and one.key
        }
        missing = [number for number in wanted if number not in new]
        new |= {one.replicate: one for one in self.builder.cells(point, missing, settings)}
        cells += [new[number] for number in wanted]
        self._count += len(new)
        return cells


def settings_text(settings: Settings, *, in_order: bool = False) -> str:
    """Settings as one line of JSON: what tells two points apart; or in the order given."""
    return json.dumps(dict(settings), sort_keys=not in_order, default=str, ensure_ascii=False)
