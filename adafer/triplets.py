"""Choosing cross-domain triplets by action units (AGT)."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ._sklearn import Interval, StrOptions, fit_context
from .aus.facs import binarize
from .aus.scores import align_au_columns, check_au_scores, has_scores
from .matching import code_keys, nearest_scores
from .target import unwrap_target

__all__ = ["TripletMiner", "Triplets"]

# Negatives are drawn by rejection; anchors left after this many rounds are
# settled by looking at all candidates, in blocks of this many similarities.
_ROUNDS = 30
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Triplets:
    """Triplets of one kind: the anchor in one domain, the others in the other.

    Attributes
    ----------
    anchor : ndarray of int64 of shape (n_triplets,)
        Row in the anchor's domain.
    positive, negative : ndarray of int64 of shape (n_triplets,)
        Rows in the other domain.
    n_skipped : int
        Anchors without a positive or a negative.
    """

    anchor: NDArray
    positive: NDArray
    negative: NDArray
    n_skipped: int

    def __len__(self) -> int:
        return len(self.anchor)


class _Domain:
    """Scores of one domain, its usable rows grouped by AU code."""

    def __init__(self, scores: NDArray, codes: NDArray):
        self.rows = np.flatnonzero(has_scores(scores))
        self.scores = scores[self.rows]
        keys = code_keys(codes[self.rows])
        self.keys, self.group, counts = np.unique(keys, return_inverse=True, return_counts=True)
        self.row_keys = keys
        self.counts = counts
        self.members = np.argsort(self.group, kind="stable")
        self.starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        norm = np.linalg.norm(self.scores, axis=1, keepdims=True)
        self.units = np.divide(
            self.scores, norm, out=np.zeros_like(self.scores), where=norm > 0
        ).astype(np.float32)

    def find(self, keys: NDArray) -> NDArray:
        """Group that holds each key, -1 where none does."""
        group = np.searchsorted(self.keys, keys)
        group[group == len(self.keys)] = 0
        return np.where(self.keys[group] == keys, group, -1)


class TripletMiner(BaseEstimator):
    """Draw triplets (anchor, positive, negative) across the two domains.

    Only cross-domain triplets are kept: (source anchor, target positive, target
    negative) and (target anchor, source positive, source negative). A positive
    is drawn uniformly from the other domain's samples with the anchor's AU
    code. A negative is drawn uniformly from the other domain's samples with a
    different code whose AU scores have a cosine similarity to the anchor's
    above `tau_n`; where there is none, it is the most similar sample with a
    different code.

    Parameters
    ----------
    anchors : {"both", "source", "target"}, default="both"
        Domains whose samples serve as anchors.
    tau_n : float, default=0.5
        Threshold of hard negative mining on the cosine similarity, in [0, 1).
        0 turns it off: any sample with another code serves.
    near_positives : int, default=0
        An anchor whose code nobody in the other domain has takes its positive
        from its this many nearest samples there by AU scores; 0 skips it.
    thresholds : array-like of float of shape (n_aus,) or float, default=0.5
        Scores above it count as present.

    Attributes
    ----------
    n_features_in_ : int
        Number of AUs.

    References
    ----------
    AdaFER paper, section 3.4.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer import TripletMiner
    >>> au_src = np.array([[0.9, 0.1], [0.8, 0.9]])
    >>> au_tgt = np.array([[0.7, 0.2], [0.9, 0.8]])
    >>> miner = TripletMiner(anchors="source").fit(au_src, au_tgt)
    >>> (triplets,) = miner.draw(random_state=0)
    >>> triplets.anchor, triplets.positive, triplets.negative
    (array([0, 1]), array([0, 1]), array([1, 0]))
    """

    _parameter_constraints: dict = {
        "anchors": [StrOptions({"both", "source", "target"})],
        "tau_n": [Interval(Real, 0, 1, closed="left")],
        "near_positives": [Interval(Integral, 0, None, closed="left")],
        "thresholds": ["array-like", Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        anchors: str = "both",
        *,
        tau_n: float = 0.5,
        near_positives: int = 0,
        thresholds: ArrayLike | float = 0.5,
    ):
        self.anchors = anchors
        self.tau_n = tau_n
        self.near_positives = near_positives
        self.thresholds = thresholds

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, X_tgt: ArrayLike) -> TripletMiner:
        """Group both domains by AU code.

        Parameters
        ----------
        X : array-like of shape (n_source, n_aus), values in [0, 1]
            AU scores of the source; rows with NaN take no part.
        X_tgt : array-like of shape (n_target, n_aus), values in [0, 1]
            AU scores of the target.

        Returns
        -------
        self : TripletMiner
        """
        source, source_names = check_au_scores(X, name="au_src")
        target, target_names = check_au_scores(unwrap_target(X_tgt), name="au_tgt")
        target = align_au_columns(
            target, target_names, source_names, source.shape[1], name="au_tgt", reference="au_src"
        )
        self.n_features_in_ = source.shape[1]
        thresholds = np.broadcast_to(np.asarray(self.thresholds, dtype=float), source.shape[1])
        self._source = _Domain(source, binarize(source, thresholds))
        self._target = _Domain(target, binarize(target, thresholds))
        return self

    def draw(
        self, random_state: int | np.random.RandomState | np.random.Generator | None = None
    ) -> tuple[Triplets, ...]:
        """Choose one triplet for each anchor.

        Parameters
        ----------
        random_state : int, RandomState, Generator or None

        Returns
        -------
        triplets : tuple of Triplets
            Source anchors first, then target anchors, as `anchors` says.
        """
        check_is_fitted(self, "n_features_in_")
        if isinstance(random_state, np.random.Generator):
            rng = random_state
        else:
            rng = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
        drawn = []
        if self.anchors in ("both", "source"):
            drawn.append(self._draw_from(self._source, self._target, rng))
        if self.anchors in ("both", "target"):
            drawn.append(self._draw_from(self._target, self._source, rng))
        return tuple(drawn)

    def _draw_from(self, near: _Domain, far: _Domain, rng: np.random.Generator) -> Triplets:
        # All distinct codes of the anchors are looked up once.
        group = far.find(near.keys)[near.group]
        n_anchors = len(group)
        positive = np.full(n_anchors, -1, dtype=np.int64)
        same = np.flatnonzero(group >= 0)
        within = (rng.random(len(same)) * far.counts[group[same]]).astype(np.int64)
        positive[same] = far.members[far.starts[group[same]] + within]
        if self.near_positives:
            lonely = np.flatnonzero(group < 0)
            if len(lonely):
                _, nearest = nearest_scores(far.scores, near.scores[lonely], self.near_positives)
                choice = rng.integers(nearest.shape[1], size=len(lonely))
                positive[lonely] = nearest[np.arange(len(lonely)), choice]
        kept = np.flatnonzero(positive >= 0)
        negative = self._negatives(near, far, kept, group[kept], positive[kept], rng)
        kept, negative = kept[negative >= 0], negative[negative >= 0]
        return Triplets(
            anchor=near.rows[kept],
            positive=far.rows[positive[kept]],
            negative=far.rows[negative],
            n_skipped=n_anchors - len(kept),
        )

    def _negatives(
        self,
        near: _Domain,
        far: _Domain,
        anchors: NDArray,
        group: NDArray,
        positive: NDArray,
        rng: np.random.Generator,
    ) -> NDArray:
        """Draw by rejection, which is uniform and needs no similarity matrix.

        A proposal is uniform over the far samples with another code than the
        anchor: an index over all, shifted past the anchor's own group. What no
        round settles is settled exactly by `_settle`.
        """
        own_start = np.where(group >= 0, far.starts[group], 0)
        own_count = np.where(group >= 0, far.counts[group], 0)
        available = len(far.rows) - own_count
        negative = np.full(len(anchors), -1, dtype=np.int64)
        open_ = np.flatnonzero(available > 0)
        for _ in range(_ROUNDS):
            if len(open_) == 0:
                break
            place = (rng.random(len(open_)) * available[open_]).astype(np.int64)
            place += np.where(place >= own_start[open_], own_count[open_], 0)
            proposal = far.members[place]
            accepted = proposal != positive[open_]
            if self.tau_n > 0:
                similarity = np.einsum("ij,ij->i", near.units[anchors[open_]], far.units[proposal])
                accepted &= similarity > self.tau_n
            negative[open_[accepted]] = proposal[accepted]
            open_ = open_[~accepted]
        if len(open_):
            negative[open_] = self._settle(near, far, anchors[open_], positive[open_], rng)
        return negative

    def _settle(
        self,
        near: _Domain,
        far: _Domain,
        anchors: NDArray,
        positive: NDArray,
        rng: np.random.Generator,
    ) -> NDArray:
        """Look at all candidates of the anchors that rejection did not settle."""
        chosen = np.full(len(anchors), -1, dtype=np.int64)
        step = max(1, _BLOCK // max(1, len(far.rows)))
        for start in range(0, len(anchors), step):
            part = anchors[start : start + step]
            similarity = near.units[part] @ far.units.T
            allowed = near.row_keys[part][:, None] != far.row_keys[None, :]
            allowed[np.arange(len(part)), positive[start : start + step]] = False
            hard = allowed & (similarity > self.tau_n) if self.tau_n > 0 else allowed
            # a random number per candidate where some are hard, else the similarity
            preference = np.where(
                hard.any(axis=1, keepdims=True),
                np.where(hard, rng.random(similarity.shape, dtype=np.float32), -2.0),
                np.where(allowed, similarity, -2.0),
            )
            best = preference.argmax(axis=1)
            found = allowed.any(axis=1)
            chosen[start : start + step] = np.where(found, best, -1)
        return chosen
