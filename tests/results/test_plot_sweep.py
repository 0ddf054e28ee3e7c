"""Pictures of sweeps: what is drawn, from which numbers, and what is said of it."""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from sharesim.errors import UserError
from sharesim.results.plot_frontier import plot_frontier
from sharesim.results.plot_heat import plot_heat
from sharesim.results.plot_sweep import plot_sweep
from sharesim.results.sizes import COLUMN, Size
from sharesim.results.style import figure_bytes
from sharesim.sweep.sweep import Sweep
from tests.results.sweeps import figures, grid, make_sweep

RATES = (100, 1000, 10_000, 100_000)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    place = tmp_path_factory.mktemp("sweeps") / "rate"
    return make_sweep(place, grid(scan_rate=RATES, vms=(2, 4, 8)), settings={"duration": "3 s"})


def words(figure: Any) -> str:
    """All that is written in a figure."""
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [axes.get_title(loc=place) for place in ("left", "right")]
        found += [text.get_text() for text in axes.texts]
        found += [axes.get_xlabel(), axes.get_ylabel()]
    return " ".join(text.replace("\n", " ") for text in found if text)


def lines_of(axes: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """x and y of each line with dots."""
    dotted = [line for line in axes.lines if line.get_marker() == "o"]
    return [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in dotted]


def intervals_of(axes: Any) -> list[np.ndarray]:
    """Lower and upper ends of each set of upright intervals."""
    found = []
    for bars in axes.collections:
        ends = np.array([path.vertices for path in bars.get_paths()])
        if len(ends) and (ends[:, 0, 0] == ends[:, 1, 0]).all():
            found.append(ends[:, :, 1])
    return found


# --- lines ----------------------------------------------------------------------------------


def test_means_and_intervals_are_those_of_the_replicates(sweep: Sweep) -> None:
    figure = plot_sweep(sweep, "scan_rate", ["overhead"], "vms")
    (axes,) = figure.axes
    half = t.ppf(0.975, 2) * 0.01 / np.sqrt(3)  # of a mean of 1: replicates are 0.99, 1, 1.01
    for (x, y), ends, vms in zip(lines_of(axes), intervals_of(axes), (2, 4, 8), strict=True):
        expected = 100e-6 * np.array(RATES) * vms
        np.testing.assert_allclose(x, RATES)
        np.testing.assert_allclose(y, expected)
        np.testing.assert_allclose(ends, np.outer(expected, [1 - half, 1 + half]))
    assert axes.get_xscale() == "log"


def test_by_default_the_first_numbers_overhead_and_the_next_parameter(sweep: Sweep) -> None:
    figure = plot_sweep(sweep)
    text = words(figure)
    assert len(lines_of(figure.axes[0])) == 3
    for part in ("Made up", "Throughput lost to sharing", "%", "vms", "duration = 3 s",
                 "scan_rate: pages to scan per second, log", "mean of 3 runs"):  # fmt: skip
        assert part in text
    assert figure.axes[0].get_legend() is None


def test_metrics_are_stacked_over_one_axis(sweep: Sweep) -> None:
    figure = plot_sweep(sweep, "vms", ["saved", "counters.cow_breaks"], "scan_rate")
    above, below = figure.axes
    assert above.get_title(loc="left") == "Memory saved" and above.get_ylabel() == "MiB"
    assert below.get_ylabel() == "million"  # 10 breaks for each of 100,000 pages a second
    assert above.get_xlim() == below.get_xlim() and above.get_xscale() == "linear"
    assert not any(label.get_visible() for label in above.get_xticklabels())


def test_a_few_values_of_another_parameter_are_panels(tmp_path: Path) -> None:
    points = grid(scan_rate=RATES, vms=(2, 4), order=("linear", "random"))
    figure = plot_sweep(make_sweep(tmp_path / "s", points))
    assert len(figure.axes) == 2
    assert "order = linear" in words(figure) and "order = random" in words(figure)
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


def test_means_over_parameters_are_said_and_pair_replicates(tmp_path: Path) -> None:
    points = grid(scan_rate=RATES, vms=(2, 4), order=("linear", "random"), cpus=(1, 2))

    def by_order(settings: Mapping[str, Any], replicate: int) -> dict[str, float]:
        extra = 10.0 if settings["order"] == "random" else 0.0
        return {"overhead": 0.01 * (replicate + extra)}

    figure = plot_sweep(make_sweep(tmp_path / "s", points, figures=by_order))
    assert "mean over order (linear, random) and cpus (1, 2)" in words(figure)
    (_, y), _ = lines_of(figure.axes[0])
    np.testing.assert_allclose(y, 7.0)  # replicates 1, 2, 3, and half of the time 10 more
    half = t.ppf(0.975, 2) / np.sqrt(3)  # of 6, 7, 8: what the order does is in all of them
    np.testing.assert_allclose(intervals_of(figure.axes[0])[0][0], [7 - half, 7 + half])


def test_incomplete_means_are_left_out_and_said(tmp_path: Path) -> None:
    points = grid(scan_rate=RATES, vms=(2, 4), order=("linear", "random"))
    sweep = make_sweep(tmp_path / "s", points, replicates=1, failed=[(1, 1)], missing=[(15, 1)])
    figure = plot_sweep(sweep, "scan_rate", color="vms", size=COLUMN)
    text = words(figure)
    assert "left out: 1 failed and 1 not made yet of 16 runs" in text
    assert "2 incomplete means left out" in text
    assert "single runs, so no intervals" in text
    (_, first), (_, last) = lines_of(figure.axes[0])
    assert np.isnan(first).tolist() == [True, False, False, False]
    assert np.isnan(last).tolist() == [False, False, False, True]
    assert not any(
        len(ends) and np.ptp(ends, axis=1).any() for ends in intervals_of(figure.axes[0])
    )


def test_a_failed_replicate_is_left_out_of_its_point_only(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "s", grid(scan_rate=RATES), failed=[(2, 1)])
    figure = plot_sweep(sweep)
    ((_, y),) = lines_of(figure.axes[0])
    np.testing.assert_allclose(y[1], 100e-6 * 1000 * 4 * 1.005)
    assert "mean of 2 to 3 runs" in words(figure)
    assert "left out: 1 failed of 12 runs" in words(figure)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((100, 1000, 10_000), ["100", "1,000", "10,000"]),
        ((10, 20, 40, 80, 100, 110, 120, 1000, 2000), ["10", "100", "1,000"]),
        ((2, 8, 13, 15, 19, 20, 21, 22, 23, 24), ["2", "8", "13", "19", "24"]),
    ],
)
def test_ticks_of_a_log_axis_are_values_or_decades_that_fit(
    tmp_path: Path, values: tuple[int, ...], expected: list[str]
) -> None:
    figure = plot_sweep(make_sweep(tmp_path / "s", grid(scan_rate=values)), size=COLUMN)
    figure.draw_without_rendering()
    axis = figure.axes[0].xaxis
    shown = [label.get_text() for label in axis.get_ticklabels(which="both")]
    assert [text for text in shown if text][: len(expected)] == expected
    assert not any("$" in text for text in shown)


