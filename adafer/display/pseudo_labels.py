"""Target faces with the labels that they inherited."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import check_labels, check_matrix
from .._sklearn import judged
from ..faces import Picture, read_faces
from ..target import unwrap_target
from ._arguments import N_COLUMNS, check_as_many, check_samples, judge_ax, judge_subsample
from ._samples import draw_rows, labelled_rows, last_step, take_rows
from ._style import BARS, INK, LINE, QUIET, RIGHT, WRONG, new_figure, show_names_as_they_are

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PseudoLabelsDisplay"]

# in sides of a face: cell of the grid, heights of a line of text and of the line on top
_CELL, _ROW, _TOP = 1.14, 0.19, 0.24
# longer names of classes are cut, so that the probability fits beside them
_MAX_NAME = 12


def _judge_n_top(n_top: Any) -> None:
    if not isinstance(n_top, Integral) or n_top < 1:
        raise ValueError(f"n_top must be at least 1; got {n_top!r}.")


class PseudoLabelsDisplay:
    """Target faces, the most probable classes of their inherited labels under each.

    It is best made by `from_estimator` or `from_predictions`.

    Parameters
    ----------
    images : sequence of ndarray of uint8 of shape (H, W, 3)
        Target faces.
    label_distribution : ndarray of float64 of shape (n, n_classes)
        Probabilities; rows of zeros where a face has no label.
    classes : ndarray of shape (n_classes,)
        Class names, in the order of the columns.
    y_true : ndarray of shape (n,), optional
        True labels, to be written above.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    See Also
    --------
    CoverageDisplay : How many target faces got a label at all.

    References
    ----------
    AdaFER, section 3.3 and Figure 4.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.display import PseudoLabelsDisplay
    >>> faces = np.zeros((2, 32, 32), dtype=np.uint8)
    >>> display = PseudoLabelsDisplay.from_predictions(
    ...     faces, [[0.7, 0.2, 0.1], [0, 0, 0]], ["anger", "fear", "joy"]
    ... )
    >>> [text.get_text() for text in display.ax_.texts]
    ['anger', '70 %', 'fear', '20 %', 'joy', '10 %', 'no label']
    """

    def __init__(
        self,
        images: Sequence[Picture] | Picture,
        label_distribution: NDArray,
        classes: NDArray,
        y_true: NDArray | None = None,
    ):
        self.images = images
        self.label_distribution = label_distribution
        self.classes = classes
        self.y_true = y_true

    @classmethod
    @judged(
        subsample=judge_subsample,
        random_state=["random_state"],
        n_top=_judge_n_top,
        n_columns=N_COLUMNS,
        ax=judge_ax,
    )
    def from_estimator(
        cls,
        estimator: Any,
        X_tgt: Any,
        y_tgt: ArrayLike | None = None,
        *,
        subsample: int | None = 12,
        random_state: int | np.random.RandomState | None = 0,
        n_top: int = 3,
        n_columns: int | None = None,
        ax: Axes | None = None,
    ) -> PseudoLabelsDisplay:
        """Draw faces of the target with the labels that a classifier gave them in `fit`.

        Parameters
        ----------
        estimator : AdaFERClassifier, or another with `target_labels_`
            Fitted with target faces; alone, or the last step of a Pipeline, or
            the best one of a search.
        X_tgt : array-like or sequence of paths
            The target of `fit`: the same faces in the same order.
        y_tgt : array-like of shape (n_targets,), optional
            True labels, to be written above.
        subsample : int or None, default=12
            At most this many faces, drawn at random; None draws all.
        random_state : int, RandomState instance or None, default=0
        n_top, n_columns, ax
            As in `from_predictions`.

        Returns
        -------
        display : PseudoLabelsDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError, TypeError
            If it was fitted without target, `X_tgt` or `y_tgt` are of another target,
            `X_tgt` holds no pictures, or `subsample`, `n_top`, `n_columns` or `ax` are
            none.
        """
        classifier = last_step(estimator, "target_labels_")
        X_tgt = unwrap_target(X_tgt)
        check_samples(X_tgt, name="X_tgt")
        labels = classifier.target_labels_
        rows = labelled_rows(classifier, len(labels), len(X_tgt), "X_tgt")
        truth = None
        if y_tgt is not None:
            truth = check_labels(y_tgt, name="y_tgt")
            check_as_many(truth, X_tgt, name="y_tgt", of="X_tgt")
        shown = draw_rows(len(rows), subsample, random_state)
        return cls(
            read_faces(take_rows(X_tgt, rows[shown]), name="X_tgt"),
            np.asarray(labels[shown], dtype=np.float64),
            classifier.classes_,
            None if truth is None else truth[rows[shown]],
        ).plot(n_top=n_top, n_columns=n_columns, ax=ax)

    @classmethod
    @judged(n_top=_judge_n_top, n_columns=N_COLUMNS, ax=judge_ax)
    def from_predictions(
        cls,
        images: Any,
        label_distribution: ArrayLike,
        classes: ArrayLike,
        *,
        y_true: ArrayLike | None = None,
        n_top: int = 3,
        n_columns: int | None = None,
        ax: Axes | None = None,
    ) -> PseudoLabelsDisplay:
        """Draw faces with any label distribution, all that are given.

        Parameters
        ----------
        images : array-like or sequence of paths
            Faces, as `adafer.faces.check_faces` takes them.
        label_distribution : array-like of shape (n, n_classes), values in [0, 1]
            Rows sum to 1, or are zero where a face has no label.
        classes : array-like of shape (n_classes,)
            Class names, in the order of the columns.
        y_true : array-like of shape (n,), optional
            True labels, to be written above.
        n_top : int, default=3
            How many classes to write, most probable first. Those below half a
            percent are left out.
        n_columns : int, optional
            Faces per row; by default so that the grid is somewhat wider than high.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default into a figure of its own.

        Returns
        -------
        display : PseudoLabelsDisplay

        Raises
        ------
        ValueError, TypeError
            If lengths differ, rows are no distributions, `images` hold no pictures,
            or `classes`, `y_true`, `n_top`, `n_columns` or `ax` are none.
        """
        names = check_labels(classes, name="classes")
        labels = check_matrix(label_distribution, name="label_distribution")
        if labels.shape[1] != len(names):
            raise ValueError(
                f"label_distribution has {labels.shape[1]} columns for {len(names)} classes. "
                "Give one column per class."
            )
        sums = labels.sum(axis=1)
        wrong = np.flatnonzero(
            (labels < 0).any(axis=1) | ~(np.isclose(sums, 1, atol=1e-4) | (sums == 0))
        )
        if len(wrong):
            raise ValueError(
                "Rows of label_distribution must be probabilities that sum to 1, or all zero; "
                f"row {wrong[0]} is {labels[wrong[0]].round(4).tolist()}."
            )
        check_as_many(labels, images, name="label_distribution", of="images")
        truth = None
        if y_true is not None:
            truth = check_labels(y_true, name="y_true")
            check_as_many(truth, images, name="y_true", of="images")
        return cls(read_faces(images, name="images"), labels, names, truth).plot(
            n_top=n_top, n_columns=n_columns, ax=ax
        )

    @judged(n_top=_judge_n_top, n_columns=N_COLUMNS, ax=judge_ax)
    def plot(
        self, *, n_top: int = 3, n_columns: int | None = None, ax: Axes | None = None
    ) -> PseudoLabelsDisplay:
        """Draw the grid of faces.

        Parameters
        ----------
        n_top : int, default=3
        n_columns : int, optional
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        display : PseudoLabelsDisplay
            Itself.

        Raises
        ------
        ValueError, TypeError
            If `n_top`, `n_columns` or `ax` are none.
        """
        n_top = min(n_top, len(self.classes))
        top = 0.0 if self.y_true is None else _TOP
        cell_height = top + 1.0 + _ROW * n_top + 0.22
        n = len(self.images)
        n_columns = min(n_columns or math.ceil(n / max(1, round(math.sqrt(n / 3)))), n)
        n_rows = math.ceil(n / n_columns)
        if ax is None:
            ax = new_figure(1.4 * n_columns + 0.2, 1.23 * cell_height * n_rows + 0.2).subplots()
        for place in range(n):
            row, column = divmod(place, n_columns)
            self._draw_face(ax, place, column * _CELL, row * cell_height + top, n_top)
        ax.set_xlim(-0.03, n_columns * _CELL - (_CELL - 1) + 0.03)
        ax.set_ylim(n_rows * cell_height - 0.16, -0.03)
        ax.set_aspect("equal")
        ax.set_axis_off()
        show_names_as_they_are(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_face(self, ax: Axes, place: int, x: float, y: float, n_top: int) -> None:
        from matplotlib.patches import Rectangle

        labels = self.label_distribution[place]
        order = np.argsort(-labels, kind="stable")[:n_top]
        order = order[labels[order] >= 0.005]
        frame = LINE
        if self.y_true is not None:
            truth, mark, ink = self.y_true[place], "", INK
            if len(order):
                right = self.classes[order[0]] == truth
                mark, ink = (" ✓", RIGHT) if right else (" ✗", WRONG)
                frame = ink
            ax.text(x + 0.5, y - _TOP / 2, f"{truth}{mark}", color=ink, weight="bold",
                    ha="center", va="center", fontsize=8.2)  # fmt: skip
        ax.imshow(self.images[place], extent=(x, x + 1, y + 1, y), interpolation="bilinear")
        ax.add_patch(Rectangle((x, y), 1, 1, fill=False, edgecolor=frame, linewidth=1.6))
        style: dict[str, Any] = {"va": "center", "fontsize": 7.8}
        if len(order) == 0:
            ax.text(x + 0.5, y + 1.05 + _ROW / 2, "no label", color=QUIET, ha="center", **style)
        for line, index in enumerate(order):
            middle = y + 1.05 + (line + 0.5) * _ROW
            ax.add_patch(
                Rectangle((x, middle - 0.43 * _ROW), labels[index], 0.86 * _ROW,
                          facecolor=BARS[1], alpha=0.3, linewidth=0)
            )  # fmt: skip
            name = str(self.classes[index])
            name = name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"
            ax.text(x + 0.03, middle, name, color=INK, ha="left", **style)
            ax.text(x + 0.98, middle, f"{100 * labels[index]:.0f} %", color=INK, ha="right",
                    **style)  # fmt: skip
