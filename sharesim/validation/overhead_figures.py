"""What windows of an overhead case come to, whether they were simulated, recorded or just run.

A window gives one :class:`Figures`. A variant's throughput is relative to the off windows before
and after it, so that what drifts slowly cancels; its standard error is that of the windows' mean,
and never less than what off windows differ from their own neighbours.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sharesim.content.overhead_case import OFF


@dataclass(frozen=True)
class Figures:
    """One window: rates per second of it. ``ksmd_*`` are shares of one CPU."""

    variant: str
    operations_s: float
    """Of all workers together."""
    worker_share: float = 0.0
    """CPU time of all workers, as a share of one CPU."""
    ksmd_share: float = 0.0
    ksmd_wait_share: float | None = None
    """Runnable without a CPU."""
    batches_s: float = 0.0
    pages_scanned_s: float = 0.0
    breaks_s: float = 0.0
    """Copy-on-write breaks of merged pages."""
    lost: Mapping[str, float] | None = None
    """Where the workers' time went beside work, by cause, as shares of it; simulated only."""


@dataclass(frozen=True)
class Result:
    """A variant: means over its windows."""

    rel: float
    """Throughput relative to the off windows."""
    rel_se: float | None
    """None where there are too few windows to tell."""
    windows: int
    worker_share: float | None
    ksmd_share: float
    breaks_s: float
    pages_scanned_s: float
    run_ms: float | None
    """CPU time of a batch; with ``wait_ms`` and ``sleep_ms`` its whole period."""
    wait_ms: float | None
    sleep_ms: float | None
    lost: Mapping[str, float] | None = None
    """What the workers' time went to beside work, more than in the off windows."""

    @property
    def ns_per_page(self) -> float | None:
        """CPU time of ksmd for each page that it examined."""
        return self.ksmd_share * 1e9 / self.pages_scanned_s if self.pages_scanned_s else None


def results(windows: Sequence[Figures]) -> dict[str, Result]:
    """Each variant's result, from windows in order of time, the first and last of them off."""
    null = _null_sd(windows)
    idle = _mean_lost([window for window in windows if window.variant == OFF])
    found: dict[str, list[tuple[float, Figures]]] = {}
    for at, window in enumerate(windows):
        if window.variant != OFF:
            found.setdefault(window.variant, []).append((_relative(windows, at), window))
    return {
        variant: _result([rel for rel, _ in pairs], [one for _, one in pairs], null, idle)
        for variant, pairs in found.items()
    }


def _relative(windows: Sequence[Figures], at: int) -> float:
    """Throughput over the mean of the nearest off windows before and after."""
    before = next((one for one in reversed(windows[:at]) if one.variant == OFF), None)
    after = next((one for one in windows[at + 1 :] if one.variant == OFF), None)
    near = [one.operations_s for one in (before, after) if one is not None]
    level = sum(near) / len(near) if near else 0.0
    return windows[at].operations_s / level if level else math.nan


def _null_sd(windows: Sequence[Figures]) -> float | None:
    """Root mean square of how off windows differ from the mean of their neighbours."""
    off = [one.operations_s for one in windows if one.variant == OFF]
    away = [2 * off[at] / (off[at - 1] + off[at + 1]) - 1 for at in range(1, len(off) - 1)]
    return math.sqrt(_mean([one**2 for one in away])) if away else None


def _result(
    rel: Sequence[float],
    windows: Sequence[Figures],
    null: float | None,
    idle: Mapping[str, float] | None,
) -> Result:
    count = len(rel)
    mean = _mean(rel)
    spread = math.sqrt(sum((one - mean) ** 2 for one in rel) / (count - 1)) if count > 1 else None
    waits = [one.ksmd_wait_share for one in windows if one.ksmd_wait_share is not None]
    share, batches = _mean([one.ksmd_share for one in windows]), _mean_of(windows, "batches_s")
    run, wait, sleep = _batch(share, _mean(waits) if waits else None, batches)
    lost = _mean_lost(windows)
    return Result(
        rel=mean,
        rel_se=None if spread is None else max(spread, null or 0.0) / math.sqrt(count),
        windows=count,
        worker_share=_mean_of(windows, "worker_share"),
        ksmd_share=share,
        breaks_s=_mean_of(windows, "breaks_s"),
        pages_scanned_s=_mean_of(windows, "pages_scanned_s"),
        run_ms=run,
        wait_ms=wait,
        sleep_ms=sleep,
        lost=None if lost is None else {why: lost[why] - (idle or {}).get(why, 0) for why in lost},
    )


def _mean_lost(windows: Sequence[Figures]) -> dict[str, float] | None:
    """Mean share of each cause; None where it is not known."""
    known = [one.lost for one in windows if one.lost is not None]
    return {why: _mean([one[why] for one in known]) for why in known[0]} if known else None


def _batch(
    share: float, wait: float | None, batches_s: float
) -> tuple[float | None, float | None, float | None]:
    """ms that ksmd runs, waits for a CPU and sleeps in each batch."""
    if not batches_s:
        return None, None, None
    run = 1000 * share / batches_s
    if wait is None:
        return run, None, None
    return run, 1000 * wait / batches_s, 1000 * (1 - share - wait) / batches_s


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _mean_of(windows: Sequence[Figures], name: str) -> float:
    return _mean(getattr(one, name) for one in windows)
