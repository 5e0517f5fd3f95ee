"""Judging what users pass: every error says which argument is wrong."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sized
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

__all__ = ["check_labels", "check_matrix", "check_rows", "naming"]


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Put an argument's name before errors of numpy and scikit-learn that lack it.

    Parameters
    ----------
    name : str

    Raises
    ------
    ValueError, TypeError
        As inside, with ``name: `` before the text unless it is in it.

    Examples
    --------
    >>> from adafer._checks import naming
    >>> with naming("y"):
    ...     float("b")
    Traceback (most recent call last):
    ValueError: y: could not convert string to float: 'b'
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        # classes below these say more than a text, and take other arguments
        if type(error) not in (ValueError, TypeError):
            raise
        if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", str(error)):
            raise
        raise type(error)(f"{name}: {error}") from error


def check_labels(y: ArrayLike, *, name: str = "y", n_samples: int | None = None) -> NDArray:
    """Judge class labels.

    Parameters
    ----------
    y : array-like of shape (n,)
        Names or integers, of one kind.
    name : str, default="y"
        How errors call them.
    n_samples : int, optional
        How many there must be.

    Returns
    -------
    labels : ndarray of shape (n,)

    Raises
    ------
    ValueError, TypeError
        If they are no labels, or of another number.

    Warns
    -----
    DataConversionWarning
        If a column was given instead of a row.
    """
    with naming(name):
        labels: NDArray = column_or_1d(y, warn=True)
        if n_samples is not None:
            check_rows(labels, n_samples, name=name)
        if len(labels) == 0:
            raise ValueError("it holds no labels; expected one per sample.")
        assert_all_finite(labels, input_name=name)
        if labels.dtype.kind == "O" and len(kinds := {_kind(label) for label in labels}) > 1:
            told = ", ".join(sorted(kinds))
            raise TypeError(
                f"labels of several kinds ({told}); expected strings alone or integers alone. "
                "Leave out samples without a label."
            )
        check_classification_targets(labels)
    return labels


def _kind(label: object) -> str:
    if isinstance(label, str):
        return "str"
    return "int" if isinstance(label, Integral) else type(label).__name__


def check_rows(values: Sized, n_samples: int, *, name: str, of: str = "X") -> None:
    """Make sure that there is one row per sample.

    Parameters
    ----------
    values : sized
    n_samples : int
    name, of : str
        How the error calls both.

    Raises
    ------
    ValueError
        If there are more or fewer.
    """
    if len(values) != n_samples:
        raise ValueError(
            f"{of} and {name} have inconsistent lengths: {n_samples} samples but {len(values)} "
            f"rows of {name}. Give one per sample, in the same order."
        )


def check_matrix(values: Any, *, name: str) -> NDArray[np.float64]:
    """Judge a table of finite numbers.

    Parameters
    ----------
    values : array-like of shape (n, m)
    name : str
        How errors call it.

    Returns
    -------
    matrix : ndarray of float64 of shape (n, m)

    Raises
    ------
    ValueError, TypeError
        If it is none.
    """
    with naming(name):
        return check_array(values, dtype=np.float64, input_name=name)
