"""Judging AU scores given by the user or a detector, and turning them into AU codes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "align_au_columns",
    "binarize",
    "check_au_scores",
    "fit_thresholds",
    "has_scores",
]


def check_au_scores(
    au: ArrayLike, *, name: str = "au", n_samples: int | None = None
) -> tuple[NDArray, list[str] | None]:
    """Turn AU scores into a float array, or say what is wrong with them.

    Parameters
    ----------
    au : array-like of shape (n_samples, n_aus), values in [0, 1]
        AU scores; a row with a NaN is a picture without AU scores (no face).
        Column names of a data frame are kept.
    name : str, default="au"
        How errors call it.
    n_samples : int, optional
        Number of rows that are expected.

    Returns
    -------
    scores : ndarray of float64 of shape (n_samples, n_aus)
    au_names : list of str or None
        Column names where there are any.

    Raises
    ------
    ValueError
        If the array is not 2-D, is empty, has another number of rows, has
        values outside [0, 1], or holds NaN only.
    """
    columns = getattr(au, "columns", None)
    au_names = None if columns is None else [str(column) for column in columns]
    try:
        scores = np.asarray(au, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must hold numbers, one column per AU; got {error}. "
            "Leave out columns such as file names."
        ) from error
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise ValueError(
            f"{name} must have shape (n_samples, n_aus); got {scores.shape}. "
            "One row per picture, one column per AU."
        )
    if len(scores) == 0:
        raise ValueError(f"{name} is empty: got 0 rows, expected one per picture.")
    if n_samples is not None and len(scores) != n_samples:
        raise ValueError(
            f"{name} has {len(scores)} rows but there are {n_samples} pictures. "
            "Give one row per picture, in the same order, NaN where no face was found."
        )
    known = has_scores(scores)
    if not known.any():
        raise ValueError(
            f"Every row of {name} holds NaN: no AU scores are known for any of the "
            f"{len(scores)} pictures. Check that they show faces, or give other scores."
        )
    low, high = scores[known].min(), scores[known].max()
    if low < 0 or high > 1:
        raise ValueError(
            f"{name} must lie in [0, 1]; got values from {low:.4g} to {high:.4g}. "
            "Intensities on a scale of 0..5 (OpenFace, LibreFace) must be divided by 5."
        )
    return scores, au_names


def has_scores(scores: NDArray) -> NDArray:
    """Tell which rows of AU scores are complete.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_aus)

    Returns
    -------
    mask : ndarray of bool of shape (n_samples,)
    """
    return ~np.isnan(scores).any(axis=1)


def align_au_columns(
    scores: NDArray,
    au_names: list[str] | None,
    expected: Any,
    n_expected: int,
    *,
    name: str,
    reference: str,
) -> NDArray:
    """Bring the columns of one AU table into the order of another.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_aus)
    au_names : list of str or None
        Column names of `scores`, where known.
    expected : sequence of str or None
        Column names of the reference, where known.
    n_expected : int
        Number of columns of the reference.
    name, reference : str
        How errors call the two tables.

    Returns
    -------
    scores : ndarray of shape (n_samples, n_expected)

    Raises
    ------
    ValueError
        If the two tables hold other sets of AUs.
    """
    if au_names is not None and expected is not None:
        expected = [str(column) for column in expected]
        missing = [column for column in expected if column not in au_names]
        extra = [column for column in au_names if column not in expected]
        if missing or extra:
            raise ValueError(
                f"{name} and {reference} hold different AUs: {name} lacks {missing or 'none'} "
                f"and adds {extra or 'none'}. Keep the AUs that both have, scored by the same "
                "detector."
            )
        return scores[:, [au_names.index(column) for column in expected]]
    if scores.shape[1] != n_expected:
        raise ValueError(
            f"{name} has {scores.shape[1]} AUs but {reference} has {n_expected}. "
            "Both need the same AUs in the same order, scored by the same detector."
        )
    return scores


def fit_thresholds(
    scores: NDArray,
    *,
    threshold: str | float = "quantile",
    quantile: float = 0.7,
    au_names: Sequence[str] | None = None,
) -> NDArray:
    """Score above which each AU counts as present.

    Raw scores of different AUs do not share a scale, so that each AU has its
    own threshold: a quantile of the scores that the threshold is fitted on.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_aus), values in [0, 1]
        Rows with NaN are left out.
    threshold : {"quantile"} or float, default="quantile"
        A number in [0, 1] is used for all AUs.
    quantile : float, default=0.7
        In (0, 1). A column of zeros and ones only, which holds codes already,
        gets 0.5 instead.
    au_names : sequence of str, optional
        How the warning calls the columns.

    Returns
    -------
    thresholds : ndarray of float64 of shape (n_aus,)

    Raises
    ------
    ValueError
        If no row has scores, or all columns are constant.

    Warns
    -----
    UserWarning
        If some columns are constant: such an AU tells nothing.
    """
    known = scores[has_scores(scores)]
    if len(known) == 0:
        raise ValueError(
            "All rows of the AU scores hold NaN: no face was found, so that thresholds cannot be "
            "fitted. Check that the pictures show faces."
        )
    low, high = known.min(axis=0), known.max(axis=0)
    constant = np.flatnonzero(low == high)
    if len(constant) == scores.shape[1] and len(known) > 1:
        raise ValueError(
            f"The AU scores of all {len(known)} samples are equal in each of the "
            f"{scores.shape[1]} AUs: they carry no information. Expected scores that differ from "
            "face to face; check the detector or the table they come from."
        )
    if len(constant) and len(known) > 1:
        names = [str(j) if au_names is None else au_names[j] for j in constant]
        warnings.warn(
            f"AU scores are constant in {len(names)} of {scores.shape[1]} AUs "
            f"({', '.join(names)}); these tell nothing.",
            UserWarning,
            stacklevel=2,
        )
    if threshold != "quantile":
        return np.full(scores.shape[1], float(threshold))
    thresholds = np.quantile(known, quantile, axis=0)
    thresholds[((known == 0) | (known == 1)).all(axis=0)] = 0.5
    return thresholds


def binarize(scores: NDArray, thresholds: NDArray) -> NDArray:
    """AU codes: 1 where a score is above its threshold.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_aus)
    thresholds : ndarray of shape (n_aus,)

    Returns
    -------
    codes : ndarray of uint8 of shape (n_samples, n_aus)
        Zero rows where scores are NaN: mask them by `has_scores`.
    """
    return (np.nan_to_num(scores, nan=-1.0) > thresholds).astype(np.uint8)
