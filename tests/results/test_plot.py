"""Pictures of timelines: what is drawn, from which numbers, and that files are deterministic."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sharesim.errors import UserError
from sharesim.results.load import TimelineSeries
from sharesim.results.places import spread
from sharesim.results.plot import plot_timeline, save_timeline
from sharesim.results.style import memory_unit, number, shortened

SECOND = 1_000_000_000


def synthetic_timeline(
    vms: int = 4,
    seconds: float = 60.0,
    samples: int = 301,
    pages: int = 65_536,
    share: float = 0.3,
    zero: float = 0.08,
    scan_rate: float = 5_000.0,
    paced: int = 0,
    operations: float = 800.0,
    seed: int = 1,
) -> pd.DataFrame:
    """A timeline as a run writes it: merging approaches its opportunity, breaks nibble at it.

    ``share`` and ``zero`` are parts of all guest memory; the last ``paced`` VMs are paced.
    """
    random = np.random.default_rng(seed)
    time_ns = np.linspace(0, seconds * SECOND, samples).astype(np.int64)
    time_s = time_ns / SECOND
    step = np.diff(time_s, prepend=0.0)
    total = vms * pages
    growth = 1 - np.exp(-time_s * scan_rate / max(total, 1))
    wobble = 1 + 0.05 * np.sin(time_s / max(seconds, 1e-9) * 9)
    opportunity_zero = np.round(zero * total * (1 - 0.5 * time_s / max(seconds, 1e-9)))
    opportunity = np.round(share * total * wobble) + opportunity_zero
    saved_zero = np.round(opportunity_zero * np.minimum(1, growth * 1.5))
    saved = np.round((opportunity - opportunity_zero) * growth) + saved_zero
    shared_frames = np.round(saved * 0.2)
    ballooned = np.round(0.05 * total * np.clip((time_s - seconds / 2) / max(seconds, 1e-9), 0, 1))
    unpopulated = np.round(0.15 * total * np.exp(-3 * time_s / max(seconds, 1e-9)))
    private = total - saved - shared_frames - ballooned - unpopulated
    memory = int(total * 1.1)
    achieved = np.cumsum(scan_rate * 0.93 * step * random.uniform(0.9, 1.0, samples))
    breaks = np.cumsum(random.poisson(40 * growth * step * (share > 0)))
    faults = {f"vm{row}": np.cumsum(random.poisson(300 * step)) for row in range(vms)}
    host = {
        "memory_pages": np.full(samples, memory),
        "free_pages": memory - private - shared_frames,
        "private_pages": private,
        "shared_frames_pages": shared_frames,
        "sharers_pages": saved + shared_frames,
        "saved_pages": saved,
        "saved_zero_pages": saved_zero,
        "net_saved_pages": saved - 0.02 * total * (scan_rate > 0),
        "unpopulated_pages": unpopulated,
        "ballooned_pages": ballooned,
        "opportunity_pages": opportunity,
        "opportunity_zero_pages": opportunity_zero,
        "merges": np.maximum.accumulate(saved) + breaks,
        "cow_breaks": breaks,
        "cpu_idle_ns": time_ns // 2,
    }
    frames = [pd.DataFrame({"time_ns": time_ns, "entity": "host", "order": 0, **host})]
    for row in range(vms):
        rate = operations * (row + 1) * (1 - 0.15 * np.sin(time_s * 5 / max(seconds, 1e-9) + row))
        finished = np.cumsum(random.poisson(rate * step))
        late = 2e6 * (1 + np.sin(time_s + row)) if row >= vms - paced else 0.0
        vm = {
            "populated_pages": np.full(samples, pages),
            "ballooned_pages": np.round(ballooned / vms),
            "operations": finished,
            "faults": faults[f"vm{row}"],
            "cow_breaks": np.round(breaks / vms),
            "work_ns": np.cumsum(0.6e9 * step).astype(np.int64),
            "lateness_ns": np.cumsum(np.diff(finished, prepend=0) * late),
        }
        frames.append(
            pd.DataFrame({"time_ns": time_ns, "entity": f"vm{row}", "order": row + 1, **vm})
        )
    policy = {
        "pages_scanned": np.round(achieved),
        "requested_pages": np.round(scan_rate * time_s),
        "passes": np.floor(achieved / max(total, 1)),
        "table_entries": np.round(0.5 * total * growth),
    }
    frames.append(pd.DataFrame({"time_ns": time_ns, "entity": "cbps", "order": vms + 1, **policy}))
    table = pd.concat(frames).sort_values(["time_ns", "order"], ignore_index=True)
    return table.drop(columns="order")


def texts(figure: Any) -> list[str]:
    """Every word drawn: titles, remarks, labels, and those of the figure itself."""
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [axes.get_title(loc=place) for place in ("left", "right")]
        found += [text.get_text() for text in axes.texts] + [axes.get_ylabel()]
    return [text for text in found if text]


def titles(figure: Any) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def stairs_of(axes: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Values and edges of every stepped line of a panel."""
    from matplotlib.patches import StepPatch

    patches = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
    return [(patch.get_data().values, patch.get_data().edges) for patch in patches]


