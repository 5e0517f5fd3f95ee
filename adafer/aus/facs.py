"""What FACS says: action units, expressions, and codes made from scores."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .scores import has_scores, row_blocks

__all__ = [
    "ACTION_UNITS",
    "EXPRESSION_PROTOTYPES",
    "ActionUnit",
    "au_name",
    "au_number",
    "binarize",
    "fit_thresholds",
    "parse_au_name",
]


@dataclass(frozen=True)
class ActionUnit:
    """One action unit of the Facial Action Coding System.

    Attributes
    ----------
    number : int
        Its number in FACS.
    name : str
        What FACS calls it.
    muscle : str
        The muscles that move; empty where no single one is named.
    """

    number: int
    name: str
    muscle: str


ACTION_UNITS: tuple[ActionUnit, ...] = (
    ActionUnit(1, "Inner brow raiser", "frontalis, pars medialis"),
    ActionUnit(2, "Outer brow raiser", "frontalis, pars lateralis"),
    ActionUnit(4, "Brow lowerer", "corrugator supercilii, depressor supercilii"),
    ActionUnit(5, "Upper lid raiser", "levator palpebrae superioris"),
    ActionUnit(6, "Cheek raiser", "orbicularis oculi, pars orbitalis"),
    ActionUnit(7, "Lid tightener", "orbicularis oculi, pars palpebralis"),
    ActionUnit(9, "Nose wrinkler", "levator labii superioris alaeque nasi"),
    ActionUnit(10, "Upper lip raiser", "levator labii superioris"),
    ActionUnit(11, "Nasolabial deepener", "zygomaticus minor"),
    ActionUnit(12, "Lip corner puller", "zygomaticus major"),
    ActionUnit(13, "Sharp lip puller", "levator anguli oris"),
    ActionUnit(14, "Dimpler", "buccinator"),
    ActionUnit(15, "Lip corner depressor", "depressor anguli oris"),
    ActionUnit(16, "Lower lip depressor", "depressor labii inferioris"),
    ActionUnit(17, "Chin raiser", "mentalis"),
    ActionUnit(18, "Lip pucker", "incisivii labii superioris and inferioris"),
    ActionUnit(20, "Lip stretcher", "risorius, platysma"),
    ActionUnit(22, "Lip funneler", "orbicularis oris"),
    ActionUnit(23, "Lip tightener", "orbicularis oris"),
    ActionUnit(24, "Lip pressor", "orbicularis oris"),
    ActionUnit(25, "Lips part", "depressor labii inferioris, or relaxed mentalis"),
    ActionUnit(26, "Jaw drop", "relaxed masseter, temporalis and medial pterygoid"),
    ActionUnit(27, "Mouth stretch", "pterygoids, digastric"),
    ActionUnit(28, "Lip suck", "orbicularis oris"),
    ActionUnit(34, "Cheek puff", ""),
    ActionUnit(43, "Eyes closed", "relaxed levator palpebrae superioris; orbicularis oculi"),
    ActionUnit(45, "Blink", "relaxed levator palpebrae superioris; orbicularis oculi"),
)

# The prototypes of EMFACS: what a textbook face of each expression shows.
EXPRESSION_PROTOTYPES: dict[str, tuple[str, ...]] = {
    "neutral": (),
    "happiness": ("AU06", "AU12"),
    "surprise": ("AU01", "AU02", "AU05", "AU26"),
    "sadness": ("AU01", "AU04", "AU15"),
    "anger": ("AU04", "AU05", "AU07", "AU23"),
    "disgust": ("AU09", "AU15", "AU16"),
    "fear": ("AU01", "AU02", "AU04", "AU05", "AU07", "AU20", "AU26"),
    "contempt": ("AU12", "AU14"),
}

_AU_PATTERN = re.compile(r"\s*au[\s_-]*0*(\d{1,2})(?:[\s_-]*(?:r|c|intensity))?\s*", re.IGNORECASE)


def au_name(number: int) -> str:
    """Name an AU by its number, with two digits.

    Parameters
    ----------
    number : int
        1 to 99.

    Returns
    -------
    name : str

    Raises
    ------
    ValueError
        If it is no integer from 1 to 99.

    Examples
    --------
    >>> from adafer.aus.facs import au_name
    >>> au_name(1)
    'AU01'
    """
    if not isinstance(number, Integral) or isinstance(number, bool) or not 1 <= number <= 99:
        raise ValueError(f"An AU's number is an integer from 1 to 99; got {number!r}.")
    return f"AU{int(number):02d}"


def parse_au_name(text: str) -> str:
    """Bring the name of an AU column, as various tools write it, to ours.

    Parameters
    ----------
    text : str
        For example ``"AU1"``, ``"au_12"``, ``" AU12_r"``, ``"au_12_intensity"``.

    Returns
    -------
    name : str
        Two digits, ``"AU01"``.

    Raises
    ------
    ValueError
        If it is no AU's name.

    Examples
    --------
    >>> from adafer.aus.facs import parse_au_name
    >>> [parse_au_name(text) for text in ("AU1", "au_12", "AU06_r")]
    ['AU01', 'AU12', 'AU06']
    """
    match = _AU_PATTERN.fullmatch(text) if isinstance(text, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError(
            f"{text!r} is no AU's name; expected forms like 'AU01', 'au_12' or 'AU12_r'. Leave "
            "out columns that hold something else."
        )
    return au_name(int(match[1]))


def au_number(text: str) -> int:
    """Give the number of an AU by its name, in any form `parse_au_name` takes.

    Parameters
    ----------
    text : str

    Returns
    -------
    number : int

    Raises
    ------
    ValueError
        If it is no AU's name.
    """
    return int(parse_au_name(text)[2:])


def fit_thresholds(
    scores: ArrayLike,
    *,
    threshold: Literal["quantile"] | float = "quantile",
    quantile: float = 0.7,
    au_names: Sequence[str] | None = None,
    sample_weight: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Find the score of each AU above which it counts as shown.

    Detectors differ in the scale of their scores, AU by AU, so that by default
    the threshold is a quantile of the scores themselves: with ``quantile=0.7``
    each AU is shown by three faces in ten.

    Parameters
    ----------
    scores : array-like of float of shape (n_samples, n_aus), values in [0, 1]
        Rows with NaN are left out.
    threshold : {"quantile"} or float in [0, 1], default="quantile"
        A number is taken for every AU, whatever the scores.
    quantile : float in (0, 1), default=0.7
        Used with ``threshold="quantile"``. Columns of zeros and ones get 0.5.
        Where the quantile is a column's largest score, which none exceeds, the
        next smaller score is taken.
    au_names : sequence of str, optional
        How messages call the columns.
    sample_weight : ndarray of float64 of shape (n_samples,), optional
        All above zero. A row of weight 2 counts as two.

    Returns
    -------
    thresholds : ndarray of float64 of shape (n_aus,)

    Raises
    ------
    ValueError
        If every row holds NaN; with ``threshold="quantile"`` also if every
        column is constant.

    Warns
    -----
    UserWarning
        With ``threshold="quantile"``, if some columns are constant: their code
        is always 0.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.aus.facs import fit_thresholds
    >>> scores = np.array([[0.1, 0], [0.2, 1], [0.3, 0], [np.nan, np.nan]])
    >>> fit_thresholds(scores, quantile=0.5)
    array([0.2, 0.5])
    """
    scores = np.asarray(scores)
    if scores.dtype.kind not in "fiub":
        scores = scores.astype(np.float64)
    if scores.ndim != 2 or 0 in scores.shape:
        raise ValueError(
            f"scores must have shape (n_samples, n_aus), neither of them 0; got {scores.shape}."
        )
    known = has_scores(scores)
    n_known = int(known.sum())
    if n_known == 0:
        raise ValueError(
            f"No face was found in any of the {len(scores)} pictures: every row of the AU scores "
            "holds NaN. Check that the pictures show faces, upright and not too small."
        )
    if not isinstance(threshold, str):
        if not isinstance(threshold, Real) or not 0 <= threshold <= 1:
            raise ValueError(f'threshold must be "quantile" or lie in [0, 1]; got {threshold!r}.')
        return np.full(scores.shape[1], float(threshold))
    if threshold != "quantile":
        raise ValueError(f'threshold must be "quantile" or a number in [0, 1]; got {threshold!r}.')
    if not isinstance(quantile, Real) or not 0 < quantile < 1:
        raise ValueError(f"quantile must lie between 0 and 1; got {quantile!r}.")

    # AU by AU: a copy of all scores in float64 might not fit
    weights = None if sample_weight is None else np.asarray(sample_weight)[known]
    thresholds, constant = np.empty(scores.shape[1]), np.empty(scores.shape[1], dtype=np.bool_)
    for column in range(scores.shape[1]):
        values = scores[:, column] if n_known == len(scores) else scores[known, column]
        thresholds[column], constant[column] = _column_quantile(
            np.array(values, dtype=np.float64), quantile, weights
        )
    _judge_constant_columns(constant, n_known, au_names)
    return thresholds


