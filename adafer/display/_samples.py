"""Which samples a display shows, and which target faces an estimator has labelled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._checks import naming
from ._arguments import judge_subsample

__all__ = ["draw_rows", "labelled_rows", "last_step", "one_of_each", "take_rows"]


def draw_rows(
    n: int, subsample: int | None, random_state: int | np.random.RandomState | None
) -> NDArray:
    """Draw at most `subsample` rows of `n`, in order.

    Parameters
    ----------
    n : int
    subsample : int or None
        None takes all.
    random_state : int, RandomState instance or None

    Returns
    -------
    rows : ndarray of int64 of shape (min(n, subsample),)

    Raises
    ------
    ValueError
        If `subsample` is no positive integer.
    """
    judge_subsample(subsample)
    if subsample is None or subsample >= n:
        return np.arange(n)
    return np.sort(check_random_state(random_state).permutation(n)[:subsample])


def one_of_each(labels: NDArray | None, n: int, most: int) -> NDArray:
    """Draw rows at random, always the same ones; at first one of each class.

    Parameters
    ----------
    labels : ndarray of shape (n,) or None
        None where classes are unknown.
    n : int
    most : int
        Rows to draw at most.

    Returns
    -------
    rows : ndarray of int64 of shape (min(n, most),)
    """
    order = np.random.default_rng(0).permutation(n)
    if labels is not None:
        firsts = [order[labels[order] == name][0] for name in np.unique(labels)]
        order = np.array(firsts + [row for row in order if row not in set(firsts)])
    return order[:most]


def take_rows(X: Any, rows: NDArray) -> Any:
    """Take rows of an array, a data frame or a list.

    Parameters
    ----------
    X : array, data frame, Series, or sequence of pictures or paths
    rows : ndarray of int of shape (n,)

    Returns
    -------
    taken : as X
    """
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    if isinstance(X, np.ndarray):
        return X[rows]
    return [X[row] for row in rows]


def last_step(
    estimator: Any,
    attribute: str,
    advice: str = "expected a classifier that gave the target labels in fit. Fit an "
    "AdaFERClassifier with X_tgt.",
) -> Any:
    """Find the classifier inside a search or a Pipeline.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    attribute : str
        What the classifier must have.
    advice : str
        What an error tells to do where it has not.

    Returns
    -------
    classifier : estimator

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    ValueError, TypeError
        If it is no estimator, or lacks `attribute`.
    """
    with naming("estimator"):
        check_is_fitted(estimator)
    estimator = getattr(estimator, "best_estimator_", estimator)
    if hasattr(estimator, "steps"):
        estimator = estimator.steps[-1][1]
    if not hasattr(estimator, attribute):
        raise ValueError(f"The estimator {type(estimator).__name__} has no {attribute}; {advice}")
    return estimator


def labelled_rows(classifier: Any, n_labelled: int, n_given: int, name: str) -> NDArray:
    """Find the rows of the target that the classifier's labels belong to.

    Parameters
    ----------
    classifier : estimator
        As `last_step` finds it.
    n_labelled : int
        How many faces it labelled; unreadable ones are not among them.
    n_given : int
        How many faces, or labels of faces, were given.
    name : str
        How errors call what was given.

    Returns
    -------
    rows : ndarray of int64 of shape (n_labelled,)

    Raises
    ------
    ValueError
        If something else was given than the target of `fit`.
    """
    skipped = [face.index for face in getattr(classifier, "skipped_", {}).get("X_tgt", [])]
    if n_given != n_labelled + len(skipped):
        raise ValueError(
            f"{name} has {n_given} rows, but the classifier was adapted to "
            f"{n_labelled + len(skipped)} target faces. Give the target of fit, all of it and in "
            "the same order."
        )
    return np.setdiff1d(np.arange(n_given), skipped)
