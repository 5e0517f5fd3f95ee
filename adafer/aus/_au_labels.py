"""AU labels for training: reading them, and what their frequencies tell."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import naming
from .facs import parse_au_name
from .tables import au_scores_from_frame

__all__ = ["au_relations", "balance_weights", "check_au_names", "check_variety", "read_au_labels"]

# An AU shown by one face in a hundred would else outweigh all others.
_LARGEST_WEIGHT = 20.0


def check_au_names(aus: Iterable[str]) -> list[str]:
    """Bring the names of AUs to the form ``"AU01"``.

    Parameters
    ----------
    aus : iterable of str

    Returns
    -------
    names : list of str

    Raises
    ------
    ValueError
        If there are none, or one is no AU's name, or comes twice.
    """
    names = [parse_au_name(name) for name in aus]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"aus must name at least one AU, each once; got {list(aus)}.")
    return names


def read_au_labels(
    Y_au: Any, aus: Sequence[str] | None, *, presence: float, n_samples: int
) -> tuple[NDArray[np.float32], list[str]]:
    """Turn AU labels or intensities into 0, 1 and NaN.

    Parameters
    ----------
    Y_au : array-like or DataFrame of shape (n_samples, n_aus), values in [0, 1] or NaN
        A data frame may have further columns.
    aus : sequence of str or None
        Names of the columns of an array, or of those to take from a data frame;
        None takes all AU columns of a data frame, in ascending order.
    presence : float
        An AU counts as shown from this value on.
    n_samples : int
        Number of pictures.

    Returns
    -------
    labels : ndarray of float32 of shape (n_samples, n_aus)
        0, 1, or NaN where unknown.
    names : list of str

    Raises
    ------
    ValueError
        If names or columns are missing, or values are no numbers in [0, 1].
    """
    with naming("aus"):
        names = None if aus is None else check_au_names(aus)
    if hasattr(Y_au, "columns"):
        frame = au_scores_from_frame(Y_au)
        names = list(frame.columns) if names is None else names
        lacking = [name for name in names if name not in frame.columns]
        if lacking:
            raise ValueError(
                f"Y_au lacks the columns {', '.join(lacking)}; it has {', '.join(frame.columns)}. "
                "Give labels of these AUs, or other aus."
            )
        values = frame[names].to_numpy(dtype=np.float64)
    else:
        values = _as_numbers(Y_au, names)
        if names is None:
            raise ValueError(
                f"The {values.shape[1]} columns of Y_au have no names. Pass "
                'AUNetwork(aus=["AU01", ...]), or labels as a data frame.'
            )
    if len(values) != n_samples:
        raise ValueError(
            f"Y_au has {len(values)} rows but there are {n_samples} pictures. Give one row per "
            "picture, NaN where a label is not known."
        )
    return np.where(np.isnan(values), np.nan, values >= presence).astype(np.float32), names


def _as_numbers(Y_au: Any, names: list[str] | None) -> NDArray[np.float64]:
    try:
        values = np.asarray(Y_au)
        if np.iscomplexobj(values):
            raise ValueError("complex data")
        values = values.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Y_au must hold numbers, one column per AU; got {error}.") from error
    n_aus = "n_aus" if names is None else len(names)
    if values.ndim != 2 or values.shape[1] == 0 or (names and values.shape[1] != len(names)):
        raise ValueError(
            f"Y_au must have shape (n_samples, {n_aus}), one column per AU; got {values.shape}. "
            "Name as many columns by aus."
        )
    wrong = ~(np.isnan(values) | ((values >= 0) & (values <= 1)))
    if wrong.any():
        raise ValueError(
            f"Y_au must lie in [0, 1], NaN where unknown; got for example {values[wrong][0]:.4g}. "
            "Divide intensities on a scale of 0..5 by 5; write unknown labels as NaN."
        )
    return values


def check_variety(labels: NDArray, names: Sequence[str]) -> None:
    """Refuse labels from which nothing can be learnt.

    Parameters
    ----------
    labels : ndarray of shape (n, n_aus)
        0, 1 or NaN.
    names : sequence of str

    Raises
    ------
    ValueError
        If an AU has no known label, or no AU is both shown and absent.

    Warns
    -----
    UserWarning
        If some AUs are always shown or always absent.
    """
    absent, shown = _counts(labels)
    unknown = [name for name, n in zip(names, absent + shown, strict=True) if n == 0]
    if unknown:
        raise ValueError(
            f"No label is known for {', '.join(unknown)}: every value of Y_au there is NaN. Leave "
            "these AUs out by aus=..., or label some faces."
        )
    constant = (absent == 0) | (shown == 0)
    if constant.all():
        raise ValueError(
            f"Each of the {len(names)} AUs has one value only over the {len(labels)} pictures: "
            "nothing can be learnt. Give faces with and without each AU, or check presence=..."
        )
    if constant.any():
        listed = ", ".join(name for name, is_so in zip(names, constant, strict=True) if is_so)
        warnings.warn(
            f"{listed} {'has' if constant.sum() == 1 else 'have'} one value only over the "
            f"{len(labels)} pictures, so that the predictions of these AUs will mean nothing. "
            "Leave them out by aus=..., or give other faces.",
            stacklevel=4,
        )


def _counts(labels: NDArray) -> tuple[NDArray, NDArray]:
    return (labels == 0).sum(axis=0), (labels == 1).sum(axis=0)


def balance_weights(labels: NDArray) -> NDArray[np.float64]:
    """Weigh absence and presence of each AU by how rare they are.

    ``n_known / (2 * n_absent)`` and ``n_known / (2 * n_shown)``, so that both
    have equal shares of the loss, at most 20.

    Parameters
    ----------
    labels : ndarray of shape (n, n_aus)
        0, 1 or NaN.

    Returns
    -------
    weights : ndarray of float64 of shape (2, n_aus)
        Of absence and of presence; finite, 0 where all labels are NaN.
    """
    counts = np.stack(_counts(labels)).astype(np.float64)
    return np.minimum(counts.sum(axis=0) / (2 * np.maximum(counts, 1)), _LARGEST_WEIGHT)


def au_relations(labels: NDArray, threshold: float = 0.0) -> NDArray[np.float64]:
    """Measure how much the AUs depend on each other.

    ``|P(i | j) - P(i | not j)|`` over the faces where both are labelled: 0 where
    AU j tells nothing of AU i, 1 where it decides it. In terms of the
    dependency ``D = (P(i | j) + P(not i | not j)) / 2`` this is ``|2 D - 1|``.

    Parameters
    ----------
    labels : ndarray of shape (n, n_aus)
        0, 1 or NaN.
    threshold : float, default=0.0
        Smaller values become 0.

    Returns
    -------
    relations : ndarray of float64 of shape (n_aus, n_aus), values in [0, 1]
        Row i, column j; ones on the diagonal; 0 where the labels cannot tell.
    """
    shown, absent = (labels == 1).astype(np.float64), (labels == 0).astype(np.float64)
    known = shown + absent
    # [i, j]: faces that show i, among those that show j or do not
    both, without = shown.T @ shown, shown.T @ absent
    n_shown, n_absent = known.T @ shown, known.T @ absent
    decided = (n_shown > 0) & (n_absent > 0)
    relations = np.abs(both / np.maximum(n_shown, 1) - without / np.maximum(n_absent, 1))
    relations = np.where(decided & (relations >= threshold), relations, 0.0)
    np.fill_diagonal(relations, 1.0)
    return relations
