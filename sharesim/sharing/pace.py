"""When the scanner wakes and how much it then scans: at a fixed rate, or as ksmd does."""

from typing import TYPE_CHECKING, Any

import simpy

if TYPE_CHECKING:
    from sharesim.sharing.ksm import KsmPolicy


class Pace:
    """Base class: what the scanner process asks between batches."""

    overruns = 0
    """Batches that were not done when the next one was due."""

    keeps_cpu = False
    """Whether a thread keeps its CPU from one batch to the next when it does not sleep."""

    def budget(self, now: int) -> int:
        """Pages that the wake-up at ``now`` may scan; 0: none is due."""
        raise NotImplementedError

    def rest(self, env: simpy.Environment) -> simpy.Event | None:
        """What to wait for until the next wake-up; None: it is due."""
        raise NotImplementedError

    def requested(self, time: int, scanned: int) -> int:
        """Pages that should have been scanned by a time, when ``scanned`` have been."""
        return scanned


class FixedRate(Pace):
    """Wakes on a fixed period and scans what the rate asks for; what overruns starts at once."""

    def __init__(self, rate: float, period: int, start: int) -> None:
        self.rate = rate
        self.period = period
        self.start = start
        self._wake = start

    def budget(self, now: int) -> int:
        return self.requested(self._wake + self.period, 0) - self.requested(self._wake, 0)

    def rest(self, env: simpy.Environment) -> simpy.Event | None:
        now = int(env.now)
        self._wake += self.period
        if now > self._wake:
            self.overruns += 1
            self._wake += (now - self._wake) // self.period * self.period
            return None
        return env.timeout(self._wake - now) if self._wake > now else None

    def requested(self, time: int, scanned: int) -> int:
        elapsed = max(0, time - self.start)
        return int(elapsed * round(self.rate * 1000) // 1_000_000_000_000)


class AfterBatch(Pace):
    """ksmd's: sleeps after each batch, for whole timer ticks; knobs can call it earlier."""

    keeps_cpu = True

    def __init__(self, policy: "KsmPolicy", tick: int, offset: int) -> None:
        self.policy = policy
        self.tick = tick
        self.offset = offset
        self._alarm: simpy.Event | None = None
        self._timed = False
        self.slept = True
        """Whether the batch that is due, or under way, came after a sleep."""

    def budget(self, now: int) -> int:
        return self.policy.pages_to_scan if self.policy.awake else 0

    def rest(self, env: simpy.Environment) -> simpy.Event | None:
        self._timed = self.policy.awake
        self._alarm = env.event()
        if not self._timed:
            self.slept = True
            return self._alarm
        self.slept = self.policy.sleep_millisecs > 0
        if not self.slept:
            return None
        now = int(env.now)
        due = wake_time(now - self.offset, self.policy.sleep_millisecs, self.tick) + self.offset
        return self._alarm | env.timeout(due - now)

    def call(self, *, sleep_changed: bool = False) -> None:
        """Something that ksmd may be waiting for has happened."""
        alarm = self._alarm
        if alarm is None or alarm.triggered:
            return
        if sleep_changed if self._timed else self.policy.awake:
            alarm.succeed()


def wake_time(now: int, milliseconds: int, tick: int) -> int:
    """When a sleep that begins at ``now`` ends, in ns; a tick comes at each multiple of ``tick``.

    The timer wheel: a sleep is rounded up to whole ticks and one more, and the longer it is, the
    coarser the grid on which it ends (1 tick below 63 ticks, 8 below 504, 64 below 4032 ...).
    """
    ticks = -(-milliseconds * 1_000_000 // tick)
    grain = 1
    while ticks >= 63 * grain:
        grain *= 8
    return ((now // tick + ticks) // grain + 1) * grain * tick


def pace_of(spec: Any, policy: Any, start: int, tick: int, offset: int) -> Pace:
    """The pace that suits a policy."""
    if hasattr(policy, "awake"):
        pace = AfterBatch(policy, tick, offset)
        policy.pace = pace
        return pace
    return FixedRate(spec.scan_rate, spec.wake_period, start)
