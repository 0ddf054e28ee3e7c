"""What a sweep found, for a terminal, a spreadsheet or a program."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sharesim.errors import UserError, nearest
from sharesim.sweep.manifest import Axis
from sharesim.sweep.metrics import Metric
from sharesim.sweep.sweep import Sweep
from sharesim.sweep.table import parameter_column

if TYPE_CHECKING:
    import pandas

MOST_ROWS = 60
"""Of a printed table; the rest is in the file."""
MOST_FAILURES = 5


def shown_metrics(sweep: Sweep) -> list[str]:
    """What is shown where nothing is asked for: what was saved, and what it cost."""
    names = ["saved_mib"]
    names += ["overhead"] if sweep.table["overhead"].notna().any() else ["cpu_excess"]
    return [*names, "scanner_cpu", "throughput"]


def estimates(
    sweep: Sweep,
    names: Sequence[str],
    *,
    confidence: float = 0.95,
    against: Mapping[str, Any] | None = None,
) -> "pandas.DataFrame":
    """One row per point: the parameters; of each metric mean, low, high and count.

    With ``against`` differences to the point with these settings, paired by replicate.
    """
    import pandas as pd

    tables = []
    columns = ["point", *(parameter_column(axis.name) for axis in sweep.parameters)]
    for name in names:
        if against:
            found = differences(sweep, name, against, confidence=confidence)
        else:
            found = sweep.estimates(name, confidence=confidence)
        title = sweep.metric(name).name
        found = found.rename(
            columns={"mean": title, "low": f"{title}_low", "high": f"{title}_high",
                     "count": f"{title}_count"}
        )  # fmt: skip
        tables.append(found.drop(columns="half_width").set_index(columns))
    return pd.concat(tables, axis=1).reset_index().sort_values("point", ignore_index=True)


def differences(
    sweep: Sweep, name: str, against: Mapping[str, Any], *, confidence: float = 0.95
) -> "pandas.DataFrame":
    """A metric at each point less that at the point which differs from it in ``against`` only.

    As :meth:`Sweep.estimates`. Replicates have the same seed at all points, so the differences are
    taken replicate by replicate; what both points have by chance goes out. Points without such a
    counterpart are left out.
    """
    import numpy as np
    import pandas as pd

    from sharesim.statistics import mean_interval

    columns = [parameter_column(axis.name) for axis in sweep.parameters]
    table = sweep.table.assign(value=sweep.values(name)).dropna(subset="value")
    fixed = {parameter_column(key): value for key, value in against.items()}
    others = [column for column in columns if column not in fixed]
    base = table.loc[(table[list(fixed)] == list(fixed.values())).all(axis=1)]
    if base.empty:
        asked = ", ".join(f"{key}={value}" for key, value in against.items())
        raise UserError(f"--against {asked}: no finished run has that setting")
    on = [*others, "replicate"]
    both = table.merge(base[[*on, "value"]], on=on, suffixes=("", "_base"))
    rows = []
    for point, group in both.groupby("point", sort=True):
        estimate = mean_interval((group["value"] - group["value_base"]).to_numpy(), confidence)
        half = np.nan if estimate.half_width is None else estimate.half_width
        row = {"point": point, **{one: group[one].iloc[0] for one in columns}}
        row |= {"mean": estimate.mean, "low": estimate.mean - half, "high": estimate.mean + half}
        rows.append(row | {"half_width": half, "count": len(group)})
    wanted = ["point", *columns, "mean", "low", "high", "half_width", "count"]
    return pd.DataFrame(rows, columns=wanted)


def parse_against(sweep: Sweep, texts: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` of varied parameters, as the sweep has the values."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, wanted = text.partition("=")
        if not equals:
            raise UserError(f"--against {text}: write it as --against NAME=VALUE")
        axis = sweep.parameter(name)
        found[name] = _value(axis, wanted)
    return found


def _value(axis: Axis, text: str) -> Any:
    for value in axis.values:
        if str(value) == text or (isinstance(value, int | float) and _number(text) == value):
            return value
    hint = nearest(text, [str(value) for value in axis.values])
    raise UserError(f"--against {axis.name}={text}: no point has that value{hint}")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def sweep_text(
    sweep: Sweep, names: Sequence[str], *, confidence: float = 0.95,
    against: Mapping[str, Any] | None = None,
) -> str:  # fmt: skip
    """The printed answer: a table of points, what failed, and where it is."""
    from sharesim.commands.list import aligned

    lines: list[str] = []
    if len(sweep.done):
        lines = aligned(_rows(sweep, names or shown_metrics(sweep), confidence, against))
    if len(lines) > MOST_ROWS + 1:
        left = len(lines) - MOST_ROWS - 1
        lines = [*lines[: MOST_ROWS + 1], f"... and {left} more points: --csv has all of them"]
    lines += ["", *_remarks(sweep)]
    return "\n".join(lines)


def _rows(
    sweep: Sweep, names: Sequence[str], confidence: float, against: Mapping[str, Any] | None
) -> list[list[str]]:
    table = estimates(sweep, names, confidence=confidence, against=against)
    parameters = [axis.name for axis in sweep.parameters]
    metrics = [sweep.metric(name) for name in names]
    rows = [["point", *parameters, *(_title(one, bool(against)) for one in metrics), "runs"]]
    for row in table.to_dict("records"):
        cells = [str(row["point"])]
        cells += [_plain(row[parameter_column(name)]) for name in parameters]
        cells += [_with_interval(one, row) for one in metrics]
        rows.append([*cells, _plain(row[f"{metrics[0].name}_count"])])
    return rows


def _title(one: Metric, is_difference: bool) -> str:
    unit = "%" if one.percent else one.unit
    name = f"difference of {one.name}" if is_difference else one.name
    return f"{name} ({unit})" if unit else name


def _with_interval(one: Metric, row: Mapping[str, Any]) -> str:
    scale = 100.0 if one.percent else 1.0
    mean, low = row[one.name] * scale, row[f"{one.name}_low"] * scale
    if math.isnan(mean):
        return "-"
    if math.isnan(low):
        return figure(mean)
    half = mean - low
    places = _places(half if half else mean)
    return f"{mean:,.{places}f} ± {half:,.{places}f}"


def figure(value: float) -> str:
    """Three to four significant digits, no exponent."""
    return f"{value:,.{_places(value / 10)}f}"


def _places(value: float) -> int:
    """Decimal places that show two digits of a value."""
    if value == 0 or not math.isfinite(value):
        return 0
    return min(max(1 - math.floor(math.log10(abs(value))), 0), 6)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value)


def _remarks(sweep: Sweep) -> list[str]:
    lines = []
    asked, done, failed = len(sweep.cells), len(sweep.done), len(sweep.failed)
    state = [f"{done} of {asked} runs done"]
    state += [f"{failed} failed"] if failed else []
    lines.append(f"{', '.join(state)}; folder {sweep.folder}")
    for _, row in sweep.failed.head(MOST_FAILURES).iterrows():
        lines.append(f"  point {row['point']}, replicate {row['replicate']}: {row['error']}")
    if failed > MOST_FAILURES:
        lines.append(f"  ... and {failed - MOST_FAILURES} more; --failed lists them all")
    alone = sweep.done["error"] != ""
    if alone.any():
        first = sweep.done["error"][alone].iloc[0]
        lines.append(f"{int(alone.sum())} runs have nothing to be compared with: {first}")
    late = _late_warmup(sweep)
    return [*lines, *([late] if late else [])]


def _late_warmup(sweep: Sweep) -> str:
    """A word where throughput was still settling when measuring began."""
    known = sweep.done.dropna(subset="warmup_detected_s")
    late = known["warmup_detected_s"] > known["warmup_given_s"]
    if not len(known) or late.mean() <= 0.5:  # in a third of all runs noise alone looks late
        return ""
    return (
        f"{int(late.sum())} of {len(known)} runs were still warming up when measuring began (until"
        f" {known['warmup_detected_s'].median():.3g} s on the median, by MSER-5): give the scenario"
        " a warmup of that length"
    )


def sweep_json(
    sweep: Sweep, names: Sequence[str], *, confidence: float = 0.95,
    against: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The same as plain data."""
    names = list(names) or (shown_metrics(sweep) if len(sweep.done) else [])
    points = []
    if len(sweep.done):
        table = estimates(sweep, names, confidence=confidence, against=against)
        points = [
            {name: _json_value(value) for name, value in row.items()}
            for row in table.to_dict("records")
        ]
    return {
        "folder": str(sweep.folder),
        "script": sweep.manifest.script,
        "parameters": [axis.name for axis in sweep.parameters],
        "metrics": [sweep.metric(name).name for name in names],
        "confidence": confidence,
        "asked": len(sweep.cells),
        "done": len(sweep.done),
        "failed": [
            {"point": int(row["point"]), "replicate": int(row["replicate"]), "error": row["error"]}
            for _, row in sweep.failed.iterrows()
        ],
        "points": points,
    }


def _json_value(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
