"""Source samples that near matching asks for the labels of targets."""

from __future__ import annotations

from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .au_space import AUSpace
from .neighbors import NeighborIndex, Search, neighbor_blocks

__all__ = ["NearSources"]

# scores, labels and weights
_Piece: TypeAlias = tuple[NDArray, NDArray, NDArray | None]


class NearSources:
    """Scores, labels and weights of source samples, kept in the pieces they came in.

    Pieces are put together, and the space and the index made, when a target is
    first asked about: adding many pieces takes time linear in their rows.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_aus)
    labels : ndarray of int64 of shape (n_samples,)
    weights : ndarray of float64 of shape (n_samples,), optional
        How much the vote of each counts; by default 1.
    """

    def __init__(self, scores: NDArray, labels: NDArray, weights: NDArray | None = None):
        self._pieces: list[_Piece] = [(scores, labels, weights)]
        self._space: tuple[str, AUSpace] | None = None
        self._index: tuple[tuple[str, int, Search], NeighborIndex] | None = None

    def merge(self, later: NearSources) -> NearSources:
        """Put the samples of `later` behind these."""
        merged = NearSources(*self._pieces[0])
        merged._pieces = self._pieces + later._pieces
        return merged

    @property
    def scores(self) -> NDArray:
        """AU scores of all pieces, of shape (n_samples, n_aus)."""
        return self._joined[0]

    @property
    def labels(self) -> NDArray:
        """Class indices of all pieces, of shape (n_samples,)."""
        return self._joined[1]

    @property
    def weights(self) -> NDArray | None:
        """Weights of all pieces, of shape (n_samples,); None where all are 1."""
        return self._joined[2]

    @cached_property
    def _joined(self) -> _Piece:
        if len(self._pieces) > 1:
            scores, labels, weights = zip(*self._pieces, strict=True)
            joined = None
            if any(piece is not None for piece in weights):
                joined = np.concatenate(
                    [
                        np.ones(len(given)) if piece is None else piece
                        for piece, given in zip(weights, labels, strict=True)
                    ]
                )
            self._pieces = [(np.concatenate(scores), np.concatenate(labels), joined)]
        return self._pieces[0]

    def space(self, metric: str) -> AUSpace:
        """Space in which they are compared, learnt from them."""
        if self._space is None or self._space[0] != metric:
            self._space = metric, AUSpace(metric).fit(self.scores, self.labels)
        return self._space[1]

    def votes(
        self,
        scores: NDArray,
        rows: NDArray,
        n_classes: int,
        n_neighbors: int,
        metric: str,
        search: Search,
    ) -> tuple[NDArray, NDArray]:
        """Kernel-weighted votes of the nearest source samples, times their own weights.

        The kernel is as wide as the distance to the farthest of the neighbours,
        per target, so that it needs no scale.

        Parameters
        ----------
        scores : ndarray of shape (n_targets, n_aus)
        rows : ndarray of int of shape (n_asked,)
            Targets that are asked about.
        n_classes, n_neighbors : int
        metric : {"discriminant", "euclidean"}
        search : {"auto", "exact"}

        Returns
        -------
        votes : ndarray of float64 of shape (n_asked, n_classes)
        last_labels : ndarray of int64 of shape (n_asked,)
            Class index of the last of the neighbours in source order.
        """
        space, index = self.space(metric), self._indexed(metric, n_neighbors, search)
        votes = np.empty((len(rows), n_classes))
        last = np.empty(len(rows), dtype=np.int64)
        for block in neighbor_blocks(len(rows), index.n_neighbors):
            squared, neighbors = index.search(space.points(scores[rows[block]]))
            weights = _kernel(squared, neighbors)
            if self.weights is not None:
                weights *= self.weights[neighbors]
            cells = self.labels[neighbors]
            cells += np.arange(len(cells))[:, None] * n_classes
            votes[block] = np.bincount(
                cells.ravel(), weights=weights.ravel(), minlength=len(cells) * n_classes
            ).reshape(len(cells), n_classes)
            last[block] = self.labels[neighbors.max(axis=1)]
        return votes, last

    def _indexed(self, metric: str, n_neighbors: int, search: Search) -> NeighborIndex:
        asked = metric, n_neighbors, search
        if self._index is None or self._index[0] != asked:
            points = self.space(metric).points(self.scores)
            self._index = asked, NeighborIndex(points, n_neighbors, search=search)
        return self._index[1]

    def __getstate__(self) -> dict:
        """Leave out the index, which is made again."""
        return {**vars(self), "_index": None}


def _kernel(squared: NDArray, neighbors: NDArray) -> NDArray:
    """Weights of neighbours by their squared distances; 0 where none was found."""
    squared = np.where(neighbors >= 0, squared, 0.0)
    distances = np.sqrt(np.maximum(squared, 0.0).astype(np.float64))
    width = np.maximum(distances.max(axis=1, keepdims=True), 1e-6)
    weights = np.exp(-2.0 * (distances / width) ** 2)
    weights[neighbors < 0] = 0.0
    return weights
