"""What displays of several panels share: axes side by side, colours, a plain look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._style import INK, LINE, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Panels: TypeAlias = Axes | Sequence[Axes] | NDArray

__all__ = ["MARKERS", "distinct_colours", "panel_axes", "plain_axes"]

# Okabe and Ito (2008), "Color universal design": told apart with any kind of colour vision.
_OKABE_ITO = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#20242c", "#f0e442",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def distinct_colours(n: int) -> list[str]:
    """Colours for `n` classes or lines: Okabe and Ito's eight, beyond that steps of viridis.

    Parameters
    ----------
    n : int

    Returns
    -------
    colours : list of str of length n
    """
    if n <= len(_OKABE_ITO):
        return list(_OKABE_ITO[:n])
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colour) for colour in colormaps["viridis"](np.linspace(0, 1, n))]


def panel_axes(
    ax: Panels | None,
    n: int,
    *,
    width: float,
    height: float,
    n_columns: int | None = None,
    width_ratios: Sequence[float] | None = None,
) -> NDArray:
    """Make the axes of `n` panels, or take those given.

    Parameters
    ----------
    ax : matplotlib.axes.Axes, sequence of n of them, or None
        One axes is divided among the panels; None makes a figure.
    n : int
    width, height : float
        Inches of one panel, where a figure is made.
    n_columns : int, optional
        Panels per row; by default all in one row.
    width_ratios : sequence of float, optional
        Relative widths of the columns.

    Returns
    -------
    axes : ndarray of matplotlib.axes.Axes of shape (n,)

    Raises
    ------
    ValueError
        If another number of axes is given, or one that is no part of a grid.
    """
    from matplotlib.axes import Axes

    if ax is not None and not isinstance(ax, Axes):
        given = np.asarray(ax, dtype=object).ravel()
        if len(given) != n:
            raise ValueError(f"ax must be one axes, or one per panel; got {len(given)} for {n}.")
        return given
    n_columns = min(n_columns or n, n)
    n_rows = math.ceil(n / n_columns)
    if ax is None:
        ax = new_figure(width * n_columns, height * n_rows).subplots()
    whole = ax.get_subplotspec()
    if whole is None:
        raise ValueError(
            "ax cannot be divided: it was not made by subplots. Give axes made by subplots, or "
            f"{n} axes."
        )
    ax.set_axis_off()
    grid = whole.subgridspec(n_rows, n_columns, width_ratios=width_ratios)
    figure = ax.figure
    return np.array([figure.add_subplot(grid[divmod(i, n_columns)]) for i in range(n)], object)


def plain_axes(ax: Axes, *, grid: str) -> None:
    """Take away frame and tick marks; leave faint lines across the axis of numbers.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    grid : {"x", "y", "both"}
        Axis, the lines of which are drawn.
    """
    ax.grid(axis=grid, color=LINE, linewidth=0.8)  # type: ignore[arg-type]
    ax.set_axisbelow(True)
    ax.tick_params(which="both", length=0, labelsize=9, labelcolor=INK)
    ax.spines[:].set_visible(False)
