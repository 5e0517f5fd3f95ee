"""What target samples inherit from the source: T-soft, T-hard and S-hard labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCHEMES", "TargetAnnotation", "one_hot"]

SCHEMES = ("s-hard", "t-hard", "t-soft")


@dataclass(frozen=True)
class TargetAnnotation:
    """Labels that target samples inherit from the source.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        Class names; columns of `labels` and `votes`.
    labels : ndarray of float64 of shape (n_targets, n_classes)
        T-soft: label distribution of the matching source samples. Rows sum to
        1, or are all zero where the target has no label.
    votes : ndarray of float64 of shape (n_targets, n_classes)
        Weight of the matching source samples per class: counts under exact and
        Hamming matching, kernel weights under near matching.
    hard_labels : ndarray of int64 of shape (n_targets,)
        T-hard: index of the most frequent class, -1 where there is no label.
    last_labels : ndarray of int64 of shape (n_targets,)
        Class index of the last matching source sample, -1 where there is none.
    weights : ndarray of float64 of shape (n_targets,)
        1 where the target takes part in the target loss, 0 where it has no label.
    match_counts : ndarray of int64 of shape (n_targets,)
        How many source samples share the target's AU code.
    matched_by : ndarray of str of shape (n_targets,)
        What gave the label: "exact", "hamming", "near", "prior" or "none".

    References
    ----------
    AdaFER paper, section 3.3.
    """

    classes: NDArray
    labels: NDArray
    votes: NDArray
    hard_labels: NDArray
    last_labels: NDArray
    weights: NDArray
    match_counts: NDArray
    matched_by: NDArray

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def coverage(self) -> float:
        """Share of targets whose AU code at least one source sample shares."""
        return float(np.mean(self.match_counts > 0))

    @property
    def labelled_share(self) -> float:
        """Share of targets with a label, by a match or by a back-off."""
        return float(np.mean(self.weights > 0))

    def source_hard(self, conflict: str, rng: np.random.Generator) -> NDArray:
        """S-hard: labels that source samples give to the targets they match.

        Several sources may clash on one target. `conflict` says who wins:
        "random", one matching source drawn uniformly (under near matching by
        its weight); "last", the last in source order; "all", the average over
        them, which as a cross-entropy target equals T-soft up to a constant
        (the entropy of the labels).

        Parameters
        ----------
        conflict : {"random", "last", "all"}
        rng : numpy.random.Generator
            Drawn from for "random" only, one number per target.

        Returns
        -------
        labels : ndarray of float64 of shape (n_targets, n_classes)
            One-hot rows (distributions under "all"), zero where there is no label.
        """
        if conflict == "all":
            return self.labels.copy()
        if conflict == "last":
            index = self.last_labels
        elif conflict == "random":
            cumulative = np.cumsum(self.votes, axis=1)
            total = cumulative[:, -1]
            drawn = (rng.random(len(total)) * total)[:, None]
            index = np.minimum((cumulative <= drawn).sum(axis=1), self.votes.shape[1] - 1)
            index = np.where(total > 0, index, -1)
        else:
            raise ValueError(f"conflict must be 'random', 'last' or 'all'; got {conflict!r}.")
        return one_hot(index, self.votes.shape[1])

    def scheme_labels(self, scheme: str, conflict: str, rng: np.random.Generator) -> NDArray:
        """Labels of one scheme, as the rows of a target distribution.

        Parameters
        ----------
        scheme : {"s-hard", "t-hard", "t-soft"}
        conflict : {"random", "last", "all"}
            For S-hard.
        rng : numpy.random.Generator

        Returns
        -------
        labels : ndarray of float64 of shape (n_targets, n_classes)
            Zero rows where there is no label.
        """
        if scheme == "t-soft":
            return self.labels
        if scheme == "t-hard":
            return one_hot(self.hard_labels, self.votes.shape[1])
        return self.source_hard(conflict, rng)


def one_hot(index: NDArray, n_classes: int) -> NDArray:
    """Rows of the identity matrix, a zero row for index -1."""
    encoded = np.zeros((len(index), n_classes))
    known = index >= 0
    encoded[known, index[known]] = 1.0
    return encoded
