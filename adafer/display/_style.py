"""What all displays share: a figure and colours."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING

from .._sklearn import Interval, judged

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# told apart by people who do not see colours as well: dark against light, and by marks
RIGHT, WRONG = "#0b7a5b", "#c8381b"
INK, QUIET, LINE = "#1d2430", "#6b7480", "#d9dde3"
BARS = ("#b4bcc8", "#2f6fb2", "#e0a030", "#7a5ba8", "#5b9a68")
_INCHES = [Interval(Real, 0, None, closed="neither")]


@judged(width=_INCHES, height=_INCHES)
def new_figure(width: float, height: float) -> Figure:
    """Make a figure that no global state knows of.

    Parameters
    ----------
    width, height : float
        Inches, more than 0.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If `width` or `height` is no finite number above 0.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)  # type: ignore[union-attr,call-arg]
    FigureCanvasAgg(figure)
    return figure


def show_names_as_they_are(*axes: Axes) -> None:
    """Let no dollar sign in a name of a class or method begin a formula, which may be none.

    Parameters
    ----------
    *axes : matplotlib.axes.Axes
        All is drawn on them. Marks of numbers stay as they are.
    """
    from matplotlib.ticker import FixedFormatter, FuncFormatter

    for ax in axes:
        texts = [*ax.texts, ax.xaxis.label, ax.yaxis.label]
        texts += [getattr(ax, place) for place in ("title", "_left_title", "_right_title")]
        legend = ax.get_legend()
        if legend is not None:
            texts += [*legend.get_texts(), legend.get_title()]
        for axis in (ax.xaxis, ax.yaxis):
            if isinstance(axis.get_major_formatter(), (FixedFormatter, FuncFormatter)):
                texts += axis.get_ticklabels()
        for text in texts:
            if "$" in text.get_text():
                text.set_parse_math(False)
