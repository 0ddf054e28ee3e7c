"""Progress bars for a terminal, and Ctrl-C that ends a run cleanly."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from sharesim.spec.units import show_size

if TYPE_CHECKING:
    from sharesim.simulate import Moment
    from sharesim.spec.scenario import Scenario

LABELS = {"with sharing": "with sharing", "P1": "without sharing", "P0": "native"}
"""What a user reads for the paired runs of a scenario."""


class Aborted(BaseException):
    """The second Ctrl-C: give up at once and keep nothing."""


class Interrupts:
    """Ctrl-C while a run goes on: remembered, and acted upon at the next sample.

    Between samples the simulated world may be in the middle of a change, so that a run interrupted
    there could not be written down.
    """

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def watched(self) -> Iterator["Interrupts"]:
        """Catch Ctrl-C inside; only the main thread can, and not where it is to be ignored."""
        before = signal.getsignal(signal.SIGINT)
        main = threading.current_thread() is threading.main_thread()
        if not main or before in (signal.SIG_IGN, None):
            yield self
            return
        signal.signal(signal.SIGINT, self._handle)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, before)

    def _handle(self, _number: int, _frame: Any) -> None:
        if self.asked:
            raise Aborted
        self.asked = True
        print(
            "\nsharesim: stopping at the next sample; Ctrl-C again to give up at once",
            file=sys.stderr,
        )

    def check(self, _moment: "Moment") -> None:
        """Called at each sample: ends the run if asked to."""
        if self.asked:
            raise KeyboardInterrupt


class Bar:
    """Simulated time, speed against real time and memory saved so far, of each run in turn."""

    def __init__(self, runs: int, stream: TextIO | None = None) -> None:
        self.runs = runs
        self.stream = stream or sys.stderr
        self._bar: Any = None
        self._label = ""
        self._number = 0
        self._begin = 0.0

    def __call__(self, moment: "Moment") -> None:
        """Show a sample."""
        if self._bar is None or moment.label != self._label:
            self._next(moment)
        self._bar.set_postfix_str(self._remark(moment), refresh=False)
        self._bar.update(moment.time_ns / 1e9 - self._bar.n)
        if moment.time_ns >= moment.duration_ns:
            self._bar.refresh()

    def close(self) -> None:
        """Leave the line as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _next(self, moment: "Moment") -> None:
        from tqdm import tqdm

        self.close()
        self._label = moment.label
        self._number += 1
        self._begin = time.perf_counter()
        name = LABELS.get(moment.label, moment.label)
        which = f" ({self._number}/{self.runs})" if self.runs > 1 else ""
        self._bar = tqdm(
            total=moment.duration_ns / 1e9,
            desc=name + which,
            file=self.stream,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n:.4g} of {total:.4g} s{postfix}",
            dynamic_ncols=True,
        )

    def _remark(self, moment: "Moment") -> str:
        elapsed = time.perf_counter() - self._begin
        speed = moment.time_ns / 1e9 / elapsed if elapsed > 0 else 0.0
        saved = (
            f", saved {show_size(moment.saved_pages)}" if moment.label not in ("P0", "P1") else ""
        )
        return f"{speed:.3g}x real time{saved}" if moment.time_ns else "starting"


class StudyBar:
    """One bar for all runs of a study, by simulated time; it tells which of them is under way."""

    def __init__(
        self, study: str, runs: Mapping[str, "Scenario"], stream: TextIO | None = None
    ) -> None:
        self.study = study
        self.stream = stream or sys.stderr
        self._names = list(runs)
        self._lengths = [one.duration * run_count(one) for one in runs.values()]
        self._bar: Any = None
        self._before = 0
        """ns simulated in earlier runs, and in earlier ones of the paired runs of this one."""
        self._label = ""

    def begin(self, name: str) -> None:
        """The next run to come."""
        number = self._names.index(name)
        self._before, self._label = sum(self._lengths[:number]), ""
        remark = f"{self.study}: {number + 1} of {len(self._names)} {name}"
        if self._bar is None:
            self._bar = self._new(remark)
        self._move_to(self._before)
        self._bar.set_description_str(remark)

    def __call__(self, moment: "Moment") -> None:
        """Show a sample."""
        if self._label and moment.label != self._label:
            self._before += moment.duration_ns
        self._label = moment.label
        self._move_to(self._before + moment.time_ns)

    def close(self) -> None:
        """Leave the line as it is; at its end if all has been run."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _move_to(self, time: int) -> None:
        self._bar.update(time - self._bar.n)

    def _new(self, remark: str) -> Any:
        from tqdm import tqdm

        return tqdm(
            total=sum(self._lengths),
            desc=remark,
            file=self.stream,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left",
            dynamic_ncols=True,
        )


def run_count(scenario: "Scenario") -> int:
    """How many runs a scenario makes, its pairs without sharing included."""
    return 3 if scenario.baseline and scenario.shares else 1


def observer(
    interrupts: Interrupts, bar: Callable[["Moment"], None] | None
) -> Callable[["Moment"], None]:
    """What a run tells its samples to."""

    def see(moment: "Moment") -> None:
        if bar is not None:
            bar(moment)
        interrupts.check(moment)

    return see