def test_words_as_x_are_dots_side_by_side(tmp_path: Path) -> None:
    points = grid(order=("linear", "random", "backwards and forwards"), vms=(2, 4))
    figure = plot_sweep(make_sweep(tmp_path / "s", points), "order", color="vms")
    (axes,) = figure.axes
    left, right = lines_of(axes)
    assert (left[0] < right[0]).all() and np.round(left[0]).tolist() == [0, 1, 2]
    assert all(line.get_linestyle() == "None" for line in axes.lines if line.get_marker() == "o")
    assert [label.get_text() for label in axes.get_xticklabels()][:2] == ["linear", "random"]


def test_sampled_points_are_dots_that_nothing_joins(tmp_path: Path) -> None:
    points = [{"scan_rate": 100 * at, "cpus": 30 - at} for at in range(1, 21)]
    figure = plot_sweep(make_sweep(tmp_path / "s", points, scales={"scan_rate": "linear"}))
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert len(dots) == 1 and dots[0].get_linestyle() == "None"
    assert "cpus varies from dot to dot" in words(figure)


def test_only_what_is_wanted_is_drawn(sweep: Sweep) -> None:
    figure = plot_sweep(sweep, where={"vms": ["4"], "scan_rate": [100, "1000", 10_000]})
    ((x, y),) = lines_of(figure.axes[0])
    assert x.tolist() == [100, 1000, 10_000] and y[1] == pytest.approx(0.4)
    assert "vms = 4" in words(figure) and "left out" not in words(figure)


def test_wide_intervals_do_not_hide_the_means(tmp_path: Path) -> None:
    def noisy(settings: Mapping[str, Any], replicate: int) -> dict[str, float]:
        noise = 500 * (replicate - 1.5) if settings["scan_rate"] == 100 else 0.0
        return {"overhead": 0.01 * (np.log10(settings["scan_rate"]) + noise)}

    points = grid(scan_rate=RATES)
    figure = plot_sweep(make_sweep(tmp_path / "s", points, replicates=2, figures=noisy))
    low, high = figure.axes[0].get_ylim()
    assert high - low < 20


# --- the frontier ---------------------------------------------------------------------------


