"""Confusion matrices of several methods on one scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

from .._checks import check_labels, naming
from .._sklearn import StrOptions, judged
from ._arguments import (
    PREDICTOR,
    ask,
    check_as_many,
    check_classes,
    check_predictions,
    judge_estimators,
    judge_panels,
)
from ._panels import panel_axes, plain_axes
from ._style import INK, QUIET, show_names_as_they_are

if TYPE_CHECKING:
    from ._panels import Panels

__all__ = ["ConfusionDisplay"]

# luminance of the cells on which white and dark text contrast equally, by WCAG 2
_MIDDLE = 0.216
_NORMALIZE = [None, StrOptions({"true", "pred", "all"})]


def _judge_cmap(cmap: Any) -> None:
    from matplotlib import colormaps

    colormaps.get_cmap(cmap)


class ConfusionDisplay:
    """Confusion matrices of several methods side by side, on one colour scale.

    Each is a `sklearn.metrics.ConfusionMatrixDisplay`. It is best made by
    `from_estimators` or `from_predictions`.

    Parameters
    ----------
    matrices : dict of str -> ndarray of shape (n_classes, n_classes)
        Rows are true classes, columns predicted ones; by the name of the panel.
    labels : ndarray of shape (n_classes,)
        Class names.

    Attributes
    ----------
    displays_ : dict of str -> sklearn.metrics.ConfusionMatrixDisplay
    axes_ : ndarray of matplotlib.axes.Axes of shape (n_panels,)
    figure_ : matplotlib.figure.Figure

    Examples
    --------
    >>> from adafer.display import ConfusionDisplay
    >>> display = ConfusionDisplay.from_predictions(
    ...     ["joy", "joy", "fear"], {"before": ["joy", "fear", "fear"], "after": ["joy"] * 3}
    ... )
    >>> display.matrices["before"]
    array([[1. , 0. ],
           [0.5, 0.5]])
    """

    def __init__(self, matrices: Mapping[str, NDArray], labels: NDArray):
        self.matrices = matrices
        self.labels = labels

    @classmethod
    @judged(estimator=PREDICTOR, labels=check_classes, normalize=_NORMALIZE, ax=judge_panels)
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        labels: ArrayLike | None = None,
        normalize: Literal["true", "pred", "all"] | None = "true",
        ax: Panels | None = None,
    ) -> ConfusionDisplay:
        """Draw one matrix, named by the estimator's class.

        Parameters
        ----------
        estimator : estimator
            Fitted.
        X, y, labels, normalize, ax
            As in `from_estimators`.

        Returns
        -------
        display : ConfusionDisplay

        Raises
        ------
        ValueError, TypeError
            As `from_estimators`.
        """
        named = {type(estimator).__name__: estimator}
        return cls.from_estimators(named, X, y, labels=labels, normalize=normalize, ax=ax)

    @classmethod
    @judged(
        estimators=judge_estimators("predict"),
        labels=check_classes,
        normalize=_NORMALIZE,
        ax=judge_panels,
    )
    def from_estimators(
        cls,
        estimators: Mapping[str, Any],
        X: Any,
        y: ArrayLike,
        *,
        labels: ArrayLike | None = None,
        normalize: Literal["true", "pred", "all"] | None = "true",
        ax: Panels | None = None,
    ) -> ConfusionDisplay:
        """Predict, count and draw.

        Parameters
        ----------
        estimators : dict of str -> estimator
            One or more, fitted, by the name of the panel.
        X : array-like or sequence of paths
            Faces or features, as the estimators take them.
        y : array-like of shape (n,)
            True labels.
        labels, normalize, ax
            As in `from_predictions`.

        Returns
        -------
        display : ConfusionDisplay

        Raises
        ------
        ValueError, TypeError
            If there is no estimator, one cannot predict, lengths differ, or `labels`,
            `normalize` or `ax` are none.
        """
        truth = check_labels(y)
        check_as_many(truth, X, name="y", of="X")
        predictions = ask(estimators, "predict", X)
        return cls.from_predictions(truth, predictions, labels=labels, normalize=normalize, ax=ax)

    @classmethod
    @judged(labels=check_classes, normalize=_NORMALIZE, ax=judge_panels)
    def from_predictions(
        cls,
        y_true: ArrayLike,
        predictions: Mapping[str, ArrayLike],
        *,
        labels: ArrayLike | None = None,
        normalize: Literal["true", "pred", "all"] | None = "true",
        ax: Panels | None = None,
    ) -> ConfusionDisplay:
        """Count and draw.

        Parameters
        ----------
        y_true : array-like of shape (n,)
            True labels.
        predictions : dict of str -> array-like of shape (n,)
            One or more, by the name of the panel.
        labels : array-like of shape (n_classes,), optional
            Classes in the order of rows and columns; by default all that occur,
            sorted.
        normalize : {"true", "pred", "all"} or None, default="true"
            As in `sklearn.metrics.confusion_matrix`: by default rows are shares
            of the true class, so that the diagonal holds recalls. None counts.
        ax : matplotlib.axes.Axes or one per panel, optional
            Where to draw; by default into a figure of its own.

        Returns
        -------
        display : ConfusionDisplay

        Raises
        ------
        ValueError, TypeError
            If there is no prediction, lengths differ, labels are none or of another
            kind, or `normalize` or `ax` are none.
        """
        truth = check_labels(y_true, name="y_true")
        columns = check_predictions(predictions, truth)
        names = check_classes(labels, found=[truth, *columns.values()])
        with naming("labels"):
            matrices = {
                name: confusion_matrix(truth, predicted, labels=names, normalize=normalize)
                for name, predicted in columns.items()
            }
        return cls(matrices, names).plot(ax=ax)

    @judged(cmap=_judge_cmap, ax=judge_panels)
    def plot(self, *, cmap: str = "Blues", ax: Panels | None = None) -> ConfusionDisplay:
        """Draw the matrices, a panel per method.

        Parameters
        ----------
        cmap : str, default="Blues"
            Colour map of matplotlib; one whose lightness rises or falls evenly
            can be read by everyone.
        ax : matplotlib.axes.Axes or one per panel, optional
            One axes is divided among the panels.

        Returns
        -------
        display : ConfusionDisplay
            Itself.

        Raises
        ------
        ValueError, TypeError
            If there is no such colour map, or `ax` is none or does not fit.
        """
        n_classes = len(self.labels)
        are_shares = all(matrix.dtype.kind == "f" for matrix in self.matrices.values())
        top = 1.0 if are_shares else max(matrix.max() for matrix in self.matrices.values())
        side = 0.42 * n_classes + 1.4
        axes = panel_axes(ax, len(self.matrices), width=side, height=side, n_columns=3)
        self.displays_ = {}
        for number, (name, matrix) in enumerate(self.matrices.items()):
            shown = ConfusionMatrixDisplay(matrix, display_labels=self.labels).plot(
                ax=axes[number],
                cmap=cmap,
                colorbar=False,
                values_format=".2f" if are_shares else "d",
                im_kw={"vmin": 0, "vmax": top},
                text_kw={"fontsize": 8},
            )
            # text was made readable on the scale of its own matrix, not on the common one
            cells = _luminance(shown.im_.to_rgba(matrix))
            for text, luminance in zip(shown.text_.ravel(), cells.ravel(), strict=True):
                text.set_color(INK if luminance > _MIDDLE else "white")
            panel = shown.ax_
            plain_axes(panel, grid="both")
            panel.grid(visible=False)
            panel.set_title(name, fontsize=11, color=INK)
            panel.set_xticks(
                np.arange(n_classes), [str(label) for label in self.labels], rotation=45,
                ha="right", rotation_mode="anchor",
            )  # fmt: skip
            panel.set_xlabel("predicted", fontsize=9, color=QUIET)
            panel.set_ylabel("true", fontsize=9, color=QUIET)
            self.displays_[name] = shown
        show_names_as_they_are(*axes)
        self.axes_, self.figure_ = axes, axes[0].figure
        bar = self.figure_.colorbar(shown.im_, ax=list(axes), shrink=0.7, pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0, labelsize=8, labelcolor=QUIET)
        return self


def _luminance(rgba: NDArray) -> NDArray:
    """Relative luminance of sRGB colours, the last axis, as WCAG 2 defines it."""
    rgb = rgba[..., :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])
