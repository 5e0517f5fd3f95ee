"""What displays take, judged in one place: every error names the argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_consistent_length

from .._checks import check_labels, naming
from .._sklearn import HasMethods, Interval

__all__ = [
    "FLAG",
    "N_COLUMNS",
    "PREDICTOR",
    "TEXT",
    "ask",
    "check_as_many",
    "check_classes",
    "check_predictions",
    "check_samples",
    "judge_ax",
    "judge_estimators",
    "judge_names",
    "judge_panels",
    "judge_subsample",
]

# constraints for `adafer._sklearn.judged`
FLAG = ["boolean"]
N_COLUMNS = [None, Interval(Integral, 1, None, closed="left")]
PREDICTOR = [HasMethods("predict")]
TEXT = [str]


# ------------------------------------------------------- functions for `judged`


def judge_ax(ax: Any) -> None:
    """Refuse what cannot be drawn into.

    Parameters
    ----------
    ax : object

    Raises
    ------
    TypeError
        If it is no axes of matplotlib.
    """
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise TypeError(
            f"ax must be axes of matplotlib, such as figure.subplots() gives; got {_told(ax)}."
        )


def judge_panels(ax: Any) -> None:
    """Refuse what panels cannot be drawn into.

    Parameters
    ----------
    ax : object

    Raises
    ------
    TypeError
        If it is neither axes of matplotlib nor a sequence of them.
    """
    from matplotlib.axes import Axes

    several = not isinstance(ax, str) and isinstance(ax, Sequence | np.ndarray)
    for one in np.asarray(ax, dtype=object).ravel() if several else [ax]:
        if not isinstance(one, Axes):
            raise TypeError(
                "ax must be axes of matplotlib, such as figure.subplots() gives, or one per "
                f"panel; got {_told(one)}."
            )


def judge_names(name: str) -> Callable[[Any], None]:
    """Make a function that refuses what is no list of names, or empty.

    Parameters
    ----------
    name : str
        How errors call it.

    Returns
    -------
    judge : callable
        Raises a ValueError or a TypeError.
    """

    def judge(names: Any) -> None:
        if isinstance(names, str | bytes | Mapping) or not hasattr(names, "__len__"):
            raise TypeError(f"{name} must be a list of names; got {_told(names)}.")
        if len(names) == 0:
            raise ValueError(f"{name} is empty; expected one name or more.")

    return judge


def judge_subsample(subsample: Any) -> None:
    """Refuse what is no number of samples.

    Parameters
    ----------
    subsample : object

    Raises
    ------
    ValueError
        If it is neither None nor an integer of at least 1.
    """
    if subsample is not None and not (isinstance(subsample, Integral) and int(subsample) >= 1):
        raise ValueError(f"subsample must be at least 1, or None for all; got {subsample!r}.")


def judge_estimators(method: str, advice: str = "") -> Callable[[Any], None]:
    """Make a function that refuses what are no estimators by name.

    Parameters
    ----------
    method : str
        What each must have.
    advice : str, default=""
        What the error says of one that has not.

    Returns
    -------
    judge : callable
        Raises a ValueError or a TypeError.
    """

    def judge(estimators: Any) -> None:
        wanted = "expected {'name': fitted estimator, ...}."
        if not isinstance(estimators, Mapping):
            raise TypeError(f"estimators is {_told(estimators)}; {wanted}")
        if not estimators:
            raise ValueError(f"estimators is empty; {wanted}")
        for name, estimator in estimators.items():
            if not hasattr(estimator, method):
                raise ValueError(
                    f"The estimator {name!r}, a {type(estimator).__name__}, has no {method}{advice}"
                )

    return judge


def _told(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) < 60 else text[:57] + '...'}"


# ------------------------------------------------- functions that give something


def check_as_many(values: Any, others: Any, *, name: str, of: str) -> None:
    """Make sure that two have one entry per sample.

    Parameters
    ----------
    values, others : array-like
    name, of : str
        How the error calls them.

    Raises
    ------
    ValueError, TypeError
        If one has no length, or another than the other.
    """
    with naming(f"{of} and {name}"):
        check_consistent_length(others, values)


def check_classes(labels: ArrayLike | None, *, found: Sequence[NDArray] = ()) -> NDArray:
    """Judge the order of classes, or take all that occur.

    Parameters
    ----------
    labels : array-like of shape (n_classes,), or None
    found : sequence of ndarray of shape (n,)
        Labels of samples, the classes of which are taken where `labels` is None.

    Returns
    -------
    labels : ndarray of shape (n_classes,)

    Raises
    ------
    ValueError, TypeError
        If they are no labels, or some of them repeat.
    """
    if labels is None:
        return unique_labels(*found)
    if np.size(np.asarray(labels, dtype=object)) == 0:
        raise ValueError("labels is empty; expected one class or more.")
    classes = check_labels(labels, name="labels")
    if len(np.unique(classes)) < len(classes):
        raise ValueError(f"labels must all differ; got {classes.tolist()}. Name each class once.")
    return classes


def check_predictions(predictions: Any, y_true: NDArray) -> dict[str, NDArray]:
    """Judge predicted labels of one method or of several.

    Parameters
    ----------
    predictions : dict of str -> array-like of shape (n,)
    y_true : ndarray of shape (n,)
        True labels, judged.

    Returns
    -------
    predictions : dict of str -> ndarray of shape (n,)

    Raises
    ------
    ValueError, TypeError
        If there is none, or one is no labels, or labels of another kind or number.
    """
    wanted = "expected {'name': predicted labels, ...}."
    if not isinstance(predictions, Mapping):
        raise TypeError(f"predictions is {_told(predictions)}; {wanted}")
    if not predictions:
        raise ValueError(f"predictions is empty; {wanted}")
    columns = {}
    for name, predicted in predictions.items():
        called = f"predictions of {name!r}"
        columns[name] = check_labels(predicted, name=called)
        check_as_many(columns[name], y_true, name=called, of="y_true")
        with naming(called):
            unique_labels(y_true, columns[name])
    return columns


def ask(estimators: Mapping[str, Any], method: str, X: Any, *, name: str = "X") -> dict[str, Any]:
    """Call a method of each estimator.

    Parameters
    ----------
    estimators : dict of str -> estimator
    method : str
    X : array-like or sequence of paths
    name : str, default="X"
        How errors call it.

    Returns
    -------
    answers : dict of str -> object
    """
    with naming(name):
        return {key: getattr(estimator, method)(X) for key, estimator in estimators.items()}


def check_samples(X: Any, *, name: str) -> None:
    """Make sure that rows can be taken of something.

    Parameters
    ----------
    X : array-like or sequence of paths
    name : str
        How errors call it.

    Raises
    ------
    ValueError, TypeError
        If it is none, or has no rows.
    """
    rows = hasattr(X, "__len__") and hasattr(X, "__getitem__") and getattr(X, "ndim", 1) > 0
    if not rows or isinstance(X, str | bytes | Mapping):
        raise TypeError(
            f"{name} must be an array, a data frame or a sequence, one entry per sample; got "
            f"{_told(X)}."
        )
    if len(X) == 0:
        raise ValueError(f"{name} is empty: got 0 samples, expected at least 1.")