# --- the default picture --------------------------------------------------------------------


def test_default_picture_has_four_titled_panels_with_units() -> None:
    figure = plot_timeline(synthetic_timeline(), {"scenario": "quickstart"})
    assert titles(figure) == [
        "Guest memory, by what backs it",
        "Saved, against instant perfect sharing",
        "Scanner and faults",
        "Throughput per VM, relative to its own median",
    ]
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "MiB",
        "MiB",
        "per second, log",
        "× median",
    ]
    assert figure.axes[-1].get_xlabel() == "simulated time, s"
    assert "quickstart" in texts(figure)


def test_memory_that_paging_holds_is_told_beside_what_is_free() -> None:
    timeline = synthetic_timeline()
    timeline["policy_table_pages"] = np.where(timeline.entity == "host", 256, np.nan)
    assert not any("held by the hypervisor" in text for text in texts(plot_timeline(timeline)))
    timeline["shadow_pool_pages"] = np.where(timeline.entity == "host", 512, np.nan)
    remark = plot_timeline(timeline).axes[0].get_title(loc="right")
    assert remark.endswith("held by the hypervisor: 3 MiB")
    assert remark.startswith("free on the host: ")


def test_areas_and_realised_share_follow_the_table() -> None:
    table = synthetic_timeline()
    host = table[table["entity"] == "host"]
    figure = plot_timeline(table)
    realised = 100 * host["saved_pages"].sum() / host["opportunity_pages"].sum()
    assert f"{realised:.0f} % of the opportunity realised in this window" in texts(figure)
    last = host.iloc[-1]
    nonzero = (last["saved_pages"] - last["saved_zero_pages"]) / 256
    assert f"saved, non-zero {number(nonzero)}" in texts(figure)
    assert f"saved, zero {number(last['saved_zero_pages'] / 256)}" in texts(figure)
    in_use = (last["private_pages"] + last["shared_frames_pages"]) / 256
    assert f"— in use {number(in_use)}" in texts(figure)


def test_paced_vms_get_a_panel_of_lateness() -> None:
    figure = plot_timeline(synthetic_timeline(vms=3, paced=1))
    assert titles(figure)[-1] == "Lateness of paced VMs"
    assert len(stairs_of(figure.axes[-1])) == 1


def test_a_vm_has_one_colour_in_all_panels() -> None:
    figure = plot_timeline(synthetic_timeline(vms=4, paced=1))
    throughput, lateness = (axes.patches for axes in figure.axes[3:])
    assert lateness[0].get_edgecolor() == throughput[3].get_edgecolor()
    assert len({patch.get_edgecolor() for patch in throughput}) == 4


def test_scan_passes_are_marked_and_counted() -> None:
    table = synthetic_timeline(vms=1)
    passes = int(table.loc[table["entity"] == "cbps", "passes"].max())
    assert passes > 1
    figure = plot_timeline(table)
    assert any(f"end of a scan pass ({passes})" in text for text in texts(figure))
    marks = [line for line in figure.axes[2].lines if line.get_marker() == "v"]
    assert len(marks[0].get_xdata()) == passes


def test_many_vms_become_a_crowd_with_named_extremes() -> None:
    figure = plot_timeline(synthetic_timeline(vms=16))
    words = texts(figure)
    assert "median of 16" in words
    assert sum(text.startswith("ends ") for text in words) == 2


def test_partial_runs_and_corruption_are_marked() -> None:
    table = synthetic_timeline()
    assert not any("partial" in text or "corrupted" in text for text in texts(plot_timeline(table)))
    table["corrupted_pages"] = np.where(table["entity"] == "host", 3.0, np.nan)
    words = texts(plot_timeline(table, {"scenario": "x", "partial": True}))
    assert "partial run: stopped at 60 s" in words
    assert "corrupted pages: 3" in words


