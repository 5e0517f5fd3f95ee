"""What features look like before and after adapting: a map by t-SNE."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.manifold import TSNE
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_array

from .._checks import check_labels, naming
from .._sklearn import Interval, judged
from ..target import unwrap_target
from ._arguments import (
    ask,
    check_as_many,
    check_samples,
    judge_estimators,
    judge_panels,
    judge_subsample,
)
from ._panels import distinct_colours, panel_axes
from ._samples import draw_rows, take_rows
from ._style import INK, LINE, QUIET, show_names_as_they_are

if TYPE_CHECKING:
    from ._panels import Panels

__all__ = ["FeaturesDisplay", "embed"]

_ADVICE = ", which gives features. Compute features yourself and use from_features."
_COMMON: dict[str, Any] = {
    "subsample": judge_subsample,
    "perplexity": [Interval(Real, 0, None, closed="neither")],
    "random_state": ["random_state"],
    "ax": judge_panels,
}


class FeaturesDisplay:
    """Maps of source and target features by t-SNE, method beside method.

    Points are coloured by class; circles are source samples, triangles target
    samples. Where adapting worked, triangles lie among the circles of their
    class. It is best made by `from_estimators` or `from_features`.

    Parameters
    ----------
    embeddings : dict of str -> tuple of two ndarrays of shape (n, 2)
        Places of the source and target samples, by the name of the panel.
    y_src : ndarray of shape (n_source,)
        Labels of the source.
    y_tgt : ndarray of shape (n_target,), optional
        Labels of the target; without them its samples have no colour.

    Attributes
    ----------
    axes_ : ndarray of matplotlib.axes.Axes of shape (n_panels,)
    figure_ : matplotlib.figure.Figure

    Notes
    -----
    t-SNE keeps neighbours together. Distances between groups, their sizes, and
    places in different panels cannot be compared. Source and target of one
    panel are embedded together; all panels show the same samples.

    References
    ----------
    AdaFER, Figure 8.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.display import FeaturesDisplay
    >>> rng = np.random.default_rng(0)
    >>> y = np.array(["fear", "joy"] * 15)
    >>> before = rng.normal(size=(30, 5)) + 4 * (y == "joy")[:, None]
    >>> display = FeaturesDisplay.from_features(
    ...     {"source only": (before, before + 5), "adapted": (before, before)}, y, y
    ... )
    >>> display.embeddings["adapted"][1].shape
    (30, 2)
    """

    def __init__(
        self,
        embeddings: Mapping[str, tuple[NDArray, NDArray]],
        y_src: NDArray,
        y_tgt: NDArray | None = None,
    ):
        self.embeddings = embeddings
        self.y_src = y_src
        self.y_tgt = y_tgt

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X_src: Any,
        y_src: ArrayLike,
        X_tgt: Any,
        y_tgt: ArrayLike | None = None,
        **options: Any,
    ) -> FeaturesDisplay:
        """Draw one panel, named by the estimator's class.

        Parameters
        ----------
        estimator : estimator
            Fitted, with `transform`.
        X_src, y_src, X_tgt, y_tgt
            As in `from_estimators`.
        **options
            `subsample`, `perplexity`, `random_state` and `ax` of `from_estimators`.

        Returns
        -------
        display : FeaturesDisplay

        Raises
        ------
        ValueError, TypeError
            As `from_estimators`.
        """
        named = {type(estimator).__name__: estimator}
        return cls.from_estimators(named, X_src, y_src, X_tgt, y_tgt, **options)

    @classmethod
    @judged(estimators=judge_estimators("transform", _ADVICE), **_COMMON)
    def from_estimators(
        cls,
        estimators: Mapping[str, Any],
        X_src: Any,
        y_src: ArrayLike,
        X_tgt: Any,
        y_tgt: ArrayLike | None = None,
        *,
        subsample: int | None = 400,
        perplexity: float = 30.0,
        random_state: int | np.random.RandomState | None = 0,
        ax: Panels | None = None,
    ) -> FeaturesDisplay:
        """Compute features by `transform`, embed and draw them.

        Parameters
        ----------
        estimators : dict of str -> estimator
            One or more, fitted, by the name of the panel.
        X_src, X_tgt : array-like or sequence of paths
            Faces or features, as the estimators take them.
        y_src : array-like of shape (n_source,)
            Labels of the source.
        y_tgt : array-like of shape (n_target,), optional
            True labels of the target, or predictions. Used for colours only.
        subsample : int or None, default=400
            At most this many samples of each domain, drawn at random before
            features are computed; None takes all.
        perplexity : float, default=30.0
            Of t-SNE; at most a third of the samples.
        random_state : int, RandomState instance or None, default=0
        ax : matplotlib.axes.Axes or one per panel, optional
            Where to draw; by default into a figure of its own.

        Returns
        -------
        display : FeaturesDisplay

        Raises
        ------
        ValueError, TypeError
            If there is no estimator, one has no `transform`, lengths differ, or
            `subsample`, `perplexity`, `random_state` or `ax` are none.
        """
        X_tgt = unwrap_target(X_tgt)
        for name, data in (("X_src", X_src), ("X_tgt", X_tgt)):
            check_samples(data, name=name)
        drawn = _Drawn(X_src, y_src, X_tgt, y_tgt, subsample, random_state)
        source, target = take_rows(X_src, drawn.rows_src), take_rows(X_tgt, drawn.rows_tgt)
        of_source = ask(estimators, "transform", source, name="X_src")
        of_target = ask(estimators, "transform", target, name="X_tgt")
        features = {name: (of_source[name], of_target[name]) for name in estimators}
        with naming("estimators"):
            embeddings = _embed_all(features, perplexity, random_state)
        return cls(embeddings, drawn.y_src, drawn.y_tgt).plot(ax=ax)

    @classmethod
    @judged(**_COMMON)
    def from_features(
        cls,
        features: Mapping[str, tuple[ArrayLike, ArrayLike]],
        y_src: ArrayLike,
        y_tgt: ArrayLike | None = None,
        *,
        subsample: int | None = 400,
        perplexity: float = 30.0,
        random_state: int | np.random.RandomState | None = 0,
        ax: Panels | None = None,
    ) -> FeaturesDisplay:
        """Embed and draw features that are at hand.

        Parameters
        ----------
        features : dict of str -> tuple of two array-likes of shape (n, n_features)
            Features of source and target, by the name of the panel. The numbers
            of features may differ, the samples must not.
        y_src, y_tgt, subsample, perplexity, random_state, ax
            As in `from_estimators`.

        Returns
        -------
        display : FeaturesDisplay

        Raises
        ------
        ValueError, TypeError
            If there are no features, lengths differ, features are of fewer than two
            columns or all equal, or `subsample`, `perplexity`, `random_state` or `ax`
            are none.
        """
        checked = _check_features(features)
        source, target = next(iter(checked.values()))
        names = ("features", "features")
        drawn = _Drawn(source, y_src, target, y_tgt, subsample, random_state, names)
        shown = {name: (a[drawn.rows_src], b[drawn.rows_tgt]) for name, (a, b) in checked.items()}
        with naming("features"):
            embeddings = _embed_all(shown, perplexity, random_state)
        return cls(embeddings, drawn.y_src, drawn.y_tgt).plot(ax=ax)

    @judged(ax=judge_panels)
    def plot(self, *, ax: Panels | None = None) -> FeaturesDisplay:
        """Draw the maps, a panel per method.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or one per panel, optional
            One axes is divided among the panels.

        Returns
        -------
        display : FeaturesDisplay
            Itself.

        Raises
        ------
        ValueError, TypeError
            If `ax` is none or does not fit.
        """
        known = [self.y_src] if self.y_tgt is None else [self.y_src, self.y_tgt]
        labels = unique_labels(*known)
        colours = np.array(distinct_colours(len(labels)))
        of_source = colours[np.searchsorted(labels, self.y_src)]
        axes = panel_axes(ax, len(self.embeddings), width=4.4, height=4.2, n_columns=3)
        for panel, (name, (source, target)) in zip(axes, self.embeddings.items(), strict=True):
            panel.scatter(*source.T, c=of_source, s=15, alpha=0.55, linewidths=0)
            style: dict[str, Any] = {"marker": "^", "s": 26, "linewidths": 0.6}
            if self.y_tgt is None:
                style |= {"facecolors": "none", "edgecolors": QUIET}
            else:
                of_target = colours[np.searchsorted(labels, self.y_tgt)]
                style |= {"c": of_target, "edgecolors": INK, "alpha": 0.9}
            panel.scatter(*target.T, **style)
            panel.set_title(name, fontsize=11, color=INK)
            panel.set_xticks([])
            panel.set_yticks([])
            panel.set_box_aspect(1)
            panel.spines[:].set_color(LINE)
        axes[-1].legend(
            handles=self._legend(labels, colours),
            loc="center left",
            bbox_to_anchor=(1.02, 0.5),
            frameon=False,
            fontsize=9,
        )
        show_names_as_they_are(*axes)
        self.axes_, self.figure_ = axes, axes[0].figure
        return self

    def _legend(self, labels: NDArray, colours: NDArray) -> list[Any]:
        from matplotlib.lines import Line2D

        def entry(label: str, colour: str, marker: str, edge: str) -> Line2D:
            return Line2D([], [], linestyle="", marker=marker, color=colour, label=label,
                          markeredgecolor=edge, markersize=6)  # fmt: skip

        entries = [
            entry(str(label), colour, "s", colour)
            for label, colour in zip(labels, colours, strict=True)
        ]
        unlabelled = "" if self.y_tgt is not None else ", not labelled"
        return [
            *entries,
            entry("source", QUIET, "o", QUIET),
            entry(f"target{unlabelled}", "none" if unlabelled else QUIET, "^",
                  QUIET if unlabelled else INK),
        ]  # fmt: skip


def _check_features(features: Any) -> dict[str, tuple[NDArray, NDArray]]:
    """Judge features that the user computed: those of all panels are of the same samples."""
    wanted = "expected {'name': (source, target), ...}."
    if not isinstance(features, Mapping):
        raise TypeError(f"features is {type(features).__name__}; {wanted}")
    if not features:
        raise ValueError(f"features is empty; {wanted}")
    with naming("features"):
        checked = {}
        for name, pair in features.items():
            source, target = pair
            checked[name] = (
                check_array(source, input_name=f"source of {name!r}"),
                check_array(target, input_name=f"target of {name!r}"),
            )
        source, target = next(iter(checked.values()))
        for name, pair in checked.items():
            if [len(part) for part in pair] != [len(source), len(target)]:
                raise ValueError(
                    f"{name!r} has {len(pair[0])} source and {len(pair[1])} target samples, "
                    f"but {next(iter(checked))!r} has {len(source)} and {len(target)}. Give the "
                    "same samples in each panel."
                )
    return checked


class _Drawn:
    """Rows of both domains and their labels, with lengths judged first."""

    def __init__(
        self,
        X_src: Any,
        y_src: ArrayLike,
        X_tgt: Any,
        y_tgt: ArrayLike | None,
        subsample: int | None,
        random_state: int | np.random.RandomState | None,
        names: tuple[str, str] = ("X_src", "X_tgt"),
    ):
        truth = check_labels(y_src, name="y_src")
        check_as_many(truth, X_src, name="y_src", of=names[0])
        self.rows_src = draw_rows(len(X_src), subsample, random_state)
        self.rows_tgt = draw_rows(len(X_tgt), subsample, random_state)
        self.y_src = truth[self.rows_src]
        self.y_tgt = None
        if y_tgt is not None:
            of_target = check_labels(y_tgt, name="y_tgt")
            check_as_many(of_target, X_tgt, name="y_tgt", of=names[1])
            with naming("y_tgt"):
                unique_labels(truth, of_target)
            self.y_tgt = of_target[self.rows_tgt]


def _embed_all(
    features: Mapping[str, tuple[NDArray, NDArray]],
    perplexity: float,
    random_state: int | np.random.RandomState | None,
) -> dict[str, tuple[NDArray, NDArray]]:
    """Embed source and target of each panel together; what cannot be embedded fails first."""
    stacked = {}
    for name, (source, target) in features.items():
        if source.shape[1] != target.shape[1]:
            raise ValueError(
                f"Source and target of {name!r} have {source.shape[1]} and {target.shape[1]} "
                "features. Both must come from one method."
            )
        both = np.concatenate([source, target]).astype(np.float64)
        if both.shape[1] < 2 or len(both) < 4 or not np.ptp(both, axis=0).any():
            raise ValueError(
                f"Features of {name!r} cannot be drawn: got shape {both.shape}; expected at "
                "least 4 samples of 2 features, not all equal."
            )
        stacked[name] = (both, len(source))
    embeddings = {}
    for name, (both, n_source) in stacked.items():
        places = embed(both, perplexity=perplexity, random_state=random_state)
        embeddings[name] = (places[:n_source], places[n_source:])
    return embeddings


def embed(
    features: NDArray,
    *,
    perplexity: float = 30.0,
    random_state: int | np.random.RandomState | None = 0,
) -> NDArray:
    """Place samples in the plane by t-SNE.

    Parameters
    ----------
    features : ndarray of shape (n, n_features)
        At least 4 samples of 2 features, not all equal.
    perplexity : float, default=30.0
        At most a third of the samples.
    random_state : int, RandomState instance or None, default=0

    Returns
    -------
    places : ndarray of float32 of shape (n, 2)
    """
    tsne = TSNE(
        init="pca",
        perplexity=min(perplexity, (len(features) - 1) / 3),
        random_state=random_state,
    )
    return tsne.fit_transform(features.astype(np.float64))
