"""How many target faces found a source face with the same action units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import unique_labels

from .._checks import check_labels
from .._sklearn import judged
from ..inheritance import TargetAnnotation, match_count_bins
from ..target import unwrap_target
from ._arguments import (
    ask,
    check_as_many,
    check_classes,
    check_samples,
    judge_panels,
)
from ._panels import panel_axes, plain_axes
from ._samples import labelled_rows, last_step, take_rows
from ._style import BARS, INK, LINE, QUIET, show_names_as_they_are

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ._panels import Panels

__all__ = ["CoverageDisplay"]


class CoverageDisplay:
    """Share of target faces with a match, per class, and a histogram of match counts.

    A target face has a match if at least one source face shows the same action
    units. It is best made by `from_estimator` or `from_annotation`.

    Parameters
    ----------
    annotation : TargetAnnotation
        What `AUGuidedAnnotator.annotate` gives.
    y : ndarray of shape (n_targets,), optional
        True or predicted classes.
    labels : ndarray of shape (n_classes,), optional
        Classes from top to bottom; by default all of `y`, sorted.
    kind : {"true", "predicted"}, default="true"
        What `y` is, for the axis.

    Attributes
    ----------
    labels : ndarray of shape (n_classes,)
        Empty without `y`, and so are the next three.
    counts : ndarray of int64 of shape (n_classes,)
        Target faces of each class.
    coverage : ndarray of float64 of shape (n_classes,)
        Share of them that have a match; NaN where the class has no face.
    labelled_share : ndarray of float64 of shape (n_classes,)
        Share of them that have a label, by a match or in another way.
    axes_ : ndarray of matplotlib.axes.Axes of shape (2,)
        Shares, and histogram.
    figure_ : matplotlib.figure.Figure

    Notes
    -----
    Pictures in which no face was found have no match and are counted; files
    that could not be read are not.

    See Also
    --------
    PseudoLabelsDisplay : The labels themselves.

    References
    ----------
    AdaFER, section 3.3.

    Examples
    --------
    >>> from adafer import AUGuidedAnnotator
    >>> from adafer.display import CoverageDisplay
    >>> annotator = AUGuidedAnnotator(threshold=0.5)
    >>> annotator.fit([[1, 0], [0, 1], [1, 0]], ["joy", "fear", "joy"])
    AUGuidedAnnotator(threshold=0.5)
    >>> annotation = annotator.annotate([[1, 0], [0, 1], [1, 1]])
    >>> display = CoverageDisplay.from_annotation(annotation, ["joy", "fear", "fear"])
    >>> dict(zip(display.labels.tolist(), display.coverage.tolist()))
    {'fear': 0.5, 'joy': 1.0}
    """

    def __init__(
        self,
        annotation: TargetAnnotation,
        y: NDArray | None = None,
        *,
        labels: NDArray | None = None,
        kind: Literal["true", "predicted"] = "true",
    ):
        self.annotation = annotation
        self.y = y
        self.kind = kind
        if labels is None:
            labels = np.array([]) if y is None else unique_labels(y)
        self.labels = labels
        of_class = [] if y is None else [y == label for label in labels]
        self.counts = np.array([rows.sum() for rows in of_class], dtype=np.int64)
        self.coverage, self.labelled_share = (
            np.array([known[rows].mean() if rows.any() else np.nan for rows in of_class])
            for known in (annotation.match_counts > 0, annotation.weights > 0)
        )

    @classmethod
    @judged(labels=check_classes, ax=judge_panels)
    def from_estimator(
        cls,
        estimator: Any,
        X_tgt: Any = None,
        y_tgt: ArrayLike | None = None,
        *,
        labels: ArrayLike | None = None,
        ax: Panels | None = None,
    ) -> CoverageDisplay:
        """Draw how the target of a classifier's `fit` was covered.

        Parameters
        ----------
        estimator : AdaFERClassifier
            Fitted with target faces; alone, or the last step of a Pipeline, or
            the best one of a search.
        X_tgt : array-like or sequence of paths, optional
            The target of `fit`: the same faces in the same order. Without
            `y_tgt` their classes are predicted.
        y_tgt : array-like of shape (n_targets,), optional
            True labels of the target of `fit`. Without either, all faces are
            counted together.
        labels, ax
            As in `from_annotation`.

        Returns
        -------
        display : CoverageDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError, TypeError
            If it was fitted without target, `X_tgt` or `y_tgt` are of another target,
            or `labels` or `ax` are none.
        """
        classifier = last_step(estimator, "annotation_")
        annotation = classifier.annotation_
        X_tgt = unwrap_target(X_tgt)
        y, kind = None, "true"
        if X_tgt is not None:
            check_samples(X_tgt, name="X_tgt")
            rows = labelled_rows(classifier, len(annotation), len(X_tgt), "X_tgt")
            if y_tgt is None:
                shown = take_rows(X_tgt, rows)
                answers = ask({"": estimator}, "predict", shown, name="X_tgt")
                y, kind = answers[""], "predicted"
        if y_tgt is not None:
            truth = check_labels(y_tgt, name="y_tgt")
            y = truth[labelled_rows(classifier, len(annotation), len(truth), "y_tgt")]
        return cls.from_annotation(annotation, y, kind=kind, labels=labels, ax=ax)  # type: ignore[arg-type]

    @classmethod
    @judged(annotation=[TargetAnnotation], labels=check_classes, ax=judge_panels)
    def from_annotation(
        cls,
        annotation: TargetAnnotation,
        y: ArrayLike | None = None,
        *,
        kind: Literal["true", "predicted"] = "true",
        labels: ArrayLike | None = None,
        ax: Panels | None = None,
    ) -> CoverageDisplay:
        """Count and draw.

        Parameters
        ----------
        annotation : TargetAnnotation
            What `AUGuidedAnnotator.annotate` gives, or ``annotation_`` of a
            classifier.
        y : array-like of shape (n_targets,), optional
            Classes of the target faces.
        kind : {"true", "predicted"}, default="true"
            What `y` is, for the axis.
        labels : array-like of shape (n_classes,), optional
            Classes from top to bottom; by default all of `y`, sorted.
        ax : matplotlib.axes.Axes or two of them, optional
            Where to draw; by default into a figure of its own.

        Returns
        -------
        display : CoverageDisplay

        Raises
        ------
        ValueError, TypeError
            If `annotation` is none, lengths differ, `kind` is another word, `labels`
            come without `y`, or `ax` is none.
        """
        if not isinstance(kind, str) or kind not in ("true", "predicted"):
            raise ValueError(f"kind must be 'true' or 'predicted'; got {kind!r}.")
        if y is None and labels is not None:
            raise ValueError("labels is given but y is not. Give the classes of the faces as y.")
        classes = None
        if y is not None:
            classes = check_labels(y)
            check_as_many(classes, annotation.match_counts, name="y", of="annotation")
        order = None if labels is None else check_classes(labels)
        return cls(annotation, classes, labels=order, kind=kind).plot(ax=ax)

    @judged(ax=judge_panels)
    def plot(self, *, ax: Panels | None = None) -> CoverageDisplay:
        """Draw shares at the left and the histogram at the right.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or two of them, optional
            One axes is divided among both.

        Returns
        -------
        display : CoverageDisplay
            Itself.

        Raises
        ------
        ValueError, TypeError
            If `ax` is none or does not fit.
        """
        edges, bins = match_count_bins(self.annotation.match_counts)
        n_rows = max(len(self.labels) + 1, len(bins))
        axes = panel_axes(ax, 2, width=4.8, height=0.3 * n_rows + 1.3, width_ratios=(1.25, 1))
        self._draw_shares(axes[0])
        self._draw_histogram(axes[1], edges, bins)
        show_names_as_they_are(*axes)
        self.axes_, self.figure_ = axes, axes[0].figure
        return self

    def _draw_shares(self, ax: Axes) -> None:
        covered = 100 * np.array([self.annotation.coverage, *self.coverage])
        labelled = 100 * np.array([self.annotation.labelled_share, *self.labelled_share])
        counts = [len(self.annotation), *self.counts]
        # the share of all stands apart, above the classes
        places = np.concatenate([[0], np.arange(1, len(counts)) + 0.35])
        others = np.nansum(labelled - covered) > 0
        ax.barh(places, covered, 0.7, color=BARS[1], label="same AUs as a source face")
        if others:
            ax.barh(places, labelled - covered, 0.7, left=covered, color=BARS[2],
                    label="labelled in another way")  # fmt: skip
        for place, share, end, count in zip(places, covered, labelled, counts, strict=True):
            more = f" + {end - share:.0f}" if others else ""
            text = "no face" if np.isnan(share) else f"{share:.0f}{more} % of {count}"
            ax.annotate(text, (0 if np.isnan(end) else end, place), xytext=(4, 0),
                        textcoords="offset points", va="center", fontsize=8, color=INK)  # fmt: skip
        ax.set_yticks(places, ["all faces", *(str(label) for label in self.labels)])
        ax.get_yticklabels()[0].set_fontweight("bold")
        ax.set_ylim(max(places[-1], 3) + 0.6, -0.6)
        ax.set_xlim(0, 140)
        ax.set_xticks(range(0, 101, 20))
        ax.set_xlabel("share of the target faces, %", color=QUIET, fontsize=9)
        if len(self.labels):
            ax.set_ylabel(f"{self.kind} class", color=QUIET, fontsize=9)
            ax.axhline(0.675, xmax=100 / 140, color=LINE, linewidth=0.8)
        plain_axes(ax, grid="x")
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9,
                  columnspacing=1.0)  # fmt: skip

    def _draw_histogram(self, ax: Axes, edges: NDArray, bins: list[str]) -> None:
        faces = np.histogram(self.annotation.match_counts, edges)[0]
        places = np.arange(len(bins))
        bars = ax.barh(places, faces, 0.7, color=[BARS[0]] + [BARS[1]] * (len(bins) - 1))
        ax.bar_label(bars, padding=3, fontsize=8, color=INK)
        ax.set_yticks(places, bins)
        ax.set_ylim(len(bins) - 0.4, -0.6)
        ax.set_xlim(0, 1.18 * faces.max())
        ax.set_ylabel("source faces with the same AUs", color=QUIET, fontsize=9)
        ax.set_xlabel("number of target faces", color=QUIET, fontsize=9)
        plain_axes(ax, grid="x")
