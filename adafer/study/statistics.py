"""Scores of predictions, and what several seeds say about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, recall_score

from ..display._intervals import mean_interval

__all__ = ["Summary", "agreement", "gap_closed", "paired_difference", "score", "summarise"]


class Summary(NamedTuple):
    """Mean over seeds with its 95 % interval by Student's t.

    Attributes
    ----------
    mean : float
    half_width : float
        NaN where there is one seed only.
    n_seeds : int
    """

    mean: float
    half_width: float
    n_seeds: int


def score(truth: NDArray, predicted: NDArray) -> dict[str, Any]:
    """Compare predictions with the truth.

    Parameters
    ----------
    truth, predicted : ndarray of str of shape (n,)

    Returns
    -------
    scores : dict
        ``accuracy``; ``balanced_accuracy``, the mean recall, and ``macro_f1``,
        both over the classes that occur in `truth`; ``recall`` by class.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.study.statistics import score
    >>> truth = np.array(["joy", "joy", "sad", "sad"])
    >>> found = score(truth, np.array(["joy", "joy", "joy", "sad"]))
    >>> found["accuracy"], found["recall"]
    (0.75, {'joy': 1.0, 'sad': 0.5})
    """
    names = np.unique(truth).tolist()
    options: dict[str, Any] = {"labels": names, "zero_division": 0}
    recall = recall_score(truth, predicted, average=None, **options)
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "balanced_accuracy": float(recall.mean()),
        "macro_f1": float(f1_score(truth, predicted, average="macro", **options)),
        "recall": {name: float(value) for name, value in zip(names, recall, strict=True)},
    }


def summarise(values: Sequence[float] | NDArray) -> Summary:
    """Mean of a score over seeds.

    Parameters
    ----------
    values : sequence of float
        One per seed.

    Returns
    -------
    summary : Summary

    Examples
    --------
    >>> from adafer.study.statistics import summarise
    >>> summary = summarise([0.5, 0.6, 0.7])
    >>> round(summary.mean, 3), round(summary.half_width, 3), summary.n_seeds
    (0.6, 0.248, 3)
    """
    array = np.asarray(values, dtype=np.float64)
    if len(array) == 0:
        return Summary(float("nan"), float("nan"), 0)
    mean, half_width = mean_interval(array[None])
    return Summary(float(mean[0]), float(half_width[0]), len(array))


def paired_difference(values: Mapping[int, float], reference: Mapping[int, float]) -> Summary:
    """Difference to a reference, seed by seed.

    Parameters
    ----------
    values, reference : dict of int -> float
        Scores by seed; seeds that one of them lacks are left out.

    Returns
    -------
    summary : Summary
    """
    return summarise([values[seed] - reference[seed] for seed in values if seed in reference])


def gap_closed(
    values: Mapping[int, float], reference: Mapping[int, float], oracle: Mapping[int, float]
) -> float | None:
    """Share of the gap between a reference and an oracle that a method closes.

    Parameters
    ----------
    values, reference, oracle : dict of int -> float
        Scores by seed; seeds that one of them lacks are left out.

    Returns
    -------
    share : float or None
        Mean gain over mean gap; None where there is no gap.
    """
    seeds = [seed for seed in values if seed in reference and seed in oracle]
    if not seeds:
        return None
    gain, gap = (
        float(np.mean([scores[seed] - reference[seed] for seed in seeds]))
        for scores in (values, oracle)
    )
    return gain / gap if gap > 0 else None


def agreement(first: Sequence[int] | NDArray, second: Sequence[int] | NDArray) -> float:
    """Share of faces that two methods give the same label.

    Parameters
    ----------
    first, second : sequence of int of shape (n,)

    Returns
    -------
    share : float
    """
    return float(np.mean(np.asarray(first) == np.asarray(second)))
