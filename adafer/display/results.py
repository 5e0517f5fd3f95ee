"""Results over seeds: variants of a method, and values of a parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import naming
from .._sklearn import Interval, judged
from ._arguments import FLAG, TEXT, judge_ax, judge_names
from ._intervals import check_scores, mean_interval
from ._panels import MARKERS, distinct_colours, plain_axes
from ._style import BARS, INK, QUIET, WRONG, new_figure, show_names_as_they_are

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AblationDisplay", "ParameterCurveDisplay"]


class AblationDisplay:
    """Bars of the mean score of each variant, with intervals over seeds.

    It is best made by `from_results`.

    Parameters
    ----------
    names : sequence of str
        Variants, from top to bottom.
    values : ndarray of float64 of shape (n_variants, n_seeds)
        Scores, NaN where a run is missing.
    reference : float or str, optional
        Where to draw a line: a score, or the name of a variant.
    score_name : str, default="accuracy"

    Attributes
    ----------
    means_, half_widths_ : ndarray of float64 of shape (n_variants,)
        Means and half widths of their intervals, as drawn last; NaN where
        there is one run only.
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Notes
    -----
    Intervals are Student's, over seeds. They tell how much training varies, not
    how a score would vary with other faces.

    References
    ----------
    AdaFER, Figure 5.

    Examples
    --------
    >>> from adafer.display import AblationDisplay
    >>> display = AblationDisplay.from_results(
    ...     ["source only", "AGA", "AGA + AGT"],
    ...     [[0.50, 0.52, 0.51], [0.58, 0.60, 0.59], [0.62, 0.61, 0.66]],
    ...     reference="source only",
    ... )
    >>> display.means_.round(2).tolist()
    [0.51, 0.59, 0.63]
    """

    def __init__(
        self,
        names: Sequence[str],
        values: NDArray,
        reference: float | str | None = None,
        *,
        score_name: str = "accuracy",
    ):
        self.names = names
        self.values = values
        self.reference = reference
        self.score_name = score_name

    @classmethod
    @judged(
        names=judge_names("names"),
        reference=[None, str, Interval(Real, None, None, closed="neither")],
        score_name=TEXT,
        percent=FLAG,
        ax=judge_ax,
    )
    def from_results(
        cls,
        names: Sequence[str],
        values: ArrayLike,
        *,
        reference: float | str | None = None,
        score_name: str = "accuracy",
        confidence: float = 0.95,
        percent: bool = True,
        ax: Axes | None = None,
    ) -> AblationDisplay:
        """Judge results and draw them.

        Parameters
        ----------
        names : sequence of str of length n_variants
            All different.
        values : array-like of shape (n_variants, n_seeds)
            Scores, NaN where a run is missing.
        reference : float or str, optional
            Where to draw a line: a score, or the name of a variant, whose bar is
            then grey.
        score_name : str, default="accuracy"
            For the axis.
        confidence : float, default=0.95
            Of the intervals, in (0, 1).
        percent : bool, default=True
            Show shares as percentages.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default into a figure of its own.

        Returns
        -------
        display : AblationDisplay

        Raises
        ------
        ValueError, TypeError
            If shapes do not fit, names repeat, the reference is no variant, numbers
            beyond 1 are to be shown as percentages, `confidence` does not lie in
            (0, 1), or `ax` is none.
        """
        names = [str(name) for name in names]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"names must all differ; got {repeated} more than once.")
        if isinstance(reference, str) and reference not in names:
            raise ValueError(
                f"reference {reference!r} is none of the variants {names}. Give one of these, or "
                "a number."
            )
        scores = check_scores(values, len(names), name="values", of="names", percent=percent)
        return cls(names, scores, reference, score_name=score_name).plot(
            confidence=confidence, percent=percent, ax=ax
        )

    @judged(percent=FLAG, ax=judge_ax)
    def plot(
        self, *, confidence: float = 0.95, percent: bool = True, ax: Axes | None = None
    ) -> AblationDisplay:
        """Draw the bars.

        Parameters
        ----------
        confidence : float, default=0.95
        percent : bool, default=True
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        display : AblationDisplay
            Itself.

        Raises
        ------
        ValueError, TypeError
            If `confidence` does not lie in (0, 1), or `ax` is none.
        """
        self.means_, self.half_widths_ = mean_interval(self.values, confidence)
        n, unit = len(self.names), 100 if percent else 1
        means, widths = unit * self.means_, unit * np.nan_to_num(self.half_widths_)
        if ax is None:
            ax = new_figure(6.2, 0.42 * n + 1.3).subplots()
        places = np.arange(n)
        ax.barh(
            places,
            means,
            0.68,
            color=[BARS[0] if name == self.reference else BARS[1] for name in self.names],
        )
        known = ~np.isnan(self.half_widths_)
        ax.errorbar(means[known], places[known], xerr=widths[known], fmt="none", ecolor=INK,
                    elinewidth=1.3, capsize=3)  # fmt: skip
        digits = 1 if percent else 3
        for place, mean, width, sure in zip(places, means, widths, known, strict=True):
            text = f"{mean:.{digits}f}" + (f" ± {width:.{digits}f}" if sure else "")
            # beyond bar and interval, to the right of zero even where the bar is not
            ax.annotate(text, (max(mean + width, 0), place), xytext=(5, 0), va="center",
                        textcoords="offset points", fontsize=8.5, color=INK)  # fmt: skip
        line = self._line(unit)
        if line is not None:
            named = self.reference if isinstance(self.reference, str) else "reference"
            ax.axvline(line, color=WRONG, linewidth=1.2, linestyle=(0, (4, 2)),
                       label=f"{named}, {line:.{digits}f}")  # fmt: skip
            ax.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize=9)
        ends = [0, *(means - widths), *(means + widths), line or 0]
        low, high = min(ends), max(ends)
        # room for the numbers at the right
        ax.set_xlim(low - 0.02 * (high - low) * (low < 0), high + 0.3 * (high - low or 1))
        if percent:
            ax.set_xticks([tick for tick in ax.get_xticks() if low <= tick <= 100])
        ax.set_yticks(places, list(self.names))
        ax.set_ylim(n - 0.4, -0.6)
        ax.set_xlabel(_axis_name(self.score_name, percent) + f"; {100 * confidence:g} % intervals",
                      color=QUIET, fontsize=9)  # fmt: skip
        plain_axes(ax, grid="x")
        show_names_as_they_are(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _line(self, unit: int) -> float | None:
        if self.reference is None:
            return None
        if isinstance(self.reference, str):
            return unit * float(self.means_[list(self.names).index(self.reference)])
        return unit * float(self.reference)


class ParameterCurveDisplay:
    """Lines of a score against the values of a parameter, with bands over seeds.

    It is best made by `from_results`.

    Parameters
    ----------
    parameter_values : ndarray of shape (n_values,)
        Numbers, or names, which are set side by side.
    scores : dict of str -> ndarray of float64 of shape (n_values, n_seeds)
        By the name of the line, NaN where a run is missing.
    parameter_name : str, default="parameter value"
    score_name : str, default="accuracy"

    Attributes
    ----------
    means_, half_widths_ : dict of str -> ndarray of float64 of shape (n_values,)
        Means and half widths of their intervals, in the order of
        `parameter_values`, as drawn last; NaN where there is one run only.
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    See Also
    --------
    sklearn.model_selection.ValidationCurveDisplay : Trains the models, too, under
        cross-validation.

    References
    ----------
    AdaFER, Figures 6 and 7.

    Examples
    --------
    >>> from adafer.display import ParameterCurveDisplay
    >>> display = ParameterCurveDisplay.from_results(
    ...     [0.1, 1.0, 10.0],
    ...     {"CK+": [[0.80, 0.81], [0.84, 0.85], [0.79, 0.80]],
    ...      "JAFFE": [[0.55, 0.57], [0.60, 0.62], [0.58, 0.57]]},
    ...     parameter_name="trade-off", log_scale=True,
    ... )
    >>> display.means_["CK+"].round(3).tolist()
    [0.805, 0.845, 0.795]
    """

    def __init__(
        self,
        parameter_values: NDArray,
        scores: Mapping[str, NDArray],
        *,
        parameter_name: str = "parameter value",
        score_name: str = "accuracy",
    ):
        self.parameter_values = parameter_values
        self.scores = scores
        self.parameter_name = parameter_name
        self.score_name = score_name

    @classmethod
    @judged(parameter_name=TEXT, score_name=TEXT, log_scale=FLAG, percent=FLAG, ax=judge_ax)
    def from_results(
        cls,
        parameter_values: ArrayLike,
        scores: Mapping[str, ArrayLike],
        *,
        parameter_name: str = "parameter value",
        score_name: str = "accuracy",
        log_scale: bool = False,
        confidence: float = 0.95,
        percent: bool = True,
        ax: Axes | None = None,
    ) -> ParameterCurveDisplay:
        """Judge results and draw them.

        Parameters
        ----------
        parameter_values : array-like of shape (n_values,)
            Numbers, in any order; or names, such as "learnable", which are set
            side by side as they are given.
        scores : dict of str -> array-like of shape (n_values, n_seeds)
            One or more lines, such as data sets, by the name for the legend;
            NaN where a run is missing.
        parameter_name, score_name : str
            For the axes.
        log_scale : bool, default=False
            Logarithmic axis of the parameter.
        confidence : float, default=0.95
            Of the bands, in (0, 1).
        percent : bool, default=True
            Show shares as percentages.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default into a figure of its own.

        Returns
        -------
        display : ParameterCurveDisplay

        Raises
        ------
        ValueError, TypeError
            If there is no line, shapes do not fit, values repeat or are not finite,
            the axis is to be logarithmic with values that are not positive numbers,
            `confidence` does not lie in (0, 1), or `ax` is none.
        """
        if not isinstance(scores, Mapping) or not scores:
            raise ValueError(
                "scores must be {'name': array of shape (n_values, n_seeds), ...}, of one line or "
                f"more; got {type(scores).__name__}{_length(scores)}."
            )
        with naming("parameter_values"):
            values = np.asarray(parameter_values)
            differ = values.ndim == 1 and len(np.unique(values)) == len(values)
        if not differ or not len(values):
            raise ValueError(
                "parameter_values must be 1-D and all different; got "
                f"{values.tolist()}. Give runs with one value as seeds of one row."
            )
        if values.dtype.kind not in "iufU" or (
            values.dtype.kind == "f" and not np.isfinite(values).all()
        ):
            raise ValueError(
                f"parameter_values must be finite numbers, or names; got {values.tolist()}."
            )
        checked = {
            str(name): check_scores(
                rows,
                len(values),
                name=f"scores of {name!r}",
                of="parameter_values",
                percent=percent,
            )
            for name, rows in scores.items()
        }  # fmt: skip
        display = cls(values, checked, parameter_name=parameter_name, score_name=score_name)
        return display.plot(log_scale=log_scale, confidence=confidence, percent=percent, ax=ax)

    @judged(log_scale=FLAG, percent=FLAG, ax=judge_ax)
    def plot(
        self,
        *,
        log_scale: bool = False,
        confidence: float = 0.95,
        percent: bool = True,
        ax: Axes | None = None,
    ) -> ParameterCurveDisplay:
        """Draw the lines.

        Parameters
        ----------
        log_scale : bool, default=False
        confidence : float, default=0.95
        percent : bool, default=True
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        display : ParameterCurveDisplay
            Itself.

        Raises
        ------
        ValueError, TypeError
            If the axis is to be logarithmic with values that are not positive
            numbers, `confidence` does not lie in (0, 1), or `ax` is none.
        """
        values = self.parameter_values
        are_numbers = values.dtype.kind in "iuf"
        if log_scale and not (are_numbers and (values > 0).all()):
            raise ValueError(
                f"log_scale=True needs positive numbers; got {values.tolist()}. Leave the others "
                "out, or pass log_scale=False."
            )
        if ax is None:
            ax = new_figure(5.6, 3.9).subplots()
        order = np.argsort(values) if are_numbers else np.arange(len(values))
        x = values[order] if are_numbers else order
        unit = 100 if percent else 1
        self.means_, self.half_widths_ = {}, {}
        colours = distinct_colours(len(self.scores))
        for number, (name, scores) in enumerate(self.scores.items()):
            self.means_[name], self.half_widths_[name] = mean_interval(scores, confidence)
            mean, width = unit * self.means_[name][order], unit * self.half_widths_[name][order]
            ax.plot(x, mean, color=colours[number], marker=MARKERS[number % len(MARKERS)],
                    markersize=5.5, linewidth=1.6, label=name)  # fmt: skip
            ax.fill_between(x, mean - width, mean + width, color=colours[number], alpha=0.16,
                            linewidth=0)  # fmt: skip
        if log_scale:
            ax.set_xscale("log")
        if not are_numbers:
            ax.set_xticks(x, [str(value) for value in values])
        ax.set_xlabel(self.parameter_name, color=QUIET, fontsize=9)
        bands = any(np.isfinite(width).any() for width in self.half_widths_.values())
        ax.set_ylabel(
            _axis_name(self.score_name, percent)
            + (f"; bands: {100 * confidence:g} % intervals" if bands else ""),
            color=QUIET,
            fontsize=9,
        )
        ax.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=min(len(self.scores), 2),
            frameon=False, fontsize=9,
        )  # fmt: skip
        plain_axes(ax, grid="both")
        show_names_as_they_are(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _axis_name(score_name: str, percent: bool) -> str:
    return f"{score_name}, %" if percent else score_name


def _length(values: object) -> str:
    return f" of length {len(values)}" if hasattr(values, "__len__") else ""
