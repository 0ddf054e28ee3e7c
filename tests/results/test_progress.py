"""The progress bar, and Ctrl-C."""

import io
import signal
import threading
from collections.abc import Iterator

import pytest

from sharesim import VM, Scenario, Segment, Segments, Sharing
from sharesim.results.progress import Aborted, Bar, Interrupts, StudyBar, observer
from sharesim.simulate import Moment


@pytest.fixture(autouse=True)
def _default_ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def moment(part: float, label: str = "with sharing") -> Moment:
    return Moment(label, int(part * 1e9), 1_000_000_000, 512)


def test_the_bar_shows_time_speed_and_saving_of_each_run() -> None:
    stream = io.StringIO()
    bar = Bar(2, stream)
    for one in (moment(0), moment(1.0), moment(0, "P1"), moment(1.0, "P1")):
        bar(one)
    bar.close()
    text = stream.getvalue()
    assert "with sharing (1/2)" in text
    assert "without sharing (2/2)" in text
    assert "x real time, saved 2 MiB" in text
    assert "100%" in text


def test_a_studys_bar_shows_which_of_its_runs_is_under_way() -> None:
    image = Segments(segments=(Segment(size="1 MiB"),))
    one = Scenario(duration="1 s", vms=[VM(name="a", image=image)], sharing=Sharing())
    paired = one.model_copy(update={"baseline": True})
    stream = io.StringIO()
    bar = StudyBar("thesis", {"good": one, "paired": paired}, stream)
    seen = []

    def see(part: float, label: str = "with sharing") -> None:
        bar(moment(part, label))
        seen.append(bar._bar.n / 1e9)

    bar.begin("good")
    see(1.0)
    bar.begin("paired")
    for label in ("with sharing", "P1", "P0"):
        see(0.0, label)
        see(1.0, label)
    bar.close()
    assert seen == [1, 1, 2, 2, 3, 3, 4]
    text = stream.getvalue()
    assert "thesis: 1 of 2 good" in text
    assert "thesis: 2 of 2 paired" in text
    assert "100%" in text


def test_ctrl_c_waits_for_the_next_sample() -> None:
    interrupts = Interrupts()
    see = observer(interrupts, None)
    with interrupts.watched():
        see(moment(0.1))
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            see(moment(0.2))
        with pytest.raises(Aborted):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_that_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupts().watched():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_other_threads_leave_signals_alone() -> None:
    seen = []

    def work() -> None:
        with Interrupts().watched():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
