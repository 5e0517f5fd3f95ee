"""Displays of predictions: the faces themselves, and how many are right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score, recall_score

from .._checks import check_labels, naming
from .._sklearn import judged
from ..faces import read_faces
from ._arguments import (
    N_COLUMNS,
    PREDICTOR,
    ask,
    check_as_many,
    check_classes,
    check_predictions,
    judge_ax,
    judge_estimators,
)
from ._style import BARS, INK, LINE, QUIET, RIGHT, WRONG, new_figure, show_names_as_they_are

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PredictionsDisplay", "RecallDisplay"]


class PredictionsDisplay:
    """Faces with their true label and what was predicted before and after adapting.

    It is best made by `from_predictions`.

    Parameters
    ----------
    images : ndarray of shape (n, H, W) or (n, H, W, 3), or list of such pictures
        uint8, or float in [0, 1].
    y_true, before, after : ndarray of shape (n,)
        True labels and both predictions.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    See Also
    --------
    RecallDisplay : How often each class is found.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.display import PredictionsDisplay
    >>> faces = np.zeros((2, 32, 32), dtype=np.uint8)
    >>> display = PredictionsDisplay.from_predictions(
    ...     faces, ["joy", "fear"], before=["fear", "fear"], after=["joy", "fear"]
    ... )
    >>> display.figure_.savefig("faces.png")  # doctest: +SKIP
    """

    def __init__(self, images: Sequence[NDArray], y_true: NDArray, before: NDArray, after: NDArray):
        self.images = images
        self.y_true = y_true
        self.before = before
        self.after = after

    @classmethod
    @judged(before=PREDICTOR, after=PREDICTOR, n_columns=N_COLUMNS, ax=judge_ax)
    def from_estimators(
        cls,
        before: Any,
        after: Any,
        X: Any,
        y_true: ArrayLike,
        *,
        n_columns: int | None = None,
        ax: Axes | None = None,
    ) -> PredictionsDisplay:
        """Predict by two estimators and draw the grid of faces.

        Parameters
        ----------
        before, after : estimator
            Fitted on faces, such as a source-only and an adapted classifier.
        X : array-like or sequence of paths
            Faces.
        y_true : array-like of shape (n,)
            True labels.
        n_columns, ax
            As in `from_predictions`.

        Returns
        -------
        display : PredictionsDisplay

        Raises
        ------
        ValueError, TypeError
            If `before` or `after` cannot predict, lengths differ, `X` holds no faces,
            or `y_true`, `n_columns` or `ax` are none.
        """
        truth = check_labels(y_true, name="y_true")
        check_as_many(truth, X, name="y_true", of="X")
        predictions = ask({"before": before, "after": after}, "predict", X)
        return cls.from_predictions(read_faces(X), truth, **predictions, n_columns=n_columns, ax=ax)

    @classmethod
    @judged(n_columns=N_COLUMNS, ax=judge_ax)
    def from_predictions(
        cls,
        images: ArrayLike | Sequence[NDArray],
        y_true: ArrayLike,
        before: ArrayLike,
        after: ArrayLike,
        *,
        n_columns: int | None = None,
        ax: Axes | None = None,
    ) -> PredictionsDisplay:
        """Draw the grid of faces.

        Parameters
        ----------
        images : array-like of shape (n, H, W) or (n, H, W, 3), or list of such pictures
            uint8, or float in [0, 1].
        y_true, before, after : array-like of shape (n,)
            True labels and both predictions.
        n_columns : int, optional
            Faces per row; by default so that the grid is somewhat wider than high.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default into a figure of its own.

        Returns
        -------
        display : PredictionsDisplay

        Raises
        ------
        ValueError, TypeError
            If lengths differ, there is no picture, one has another shape or no
            numbers, or labels, `n_columns` or `ax` are none.
        """
        with naming("images"):
            pictures = [np.asarray(image) for image in images]  # type: ignore[union-attr]
        if not pictures:
            raise ValueError("images is empty: got 0 pictures, expected at least 1.")
        given = {"y_true": y_true, "before": before, "after": after}
        columns = {name: check_labels(labels, name=name) for name, labels in given.items()}
        for name, labels in columns.items():
            check_as_many(labels, pictures, name=name, of="images")
        for picture in pictures:
            if picture.ndim not in (2, 3) or (picture.ndim == 3 and picture.shape[2] != 3):
                raise ValueError(
                    f"images must have shape (n, H, W) or (n, H, W, 3); got a picture of shape "
                    f"{picture.shape}. Use adafer.faces.read_faces, which converts other forms."
                )
            if picture.dtype.kind not in "buif" or not np.isfinite(picture).all():
                raise ValueError(
                    f"images must be uint8, or floats in [0, 1]; got {picture.dtype}, or numbers "
                    "that are not finite. Leave out the broken pictures."
                )
        return cls(pictures, **columns).plot(n_columns=n_columns, ax=ax)

    @judged(n_columns=N_COLUMNS, ax=judge_ax)
    def plot(self, *, n_columns: int | None = None, ax: Axes | None = None) -> PredictionsDisplay:
        """Draw the grid of faces.

        Parameters
        ----------
        n_columns : int, optional
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        display : PredictionsDisplay
            Itself.

        Raises
        ------
        ValueError, TypeError
            If `n_columns` or `ax` are none.
        """
        n_columns = n_columns or math.ceil(math.sqrt(1.9 * len(self.images)))
        n_columns = min(n_columns, len(self.images))
        n_rows = math.ceil(len(self.images) / n_columns)
        if ax is None:
            ax = new_figure(1.25 * n_columns + 0.2, 1.72 * n_rows + 0.3).subplots()
        for place, labels in enumerate(zip(self.y_true, self.before, self.after, strict=True)):
            row, column = divmod(place, n_columns)
            self._draw_face(ax, self.images[place], column * _CELL, row * _CELL_HEIGHT, *labels)
        ax.set_xlim(-0.06, n_columns * _CELL)
        ax.set_ylim(n_rows * _CELL_HEIGHT - 0.02, -0.22)
        ax.set_aspect("equal")
        ax.set_axis_off()
        show_names_as_they_are(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @staticmethod
    def _draw_face(
        ax: Axes, image: NDArray, x: float, y: float, truth: Any, before: Any, after: Any
    ) -> None:
        from matplotlib.patches import Rectangle

        grey: dict[str, Any] = {
            "cmap": "gray",
            "vmin": 0,
            "vmax": 255 if image.dtype == np.uint8 else 1,
        }
        ax.imshow(
            image,
            extent=(x, x + 1, y + 1, y),
            interpolation="bilinear",
            **(grey if image.ndim == 2 else {}),
        )
        colour = RIGHT if after == truth else WRONG
        ax.add_patch(Rectangle((x, y), 1, 1, fill=False, edgecolor=colour, linewidth=1.6))
        text: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8.2}
        ax.text(x + 0.5, y - 0.11, str(truth), color=INK, weight="bold", **text)
        for prediction, offset, lead in ((before, 1.13, ""), (after, 1.33, "→ ")):
            right = prediction == truth
            ax.text(
                x + 0.5,
                y + offset,
                f"{lead}{prediction} {'✓' if right else '✗'}",
                color=RIGHT if right else WRONG,
                **text,
            )


# cell of the grid, in sides of a face: room for three lines of text
_CELL, _CELL_HEIGHT = 1.12, 1.7


class RecallDisplay:
    """Bars of the accuracy and of the recall of each class, for several predictions.

    It is best made by `from_predictions`.

    Parameters
    ----------
    labels : ndarray of shape (n_classes,)
        Class names.
    recalls : dict of str -> ndarray of shape (n_classes,)
        Share of each class' samples that are found, by the name of the prediction.
    accuracies : dict of str -> float
        Share of all samples that are right.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Examples
    --------
    >>> from adafer.display import RecallDisplay
    >>> display = RecallDisplay.from_predictions(
    ...     ["joy", "joy", "fear"], {"before": ["joy", "fear", "fear"], "after": ["joy"] * 3}
    ... )
    >>> display.recalls["before"].tolist()  # fear, joy
    [1.0, 0.5]
    """

    def __init__(
        self, labels: NDArray, recalls: Mapping[str, NDArray], accuracies: Mapping[str, float]
    ):
        self.labels = labels
        self.recalls = recalls
        self.accuracies = accuracies

    @classmethod
    @judged(estimator=PREDICTOR, labels=check_classes, ax=judge_ax)
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y_true: ArrayLike,
        *,
        labels: ArrayLike | None = None,
        ax: Axes | None = None,
    ) -> RecallDisplay:
        """Predict by one estimator, count and draw.

        Parameters
        ----------
        estimator : estimator
            Fitted; the legend has the name of its class.
        X, y_true, labels, ax
            As in `from_estimators`.

        Returns
        -------
        display : RecallDisplay

        Raises
        ------
        ValueError, TypeError
            As `from_estimators`.
        """
        named = {type(estimator).__name__: estimator}
        return cls.from_estimators(named, X, y_true, labels=labels, ax=ax)

    @classmethod
    @judged(estimators=judge_estimators("predict"), labels=check_classes, ax=judge_ax)
    def from_estimators(
        cls,
        estimators: Mapping[str, Any],
        X: Any,
        y_true: ArrayLike,
        *,
        labels: ArrayLike | None = None,
        ax: Axes | None = None,
    ) -> RecallDisplay:
        """Predict, count and draw.

        Parameters
        ----------
        estimators : dict of str -> estimator
            One or more, fitted, each by a name for the legend.
        X : array-like or sequence of paths
            Faces or features, as the estimators take them.
        y_true : array-like of shape (n,)
        labels, ax
            As in `from_predictions`.

        Returns
        -------
        display : RecallDisplay

        Raises
        ------
        ValueError, TypeError
            If there is no estimator, one cannot predict, lengths differ, or `labels`
            or `ax` are none.
        """
        truth = check_labels(y_true, name="y_true")
        check_as_many(truth, X, name="y_true", of="X")
        predictions = ask(estimators, "predict", X)
        return cls.from_predictions(truth, predictions, labels=labels, ax=ax)

    @classmethod
    @judged(labels=check_classes, ax=judge_ax)
    def from_predictions(
        cls,
        y_true: ArrayLike,
        predictions: Mapping[str, ArrayLike],
        *,
        labels: ArrayLike | None = None,
        ax: Axes | None = None,
    ) -> RecallDisplay:
        """Count and draw.

        Parameters
        ----------
        y_true : array-like of shape (n,)
        predictions : dict of str -> array-like of shape (n,)
            One or more, each by a name for the legend.
        labels : array-like of shape (n_classes,), optional
            Classes in the order of the bars; by default those of `y_true`, sorted.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default into a figure of its own.

        Returns
        -------
        display : RecallDisplay

        Raises
        ------
        ValueError, TypeError
            If lengths differ, there is no prediction, labels are none or of another
            kind, or `ax` is none.
        """
        truth = check_labels(y_true, name="y_true")
        columns = check_predictions(predictions, truth)
        names = check_classes(labels, found=[truth])
        with naming("labels"):
            recalls = {
                name: recall_score(truth, predicted, labels=names, average=None, zero_division=0)
                for name, predicted in columns.items()
            }
        accuracies = {
            name: float(accuracy_score(truth, predicted)) for name, predicted in columns.items()
        }
        return cls(names, recalls, accuracies).plot(ax=ax)

    @judged(ax=judge_ax)
    def plot(self, *, ax: Axes | None = None) -> RecallDisplay:
        """Draw the bars.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        display : RecallDisplay
            Itself.

        Raises
        ------
        TypeError
            If `ax` is none.
        """
        n_groups, n_bars = len(self.labels) + 1, len(self.recalls)
        if ax is None:
            ax = new_figure(5.2, 0.32 * n_groups * max(n_bars, 2) * 0.75 + 1.0).subplots()
        # the accuracy stands apart, above the classes
        places = np.concatenate([[0], np.arange(1, n_groups) + 0.35])
        height = 0.8 / n_bars
        for number, (name, recalls) in enumerate(self.recalls.items()):
            values = np.concatenate([[self.accuracies[name]], recalls])
            at = places + (number - (n_bars - 1) / 2) * height
            bars = ax.barh(at, values, height * 0.92, label=name, color=BARS[number % len(BARS)])
            ax.bar_label(
                bars,
                [f"{100 * value:.0f}" for value in values],
                padding=3,
                fontsize=8,
                color=INK,
            )
        ax.set_yticks(places, ["accuracy", *(str(label) for label in self.labels)])
        ax.get_yticklabels()[0].set_fontweight("bold")
        ax.set_ylim(places[-1] + 0.6, -0.6)
        ax.set_xlim(0, 1.08)
        ax.set_xticks(np.linspace(0, 1, 6), [f"{100 * x:.0f}" for x in np.linspace(0, 1, 6)])
        ax.set_xlabel("accuracy and recall, %", color=QUIET, fontsize=9)
        ax.axhline((places[0] + places[1]) / 2, xmax=1 / 1.08, color=LINE, linewidth=0.8)
        ax.grid(axis="x", color=LINE, linewidth=0.8)
        ax.set_axisbelow(True)
        ax.tick_params(length=0, labelsize=9, labelcolor=INK)
        ax.spines[:].set_visible(False)
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=n_bars, frameon=False, fontsize=9)
        show_names_as_they_are(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self
