"""Choosing cross-domain triplets by action units (AGT)."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from ._checks import check_generator, naming
from ._sklearn import AdaFEREstimator, Interval, StrOptions, fit_context
from .aus.scores import align_au_columns, check_au_scores
from .hard_negatives import CodedDomain, HardNegatives
from .matching import find_keys
from .neighbors import NeighborIndex, neighbor_blocks
from .target import unwrap_target

__all__ = ["TripletMiner", "Triplets"]


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


class TripletMiner(AdaFEREstimator):
    """Draw triplets (anchor, positive, negative) across the two domains.

    Only cross-domain triplets are kept: (source anchor, target positive, target
    negative) and (target anchor, source positive, source negative). A positive
    is drawn uniformly from the other domain's samples with the anchor's AU
    code. A negative is drawn uniformly from the other domain's samples with a
    different code whose AU scores have a cosine similarity to the anchor's
    above `tau_n`; where there is none, it is the most similar sample with a
    different code. (Of very many samples see `adafer.hard_negatives`.)

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
        source, source_names = check_au_scores(X, name="X", keep_dtype=True)
        target, target_names = check_au_scores(unwrap_target(X_tgt), name="X_tgt", keep_dtype=True)
        target = align_au_columns(
            target, target_names, source_names, source.shape[1], name="X_tgt", reference="X"
        )
        self.n_features_in_ = source.shape[1]
        thresholds = self._checked_thresholds(source.shape[1])
        self._source = CodedDomain(source, thresholds)
        self._target = CodedDomain(target, thresholds)
        self._negatives: dict[str, HardNegatives] = {}
        self._near_positives = {}
        if self.near_positives:
            if self.anchors in ("both", "source"):
                self._near_positives["source"] = self._nearest(
                    source, self._source, target, self._target
                )
            if self.anchors in ("both", "target"):
                self._near_positives["target"] = self._nearest(
                    target, self._target, source, self._source
                )
        return self

    def _checked_thresholds(self, n_aus: int) -> NDArray[np.float64]:
        with naming("thresholds"):
            given = np.asarray(self.thresholds, dtype=np.float64)
        if given.shape not in ((), (n_aus,)) or not ((given >= 0) & (given <= 1)).all():
            raise ValueError(
                f"thresholds must be a number in [0, 1] or {n_aus} of them, one per AU; got "
                f"{self.thresholds!r}."
            )
        return np.broadcast_to(given, n_aus)

    def _nearest(
        self, near_scores: NDArray, near: CodedDomain, far_scores: NDArray, far: CodedDomain
    ) -> NDArray:
        """Nearest samples of the anchors that nobody shares the code of, in their order."""
        lonely = near.rows[np.flatnonzero((find_keys(far.keys, near.keys) < 0)[near.group])]
        if len(lonely) == 0:
            return np.empty((0, self.near_positives), dtype=np.int32)
        index = NeighborIndex(far_scores[far.rows], self.near_positives)
        blocks = neighbor_blocks(len(lonely), index.n_neighbors)
        found = [index.search(near_scores[lonely[rows]])[1] for rows in blocks]
        return np.concatenate(found).astype(np.int32)

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
        rng = check_generator(random_state)
        drawn = []
        if self.anchors in ("both", "source"):
            drawn.append(self._draw_from("source", self._source, self._target, rng))
        if self.anchors in ("both", "target"):
            drawn.append(self._draw_from("target", self._target, self._source, rng))
        return tuple(drawn)

    def _draw_from(
        self, name: str, near: CodedDomain, far: CodedDomain, rng: np.random.Generator
    ) -> Triplets:
        # All distinct codes of the anchors are looked up once.
        group = find_keys(far.keys, near.keys)[near.group]
        positive = np.full(len(group), -1, dtype=np.int64)
        same = np.flatnonzero(group >= 0)
        within = (rng.random(len(same)) * far.counts[group[same]]).astype(np.int64)
        positive[same] = far.members[far.starts[group[same]] + within]
        nearest = self._near_positives.get(name)
        if nearest is not None and len(nearest):
            choice = rng.integers(nearest.shape[1], size=len(nearest))
            positive[group < 0] = nearest[np.arange(len(nearest)), choice]
        anchor = np.flatnonzero(positive >= 0)
        negatives = self._negatives.get(name)
        if negatives is None or negatives.tau_n != self.tau_n:
            negatives = self._negatives[name] = HardNegatives(near, far, self.tau_n)
        negative = negatives.draw(anchor, group[anchor], positive[anchor], rng)
        anchor, negative = anchor[negative >= 0], negative[negative >= 0]
        return Triplets(
            anchor=near.rows[anchor].astype(np.int64),
            positive=far.rows[positive[anchor]].astype(np.int64),
            negative=far.rows[negative].astype(np.int64),
            n_skipped=len(group) - len(anchor),
        )