def test_a_vm_without_operations_is_named_not_drawn() -> None:
    table = synthetic_timeline(vms=3)
    table.loc[table["entity"] == "vm1", "operations"] = 0.0
    figure = plot_timeline(table)
    assert "no operations: vm1" in texts(figure)
    assert len(stairs_of(figure.axes[3])) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"share": 0.0, "zero": 0.0, "scan_rate": 0.0}, "nothing to share, and nothing shared"),
        ({"operations": 0.0}, "no operations finished"),
        ({"samples": 1}, "one sample only: nothing to draw yet"),
        ({"vms": 2, "pages": 8, "seconds": 0.02, "samples": 11}, "KiB"),
        ({"vms": 4, "pages": 16 * 262_144}, "GiB"),
    ],
)
def test_odd_runs_are_drawn_and_say_what_is_missing(changes: dict[str, Any], words: str) -> None:
    figure = plot_timeline(synthetic_timeline(**changes))
    assert words in texts(figure)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_an_empty_timeline_says_so() -> None:
    assert "no samples recorded" in texts(plot_timeline(synthetic_timeline().iloc[:0], None))


def test_a_timeline_without_a_host_is_drawn() -> None:
    table = synthetic_timeline()
    figure = plot_timeline(table[table["entity"] != "host"])
    assert "no memory recorded" in texts(figure)


def test_labels_do_not_overlap_and_lie_inside_the_figure() -> None:
    tables = [
        synthetic_timeline(vms=vms, pages=pages, paced=vms)
        for vms, pages in ((4, 65_536), (7, 500_000), (16, 250_000))
    ]
    for table in tables:
        long_names = table["entity"].str.replace("vm", "machine-with-a-long-name-")
        table = table.assign(entity=long_names)
        figure = plot_timeline(table)
        figure.draw_without_rendering()
        for axes in figure.axes:
            boxes = sorted(
                (text.get_window_extent() for text in axes.texts), key=lambda box: box.y0
            )
            assert len(boxes) > 1
            for below, above in pairwise(boxes):
                assert above.y0 - below.y0 > 10
            assert all(box.x1 <= figure.bbox.x1 for box in boxes)


# --- windows, metrics, VMs ------------------------------------------------------------------


def test_counters_become_rates_gauges_memory_and_ledgers_shares() -> None:
    table = synthetic_timeline(vms=2, samples=61)
    metrics = ["cow_breaks", "ballooned_pages", "work_ns"]
    figure = plot_timeline(table, metrics=metrics, vms=["vm1"])
    assert titles(figure) == metrics
    assert [axes.get_ylabel() for axes in figure.axes] == ["per second", "MiB", "% of one CPU"]
    own = table[table["entity"] == "vm1"]
    values, edges = stairs_of(figure.axes[0])[0]
    np.testing.assert_allclose(values * np.diff(edges), np.diff(own["cow_breaks"]), atol=1e-9)
    line = figure.axes[1].lines[0].get_ydata()
    np.testing.assert_allclose(line, own["ballooned_pages"] / 256)
    np.testing.assert_allclose(stairs_of(figure.axes[2])[0][0], 60.0, rtol=1e-6)


def test_lateness_as_a_metric_is_a_mean_per_operation() -> None:
    figure = plot_timeline(synthetic_timeline(vms=1, paced=1), metrics=["lateness_ns"])
    assert figure.axes[0].get_ylabel() == "ms per operation"
    values, _ = stairs_of(figure.axes[0])[0]
    assert 0 <= np.nanmin(values) < np.nanmax(values) <= 4.0 + 1e-9


def test_a_window_limits_the_axis_and_the_data() -> None:
    figure = plot_timeline(synthetic_timeline(), start_s=20, end_s=30)
    assert figure.axes[0].get_xlim() == (20.0, 30.0)
    for _, edges in stairs_of(figure.axes[2]):
        assert edges.min() >= 20.0
        assert edges.max() <= 30.0


def test_rates_over_any_grid_add_up_to_the_counter() -> None:
    table = synthetic_timeline()
    series = TimelineSeries(table)
    for most in (1, 7, 60, 10_000):
        edges = series.edges(most)
        grown = series.growth("vm2", "operations", edges)
        own = table.loc[table["entity"] == "vm2", "operations"]
        assert grown.sum() == own.iloc[-1] - own.iloc[0]
        assert len(grown) <= most


def test_counters_start_at_zero_also_before_the_first_sample() -> None:
    table = synthetic_timeline(samples=61)
    later = table[table["time_ns"] > 0]
    series = TimelineSeries(later)
    grown = series.growth("vm0", "operations", series.edges(10))
    assert grown.sum() == later.loc[later["entity"] == "vm0", "operations"].iloc[-1]


