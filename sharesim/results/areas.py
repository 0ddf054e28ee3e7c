"""Amounts stacked on one another over time, each named at its end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sharesim.results import style
from sharesim.results.style import EndLabel, Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Layer:
    """One kind of a whole: its name, its values, and its colour."""

    name: str
    values: Floats
    colour: str


Words = Callable[[Layer], str]


def last_value(layer: Layer) -> str:
    """Name of a layer and where it ends."""
    return f"{layer.name} {style.number(layer.values[-1])}"


def stack(
    axes: "Axes", times: Floats, layers: Sequence[Layer], words: Words = last_value
) -> list[EndLabel]:
    """Draw areas from the bottom to the top; returns the labels of those that are not empty.

    A layer has a value for each of ``times``, or one for each interval between them.
    """
    floor: Floats = np.zeros(len(times))
    labels = []
    for layer in layers:
        stepped = len(layer.values) < len(times)
        values = np.append(layer.values, layer.values[-1:]) if stepped else layer.values
        over = floor + np.nan_to_num(values)
        if (over > floor).any():
            axes.fill_between(
                times, floor, over, color=layer.colour, lw=0, step="post" if stepped else None
            )
            middle = float(floor[-1] + over[-1]) / 2
            labels.append(EndLabel(middle, words(layer), style.INK, layer.colour))
        floor = over
    return labels
