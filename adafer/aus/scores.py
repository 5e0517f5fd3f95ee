"""Judging AU scores given by the user or a detector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse

__all__ = ["align_au_columns", "check_au_scores", "has_scores", "row_blocks"]

# 20 scores of this many rows stay in the cache of a core
_BLOCK = 1 << 15


def row_blocks(n_rows: int, size: int = _BLOCK) -> Iterator[slice]:
    """Cut rows into blocks, so that what is made of them on the way stays small.

    Parameters
    ----------
    n_rows : int
    size : int, default=32768

    Yields
    ------
    rows : slice
        At most `size` rows, in order.
    """
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def check_au_scores(
    au: ArrayLike, *, name: str = "au", n_samples: int | None = None, keep_dtype: bool = False
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
    keep_dtype : bool, default=False
        Leave float32 scores, and codes of uint8 or bool, as they are: of many
        faces, perhaps mapped from a file, a copy in float64 would not fit.

    Returns
    -------
    scores : ndarray of float64 of shape (n_samples, n_aus)
        With `keep_dtype` also of float32 or uint8.
    au_names : list of str or None
        Column names where there are any.

    Raises
    ------
    ValueError
        If the array is not 2-D, is empty, has another number of rows, has
        values outside [0, 1], or holds NaN only.
    TypeError
        If it is sparse, or holds no numbers.
    """
    if au is None:
        raise TypeError(f"{name} is None; expected AU scores of shape (n_samples, n_aus).")
    if issparse(au):
        raise TypeError(f"{name} is a sparse matrix; dense AU scores are needed: {name}.toarray().")
    columns = getattr(au, "columns", None)
    au_names = None if columns is None else [str(column) for column in columns]
    try:
        scores = np.asarray(au)
        if np.iscomplexobj(scores):
            raise ValueError("Complex data not supported")
        if keep_dtype and scores.dtype == np.bool_:
            scores = scores.view(np.uint8)
        if not keep_dtype or scores.dtype not in (np.float32, np.uint8):
            scores = scores.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{name} must hold numbers, one column per AU; got {error}. "
            "Leave out columns such as file names."
        ) from error
    if scores.ndim != 2:
        raise ValueError(
            f"{name} must have shape (n_samples, n_aus); got {scores.shape}. "
            "Reshape your data: one row per picture, one column per AU."
        )
    if scores.shape[1] == 0:
        raise ValueError(
            f"{name} has 0 feature(s) (shape={scores.shape}) while a minimum of 1 is required: "
            "one column per AU."
        )
    if len(scores) == 0:
        raise ValueError(f"{name} is empty: got 0 rows, expected one per picture.")
    if n_samples is not None and len(scores) != n_samples:
        raise ValueError(
            f"{name} has {len(scores)} rows but there are {n_samples} pictures. "
            "Give one row per picture, in the same order, NaN where no face was found."
        )
    low, high = np.inf, -np.inf
    for rows in row_blocks(len(scores)):
        block = scores[rows]
        known = has_scores(block)
        if not known.all():
            block = block[known]
        if len(block):
            low, high = min(low, block.min()), max(high, block.max())
    if low > high:
        raise ValueError(
            f"Every row of {name} holds NaN: no AU scores are known for any of the "
            f"{len(scores)} pictures. Check that they show faces, or give other scores."
        )
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
    mask = np.ones(len(scores), dtype=np.bool_)
    for rows in row_blocks(len(scores)) if scores.dtype.kind == "f" else ():
        block = scores[rows]
        if np.isnan(block.min(initial=1.0)):  # most blocks have none: one pass will do
            mask[rows] = ~np.isnan(block).any(axis=1)
    return mask


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
        if au_names == expected:
            return scores
        return scores[:, [au_names.index(column) for column in expected]]
    if scores.shape[1] != n_expected:
        raise ValueError(
            f"{name} has {scores.shape[1]} AUs but {reference} has {n_expected}. "
            "Both need the same AUs in the same order, scored by the same detector."
        )
    return scores
