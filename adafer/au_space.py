"""The space in which near matching measures how alike the AUs of two faces are."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import QuantileTransformer
from sklearn.utils import resample

from .aus.scores import row_blocks

__all__ = ["AUSpace"]

# Samples of which either map is learnt; more would not change it.
_QUANTILE_SAMPLE = 100_000
_DISCRIMINANT_SAMPLE = 200_000


class AUSpace:
    """AU scores on one scale, seen in the directions that tell classes apart.

    Scores of different AUs do not share a scale, so that each AU is mapped to
    its quantiles in the source. In plain Euclidean distance every AU then counts
    the same, whether expressions depend on it or not; linear discriminant
    analysis weighs and combines them so that the source's classes lie apart and
    the spread within each is the same in all directions. Of more than 100,000 and
    200,000 samples the two maps are learnt from so many, drawn with a fixed seed.

    Parameters
    ----------
    metric : {"discriminant", "euclidean"}
        "euclidean" leaves the second step out.

    Attributes
    ----------
    quantile_map_ : QuantileTransformer
    discriminant_ : LinearDiscriminantAnalysis or None
        None where it cannot be had: one class, or classes without any spread.
    """

    def __init__(self, metric: str = "discriminant"):
        self.metric = metric

    def fit(self, scores: NDArray, labels: NDArray) -> AUSpace:
        """Learn both maps from the source.

        Parameters
        ----------
        scores : ndarray of shape (n_samples, n_aus), values in [0, 1]
        labels : ndarray of shape (n_samples,)

        Returns
        -------
        self : AUSpace
        """
        sample = scores
        if len(scores) > _QUANTILE_SAMPLE:  # before the transformer copies all of them
            sample = resample(scores, replace=False, n_samples=_QUANTILE_SAMPLE, random_state=0)
        self.quantile_map_ = QuantileTransformer(
            n_quantiles=min(1000, len(scores)), subsample=_QUANTILE_SAMPLE, random_state=0
        ).fit(np.asarray(sample, dtype=np.float64))
        self.discriminant_ = None
        if len(scores) > _DISCRIMINANT_SAMPLE:
            rows = np.random.default_rng(0).choice(
                len(scores), _DISCRIMINANT_SAMPLE, replace=False, shuffle=False
            )
            scores, labels = scores[rows], labels[rows]
        n_classes = len(np.unique(labels))
        if self.metric == "discriminant" and 1 < n_classes < len(labels):
            # shrinkage keeps AUs that go together from being told apart by noise
            discriminant = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", RuntimeWarning)
                    discriminant.fit(self._quantiles(scores), labels)
            except (np.linalg.LinAlgError, RuntimeWarning):
                return self
            if np.isfinite(discriminant.scalings_).all():
                self.discriminant_ = discriminant
        return self

    def transform(self, scores: NDArray) -> NDArray:
        """Bring scores into the space.

        Parameters
        ----------
        scores : ndarray of shape (n_samples, n_aus), values in [0, 1]

        Returns
        -------
        points : ndarray of float64 of shape (n_samples, n_dimensions)
        """
        points = self._quantiles(scores)
        if self.discriminant_ is not None:
            points = self.discriminant_.transform(points)
        return points

    def points(self, scores: NDArray) -> NDArray:
        """Bring scores into the space, block by block, in the precision of the search.

        Parameters
        ----------
        scores : ndarray of shape (n_samples, n_aus), values in [0, 1]

        Returns
        -------
        points : ndarray of float32 of shape (n_samples, n_dimensions)
        """
        blocks = [
            self.transform(scores[rows]).astype(np.float32) for rows in row_blocks(len(scores))
        ]
        return np.concatenate(blocks)

    def _quantiles(self, scores: NDArray) -> NDArray:
        # float32 scores would be mapped in float32
        return self.quantile_map_.transform(np.asarray(scores, dtype=np.float64))
