"""People who label pictures: how often they take one expression for another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .assets import FloatArray
from .rig import EXPRESSIONS

_ANY_OTHER = 0.002  # of each other expression, by a slip

# Shown expression -> what it is taken for, and how often.
Habits = Mapping[str, Mapping[str, float]]

CAREFUL: Habits = {
    "happiness": {"neutral": 0.015},
    "surprise": {"fear": 0.02},
    "sadness": {"neutral": 0.025},
    "anger": {"disgust": 0.015, "neutral": 0.01},
    "disgust": {"anger": 0.03},
    "fear": {"surprise": 0.035},
    "neutral": {"sadness": 0.015, "anger": 0.005},
}
HASTY: Habits = {
    "happiness": {"neutral": 0.05, "surprise": 0.02},
    "surprise": {"fear": 0.09, "happiness": 0.03, "neutral": 0.01},
    "sadness": {"neutral": 0.13, "anger": 0.03, "fear": 0.02},
    "anger": {"disgust": 0.10, "neutral": 0.05, "sadness": 0.02},
    "disgust": {"anger": 0.12, "sadness": 0.04, "neutral": 0.02},
    "fear": {"surprise": 0.14, "sadness": 0.04, "anger": 0.01},
    "neutral": {"sadness": 0.06, "anger": 0.03, "happiness": 0.02},
}
SECOND_GUESSING: Habits = {
    "happiness": {"surprise": 0.05, "disgust": 0.01},
    "surprise": {"happiness": 0.07, "neutral": 0.04},
    "sadness": {"disgust": 0.07, "fear": 0.04, "neutral": 0.02},
    "anger": {"neutral": 0.07, "sadness": 0.05, "fear": 0.01},
    "disgust": {"sadness": 0.08, "happiness": 0.04, "anger": 0.02},
    "fear": {"sadness": 0.08, "disgust": 0.03, "surprise": 0.02},
    "neutral": {"sadness": 0.06, "anger": 0.06, "disgust": 0.02},
}


def label_confusion(habits: Habits) -> FloatArray:
    """Turn habits into probabilities of labels.

    Parameters
    ----------
    habits : dict of str to dict of str to float
        For each expression, how often it is taken for which others.

    Returns
    -------
    ndarray of shape (n_expressions, n_expressions)
        Row: the expression shown; column: the label given, both in the order of
        ``EXPRESSIONS``. Rows sum to one.

    Raises
    ------
    ValueError
        If a name is unknown, or a row has less than nothing left for the
        right label.
    """
    names = list(EXPRESSIONS)
    unknown = {*habits, *(taken for row in habits.values() for taken in row)} - set(names)
    if unknown:
        raise ValueError(f"Unknown expressions {sorted(unknown)}, expected some of {names}.")
    matrix = np.full((len(names), len(names)), _ANY_OTHER)
    for shown, row in habits.items():
        for taken, chance in row.items():
            matrix[names.index(shown), names.index(taken)] = chance
    np.fill_diagonal(matrix, 0)
    np.fill_diagonal(matrix, 1 - matrix.sum(axis=1))
    if matrix.min() < 0:
        raise ValueError("The habits of an expression add up to more than one.")
    return matrix


def draw_label(confusion: FloatArray, shown: int, generator: np.random.Generator) -> int:
    """Draw the label that annotators give to an expression.

    Parameters
    ----------
    confusion : ndarray of shape (n_expressions, n_expressions)
        See `label_confusion`.
    shown : int
        Number of the expression.
    generator : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    int
        Number of the label.
    """
    cumulated = np.cumsum(confusion[shown])
    return int(np.searchsorted(cumulated, generator.random() * cumulated[-1], side="right"))
