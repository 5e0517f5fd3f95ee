"""How often each expression shows each AU, domain beside domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from .._checks import check_labels, check_rows, naming
from .._sklearn import HasMethods, Interval, judged
from ..aus.facs import fit_thresholds
from ..aus.scores import align_au_columns, check_au_scores
from ..aus.statistics import AUFrequencies, au_frequencies, au_similarity
from ..faces import check_faces
from ._arguments import check_classes, judge_ax, judge_names
from ._style import BARS, INK, LINE, QUIET, new_figure, show_names_as_they_are

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AUDistributionDisplay"]

# of the row of each expression, which is 1 high: the height of a bar of 100 %
_FULL = 0.8


def _judge_threshold(threshold: Any) -> None:
    if isinstance(threshold, str):
        wrong = threshold != "quantile"
    else:
        numbers = np.asarray(threshold, dtype=np.float64)
        wrong = numbers.ndim > 1 or not ((numbers >= 0) & (numbers <= 1)).all()
    if wrong:
        raise ValueError(
            f'threshold must be "quantile", a number in [0, 1] or one per AU; got {threshold!r}.'
        )


def _judge_domain_names(names: Any) -> None:
    two = isinstance(names, Sequence) and not isinstance(names, str) and len(names) == 2
    if not two or not all(isinstance(name, str) for name in names):
        raise ValueError(f"domain_names must be two names; got {names!r}.")


def _check_both_or_none(**target: Any) -> None:
    given = [name for name, value in target.items() if value is not None]
    missing = [name for name, value in target.items() if value is None]
    if given and missing:
        raise ValueError(
            f"{given[0]} is given but {missing[0]} is not; expected both or none. Where the target "
            "has no labels, pass predictions as y_tgt."
        )


_COUNTING: dict[str, Any] = {
    "au_names": judge_names("au_names"),
    "threshold": _judge_threshold,
    "quantile": [Interval(Real, 0, 1, closed="neither")],
    "labels": check_classes,
    "ax": judge_ax,
}


class _Domain(NamedTuple):
    """AU scores and labels as they were given, and how errors call them."""

    aus: Any
    y: Any
    aus_name: str
    y_name: str


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
    @judged(**_COUNTING)
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
        ValueError, TypeError
            If there is no domain, no names of AUs, shapes do not fit, no face was
            found in one of the domains, or `threshold`, `quantile`, `labels` or `ax`
            are none.
        """
        wanted = "expected {'name': (AU scores, labels), ...}."
        if not isinstance(domains, Mapping):
            raise TypeError(f"domains is {type(domains).__name__}; {wanted}")
        if not domains:
            raise ValueError(f"domains is empty; {wanted}")
        given = {}
        for name, pair in domains.items():
            if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
                raise ValueError(f"domains has {type(pair).__name__} for {name!r}; {wanted}")
            called = f"domains: AUs of {name!r}", f"domains: labels of {name!r}"
            given[name] = _Domain(*pair, *called)
        return cls._count(given, au_names, threshold, quantile, labels).plot(ax=ax)

    @classmethod
    def _count(
        cls,
        domains: Mapping[str, _Domain],
        au_names: Sequence[str] | None,
        threshold: Literal["quantile"] | float | ArrayLike,
        quantile: float,
        labels: ArrayLike | None,
    ) -> AUDistributionDisplay:
        first, *_ = domains
        aus = domains[first].aus
        names = getattr(aus, "columns", None) if au_names is None else au_names
        if names is None:
            raise ValueError(
                "au_names is missing: the AU scores have no column names. Pass a list like "
                f"{['AU01', 'AU02']}, one name per column."
            )
        expected = [str(name) for name in names]
        tables, expressions = {}, {}
        for name, domain in domains.items():
            scores, columns = check_au_scores(domain.aus, name=domain.aus_name)
            expressions[name] = check_labels(domain.y, name=domain.y_name)
            check_rows(expressions[name], len(scores), name=domain.y_name, of=domain.aus_name)
            tables[name] = align_au_columns(
                scores,
                columns,
                expected,
                len(expected),
                name=domain.aus_name,
                reference="au_names",
            )
        if np.ndim(threshold) == 1 and np.shape(threshold) != (len(expected),):
            raise ValueError(
                f"threshold has shape {np.shape(threshold)}; expected one number per AU, of which "
                f"there are {len(expected)}, or a single number."
            )
        if np.ndim(threshold) == 0:
            threshold = fit_thresholds(
                tables[first],
                threshold=threshold,  # type: ignore[arg-type]
                quantile=quantile,
                au_names=expected,
            )
        with naming(" and ".join(domain.y_name for domain in domains.values())):
            classes = check_classes(labels, found=list(expressions.values()))
        counted = {
            name: au_frequencies(tables[name], y, threshold=threshold, labels=classes)
            for name, y in expressions.items()
        }
        return cls(counted, expected)

    @classmethod
    @judged(domain_names=_judge_domain_names, **_COUNTING)
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
        ValueError, TypeError
            As `from_domains`, or if only one of `au_tgt` and `y_tgt` is given, or
            `domain_names` are no two names.
        """
        _check_both_or_none(au_tgt=au_tgt, y_tgt=y_tgt)
        source, target = domain_names
        domains = {source: _Domain(au_src, y_src, "au_src", "y_src")}
        if au_tgt is not None and y_tgt is not None:
            if source == target:
                raise ValueError(f"domain_names must be two names; got {source!r} twice.")
            domains[target] = _Domain(au_tgt, y_tgt, "au_tgt", "y_tgt")
        return cls._count(domains, au_names, threshold, quantile, labels).plot(ax=ax)

    @classmethod
    @judged(extractor=[HasMethods(["score_faces", "transform"])])
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

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the extractor is not fitted.
        ValueError, TypeError
            If `extractor` cannot score pictures, `X_src` or `X_tgt` hold none, or as
            `from_predictions`.
        """
        with naming("extractor"):
            check_is_fitted(extractor)
        _check_both_or_none(X_tgt=X_tgt, y_tgt=y_tgt)
        # judged before anything is scored, by the names that the user knows
        given = {"src": (X_src, y_src)}
        if X_tgt is not None and y_tgt is not None:
            given["tgt"] = (X_tgt, y_tgt)
        labels = {}
        for domain, (X, y) in given.items():
            n_faces = len(check_faces(X, name=f"X_{domain}"))
            labels[domain] = check_labels(y, name=f"y_{domain}")
            check_rows(labels[domain], n_faces, name=f"y_{domain}", of=f"X_{domain}")
        scores = {domain: np.asarray(extractor.transform(X)) for domain, (X, _) in given.items()}
        as_codes = extractor.output == "codes"
        return cls.from_predictions(
            scores["src"],
            labels["src"],
            scores.get("tgt"),
            labels.get("tgt"),
            au_names=extractor.au_names_,
            threshold=0.5 if as_codes else extractor.thresholds_,
            **options,
        )

    @judged(ax=judge_ax)
    def plot(self, *, ax: Axes | None = None) -> AUDistributionDisplay:
        """Draw the bars: a row per expression.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        display : AUDistributionDisplay
            Itself.

        Raises
        ------
        TypeError
            If `ax` is none.
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
