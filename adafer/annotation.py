"""AU-guided annotating (AGA): target faces inherit labels by their action units."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from ._checks import check_labels
from ._near_sources import NearSources
from ._sklearn import (
    AdaFEREstimator,
    Interval,
    StrOptions,
    accuracy,
    check_sample_weight,
    fit_context,
)
from .au_space import AUSpace
from .aus.facs import binarize, fit_thresholds
from .aus.scores import align_au_columns, check_au_scores, has_scores, row_blocks
from .inheritance import SCHEMES, AnnotationBuilder, TargetAnnotation
from .matching import CodeTable, distinct_keys, score_keys, search_codes, unpack_keys
from .neighbors import Search
from .target import unwrap_target

__all__ = ["AUGuidedAnnotator"]

_NOT_KEPT = (
    "Near matching needs the source's scores, which were not kept because matching and backoff "
    "were other at fit. Set matching='near' or backoff='near' before fit."
)


class AUGuidedAnnotator(ClassifierMixin, AdaFEREstimator):
    """Label target faces by the source faces that show the same action units.

    Fitted on source AU scores and labels; `annotate` then gives each target the
    label distribution of the source samples with its AU code.

    Parameters
    ----------
    schemes : tuple of {"s-hard", "t-hard", "t-soft"}, default=("t-soft", "s-hard")
        Which labels the classifier's target loss uses. All of them can be read
        from an annotation whatever is chosen here.
    conflict : {"random", "last", "all"}, default="random"
        Who wins under S-hard when several sources match one target. "random"
        draws one of them afresh each epoch; "all" averages over them, which
        equals T-soft up to a constant.
    matching : {"exact", "hamming", "near"}, default="exact"
        "exact": equal AU codes (the paper). "hamming": codes that differ in at
        most `radius` AUs. "near": the `n_neighbors` nearest sources by AU
        scores, weighted by a Gaussian kernel and shrunk to the class prior.
    backoff : {None, "hamming", "near", "prior"}, default=None
        What labels a target that has no match. None leaves it without a label:
        it is masked out of the target loss.
    radius : int, default=1
        Hamming radius, in AUs.
    n_neighbors : int or "auto", default="auto"
        Neighbours under near matching; "auto" is twice the square root of the
        number of sources.
    metric : {"discriminant", "euclidean"}, default="discriminant"
        What near matching calls near. Each AU is mapped to its quantiles in the
        source. "euclidean" compares these; "discriminant" weighs and combines
        them before by how they tell the source's classes apart (linear
        discriminant analysis).
    shrinkage : float, default=5.0
        Weight of the class prior under near matching, in neighbours.
    threshold : {"quantile"} or float, default="quantile"
        Score above which an AU counts as present: the `quantile` of the source
        per AU, or one fixed number in [0, 1] for all.
    quantile : float, default=0.7
        Used with ``threshold="quantile"``.
    engine : {"numpy", "faiss"}, default="numpy"
        What finds equal codes: a sorted table, or faiss' binary index (on a GPU
        where faiss sees one). Both give the same answer.
    search : {"auto", "exact"}, default="auto"
        How near matching finds neighbours. "auto" compares with all sources up
        to 200,000 of them, and beyond looks into inverted lists, which find at
        least 99 % of the neighbours on a trial; "exact" always compares with all.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    class_prior_ : ndarray of float64 of shape (n_classes,)
        Share of each class in the source samples with AU scores.
    thresholds_ : ndarray of float64 of shape (n_aus,)
    code_table_ : CodeTable
        Distinct source codes with their label counts.
    n_features_in_ : int
        Number of AUs.
    feature_names_in_ : ndarray of str of shape (n_aus,)
        AU names; only where the scores were a data frame.
    au_space_ : AUSpace
        Where near matching measures; only with near matching or back-off.
    n_missing_ : int
        Source samples left out because they have no AU scores.

    References
    ----------
    AdaFER paper, section 3.3, equations 1 and 2.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer import AUGuidedAnnotator
    >>> au_src = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8]])
    >>> annotator = AUGuidedAnnotator(threshold=0.5).fit(au_src, ["joy", "joy", "joy", "fear"])
    >>> annotation = annotator.annotate(np.array([[0.7, 0.3], [0.3, 0.7], [0.9, 0.9]]))
    >>> annotation.labels
    array([[0. , 1. ],
           [0.5, 0.5],
           [0. , 0. ]])
    >>> annotation.match_counts
    array([2, 2, 0])
    """

    _parameter_constraints: dict = {
        "schemes": [tuple, list],
        "conflict": [StrOptions({"random", "last", "all"})],
        "matching": [StrOptions({"exact", "hamming", "near"})],
        "backoff": [None, StrOptions({"hamming", "near", "prior"})],
        "radius": [Interval(Integral, 0, None, closed="left")],
        "n_neighbors": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "metric": [StrOptions({"discriminant", "euclidean"})],
        "shrinkage": [Interval(Real, 0, None, closed="left")],
        "threshold": [StrOptions({"quantile"}), Interval(Real, 0, 1, closed="both")],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
        "engine": [StrOptions({"numpy", "faiss"})],
        "search": [StrOptions({"auto", "exact"})],
    }

    def __init__(
        self,
        schemes: tuple[str, ...] = ("t-soft", "s-hard"),
        *,
        conflict: str = "random",
        matching: str = "exact",
        backoff: str | None = None,
        radius: int = 1,
        n_neighbors: int | Literal["auto"] = "auto",
        metric: str = "discriminant",
        shrinkage: float = 5.0,
        threshold: Literal["quantile"] | float = "quantile",
        quantile: float = 0.7,
        engine: str = "numpy",
        search: Search = "auto",
    ):
        self.schemes = schemes
        self.conflict = conflict
        self.matching = matching
        self.backoff = backoff
        self.radius = radius
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.shrinkage = shrinkage
        self.threshold = threshold
        self.quantile = quantile
        self.engine = engine
        self.search = search

    n_features_in_: int
    code_table_: CodeTable
    _near: NearSources | None = None

    # ------------------------------------------------------------------ fitting

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> AUGuidedAnnotator:
        """Count labels under each AU code of the source.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_aus), values in [0, 1]
            AU scores of the source; rows with NaN (no face) are left out.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each sample counts: one of weight 2 as two, one of weight 0
            not at all. Only the space in which near matching measures knows no
            other weights than zero.

        Returns
        -------
        self : AUGuidedAnnotator

        Raises
        ------
        ValueError
            If lengths differ, if no row has AU scores, or if all scores are equal.
        """
        for fitted in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, fitted)
        self._near = None
        return self._partial_fit(X, y, classes=None, sample_weight=sample_weight)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> AUGuidedAnnotator:
        """Add more source samples to the counts.

        The first call fixes the classes and, with ``threshold="quantile"``, the
        thresholds; for pieces that equal one `fit` on the whole to the bit,
        pass a fixed threshold.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_aus), values in [0, 1]
        y : array-like of shape (n_samples,)
        classes : array-like of shape (n_classes,), optional
            All class labels; needed at the first call if this piece lacks some.
        sample_weight : array-like of shape (n_samples,), default=None
            As in `fit`.

        Returns
        -------
        self : AUGuidedAnnotator
        """
        return self._partial_fit(X, y, classes=classes, sample_weight=sample_weight)

    def _partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None,
        sample_weight: ArrayLike | None,
    ) -> AUGuidedAnnotator:
        self._check_schemes()
        first = not hasattr(self, "code_table_")
        scores, au_names = check_au_scores(X, name="X", keep_dtype=True)
        truth = check_labels(y, n_samples=len(scores))
        if not first:
            scores = self._align(scores, au_names, "X", "the first piece")
        known = has_scores(scores)
        n_missing = len(known) - int(np.count_nonzero(known))
        weights = check_sample_weight(sample_weight, scores)
        if weights is not None:
            known &= weights > 0
        if not known.all():
            scores, truth = scores[known], truth[known]
            weights = None if weights is None else weights[known]
        if first:
            thresholds = fit_thresholds(
                scores,
                threshold=self.threshold,
                quantile=self.quantile,
                au_names=au_names,
                sample_weight=weights,
            )
            self.classes_ = np.unique(
                truth if classes is None else check_labels(classes, name="classes")
            )
            self.thresholds_ = thresholds
            self.n_features_in_ = scores.shape[1]
            if au_names is not None:
                self.feature_names_in_ = np.asarray(au_names, dtype=object)
            self.n_missing_ = 0
        labels = self._class_indices(truth)
        keys, _ = score_keys(scores, self.thresholds_)
        table = CodeTable.from_keys(keys, self.n_features_in_, labels, len(self.classes_), weights)
        self.code_table_ = table if first else self.code_table_.merge(table)
        self.n_missing_ += n_missing
        self.class_prior_ = self.code_table_.counts.sum(axis=0) / self.code_table_.counts.sum()
        if "near" in (self.matching, self.backoff):
            self._keep_scores(scores, labels, weights, first)
        return self

    def _class_indices(self, truth: NDArray) -> NDArray:
        labels = np.searchsorted(self.classes_, truth)
        labels[labels == len(self.classes_)] = 0
        unknown = np.unique(truth[self.classes_[labels] != truth])
        if len(unknown):
            raise ValueError(
                f"y holds classes {unknown.tolist()} that are not among "
                f"{self.classes_.tolist()}. Pass all of them as classes= to the first "
                "partial_fit, and spell them the same in every piece."
            )
        return labels

    def _keep_scores(
        self, scores: NDArray, labels: NDArray, weights: NDArray | None, first: bool
    ) -> None:
        """Near matching needs the sources themselves."""
        sources = NearSources(scores, labels, weights)
        self._near = sources if first or self._near is None else self._near.merge(sources)

    @property
    def source_scores_(self) -> NDArray:
        """AU scores of the source samples, kept for near matching only."""
        return self._near_sources().scores

    @property
    def source_labels_(self) -> NDArray:
        """Class indices of the source samples, kept for near matching only."""
        return self._near_sources().labels

    @property
    def source_weights_(self) -> NDArray | None:
        """Weights of the source samples, kept for near matching only; None where all are 1."""
        return self._near_sources().weights

    @property
    def au_space_(self) -> AUSpace:
        """Where near matching measures; only with near matching or back-off."""
        return self._near_sources().space(self.metric)

    def _near_sources(self) -> NearSources:
        if self._near is None:
            raise AttributeError(_NOT_KEPT)
        return self._near

    def _check_schemes(self) -> None:
        unknown = [scheme for scheme in self.schemes if scheme not in SCHEMES]
        if unknown or len(set(self.schemes)) != len(self.schemes):
            raise ValueError(
                f"schemes must be distinct names out of {SCHEMES}; got {tuple(self.schemes)}."
            )

    def merge(self, later: AUGuidedAnnotator) -> AUGuidedAnnotator:
        """Add the counts of an annotator that was fitted on other source samples.

        Parameters
        ----------
        later : AUGuidedAnnotator
            Fitted with the same classes, AUs and thresholds; its samples count
            as coming after those of this one.

        Returns
        -------
        self : AUGuidedAnnotator

        Raises
        ------
        ValueError
            If classes, AUs or thresholds differ.
        """
        check_is_fitted(self)
        if not isinstance(later, AUGuidedAnnotator):
            raise TypeError(
                f"later must be an AUGuidedAnnotator; got {type(later).__name__}. Fit one on the "
                "other samples."
            )
        check_is_fitted(later, msg="later is not fitted yet. Fit it on the other samples.")
        for what in ("classes_", "thresholds_"):
            mine, others = getattr(self, what), getattr(later, what)
            if mine.shape != others.shape or not np.all(mine == others):
                raise ValueError(
                    f"Annotators with different {what} cannot be merged: "
                    f"{mine.tolist()} against {others.tolist()}. Use a fixed threshold and "
                    "pass classes= to partial_fit."
                )
        self.code_table_ = self.code_table_.merge(later.code_table_)
        self.n_missing_ += later.n_missing_
        self.class_prior_ = self.code_table_.counts.sum(axis=0) / self.code_table_.counts.sum()
        if self._near is not None:
            self._near = self._near.merge(later._near_sources())
        return self

    # --------------------------------------------------------------- annotating

    def codes(self, X: ArrayLike, *, name: str = "X") -> NDArray:
        """Binarise AU scores by the fitted thresholds.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_aus), values in [0, 1]
        name : str, default="X"
            How errors call it.

        Returns
        -------
        codes : ndarray of uint8 of shape (n_samples, n_aus)
            Zero rows where scores are NaN.
        """
        return binarize(self._aligned(X, name), self.thresholds_)

    def _aligned(self, X: ArrayLike, name: str) -> NDArray:
        check_is_fitted(self, "code_table_")
        scores, au_names = check_au_scores(unwrap_target(X), name=name, keep_dtype=True)
        return self._align(scores, au_names, name, "the source's AU scores")

    def _align(
        self, scores: NDArray, au_names: list[str] | None, name: str, reference: str
    ) -> NDArray:
        """Bring AU scores into the order of those fitted on."""
        if name == "X" and au_names is None and scores.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {scores.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input, the AUs that it was fitted on."
            )
        return align_au_columns(
            scores,
            au_names,
            getattr(self, "feature_names_in_", None),
            self.n_features_in_,
            name=name,
            reference=reference,
        )

    def annotate(self, X: ArrayLike, *, name: str = "X") -> TargetAnnotation:
        """Give target samples the labels of the sources with their AUs.

        Parameters
        ----------
        X : array-like of shape (n_targets, n_aus), values in [0, 1]
            AU scores of the target; rows with NaN (no face) get no label.
        name : str, default="X"
            How errors call it.

        Returns
        -------
        annotation : TargetAnnotation

        Raises
        ------
        ValueError
            If the AUs are others than the source's, or if no target at all gets
            a label.
        """
        annotation = self._annotate(X, name)
        if annotation.labelled_share == 0:
            raise ValueError(
                f"No target sample has the AU code of any source sample: 0 of {len(annotation)} "
                f"matched under matching={self.matching!r}, backoff={self.backoff!r}. Use "
                "backoff='near', 'hamming' (with a larger radius) or 'prior', or "
                "matching='near'."
            )
        return annotation

    def _annotate(self, X: ArrayLike, name: str) -> TargetAnnotation:
        scores = self._aligned(X, name)
        keys, known = score_keys(scores, self.thresholds_)
        codes, code = distinct_keys(keys, self.n_features_in_)
        n_matches = np.zeros(len(codes), dtype=self.code_table_.counts.dtype)
        matched = self._exact_rows(codes)
        n_matches[matched >= 0] = self.code_table_.counts[matched[matched >= 0]].sum(axis=1)

        kinds = AnnotationBuilder(len(self.classes_))
        rows = np.zeros(len(scores), dtype=np.int32)
        if self.matching == "exact":
            rows[:] = kinds.add("exact", self._by_exact(matched), n_matches)[code]
            rows[~known] = 0
        steps = [] if self.matching == "exact" else [self.matching]
        if self.backoff is not None and self.backoff not in steps:
            steps.append(self.backoff)
        for step in steps:
            open_ = np.flatnonzero(known & (rows == 0))
            if len(open_) == 0:
                break
            if step == "near":
                found = self._by_near(scores, open_)
                rows[open_] = kinds.add(step, found, n_matches[code[open_]])
                continue
            # one label for all targets with a code
            asked = np.zeros(len(codes), dtype=np.bool_)
            asked[code[open_]] = True
            found = getattr(self, f"_by_{step}")(codes[asked])
            kind = np.zeros(len(codes), dtype=np.int32)
            kind[asked] = kinds.add(step, found, n_matches[asked])
            rows[open_] = kind[code[open_]]
        return kinds.annotation(self.classes_, self._most_frequent, rows)

    def _exact_rows(self, keys: NDArray) -> NDArray:
        if self.engine == "faiss":
            return search_codes(self.code_table_.codes, unpack_keys(keys, self.n_features_in_))
        return self.code_table_.find(keys)

    def _most_frequent(self, votes: NDArray) -> NDArray:
        """Class with most votes; ties: the larger prior, then the lower index."""
        order = np.argsort(-self.class_prior_, kind="stable")
        winner = order[np.argmax(votes[:, order], axis=1)]
        return np.where(votes.any(axis=1), winner, -1)

    def _by_exact(self, matched: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Take the counts of the table's rows, none for row -1."""
        table, known = self.code_table_, matched >= 0
        votes = np.zeros((len(matched), len(self.classes_)))
        votes[known] = table.counts[matched[known]]
        last = np.where(known, table.last_label[matched], -1)
        return votes, _shares(votes), last

    def _by_hamming(self, keys: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Pool the counts of all source codes within the Hamming radius."""
        table = self.code_table_
        votes = np.zeros((len(keys), len(self.classes_)))
        last = np.full(len(keys), -1, dtype=np.int64)
        for block in row_blocks(len(keys)):
            query, row = table.within(keys[block], self.radius)
            if len(query) == 0:
                continue
            starts = np.flatnonzero(np.diff(query, prepend=-1))
            votes[block.start + query[starts]] = np.add.reduceat(table.counts[row], starts)
            # of each query the row seen last
            order = np.lexsort((table.last_position[row], query))
            last[block.start + query[order]] = table.last_label[row[order]]
        return votes, _shares(votes), last

    def _by_near(self, scores: NDArray, open_: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Kernel-weighted labels of the nearest sources, shrunk to the prior."""
        sources = self._near
        if sources is None:
            raise ValueError(_NOT_KEPT)
        n_neighbors = self.n_neighbors
        if n_neighbors == "auto":
            n_neighbors = round(2 * len(sources.labels) ** 0.5)
        votes, last = sources.votes(
            scores, open_, len(self.classes_), int(n_neighbors), self.metric, self.search
        )
        labels = votes + self.shrinkage * self.class_prior_
        labels /= labels.sum(axis=1, keepdims=True)
        return votes, labels, last

    def _by_prior(self, keys: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Source class prior for every code."""
        prior = np.tile(self.class_prior_, (len(keys), 1))
        return prior, prior, self._most_frequent(prior)

    # --------------------------------------------------------------- predicting

    def predict_proba(self, X: ArrayLike) -> NDArray:
        """Label distribution of each sample; the class prior where there is no match.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_aus), values in [0, 1]

        Returns
        -------
        probabilities : ndarray of float64 of shape (n_samples, n_classes)
        """
        annotation = self._annotate(X, "X")
        probabilities = annotation.labels
        probabilities[annotation.weights == 0] = self.class_prior_
        return probabilities

    def predict(self, X: ArrayLike) -> NDArray:
        """Most frequent label of the matching sources (T-hard), no network.

        Samples without a match get the most frequent class of the source.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_aus), values in [0, 1]

        Returns
        -------
        labels : ndarray of shape (n_samples,)
        """
        hard = self._annotate(X, "X").hard_labels
        return self.classes_[np.where(hard >= 0, hard, np.argmax(self.class_prior_))]

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_aus), values in [0, 1]
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        accuracy : float
        """
        return accuracy(y, self.predict(X), sample_weight)

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that labels are needed and NaN rows are allowed."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.allow_nan = True
        return tags


def _shares(votes: NDArray) -> NDArray:
    """Rows divided by their sums; zero rows stay."""
    total = votes.sum(axis=1, keepdims=True)
    shares: NDArray = np.divide(votes, total, out=np.zeros_like(votes), where=total > 0)
    return shares