def _column_quantile(
    values: NDArray[np.float64], quantile: float, weights: NDArray[np.float64] | None
) -> tuple[float, bool]:
    """Threshold of one AU, and whether its scores are all equal."""
    low, high = values.min(), values.max()
    if weights is None:
        threshold = float(np.quantile(values, quantile))
    else:
        threshold = _weighted_quantile(values, quantile, weights)
    if low == high:
        return threshold, True
    if ((values == 0) | (values == 1)).all():
        threshold = 0.5
    if threshold >= high:
        threshold = float(values[values < high].max())
    return threshold, False


def _weighted_quantile(
    values: NDArray[np.float64], quantile: float, weights: NDArray[np.float64]
) -> float:
    """Quantile of the values repeated as often as their weights say."""
    order = np.argsort(values, kind="stable")
    ends = np.cumsum(weights[order])
    position = max(ends[-1] - 1.0, 0.0) * quantile
    share, last = position % 1.0, len(values) - 1
    places = np.floor(position) + np.array([0.0, 1.0])
    low, high = values[order[np.minimum(np.searchsorted(ends, places, side="right"), last)]]
    return float((1.0 - share) * low + share * high)


def _judge_constant_columns(
    constant: NDArray[np.bool_], n_samples: int, au_names: Sequence[str] | None
) -> None:
    if constant.all():
        raise ValueError(
            f"All {len(constant)} AUs are constant over the {n_samples} pictures with a face "
            f"(n_samples = {n_samples}): "
            "equal scores cannot tell faces apart. Give more or other pictures, another "
            "detector, or a fixed threshold."
        )
    if constant.any():
        columns = np.flatnonzero(constant)
        names = [f"column {i}" if au_names is None else str(au_names[i]) for i in map(int, columns)]
        warnings.warn(
            f"{len(columns)} of {len(constant)} AUs are constant over the {n_samples} pictures "
            f"with a face and carry no information: {', '.join(names)}. Leave them out.",
            stacklevel=3,
        )


