"""Means over seeds and how sure they are."""

from __future__ import annotations

from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

__all__ = ["check_scores", "mean_interval"]


def check_scores(values: ArrayLike, n_rows: int, *, name: str, of: str, percent: bool) -> NDArray:
    """Judge results: a row per setting, a column per seed.

    Parameters
    ----------
    values : array-like of shape (n_rows, n_seeds)
        NaN where a run is missing.
    n_rows : int
    name, of : str
        How errors call them and the settings.
    percent : bool
        Whether they will be shown as percentages, and must be shares.

    Returns
    -------
    scores : ndarray of float64 of shape (n_rows, n_seeds)

    Raises
    ------
    ValueError
        If the shape is another, a row has no number, or a share is beyond 1.
    """
    try:
        scores = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be numbers of shape ({n_rows}, n_seeds). Fill missing runs with NaN."
        ) from error
    if scores.ndim != 2 or scores.shape[0] != n_rows or scores.shape[1] == 0:
        raise ValueError(
            f"{name} must have shape ({n_rows}, n_seeds), a row per setting in {of}; got "
            f"{scores.shape}."
        )
    if np.isinf(scores).any():
        raise ValueError(f"{name} holds infinite numbers; put NaN where a run is missing.")
    empty = np.flatnonzero(np.isnan(scores).all(axis=1))
    if len(empty):
        raise ValueError(
            f"{name} has no number in row {empty[0]}. Leave settings without a run out."
        )
    largest = np.nanmax(np.abs(scores))
    if percent and largest > 1:
        raise ValueError(
            f"{name} must be shares in [-1, 1] to be shown as percentages; got {largest:g}. "
            "Divide by 100, or pass percent=False."
        )
    return scores


def mean_interval(scores: NDArray, confidence: float = 0.95) -> tuple[NDArray, NDArray]:
    """Mean of each row, and the half width of its Student interval.

    Parameters
    ----------
    scores : ndarray of float64 of shape (n_rows, n_seeds)
        NaN is left out.
    confidence : float, default=0.95
        In (0, 1).

    Returns
    -------
    means : ndarray of float64 of shape (n_rows,)
    half_widths : ndarray of float64 of shape (n_rows,)
        NaN where there is one number only.

    Raises
    ------
    ValueError
        If `confidence` does not lie in (0, 1).
    """
    if not isinstance(confidence, Real) or not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1); got {confidence!r}.")
    counts = (~np.isnan(scores)).sum(axis=1)
    means = np.nanmean(scores, axis=1)
    half_widths = np.full(len(scores), np.nan)
    several = counts > 1
    if several.any():
        n = counts[several]
        spread = np.nanstd(scores[several], axis=1, ddof=1) / np.sqrt(n)
        half_widths[several] = stats.t.ppf((1 + confidence) / 2, n - 1) * spread
    return means, half_widths
