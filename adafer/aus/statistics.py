"""How often each expression shows each AU, and how alike domains are in that."""

from __future__ import annotations

from numbers import Real
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import unique_labels

from .._checks import check_labels, check_matrix, check_rows, naming
from .._sklearn import Interval, StrOptions, judged
from .facs import binarize, fit_thresholds
from .scores import check_au_scores, has_scores

__all__ = ["AUFrequencies", "au_frequencies", "au_similarity"]


class AUFrequencies(NamedTuple):
    """What `au_frequencies` counted.

    Attributes
    ----------
    labels : ndarray of shape (n_classes,)
        Expressions in the order of the rows.
    frequencies : ndarray of float64 of shape (n_classes, n_aus)
        Share of each expression's faces that show each AU; NaN rows for
        expressions without a face.
    counts : ndarray of int of shape (n_classes,)
        Faces of each expression.
    n_missing : int
        Pictures left out because no face was found.
    """

    labels: NDArray
    frequencies: NDArray[np.float64]
    counts: NDArray[np.intp]
    n_missing: int


@judged(
    threshold=[StrOptions({"quantile"}), Interval(Real, 0, 1, closed="both"), "array-like"],
    quantile=[Interval(Real, 0, 1, closed="neither")],
)
def au_frequencies(
    scores: ArrayLike,
    y: ArrayLike,
    *,
    threshold: Literal["quantile"] | float | ArrayLike = "quantile",
    quantile: float = 0.7,
    labels: ArrayLike | None = None,
) -> AUFrequencies:
    """Count how often each expression shows each AU.

    This is what Figure 3 of the AdaFER paper draws, divided by the number of
    faces of the expression, so that sets of different sizes can be compared.

    Parameters
    ----------
    scores : array-like of shape (n_samples, n_aus), values in [0, 1]
        AU scores, or AU codes. Rows with NaN, pictures without a face, are left
        out and counted.
    y : array-like of shape (n_samples,)
        Expressions.
    threshold : {"quantile"}, float or array-like of shape (n_aus,), default="quantile"
        Score above which an AU counts as shown; see
        `adafer.aus.facs.fit_thresholds`. Codes stay as they are by default. To
        compare two domains, give both the same thresholds.
    quantile : float, default=0.7
        Used with ``threshold="quantile"``.
    labels : array-like of shape (n_classes,), optional
        Expressions in the order of the rows; by default those of `y`, sorted.
        Faces of others are left out.

    Returns
    -------
    counted : AUFrequencies

    Raises
    ------
    ValueError
        If shapes do not fit, values are out of range, or no picture has a face.

    Examples
    --------
    >>> from adafer.aus.statistics import au_frequencies
    >>> codes = [[1, 0], [1, 1], [0, 1], [float("nan")] * 2]
    >>> counted = au_frequencies(codes, ["joy", "joy", "fear", "fear"])
    >>> counted.labels.tolist(), counted.counts.tolist(), counted.n_missing
    (['fear', 'joy'], [1, 2], 1)
    >>> counted.frequencies
    array([[0. , 1. ],
           [1. , 0.5]])
    """
    truth = check_labels(y)
    scores, _ = check_au_scores(scores, name="scores")
    check_rows(truth, len(scores), name="y", of="scores")
    if np.ndim(threshold) == 0:
        threshold = fit_thresholds(scores, threshold=threshold, quantile=quantile)  # type: ignore[arg-type]
    with naming("threshold"):
        threshold = np.asarray(threshold, dtype=np.float64)
    if threshold.shape != (scores.shape[1],):
        raise ValueError(
            f"threshold must be one number or {scores.shape[1]} of them, one per AU; got shape "
            f"{threshold.shape}."
        )
    codes, known = binarize(scores, threshold), has_scores(scores)
    names = unique_labels(truth) if labels is None else check_labels(labels, name="labels")
    if len(np.unique(names)) < len(names):
        raise ValueError(f"labels must differ; got {names.tolist()}.")
    members = (truth[:, None] == names) & known[:, None]
    counts = members.sum(axis=0)
    with np.errstate(invalid="ignore"):
        frequencies = (members.T @ codes.astype(np.float64)) / counts[:, None]
    return AUFrequencies(names, frequencies, counts, int((~known).sum()))


def au_similarity(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    r"""Tell how alike AU frequencies are, for each pair of rows.

    It is the overlap of their bars, the part that both have of what at least
    one has (the weighted Jaccard or Ruzicka similarity):

    .. math:: s(p, q) = \frac{\sum_k \min(p_k, q_k)}{\sum_k \max(p_k, q_k)}

    with :math:`p_k` and :math:`q_k` the share of faces that show the AU
    :math:`k`. 1 means equal, 0 that no AU is in both. AUs that neither shows do
    not count, as they would with measures that average over AUs, where any two
    expressions look alike; and other than with a correlation, it matters how
    often AUs are shown. Two rows without any AU have similarity 1.

    Parameters
    ----------
    a : array-like of shape (n_a, n_aus), values in [0, 1]
        Frequencies as in `AUFrequencies`; NaN rows give NaN.
    b : array-like of shape (n_b, n_aus)

    Returns
    -------
    similarity : ndarray of float64 of shape (n_a, n_b)
        With the same expressions in `a` and `b`, the diagonal compares each
        expression with itself in the other domain.

    Raises
    ------
    ValueError
        If the shapes do not fit or values are negative.

    Notes
    -----
    Few faces make frequencies coarse and the similarity too low: halves of one
    domain with 10 faces each are less alike than with 1000.

    Examples
    --------
    >>> from adafer.aus.statistics import au_similarity
    >>> au_similarity([[0.5, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]])
    array([[0.5, 0. ],
           [0. , 1. ]])
    """
    a, b = check_matrix(a, name="a", missing=True), check_matrix(b, name="b", missing=True)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"a and b must have shapes (n_a, n_aus) and (n_b, n_aus); got {a.shape} and {b.shape}. "
            "Give the frequencies of the same AUs."
        )
    if (a < 0).any() or (b < 0).any():
        raise ValueError("a and b must be frequencies; got negative values.")
    shared = np.minimum(a[:, None], b).sum(axis=2)
    either = np.maximum(a[:, None], b).sum(axis=2)
    return np.where(either == 0, 1.0, shared / np.where(either == 0, 1.0, either))
