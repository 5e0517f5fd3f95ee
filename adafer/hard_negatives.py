"""Drawing each anchor's negative among the hard candidates of the other domain.

A candidate is hard if its AU code differs from the anchor's and the cosine of
the two faces' AU scores is above a threshold. No matrix of all similarities is
made:

1. Proposals are drawn uniformly over the samples with another code and accepted
   if they are hard, which is uniform over the hard candidates. Some rounds of it
   settle almost all anchors, in time linear in their number.
2. The few that are left have few hard candidates, or none. All their candidates
   are looked at, which is exact.
3. Where that would take more than `EXACT_PAIRS` similarities, each anchor is
   compared with samples drawn at random, about a thousand or more (a hard one
   among these is uniform still), and if none of these is hard, with its
   `CANDIDATES` most similar samples, found as in near matching: one of the hard
   among these is drawn uniformly, else it is the most similar.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from .aus.scores import row_blocks
from .matching import distinct_keys, score_keys
from .neighbors import NeighborIndex, neighbor_blocks

__all__ = ["CANDIDATES", "EXACT_PAIRS", "CodedDomain", "HardNegatives"]

EXACT_PAIRS = 1 << 31
CANDIDATES = 128

_ROUNDS = 30
_PROPOSALS = 1 << 12  # compared at a time: their AU scores stay in the cache
_BLOCK = 1 << 22  # similarities kept at a time
_LEAST_SAMPLE = 1024
_NEVER = -2.0  # below any cosine


class CodedDomain:
    """Faces of one domain that have AU scores, grouped by AU code.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_aus), values in [0, 1]
        Rows with NaN take no part.
    thresholds : ndarray of float of shape (n_aus,)

    Attributes
    ----------
    rows : ndarray of int of shape (n_faces,)
        Rows of `scores` that take part.
    keys : ndarray of shape (n_codes,)
        Keys of their distinct codes, ascending.
    group : ndarray of int of shape (n_faces,)
        Which of these each has.
    counts, starts : ndarrays of int of shape (n_codes,)
        Size of each group, and where it starts in `members`.
    members : ndarray of int of shape (n_faces,)
        Faces, group by group.
    units : ndarray of float32 of shape (n_faces, n_aus)
        Scores divided by their norm.
    """

    def __init__(self, scores: NDArray, thresholds: NDArray):
        keys, known = score_keys(scores, thresholds)
        n_aus = scores.shape[1]
        self.rows = np.flatnonzero(known).astype(np.int32 if len(known) < 1 << 31 else np.int64)
        if len(self.rows) < len(keys):
            keys = keys[known]
        self.keys, self.group = distinct_keys(keys, n_aus)
        n_faces, n_codes = len(self.rows), len(self.keys)
        # turning a matrix over sorts by counting, which is linear
        by_face = csr_matrix(
            (np.ones(n_faces, dtype=np.bool_), self.group, np.arange(n_faces + 1)),
            shape=(n_faces, n_codes),
        )
        by_code = by_face.tocsc()
        self.members, self.starts = by_code.indices, by_code.indptr[:-1]
        self.counts = np.diff(by_code.indptr)
        self.units = np.empty((n_faces, n_aus), dtype=np.float32)
        for block in row_blocks(n_faces):
            part = np.asarray(scores[self.rows[block]], dtype=np.float64)
            norm = np.linalg.norm(part, axis=1, keepdims=True)
            self.units[block] = np.divide(part, norm, out=np.zeros_like(part), where=norm > 0)

    @cached_property
    def index(self) -> NeighborIndex:
        """Most similar faces by the cosine."""
        return NeighborIndex(self.units, CANDIDATES, similarity="product", on_gpu=False)

    def __getstate__(self) -> dict:
        """Leave out the index, which is made again."""
        return {name: value for name, value in vars(self).items() if name != "index"}


class HardNegatives:
    """Draws negatives of one domain's anchors from the other domain.

    Parameters
    ----------
    near, far : CodedDomain
        The anchors' domain, and the negatives'.
    tau_n : float
        Cosine above which a candidate is hard; 0 takes any.
    """

    def __init__(self, near: CodedDomain, far: CodedDomain, tau_n: float):
        self._near = near
        self._far = far
        self._tau_n = tau_n

    def draw(
        self, anchors: NDArray, group: NDArray, positive: NDArray, rng: np.random.Generator
    ) -> NDArray:
        """Draw one negative for each anchor.

        Parameters
        ----------
        anchors : ndarray of int of shape (n_anchors,)
            Faces of the near domain.
        group : ndarray of int of shape (n_anchors,)
            Group of the far domain with the anchor's code, -1 where there is none.
        positive : ndarray of int of shape (n_anchors,)
            Face of the far domain that is not to be drawn.
        rng : numpy.random.Generator

        Returns
        -------
        negative : ndarray of int64 of shape (n_anchors,)
            -1 where no face of the far domain has another code.
        """
        far = self._far
        own_start = np.where(group >= 0, far.starts[group], 0)
        own_count = np.where(group >= 0, far.counts[group], 0)
        available = len(far.rows) - own_count
        negative = np.full(len(anchors), -1, dtype=np.int64)
        open_ = np.flatnonzero(available > 0)
        for _ in range(_ROUNDS):
            if len(open_) == 0:
                break
            # an index over all faces, shifted past the anchor's own group
            place = (rng.random(len(open_)) * available[open_]).astype(np.int64)
            place += np.where(place >= own_start[open_], own_count[open_], 0)
            proposal = far.members[place]
            accepted = proposal != positive[open_]
            if self._tau_n > 0:
                accepted &= self._similarity(anchors[open_], proposal) > self._tau_n
            negative[open_[accepted]] = proposal[accepted]
            open_ = open_[~accepted]
        if len(open_):
            settle = self._settle
            if len(open_) * len(far.rows) > EXACT_PAIRS:
                settle = self._settle_many
            negative[open_] = settle(anchors[open_], group[open_], positive[open_], rng)
        return negative

    def _similarity(self, anchors: NDArray, proposals: NDArray) -> NDArray:
        found = np.empty(len(anchors), dtype=np.float32)
        for rows in row_blocks(len(anchors), _PROPOSALS):
            near, far = self._near.units[anchors[rows]], self._far.units[proposals[rows]]
            np.einsum("ij,ij->i", near, far, out=found[rows])
        return found

    def _settle(
        self, anchors: NDArray, group: NDArray, positive: NDArray, rng: np.random.Generator
    ) -> NDArray:
        """Look at all faces of the far domain."""
        chosen = np.empty(len(anchors), dtype=np.int64)
        for rows in row_blocks(len(anchors), max(1, _BLOCK // len(self._far.rows))):
            similarity = self._near.units[anchors[rows]] @ self._far.units.T
            similarity[self._far.group == group[rows, None]] = _NEVER
            similarity[np.arange(len(similarity)), positive[rows]] = _NEVER
            chosen[rows], _ = self._choose(similarity, rng)
        return chosen

    def _settle_many(
        self, anchors: NDArray, group: NDArray, positive: NDArray, rng: np.random.Generator
    ) -> NDArray:
        """Look at faces drawn at random, then at the most similar ones."""
        far = self._far
        n_sampled = min(len(far.rows), max(_LEAST_SAMPLE, EXACT_PAIRS // len(anchors)))
        chosen = np.empty(len(anchors), dtype=np.int64)
        best = np.empty(len(anchors), dtype=np.float32)
        for rows in row_blocks(len(anchors), max(1, _BLOCK // n_sampled)):
            sample = rng.integers(len(far.rows), size=n_sampled)
            similarity = self._near.units[anchors[rows]] @ far.units[sample].T
            self._forbid(similarity, sample, group[rows], positive[rows])
            column, best[rows] = self._choose(similarity, rng)
            chosen[rows] = np.where(column >= 0, sample[column], -1)
        rest = np.flatnonzero((chosen < 0) | ((best <= self._tau_n) & (self._tau_n > 0)))
        crowded = []  # their most similar faces all have their own code
        for rows in neighbor_blocks(len(rest), far.index.n_neighbors):
            part = rest[rows]
            similarity, candidates = far.index.search(self._near.units[anchors[part]])
            self._forbid(similarity, candidates, group[part], positive[part])
            self._take_better(part, similarity, candidates, chosen, best, rng)
            none_left = similarity.max(axis=1) == _NEVER
            crowded.append(part[none_left & (group[part] >= 0)])
        for code, part in _by_value(np.concatenate(crowded), group) if crowded else ():
            without = far.members[far.starts[code] : far.starts[code] + far.counts[code]]
            similarity, candidates = far.index.search(
                self._near.units[anchors[part]], without=without
            )
            self._forbid(similarity, candidates, group[part], positive[part])
            self._take_better(part, similarity, candidates, chosen, best, rng)
        return chosen

    def _forbid(
        self, similarity: NDArray, candidates: NDArray, group: NDArray, positive: NDArray
    ) -> None:
        """Make what may not be drawn unlike: the own code, the positive, and nothing found."""
        own = self._far.group[candidates] == group[:, None]
        similarity[own | (candidates == positive[:, None]) | (candidates < 0)] = _NEVER

    def _take_better(
        self,
        part: NDArray,
        similarity: NDArray,
        candidates: NDArray,
        chosen: NDArray,
        best: NDArray,
        rng: np.random.Generator,
    ) -> None:
        """Choose among candidates where the choice is more similar than that before."""
        column, found = self._choose(similarity, rng)
        better = found > best[part]
        chosen[part[better]] = candidates[better, column[better]]
        best[part[better]] = found[better]

    def _choose(self, similarity: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
        """Column of a hard candidate, uniformly; else of the most similar; else -1."""
        n_anchors, n_candidates = similarity.shape
        hard = similarity > (self._tau_n if self._tau_n > 0 else _NEVER)
        n_hard = np.count_nonzero(hard, axis=1)
        place = np.cumsum(n_hard) - n_hard + (rng.random(n_anchors) * n_hard).astype(np.int64)
        column = np.empty(n_anchors, dtype=np.int64)
        some = n_hard > 0
        column[some] = np.flatnonzero(hard)[place[some]] % n_candidates
        column[~some] = similarity[~some].argmax(axis=1)
        found = similarity[np.arange(n_anchors), column]
        return np.where(found > _NEVER, column, -1), found


def _by_value(rows: NDArray, values: NDArray) -> list[tuple[int, NDArray]]:
    """Rows grouped by their value."""
    rows = rows[np.argsort(values[rows], kind="stable")]
    found, first = np.unique(values[rows], return_index=True)
    return list(zip(found.tolist(), np.split(rows, first[1:]), strict=True))
