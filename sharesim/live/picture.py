"""A picture of a recording: what KSM's counters did, how fast it scanned, what ksmd used."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sharesim.live.record import METADATA
from sharesim.results import style
from sharesim.results.titled import titled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGES = ("pages_shared", "pages_sharing", "pages_unshared", "pages_volatile", "ksm_zero_pages")
MOST_STEPS = 200
LEAST_STEP_S = 0.1
"""Rates are means over this time or more: counters move in batches."""


def draw_recording(path: Path) -> "Figure":
    """The figure of a file written by :func:`sharesim.live.record.record`."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    columns = {name: table[name].to_numpy().astype(np.float64) for name in table.column_names}
    times = columns["time_ns"] / 1e9
    rates = {"pages_scanned": (1.0, "pages/s"), "ksmd_cpu_ns": (1e-7, "% of a CPU")}
    shown = {name: unit for name, unit in rates.items() if name in columns}
    with style.settings():
        figure, panels = style.stacked_figure([2.6, *[1.3] * len(shown)])
        lines = {name: columns[name] for name in PAGES if name in columns and columns[name].any()}
        style.heading(panels[0], "KSM's counters", unit="pages")
        if lines:
            style.draw_lines(panels[0], lines, times, {name: name for name in lines})
        else:
            style.note(panels[0], "nothing was shared, and nothing examined")
        for panel, (name, (scale, unit)) in zip(panels[1:], shown.items(), strict=True):
            at, rate = _rate(times, columns[name] * scale)
            style.heading(panel, _TITLES[name], unit=unit)
            style.draw_lines(panel, {name: rate}, at, {name: "mean " + style.number(rate.mean())})
        panels[-1].set_xlabel("s")
        panels[0].set_xlim(0, max(float(times[-1]), 1e-3))
        titled(figure, path.name, _subtitle(table.schema.metadata))
    return figure


_TITLES = {"pages_scanned": "Pages examined", "ksmd_cpu_ns": "CPU time of ksmd"}


def _subtitle(metadata: Mapping[bytes, bytes]) -> str:
    about = json.loads(metadata[METADATA])
    settings = about["settings"]
    knobs = ", ".join(
        f"{name}={settings[name]}"
        for name in ("pages_to_scan", "sleep_millisecs", "smart_scan", "advisor_mode")
        if name in settings
    )
    return f"Linux {about['kernel']}, from {about['started']}; at first {knobs}"


def _rate(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges of intervals, and how fast a counter grew in each."""
    steps = max(1, min(MOST_STEPS, int((times[-1] - times[0]) / LEAST_STEP_S), len(times) - 1))
    kept = np.linspace(0, len(times) - 1, steps + 1).astype(int)
    if len(times) < 2:
        return np.append(times, times + 1e-3), np.zeros(1)
    return times[kept], np.diff(values[kept]) / np.diff(times[kept])
