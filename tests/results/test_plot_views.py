"""The views of a run, memory by kind and where time went, draw what the timeline holds."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sharesim import VM, Cbps, RandomAccess, Run, Scenario, Segment, Segments, Sharing, simulate
from sharesim.errors import UserError
from sharesim.results.plot import VIEWS, plot_timeline
from sharesim.results.plot_time import CAUSE_COLOURS, COSTS, MOST_BARS
from sharesim.results.sizes import COLUMN, PAGE, Size
from tests.results.test_plot import synthetic_timeline, texts, titles


@pytest.fixture(scope="module")
def run() -> Run:
    image = Segments(
        segments=(
            Segment(size=64, page_class="page-cache", shared_as="files"),
            Segment(size=32, page_class="kernel", shared_as="kernel"),
            Segment(size=32, zero=0.5),
        )
    )
    work = RandomAccess(operation="request", accesses=4, op_time="100 us", write_fraction=0.3)
    return simulate(
        Scenario(
            title="Two guests",
            duration="400 ms",
            sample_every="10 ms",
            vms=[VM(name=name, image=image, workload=work) for name in ("left", "right")],
            sharing=Sharing(policy=Cbps(scan_rate=4000)),
        )
    )


def heights(axes: Any) -> list[np.ndarray]:
    """Lower and upper borders of each area at the last sample."""
    found = []
    for area in axes.collections:
        (path,) = area.get_paths()
        last = path.vertices[:, 0].max()
        at_end = path.vertices[path.vertices[:, 0] == last, 1]
        found.append(np.array([at_end.min(), at_end.max()]))
    return found


def panel(figure: Any, title: str) -> Any:
    return figure.axes[titles(figure).index(title)]


def host(run: Run, column: str) -> float:
    return float(run.timeline.loc[run.timeline.entity == "host", column].iloc[-1])


def test_frames_of_the_host_add_up_to_its_memory(run: Run) -> None:
    figure = run.plot(view="memory")
    axes = panel(figure, "Frames of the host, by what they hold")
    areas = heights(axes)
    scale = {"KiB": 1 / 4, "MiB": 256.0}[axes.get_ylabel()]
    assert areas[0][0] == 0
    for below, above in pairwise(areas):
        assert above[0] == pytest.approx(below[1])
    assert areas[-1][1] * scale == pytest.approx(host(run, "memory_pages"))
    assert any(text.startswith("policy's table") for text in texts(figure))


def test_opportunity_by_use_adds_up_to_the_opportunity(run: Run) -> None:
    axes = panel(run.plot(view="memory"), "What could be saved, by use of the pages")
    scale = {"KiB": 1 / 4, "MiB": 256.0}[axes.get_ylabel()]
    assert heights(axes)[-1][1] * scale == pytest.approx(host(run, "opportunity_pages"))
    names = {text.get_text().rpartition(" ")[0] for text in axes.texts}
    assert {"page cache", "kernel"} <= names


def test_bars_are_the_shares_of_the_ledger(run: Run) -> None:
    figure = run.plot(view="time")
    axes = panel(figure, "Where the vCPUs' time went")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["all", "left", "right"]
    ledger = run.summary["guests"]["left"]["ledger_ns"]
    whole = sum(ledger.values())
    bars = [bar for bar in axes.patches if round(bar.get_y() + bar.get_height() / 2) == 1]
    drawn = [bar.get_width() for bar in bars]
    assert drawn == pytest.approx([ledger[cause] / whole for cause in CAUSE_COLOURS])
    paid = sum(ledger[cause] for cause in COSTS) / whole
    words = [text.get_text() for text in axes.texts if text.get_text().endswith("paid")]
    assert float(words[1].split()[0]) == pytest.approx(100 * paid, rel=0.01)


def test_time_of_all_vcpus_and_cpus_fills_their_panels(run: Run) -> None:
    figure = run.plot(view="time")
    for title in ("All vCPUs over time", "The host's CPUs (1)"):
        if title in titles(figure):
            assert heights(panel(figure, title))[-1][1] == pytest.approx(100)
    assert any(title.startswith("The host's CPUs") for title in titles(figure))
    costs = panel(figure, "Of it, paid for paging, sharing and interruptions")
    assert 0 < costs.get_ylim()[1] < 50


def test_of_many_vms_those_that_pay_most_have_bars() -> None:
    table = synthetic_timeline(vms=20, samples=11)
    number = pd.to_numeric(table["entity"].str.removeprefix("vm"), errors="coerce")
    table["sharing_ns"] = table["time_ns"] * number / 1000
    figure = plot_timeline(table, view="time")
    axes = figure.axes[0]
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert shown == ["all", *(f"vm{at}" for at in range(20 - MOST_BARS, 20))]
    assert f"{20 - MOST_BARS} VMs that pay less are left out" in axes.get_title(loc="right")


def test_a_run_without_a_ledger_or_memory_says_so() -> None:
    table = synthetic_timeline(vms=2, samples=11)
    memory = table.drop(columns=["opportunity_pages", "opportunity_zero_pages"])
    assert "nothing to share" in texts(plot_timeline(memory, view="memory"))
    assert "nothing paid" in texts(plot_timeline(table, view="time"))
    no_host = table[table["entity"] != "host"]
    assert "not recorded" in texts(plot_timeline(no_host, view="time"))
    assert "no memory recorded" in texts(plot_timeline(no_host, view="memory"))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size", [COLUMN, PAGE, Size(7.0, 12.0)])
def test_all_views_fit_all_sizes(run: Run, view: str, size: Size) -> None:
    figure = run.plot(view=view, size=size)
    figure.draw_without_rendering()
    around = figure.get_tightbbox()
    assert around.x0 >= -0.01 and around.x1 <= figure.get_figwidth() + 0.01
    assert around.y0 >= -0.01 and around.y1 <= figure.get_figheight() + 0.01
    assert figure.get_figwidth() == size.width
    assert size.height is None or figure.get_figheight() == pytest.approx(size.height)


def test_titles_can_be_given_and_left_out(run: Run) -> None:
    assert "Two guests" in texts(run.plot())
    assert "Mine" in texts(run.plot(title="Mine"))
    plain = run.plot(title="")
    assert not plain.texts
    assert plain.get_figheight() < run.plot().get_figheight()


def test_a_warning_stays_without_a_title() -> None:
    figure = plot_timeline(synthetic_timeline(), {"partial": True}, title="", size=COLUMN)
    assert "partial run: stopped at 60 s" in texts(figure)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"view": "tmie"}, "no view 'tmie'; did you mean 'time'"),
        ({"view": "time", "metrics": ["merges"]}, "either a view or metrics"),
        ({"view": "memory", "vms": ["left"]}, "of the whole host"),
        ({"size": Size(10.5, 3.0)}, "a height of 3 inches; 4 panels need at least"),
    ],
)
def test_mistakes_are_user_errors(run: Run, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        run.plot(**options)