def test_best_points_are_joined_and_labelled_with_their_settings(sweep: Sweep) -> None:
    figure = plot_frontier(sweep, "saved", "overhead")
    text = words(figure)
    (axes,) = figure.axes
    rest, best = lines_of(axes)
    assert len(rest[0]) + len(best[0]) == 12
    for x, y in zip(*rest, strict=True):
        assert ((best[0] >= x) & (best[1] <= y)).any()
    stairs = [line for line in axes.lines if "steps" in line.get_drawstyle()]
    assert len(stairs) == 1 and len(stairs[0].get_xdata()) == len(best[0])
    assert f"joined: {len(best[0])} of 12 points" in text
    assert "labels: scan_rate · vms" in text and "100,000 · 8" in text


def test_many_parameters_are_a_key_of_numbers(tmp_path: Path) -> None:
    points = grid(scan_rate=RATES, vms=(2, 4), order=("linear", "random"))

    def mixed(settings: Mapping[str, Any], replicate: int) -> dict[str, float]:
        plain = figures(settings, replicate)
        loss = 0.9 if (settings["order"] == "random") == (settings["scan_rate"] > 5000) else 1.1
        return plain | {"overhead": plain["overhead"] * loss}

    figure = plot_frontier(make_sweep(tmp_path / "s", points, figures=mixed), "saved", "overhead")
    written = [text.get_text() for text in figure.texts]
    assert {"scan_rate", "vms", "order", "saved_mib, MiB", "overhead, %", "random"} <= set(written)
    best = len(lines_of(figure.axes[0])[1][0])
    assert {str(number) for number in range(1, best + 1)} <= set(written)


def test_one_best_point_has_nothing_to_join(sweep: Sweep) -> None:
    figure = plot_frontier(sweep, "overhead", "counters.cow_breaks:low")
    assert "joined: 1 of 12 points" in words(figure)
    assert "it has scan_rate = 100, vms = 2" in words(figure)


def test_labels_of_a_frontier_do_not_overlap(sweep: Sweep) -> None:
    for size in (None, COLUMN):
        figure = plot_frontier(sweep, "saved", "overhead", size=size)
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
        assert len(boxes) > 5
        for one, other in combinations(boxes, 2):
            assert not one.overlaps(other)
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


# --- the heat map ---------------------------------------------------------------------------


def test_cells_hold_means_and_half_intervals(sweep: Sweep) -> None:
    figure = plot_heat(sweep, "overhead", "scan_rate", "vms")
    axes = figure.axes[0]
    assert len(axes.patches) == 12
    written = [text.get_text() for text in axes.texts]
    assert "80" in written and "± 2" in written  # 100,000 pages a second, 8 guests
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2", "4", "8"]
    assert axes.get_title(loc="left") == "Throughput lost to sharing, %"


def test_cells_without_a_run_are_hatched_and_empty(tmp_path: Path) -> None:
    sweep = make_sweep(
        tmp_path / "s", grid(scan_rate=RATES, vms=(2, 4)), missing=[(1, 1), (1, 2), (1, 3)]
    )
    figure = plot_heat(sweep, "saved")
    hatched = [cell for cell in figure.axes[0].patches if cell.get_hatch()]
    assert len(hatched) == 1
    assert "left out: 3 not made yet of 24 runs" in words(figure)


def test_two_signs_have_two_colours_around_zero(tmp_path: Path) -> None:
    def signed(settings: Mapping[str, Any], replicate: int) -> dict[str, float]:
        return {"overhead": 0.01 * (settings["vms"] - 4)}

    sweep = make_sweep(tmp_path / "s", grid(scan_rate=RATES, vms=(2, 4, 6)), figures=signed)
    cells = plot_heat(sweep, "overhead").axes[0].patches
    low, middle, high = (cells[at].get_facecolor()[:3] for at in (0, 4, 8))
    assert low[2] > low[0] and high[0] > high[2]  # less overhead is blue, more is red
    assert min(middle) > 0.95


def test_parameters_that_were_not_crossed_are_no_map(tmp_path: Path) -> None:
    points = [{"scan_rate": 100 * at, "vms": at} for at in range(1, 9)]
    with pytest.raises(UserError, match="not crossed: there are figures for 8 of 64 pairs"):
        plot_heat(make_sweep(tmp_path / "s", points), "saved")


def test_long_words_below_cells_stay_in_the_picture(tmp_path: Path) -> None:
    kinds = ("in order", "anything but in order", "from both ends")
    sweep = make_sweep(tmp_path / "s", grid(order=kinds, vms=(2, 4)))
    figure = plot_heat(sweep, "saved", "order", "vms", size=COLUMN)
    figure.draw_without_rendering()
    assert figure.get_tightbbox().y0 >= 0


