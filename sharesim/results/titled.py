"""The title of a picture, as all of sharesim's pictures have it."""

from typing import TYPE_CHECKING

from sharesim.results.style import INK, MUTED

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def titled(figure: "Figure", title: str, subtitle: str) -> None:
    """Write a title and a quieter line below it at the top left of a figure."""
    height = figure.get_size_inches()[1]
    figure.text(0.035, 1 - 0.33 / height, title, fontsize=15, fontweight="bold", color=INK)
    figure.text(0.035, 1 - 0.56 / height, subtitle, fontsize=9.5, color=MUTED)
