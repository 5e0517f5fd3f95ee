"""Display of the history of a fit: losses and shares, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._checks import naming
from .._sklearn import judged
from ._arguments import FLAG, judge_ax, judge_names
from ._panels import MARKERS, distinct_colours, plain_axes
from ._samples import last_step
from ._style import INK, LINE, QUIET, new_figure, show_names_as_they_are

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["HistoryDisplay"]


class HistoryDisplay:
    """Lines of what a fit noted after each epoch, its losses above all.

    Stages follow each other from left to right; where one begins there is a line
    with its name. It is best made by `from_estimator` or `from_history`.

    Parameters
    ----------
    values : dict of str -> ndarray of float64 of shape (n_epochs,)
        By the name of the line, NaN in epochs that did not note it.
    stages : list of str of length n_epochs
        Stage of each epoch.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Notes
    -----
    Losses of different terms have different scales and weights: compare a line
    with itself. A falling loss tells that training works, not that the target
    is recognised.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer import AdaFERClassifier
    >>> from adafer.display import HistoryDisplay
    >>> X, y = np.random.default_rng(0).normal(size=(20, 3)), np.repeat(["joy", "sad"], 10)
    >>> clf = AdaFERClassifier(epochs=4, device="cpu", random_state=0).fit(X, y)
    >>> display = HistoryDisplay.from_estimator(clf)
    >>> list(display.values), display.stages
    (['loss'], ['source', 'source', 'source', 'source'])
    """

    def __init__(self, values: Mapping[str, NDArray], stages: Sequence[str]):
        self.values = values
        self.stages = stages

    @classmethod
    @judged(entries=judge_names("entries"), log_scale=FLAG, ax=judge_ax)
    def from_estimator(
        cls,
        estimator: Any,
        *,
        entries: Sequence[str] | None = None,
        log_scale: bool = False,
        ax: Axes | None = None,
    ) -> HistoryDisplay:
        """Draw the history of a fitted classifier.

        Parameters
        ----------
        estimator : estimator
            Fitted, with `history_`; a Pipeline or a search that ends in one.
        entries, log_scale, ax
            As in `from_history`.

        Returns
        -------
        display : HistoryDisplay

        Raises
        ------
        ValueError, TypeError
            If it has no history, `entries` are not in it, or `ax` is none.
        """
        advice = "expected a classifier that trains a network, such as AdaFERClassifier."
        classifier = last_step(estimator, "history_", advice)
        return cls.from_history(classifier.history_, entries=entries, log_scale=log_scale, ax=ax)

    @classmethod
    @judged(entries=judge_names("entries"), log_scale=FLAG, ax=judge_ax)
    def from_history(
        cls,
        history: Sequence[Mapping[str, Any]],
        *,
        entries: Sequence[str] | None = None,
        log_scale: bool = False,
        ax: Axes | None = None,
    ) -> HistoryDisplay:
        """Draw a history.

        Parameters
        ----------
        history : list of dict
            One row per epoch, as ``history_`` of a classifier.
        entries : list of str, optional
            Which numbers of the rows to draw; by default all losses. Others are
            "coverage", "margin", "triplets_active", "learning_rate", "seconds".
        log_scale : bool, default=False
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default into a figure of its own.

        Returns
        -------
        display : HistoryDisplay

        Raises
        ------
        ValueError, TypeError
            If there is no epoch, `entries` are not in any, or `ax` is none.
        """
        if not isinstance(history, Sequence) or not all(
            isinstance(row, Mapping) for row in history
        ):
            raise TypeError(
                "history must be a list of dicts, one per epoch, as history_ of a classifier; got "
                f"{type(history).__name__} {str(history)[:60]}."
            )
        if not len(history):
            raise ValueError("The history is empty: no epoch was run. Fit with epochs > 0.")
        known = list(
            dict.fromkeys(name for row in history for name in row if _is_number(row, name))
        )
        if not known:
            raise ValueError(
                f"history has no numbers in any of its {len(history)} epochs; expected losses, as "
                "in history_ of a classifier."
            )
        if entries is None:
            entries = [name for name in known if name.startswith("loss")]
        unknown = [name for name in entries if name not in known]
        if unknown or not entries:
            raise ValueError(
                f"entries has {unknown}, which no epoch noted; expected some of {known}."
            )
        with naming("history"):
            values = {
                name: np.array([row.get(name, np.nan) for row in history], dtype=np.float64)
                for name in entries
            }
        stages = [str(row.get("stage", "")) for row in history]
        return cls(values, stages).plot(log_scale=log_scale, ax=ax)

    @judged(log_scale=FLAG, ax=judge_ax)
    def plot(self, *, log_scale: bool = False, ax: Axes | None = None) -> HistoryDisplay:
        """Draw the lines.

        Parameters
        ----------
        log_scale : bool, default=False
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        display : HistoryDisplay
            Itself.

        Raises
        ------
        ValueError, TypeError
            If `log_scale` is no bool or `ax` is none.
        """
        from matplotlib.ticker import MaxNLocator

        if ax is None:
            ax = new_figure(6.4, 3.9).subplots()
        epochs = np.arange(1, len(self.stages) + 1)
        colours = distinct_colours(len(self.values))
        few = len(epochs) <= 20 or min(map(len, self._stage_rows())) == 1
        for number, (name, values) in enumerate(self.values.items()):
            look: dict[str, Any] = {
                "color": colours[number],
                "marker": MARKERS[number % len(MARKERS)] if few else None,
            }
            # what a term weighs may change from stage to stage: no line joins them
            label = name.replace("_", " ")
            for stage in self._stage_rows():
                rows = stage[np.isfinite(values[stage])]
                if len(rows):
                    ax.plot(epochs[rows], values[rows], label=label, linewidth=1.6,
                            markersize=4.5, **look)  # fmt: skip
                    label = "_"
        if log_scale:
            ax.set_yscale("log")
        ax.set_xlim(0.5, len(epochs) + 0.5)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        plain_axes(ax, grid="both")
        self._mark_stages(ax)
        ax.set_xlabel("epoch, all stages", color=QUIET, fontsize=9)
        ax.legend(
            loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9, labelcolor=INK
        )
        show_names_as_they_are(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _stage_rows(self) -> list[NDArray]:
        """Rows of each run of epochs of the same stage."""
        names = np.asarray(self.stages)
        starts = np.flatnonzero(names[1:] != names[:-1]) + 1
        return np.split(np.arange(len(names)), starts)

    def _mark_stages(self, ax: Axes) -> None:
        for rows in self._stage_rows():
            start = rows[0]
            if start:
                ax.axvline(start + 0.5, color=LINE, linewidth=1.6)
            ax.annotate(
                self.stages[start], (start + 0.5, 1), xycoords=("data", "axes fraction"),
                xytext=(4, 4), textcoords="offset points", color=QUIET, fontsize=9,
            )  # fmt: skip


def _is_number(row: Mapping[str, Any], name: str) -> bool:
    return isinstance(row[name], (int, float, np.number)) and name not in ("epoch", "stage")