@pytest.mark.parametrize("value", [0.0, 0.03, -2.0, 5e12])
def test_equal_figures_are_drawn_inside_their_panel(tmp_path: Path, value: float) -> None:
    sweep = make_sweep(
        tmp_path / "s", grid(scan_rate=RATES, vms=(2, 4)),
        figures=lambda settings, replicate: {"counters.same": value, "overhead": value},
    )  # fmt: skip
    low, high = plot_sweep(sweep, y=["counters.same"]).axes[0].get_ylim()
    ((_, y), _) = lines_of(plot_sweep(sweep, y=["counters.same"]).axes[0])
    assert low <= y[0] < high
    assert plot_frontier(sweep, "counters.same:high", "overhead")
    assert plot_heat(sweep, "overhead")


def test_no_complete_mean_is_a_user_error(tmp_path: Path) -> None:
    points = grid(scan_rate=RATES, vms=(2, 4), order=("linear", "random"))
    missing = [(point, 1) for point in range(2, 17, 2)]
    sweep = make_sweep(tmp_path / "s", points, replicates=1, missing=missing)
    with pytest.raises(UserError, match="no mean of overhead has all the runs that it needs"):
        plot_sweep(sweep, "scan_rate", color="vms", size=COLUMN)


# --- all of them ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [COLUMN, Size(7.0), Size(5.0, 4.0)])
def test_nothing_is_written_outside_of_the_picture(sweep: Sweep, size: Size) -> None:
    pictures = [
        plot_sweep(sweep, y=["overhead", "throughput"], size=size),
        plot_frontier(sweep, "saved", "overhead", size=size),
        plot_heat(sweep, "saved", size=size),
    ]
    for figure in pictures:
        assert figure.get_figwidth() == size.width
        assert size.height is None or figure.get_figheight() == pytest.approx(size.height)
        figure.draw_without_rendering()
        around = figure.get_tightbbox()
        assert around.x0 >= -0.01 and around.y0 >= -0.01
        assert around.x1 <= figure.get_figwidth() + 0.01
        assert around.y1 <= figure.get_figheight() + 0.01


def test_no_title_leaves_the_remarks(sweep: Sweep) -> None:
    figure = plot_sweep(sweep, title="")
    assert "Made up" not in words(figure) and "mean of 3 runs" in words(figure)
    assert "A title" in words(plot_sweep(sweep, title="A title"))


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_equal_pictures_are_equal_bytes(sweep: Sweep, format: str) -> None:
    first, second = (figure_bytes(plot_frontier(sweep, "saved", "overhead"), format) for _ in "ab")
    assert first == second
    if format == "svg":
        assert b">Throughput lost to sharing, %</text>" in first


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"x": "scan_rat"}, r"--x scan_rat: no parameter.*did you mean 'scan_rate'"),
        ({"y": ["overhed"]}, r"--y overhed: .*did you mean 'overhead'"),
        ({"y": ["realised"]}, r"--y realised: no run has a figure"),
        ({"color": "vm"}, r"--color vm: no parameter.*did you mean 'vms'"),
        ({"x": "vms", "color": "vms"}, r"--color vms: it is on the x axis already"),
        ({"where": {"vms": ["3"]}}, r"--where vms=3: no point has that value; there is: 2, 4, 8"),
        ({"where": {"vms": ["2"]}, "x": "vms"}, r"--x vms: it has one value only"),
        ({"size": Size(7.0, 1.0)}, r"height of 1 inches; a panel needs at least"),
    ],
)
def test_mistakes_are_user_errors(sweep: Sweep, options: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        plot_sweep(sweep, **options)


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ("saved", "saved_mib", "two different metrics"),
        ("saved", "counters.cow_breaks", "write counters.cow_breaks:high or"),
        ("saved", "overhead:lo", "found 'lo'; did you mean 'low'"),
        ("svaed", "overhead", "did you mean 'saved'"),
    ],
)
def test_mistakes_of_a_frontier_are_user_errors(
    sweep: Sweep, first: str, second: str, text: str
) -> None:
    with pytest.raises(UserError, match=text):
        plot_frontier(sweep, first, second)


def test_nothing_finished_and_nothing_varied_are_user_errors(tmp_path: Path) -> None:
    points = grid(scan_rate=(100,))
    with pytest.raises(UserError, match="nothing varies"):
        plot_sweep(make_sweep(tmp_path / "one", points))
    failed = [(1, number) for number in (1, 2, 3)]
    with pytest.raises(UserError, match="no run has finished"):
        plot_sweep(make_sweep(tmp_path / "none", points, failed=failed))
