"""How often each expression shows each AU, domain beside domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import column_or_1d

from ..aus.facs import fit_thresholds
from ..aus.scores import align_au_columns, check_au_scores
from ..aus.statistics import AUFrequencies, au_frequencies, au_similarity
from ._style import BARS, INK, LINE, QUIET, new_figure, show_names_as_they_are

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AUDistributionDisplay"]

# of the row of each expression, which is 1 high: the height of a bar of 100 %
_FULL = 0.8


class AUDistributionDisplay:
    """Bars of how often each expression shows each AU, domain beside domain.

    It shows what AU-guided annotating rests on: that an expression shows the
    same AUs in every domain, and other AUs than other expressions. Numbers at
    the right tell it: how alike the expression is in the first and in another
    domain, and, of two domains, how alike it is on average to the other
    expressions there, by `adafer.aus.statistics.au_similarity`. It is best made
    by `from_predictions`.

    Parameters
    ----------
    frequencies : dict of str -> AUFrequencies
        By the name of the domain, as `adafer.aus.statistics.au_frequencies`
        counts them, all with the same labels.
    au_names : sequence of str
        AUs in the order of the columns.

    Attributes
    ----------
    similarity : dict of str -> ndarray of float64 of shape (n_classes, n_classes)
        By the name of each domain after the first: expressions of the first
        domain against those of this one. Same against same is the diagonal.
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Notes
    -----
    Pictures without a face, rows with NaN, are left out; the legend counts them.

    References
    ----------
    AdaFER, section 3.2 and Figure 3.

    Examples
    --------
    >>> from adafer.display import AUDistributionDisplay
    >>> display = AUDistributionDisplay.from_predictions(
    ...     [[1, 0], [1, 1], [0, 1]], ["joy", "joy", "fear"],
    ...     [[1, 0], [0, 1]], ["joy", "fear"],
    ...     au_names=["AU12", "AU20"],
    ... )
    >>> display.frequencies["source"].labels.tolist()
    ['fear', 'joy']
    >>> display.similarity["target"].diagonal().round(2).tolist()
    [1.0, 0.67]
    """

    def __init__(self, frequencies: Mapping[str, AUFrequencies], au_names: Sequence[str]):
        self.frequencies = frequencies
        self.au_names = au_names
        first, *others = frequencies
        self.similarity = {
            name: au_similarity(frequencies[first].frequencies, frequencies[name].frequencies)
            for name in others
        }

    @classmethod
    def from_domains(
        cls,
        domains: Mapping[str, tuple[ArrayLike, ArrayLike]],
        *,
        au_names: Sequence[str] | None = None,
        threshold: Literal["quantile"] | float | ArrayLike = "quantile",
        quantile: float = 0.7,
        labels: ArrayLike | None = None,
        ax: Axes | None = None,
    ) -> AUDistributionDisplay:
        """Count and draw any number of domains.

        Parameters
        ----------
        domains : dict of str -> (aus, y)
            One or more, by the name for the legend: AU scores or codes, of shape
            (n_samples, n_aus), and expressions, of shape (n_samples,). With data
            frames, columns are brought together by name.
        au_names : sequence of str, optional
            AUs in the order of the columns; by default the first data frame's.
        threshold : {"quantile"}, float or array-like of shape (n_aus,), default="quantile"
            Score above which an AU counts as shown, in all domains. "quantile"
            is fitted to the first domain, see `adafer.aus.facs.fit_thresholds`;
            codes stay as they are.
        quantile : float, default=0.7
            Used with ``threshold="quantile"``.
        labels : array-like of shape (n_classes,), optional
            Expressions from top to bottom; by default all that occur, sorted.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default into a figure of its own.

        Returns
        -------
        display : AUDistributionDisplay

        Raises
        ------
        ValueError
            If there is no domain, no names of AUs, shapes do not fit, or no face
            was found in one of the domains.
        """
        if not domains:
            raise ValueError("domains is empty; expected {'name': (AU scores, labels), ...}.")
        (first, (aus, _)), *_ = domains.items()
        names = getattr(aus, "columns", None) if au_names is None else au_names
        if names is None:
            raise ValueError(
                "au_names is missing: the AU scores have no column names. Pass a list like "
                f"{['AU01', 'AU02']}, one name per column."
            )
        expected = [str(name) for name in names]
        tables, expressions = {}, {}
        for name, (aus, y) in domains.items():
            expressions[name] = column_or_1d(y)
            scores, columns = check_au_scores(
                aus, name=f"AUs of {name!r}", n_samples=len(expressions[name])
            )
            tables[name] = align_au_columns(
                scores,
                columns,
                expected,
                len(expected),
                name=f"AUs of {name!r}",
                reference="au_names",
            )
        if np.ndim(threshold) == 0:
            threshold = fit_thresholds(
                tables[first],
                threshold=threshold,  # type: ignore[arg-type]
                quantile=quantile,
                au_names=expected,
            )
        classes = unique_labels(*expressions.values()) if labels is None else column_or_1d(labels)
        counted = {
            name: au_frequencies(tables[name], y, threshold=threshold, labels=classes)
            for name, y in expressions.items()
        }
        return cls(counted, expected).plot(ax=ax)

    @classmethod
    def from_predictions(
        cls,
        au_src: ArrayLike,
        y_src: ArrayLike,
        au_tgt: ArrayLike | None = None,
        y_tgt: ArrayLike | None = None,
        *,
        au_names: Sequence[str] | None = None,
        domain_names: tuple[str, str] = ("source", "target"),
        threshold: Literal["quantile"] | float | ArrayLike = "quantile",
        quantile: float = 0.7,
        labels: ArrayLike | None = None,
        ax: Axes | None = None,
    ) -> AUDistributionDisplay:
        """Count and draw a source and a target.

        Parameters
        ----------
        au_src, au_tgt : array-like of shape (n_samples, n_aus), values in [0, 1]
            AU scores or codes. Without a target, the source alone is drawn.
        y_src, y_tgt : array-like of shape (n_samples,)
            Expressions; for a target without labels, predictions may serve.
        au_names, threshold, quantile, labels, ax
            As in `from_domains`.
        domain_names : tuple of two str, default=("source", "target")
            Names for the legend.

        Returns
        -------
        display : AUDistributionDisplay

        Raises
        ------
        ValueError
            As `from_domains`, or if only one of `au_tgt` and `y_tgt` is given.
        """
        if (au_tgt is None) != (y_tgt is None):
            given, missing = ("y_tgt", "au_tgt") if au_tgt is None else ("au_tgt", "y_tgt")
            raise ValueError(
                f"{given} is given but {missing} is not; expected both or none. Where the target "
                "has no labels, pass predictions as y_tgt."
            )
        source, target = domain_names
        domains = {source: (au_src, y_src)}
        if au_tgt is not None and y_tgt is not None:
            if source == target:
                raise ValueError(f"domain_names must be two names; got {source!r} twice.")
            domains[target] = (au_tgt, y_tgt)
        return cls.from_domains(
            domains,
            au_names=au_names,
            threshold=threshold,
            quantile=quantile,
            labels=labels,
            ax=ax,
        )

    @classmethod
    def from_estimator(
        cls,
        extractor: Any,
        X_src: Any,
        y_src: ArrayLike,
        X_tgt: Any = None,
        y_tgt: ArrayLike | None = None,
        **options: Any,
    ) -> AUDistributionDisplay:
        """Score the AUs of pictures, count and draw.

        Parameters
        ----------
        extractor : AUExtractor
            Fitted; its thresholds say which AUs are shown.
        X_src, X_tgt : array-like or sequence of paths
            Pictures as `AUExtractor.transform` takes them.
        y_src, y_tgt : array-like of shape (n_samples,)
            Expressions.
        **options
            `domain_names`, `labels` and `ax` of `from_predictions`.

        Returns
        -------
        display : AUDistributionDisplay
        """
        as_codes = extractor.output == "codes"
        return cls.from_predictions(
            np.asarray(extractor.transform(X_src)),
            y_src,
            None if X_tgt is None else np.asarray(extractor.transform(X_tgt)),
            y_tgt,
            au_names=extractor.au_names_,
            threshold=0.5 if as_codes else extractor.thresholds_,
            **options,
        )

    def plot(self, *, ax: Axes | None = None) -> AUDistributionDisplay:
        """Draw the bars: a row per expression.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        display : AUDistributionDisplay
            Itself.
        """
        labels = next(iter(self.frequencies.values())).labels
        n_rows, n_aus, n_bars = len(labels), len(self.au_names), len(self.frequencies)
        if ax is None:
            width = 0.14 * n_aus * (n_bars + 1) + 2.6
            ax = new_figure(max(width, 5.0), 0.95 * n_rows + 1.2).subplots()
        floors = np.arange(n_rows, 0, -1) - 1.0
        ax.hlines([*floors, *(floors + _FULL / 2), *(floors + _FULL)], -0.6, n_aus - 0.4,
                  colors=LINE, linewidth=[0.9] * n_rows + [0.5] * 2 * n_rows, zorder=0)  # fmt: skip
        ax.vlines(np.arange(n_aus - 1) + 0.5, 0, n_rows - 1 + _FULL, colors=LINE, linewidth=0.4,
                  zorder=0)  # fmt: skip
        width = 0.8 / n_bars
        for number, (name, counted) in enumerate(self.frequencies.items()):
            at = np.arange(n_aus) + (number - (n_bars - 1) / 2) * width
            ax.bar(
                np.tile(at, n_rows),
                _FULL * np.nan_to_num(counted.frequencies).ravel(),
                width,
                bottom=np.repeat(floors, n_aus),
                color=BARS[number % len(BARS)],
                label=self._legend(name, counted),
            )
        self._write_similarity(ax, floors, n_aus - 0.25)
        ax.set_xticks(range(n_aus), [str(name).removeprefix("AU") for name in self.au_names])
        ax.set_yticks(floors + _FULL / 2, [str(label) for label in labels])
        ax.set_xlabel(
            "action unit\nbars: share of the faces that show it, lines at 50 and 100 %",
            color=QUIET,
            fontsize=9,
        )
        ax.set_xlim(-0.6, n_aus - 0.4)
        ax.set_ylim(-0.06, n_rows - 1 + _FULL + 0.06)
        ax.tick_params(length=0, labelsize=9, labelcolor=INK)
        ax.tick_params(axis="y", labelsize=10)
        ax.spines[:].set_visible(False)
        ax.legend(
            loc="lower left", bbox_to_anchor=(0, 1.01), ncols=n_bars, frameon=False, fontsize=9
        )
        show_names_as_they_are(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @staticmethod
    def _legend(name: str, counted: AUFrequencies) -> str:
        missing = f", {counted.n_missing} without a face" if counted.n_missing else ""
        return f"{name} ({counted.counts.sum()} faces{missing})"

    def _write_similarity(self, ax: Axes, floors: NDArray, x: float) -> None:
        """Write at the right of each row how alike it is to other domains and rows."""
        style: dict[str, Any] = {"fontsize": 9, "color": INK, "va": "center"}
        n = len(self.similarity)
        for number, (name, similarity) in enumerate(self.similarity.items()):
            for row, floor in enumerate(floors):
                lines = [f"{name if n > 1 else 'same'} {similarity[row, row]:.2f}"]
                others = np.delete(similarity[row], row)
                if n == 1 and not np.isnan(others).all():
                    lines.append(f"others {np.nanmean(others):.2f}")
                if not np.isnan(similarity[row, row]):
                    height = floor + _FULL * (n - number - 0.5) / n
                    ax.text(x, height, "\n".join(lines), **style)
        if n:
            top = floors[0] + _FULL + 0.12
            ax.text(x, top, "similarity", **style | {"color": QUIET, "va": "bottom"})