def binarize(scores: ArrayLike, thresholds: ArrayLike) -> NDArray[np.uint8]:
    """Turn AU scores into AU codes.

    Parameters
    ----------
    scores : array-like of float of shape (n_samples, n_aus)
    thresholds : array-like of float of shape (n_aus,)

    Returns
    -------
    codes : ndarray of uint8 of shape (n_samples, n_aus)
        1 where the score is larger than the threshold. Rows with NaN, pictures
        without a face, are zeros, which is a code like any other: whoever
        compares codes must leave these rows out.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> from adafer.aus.facs import binarize
    >>> binarize([[0.2, 0.9], [0.6, 0.5]], [0.5, 0.5])
    array([[0, 1],
           [1, 0]], dtype=uint8)
    """
    scores = np.asarray(scores)
    thresholds = np.asarray(thresholds)
    if scores.ndim != 2 or thresholds.shape != scores.shape[1:]:
        raise ValueError(
            f"scores must have shape (n_samples, n_aus) and thresholds (n_aus,); got "
            f"{scores.shape} and {thresholds.shape}."
        )
    codes = np.empty(scores.shape, dtype=np.uint8)
    limits = _rounded_down(thresholds, scores.dtype)
    known = has_scores(scores)
    for rows in row_blocks(len(scores)):
        np.greater(scores[rows], limits, out=codes[rows].view(np.bool_))
    if not known.all():
        codes[~known] = 0
    return codes


def _rounded_down(thresholds: NDArray, dtype: np.dtype) -> NDArray:
    """Bring thresholds to the scores' dtype; no comparison by ``>`` changes thereby."""
    if dtype == np.uint8:
        return np.floor(thresholds).clip(0, 255).astype(dtype)
    if dtype not in (np.float16, np.float32):
        return thresholds
    rounded = thresholds.astype(dtype)
    return np.where(rounded > thresholds, np.nextafter(rounded, dtype.type(-np.inf)), rounded)
