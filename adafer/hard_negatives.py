"""Drawing each anchor's negative among the hard candidates of the other domain.

A candidate is hard if its AU code differs from the anchor's and the cosine of
the two faces' AU scores is above a threshold. No matrix of all similarities is
made:

1. Proposals are drawn uniformly over the samples with another code and accepted
   if they are hard, which is uniform over the hard candidates. Some rounds of it
   settle almost all anchors, in time linear in their number.
2. The few that are left have few hard candidates, or none. All their candidates
   are looked at. Where that takes more than `DRAWN_PAIRS` similarities, they are
   compared with at least a thousand samples drawn at random first; a hard one
   among these is uniform still.
3. Where all candidates of those that are left then would be more than
   `EXACT_PAIRS` and 4096 similarities for each face of the domain, and the other
   domain has more than `adafer.neighbors.EXACT_UP_TO` faces, each anchor is
   compared with its `CANDIDATES` most similar samples, found as in near matching
   (or, if all of these have its own code, with 16,384 others): one of the hard
   among these is drawn uniformly, else it is the most similar. These anchors have
   one hard candidate in some hundreds at most; their draw alone is not uniform
   over all of them.

Anchors that are found to have no hard candidate are remembered for later epochs.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from . import neighbors
from .aus.scores import row_blocks
from .matching import distinct_keys, score_keys

__all__ = ["CANDIDATES", "DRAWN_PAIRS", "EXACT_PAIRS", "CodedDomain", "HardNegatives"]

DRAWN_PAIRS = 1 << 24
EXACT_PAIRS = 1 << 28
CANDIDATES = 128

_ROUNDS = 30
_ANCHORS = 1 << 18  # proposed for at a time
_PROPOSALS = 1 << 12  # compared at a time: their AU scores stay in the cache
_BLOCK = 1 << 21  # similarities kept at a time
_ROWS = 256  # anchors compared with the same faces
_LEAST_DRAWN = 1024
_PAIRS_PER_FACE = 4096
_CROWDED_DRAWN = 1 << 14
_NEVER = -2.0  # below any cosine
_LARGEST = np.nextafter(1.0, 0.0)


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
    def index(self) -> neighbors.NeighborIndex:
        """Most similar faces by the cosine."""
        return neighbors.NeighborIndex(self.units, CANDIDATES, similarity="product", on_gpu=False)

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
        self.tau_n = tau_n
        self._near = near
        self._far = far
        self._limit = tau_n if tau_n > 0 else _NEVER

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
        negative = np.full(len(anchors), -1, dtype=np.int64)
        left = []
        for rows in row_blocks(len(anchors), _ANCHORS):
            negative[rows], open_ = self._reject(anchors[rows], group[rows], positive[rows], rng)
            left.append(rows.start + open_)
        rest = np.concatenate(left) if left else anchors[:0]
        if len(rest):
            negative[rest] = self._settle(anchors[rest], group[rest], positive[rest], rng)
        return negative

    def _reject(
        self, anchors: NDArray, group: NDArray, positive: NDArray, rng: np.random.Generator
    ) -> tuple[NDArray, NDArray]:
        """Propose and accept; negatives, and which anchors are left without."""
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
            if self.tau_n > 0:
                accepted &= self._similarity(anchors[open_], proposal) > self.tau_n
            negative[open_[accepted]] = proposal[accepted]
            open_ = open_[~accepted]
        return negative, open_

    def _similarity(self, anchors: NDArray, proposals: NDArray) -> NDArray:
        found = np.empty(len(anchors), dtype=np.float32)
        for rows in row_blocks(len(anchors), _PROPOSALS):
            near, far = self._near.units[anchors[rows]], self._far.units[proposals[rows]]
            np.einsum("ij,ij->i", near, far, out=found[rows])
        return found

    def _settle(
        self, anchors: NDArray, group: NDArray, positive: NDArray, rng: np.random.Generator
    ) -> NDArray:
        """Settle the anchors that rejection left."""
        n_near, n_far = len(self._near.rows), len(self._far.rows)
        asked = _Asked(anchors, group, positive, rng.random(len(anchors)))
        if len(anchors) * n_far > DRAWN_PAIRS:
            n_drawn = max(_LEAST_DRAWN, DRAWN_PAIRS // len(anchors))
            for rows in row_blocks(len(anchors), _ROWS):
                self._compare(asked, asked.rows[rows], rng.integers(n_far, size=n_drawn))
        # from here on no more random numbers, so that what is remembered changes no draw
        soft = self._soft[anchors]
        known = (soft >= 0) & (asked.n_hard == 0)
        asked.chosen[known] = soft[known]
        rest = asked.rows[~known & (asked.n_hard == 0)]
        # linear in the anchors of the domain, however many are left of them
        n_left = int(np.count_nonzero(asked.n_hard == 0))  # remembered or not: every draw alike
        many = n_left * n_far > EXACT_PAIRS + _PAIRS_PER_FACE * n_near
        if many and n_far > neighbors.EXACT_UP_TO:
            self._ask_similar(asked, rest)
        else:
            for rows in row_blocks(len(rest), _ROWS):
                self._compare(asked, rest[rows], np.arange(n_far))
        # where the positive has another code, what is left for the negative depends on it
        settled = rest[(asked.n_hard[rest] == 0) & (group[rest] >= 0)]
        self._soft[anchors[settled]] = asked.chosen[settled]
        return asked.chosen

    @cached_property
    def _soft(self) -> NDArray:
        """Negatives of anchors that were found to have no hard one, else -1."""
        return np.full(len(self._near.rows), -1, dtype=np.int32)

    def _compare(self, asked: _Asked, part: NDArray, faces: NDArray) -> None:
        """Compare some anchors with the same faces, some at a time."""
        anchors = self._near.units[asked.anchors[part]]
        for columns in row_blocks(len(faces), _BLOCK // len(part)):
            similarity = anchors @ self._far.units[faces[columns]].T
            self._choose(asked, part, similarity, faces[None, columns])

    def _ask_similar(self, asked: _Asked, rest: NDArray) -> None:
        """Choose among each anchor's most similar faces."""
        far, units = self._far, self._near.units[asked.anchors[rest]]
        asked.similarity[rest] = _NEVER
        asked.chosen[rest] = -1
        for rows in neighbors.neighbor_blocks(len(rest), far.index.n_neighbors):
            similarity, candidates = far.index.search(units[rows])
            self._choose(asked, rest[rows], similarity, candidates)
        # those whose most similar faces all have their own code
        crowded = rest[asked.chosen[rest] < 0]
        drawn = np.random.default_rng(0).integers(len(far.rows), size=_CROWDED_DRAWN)
        for rows in row_blocks(len(crowded), _ROWS):
            self._compare(asked, crowded[rows], drawn)
        # a code that hides all others even there is that of almost all faces: one at most
        crowded = crowded[asked.chosen[crowded] < 0]
        for code in np.unique(asked.group[crowded]):
            same = crowded[asked.group[crowded] == code]
            others = np.flatnonzero(far.group != code)
            for rows in row_blocks(len(same), _ROWS):
                self._compare(asked, same[rows], others)

    def _choose(
        self,
        asked: _Asked,
        part: NDArray,
        similarity: NDArray,
        candidates: NDArray,
    ) -> None:
        """Draw among all hard candidates so far, else keep the most similar so far.

        Parameters
        ----------
        asked : _Asked
            Gets the choice.
        part : ndarray of int of shape (n_anchors,)
            Which of the anchors.
        similarity : ndarray of float32 of shape (n_anchors, n_candidates)
            Overwritten.
        candidates : ndarray of int of shape (1 or n_anchors, n_candidates)
            Faces, -1 for none.
        """
        n_anchors, n_candidates = similarity.shape
        groups = self._far.group[candidates]
        own, positive = asked.group[part], asked.positive[part]
        if candidates.min() < 0:
            similarity[candidates < 0] = _NEVER
        # few are hard: who may be drawn is asked of these alone
        row, column = np.divmod(np.flatnonzero(similarity > self._limit), np.int64(n_candidates))
        shared = row if len(candidates) > 1 else np.zeros_like(row)
        kept = (groups[shared, column] != own[row]) & (candidates[shared, column] != positive[row])
        row, column, shared = row[kept], column[kept], shared[kept]
        n_hard = np.bincount(row, minlength=n_anchors)
        first = np.cumsum(n_hard) - n_hard
        asked.n_hard[part] += n_hard
        # one of the new takes the place of the old with the share of the new
        share = n_hard / np.maximum(asked.n_hard[part], 1)
        taken = np.flatnonzero(asked.lucky(part, share))
        place = first[taken] + asked.drawn(part[taken], n_hard[taken])
        asked.chosen[part[taken]] = candidates[shared[place], column[place]]

        soft = np.flatnonzero(asked.n_hard[part] == 0)
        similar = similarity[soft]
        at = soft if len(candidates) > 1 else slice(None)
        similar[groups[at] == own[soft, None]] = _NEVER
        similar[candidates[at] == positive[soft, None]] = _NEVER
        best = similar.argmax(axis=1)
        found = similar[np.arange(len(soft)), best]
        better = found > asked.similarity[part[soft]]
        rows = soft[better]
        asked.similarity[part[rows]] = found[better]
        shared = rows if len(candidates) > 1 else np.zeros_like(rows)
        asked.chosen[part[rows]] = candidates[shared, best[better]]