def test_a_vm_that_starts_late_has_no_rate_before() -> None:
    table = synthetic_timeline(vms=2, samples=61)
    table = table[(table["entity"] != "vm1") | (table["time_ns"] >= 30 * SECOND)]
    series = TimelineSeries(table)
    edges = series.edges(60)
    grown = series.growth("vm1", "operations", edges)
    assert np.isnan(grown[edges[1:] <= 30]).all()
    assert np.isfinite(grown[edges[:-1] >= 30]).all()
    assert plot_timeline(table)._repr_png_()


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (
            {"metrics": ["cow_break"]},
            "no metric 'cow_break' in this timeline; did you mean 'cow_breaks'",
        ),
        ({"vms": ["vm9"]}, "no VM 'vm9' in this timeline; did you mean 'vm"),
        ({"metrics": ["operations"], "vms": ["cbps"]}, "'operations' is not recorded for cbps"),
        ({"start_s": 30, "end_s": 20}, "from 30 s to 20 s is no window"),
        (
            {"start_s": 100, "end_s": 200},
            "from 100 s to 200 s is no window of a run that ends at 60 s",
        ),
        ({"start_s": -1}, "give seconds from 0 on"),
        ({"end_s": float("nan")}, "is no window"),
    ],
)
def test_mistakes_are_user_errors(choice: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        plot_timeline(synthetic_timeline(), **choice)
    assert words in str(caught.value)


# --- files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_files_are_equal_byte_for_byte_and_carry_no_date(tmp_path: Path, format: str) -> None:
    paths = [tmp_path / f"{name}.{format}" for name in "ab"]
    for path in paths:
        figure = plot_timeline(synthetic_timeline(vms=2, samples=31), {"scenario": "a_$x$_b"})
        assert save_timeline(figure, path, format) == path
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert first.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[format])
    assert not any(word in first for word in (b"CreationDate", b"dc:date", b"Matplotlib v"))
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_a_users_own_matplotlib_settings_change_nothing() -> None:
    import matplotlib

    table = synthetic_timeline(vms=2, samples=31)
    plain = plot_timeline(table)._repr_png_()
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 30}):
        assert plot_timeline(table)._repr_png_() == plain
        assert matplotlib.rcParams["font.size"] == 20


def test_unknown_formats_and_unwritable_places_are_user_errors(tmp_path: Path) -> None:
    figure = plot_timeline(synthetic_timeline(vms=1, samples=5))
    with pytest.raises(UserError, match="no picture format 'pgn'; did you mean 'png'"):
        save_timeline(figure, tmp_path / "x", "pgn")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        save_timeline(figure, tmp_path / "file" / "x.png", "png")
    with pytest.raises(UserError, match="cannot be written"):
        save_timeline(figure, tmp_path / "absent" / "x.png", "png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        save_timeline(figure, tmp_path / "folder.png", "png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


def test_importing_the_module_loads_neither_matplotlib_nor_pandas() -> None:
    code = (
        "import sys, sharesim.results.plot\n"
        "print([name for name in ('matplotlib', 'pandas', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- small parts ----------------------------------------------------------------------------


def test_numbers_read_well() -> None:
    shown = [number(value) for value in (0, 41.04, 0.5, 1234.5, 7.654, 0.0123, 1e-9, -3.0)]
    assert shown == ["0", "41", "0.5", "1,234", "7.65", "0.0123", "1.0e-09", "-3"]


def test_memory_units_follow_the_size() -> None:
    assert [memory_unit(pages).name for pages in (1, 256, 4_194_303, 4_194_304)] == [
        "KiB",
        "MiB",
        "MiB",
        "GiB",
    ]


def test_spread_keeps_gaps_order_and_limits() -> None:
    assert spread([0.2, 0.8], [0.1], 0.0, 1.0) == pytest.approx([0.2, 0.8])
    assert spread([0.5, 0.5, 0.5], [0.1, 0.1], 0.0, 1.0) == pytest.approx([0.4, 0.5, 0.6])
    assert spread([1.0, 1.0], [0.1], 0.0, 1.0) == pytest.approx([0.9, 1.0])
    assert spread([], [], 0.0, 1.0) == []


def test_shortened_names_keep_both_ends() -> None:
    assert shortened("web-server", 10) == "web-server"
    assert shortened("machine-with-a-long-name-12", 9) == "mach…e-12"