class _Asked:
    """Anchors that are to be settled, and what is chosen for them so far.

    Each has one random number, of which all its draws are made: what was drawn
    by it is taken out, and the rest, which is uniform again, kept.
    """

    def __init__(self, anchors: NDArray, group: NDArray, positive: NDArray, luck: NDArray):
        self.anchors = anchors
        self.group = group
        self.positive = positive
        self.rows = np.arange(len(anchors))
        self.chosen = np.full(len(anchors), -1, dtype=np.int64)
        # hard candidates seen, and where none was, the similarity of the chosen one
        self.n_hard = np.zeros(len(anchors), dtype=np.int64)
        self.similarity = np.full(len(anchors), _NEVER, dtype=np.float32)
        self._luck = luck

    def lucky(self, part: NDArray, share: NDArray) -> NDArray:
        """Draw yes or no, yes with a probability of `share`."""
        luck = self._luck[part]
        yes = luck < share
        scale = np.where(yes, share, 1 - share)
        luck = np.where(yes, luck, luck - share) / np.where(scale > 0, scale, 1)
        self._luck[part] = np.minimum(luck, _LARGEST)
        return yes

    def drawn(self, part: NDArray, n: NDArray) -> NDArray:
        """Draw a number below `n`."""
        luck = self._luck[part] * n
        drawn = luck.astype(np.int64)
        self._luck[part] = luck - drawn
        return drawn
