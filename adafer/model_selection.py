"""Scorers that choose between models without labels of the target."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr, logsumexp
from sklearn.base import ClassifierMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_random_state
from sklearn.utils.metadata_routing import UNUSED, get_routing_for_object
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_consistent_length

from ._checks import check_labels, check_rows, naming
from ._sklearn import AdaFEREstimator, HasMethods, Interval, StrOptions
from .annotation import AUGuidedAnnotator
from .aus import AUExtractor
from .aus.scores import check_au_scores, has_scores
from .domains import is_features
from .faces import check_faces, resize_faces
from .target import check_not_cut, unwrap_target

__all__ = [
    "AUAgreementScorer",
    "DeepEmbeddedValidationScorer",
    "ImportanceWeightedScorer",
    "SoftNeighborhoodDensityScorer",
    "TargetEntropyScorer",
]

# Keeps logarithms of probabilities finite.
_FLOOR = 1e-12
# Similarities that are held at once.
_BLOCK = 16_000_000
# Pixels per side of the pictures whose densities are compared.
_THUMBNAIL = 8


class _TargetScorer(AdaFEREstimator):
    """Base of scorers that look at the target.

    Parameters
    ----------
    X_tgt : target data, default=None
        Where metadata routing does not bring them.
    au_tgt : array-like, default=None
    """

    # A plain function as a scorer would never get X_tgt, silently.
    __metadata_request__score: ClassVar = {"estimator": UNUSED, "X_tgt": True, "au_tgt": True}

    _parameter_constraints: dict = {}

    def __init__(self, *, X_tgt: Any = None, au_tgt: ArrayLike | None = None):
        self.X_tgt = X_tgt
        self.au_tgt = au_tgt

    def score(
        self,
        estimator: Any,
        X: Any,
        y: ArrayLike | None = None,
        *,
        X_tgt: Any = None,
        au_tgt: ArrayLike | None = None,
    ) -> float:
        """Score a fitted classifier; more is better.

        Parameters
        ----------
        estimator : fitted classifier
            With ``predict_proba``, and ``transform`` where features are looked at.
        X : as in the classifier's ``fit``
            Held-out source; not looked at.
        y : array-like of shape (n,), default=None
            Labels of `X`; not looked at.
        X_tgt : as X, default=None
            Unlabelled target; by default that of the constructor.
        au_tgt : array-like of shape (n_targets, n_aus), values in [0, 1], default=None
            AU scores of the target, where scorer or classifier need them.

        Returns
        -------
        score : float

        Raises
        ------
        ValueError, TypeError
            If `estimator` gives no probabilities, there is no target, or it does not
            fit the classifier, or its AU scores are none.
        """
        self._validate_params()
        return self._score(estimator, X, y, *self._target(X, X_tgt, au_tgt))

    def __call__(
        self, estimator: Any, X: Any, y: ArrayLike | None = None, **metadata: Any
    ) -> float:
        """Do what `score` does: scikit-learn calls scorers."""
        return self.score(estimator, X, y, **metadata)

    def _target(self, X: Any, X_tgt: Any, au_tgt: Any) -> tuple[Any, Any]:
        check_not_cut(len(X) if hasattr(X, "__len__") else -1, X_tgt=X_tgt, au_tgt=au_tgt)
        X_tgt = unwrap_target(self.X_tgt if X_tgt is None else X_tgt)
        au_tgt = unwrap_target(self.au_tgt if au_tgt is None else au_tgt)
        if X_tgt is None:
            raise ValueError(
                f"{type(self).__name__} got no target. Pass X_tgt=as_target(X_tgt) to the search's "
                "fit under sklearn.set_config(enable_metadata_routing=True), or give it when the "
                f"scorer is made: {type(self).__name__}(X_tgt=X_tgt)."
            )
        if au_tgt is not None:
            _check_aus(au_tgt, X_tgt, "au_tgt", "X_tgt")
        return X_tgt, au_tgt

    def _score(self, estimator: Any, X: Any, y: Any, X_tgt: Any, au_tgt: Any) -> float:
        raise NotImplementedError


def _check_aus(au: Any, X: Any, name: str, of: str) -> None:
    """Judge AU scores, one row per sample."""
    scores, _ = check_au_scores(au, name=name)
    with naming(f"{of} and {name}"):
        check_consistent_length(X, scores)


def _ask(estimator: Any, method: str, X: Any, au: Any, name: str, au_name: str) -> NDArray:
    """Call a method, with AU scores where it takes them; errors name what was given."""
    if not hasattr(estimator, method):
        raise ValueError(
            f"The estimator of the scorer needs {method}, which {type(estimator).__name__} lacks. "
            "Use a classifier of adafer, or a pipeline that ends in one."
        )
    routing = get_routing_for_object(estimator)
    takes = au is not None and routing.consumes(method, ["au"])
    with naming(f"{name} and {au_name}" if takes else name):
        return np.asarray(getattr(estimator, method)(X, **({"au": au} if takes else {})))


def _log_rows(probabilities: NDArray) -> NDArray:
    logs: NDArray = np.log(np.maximum(probabilities, _FLOOR))
    return logs


class TargetEntropyScorer(_TargetScorer):
    """How sure a classifier is of the target: minus the mean entropy of its predictions.

    Parameters
    ----------
    diversity : bool, default=False
        Add the entropy of the mean prediction, which a classifier that gives
        all faces one class lacks: the sum is the mutual information of face and
        prediction.
    X_tgt : as in ``fit`` of the classifier, default=None
        Target data, where metadata routing does not bring them.
    au_tgt : array-like of shape (n_targets, n_aus), default=None
        For classifiers that take AU scores at ``predict``.

    References
    ----------
    P. Morerio, J. Cavazza, V. Murino: Minimal-Entropy Correlation Alignment for
    Unsupervised Deep Domain Adaptation, ICLR 2018, section 4. Diversity: A.
    Krause, P. Perona, R. Gomes: Discriminative Clustering by Regularized
    Information Maximization, NeurIPS 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from adafer.model_selection import TargetEntropyScorer
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 0, 1, 1]
    >>> near = TargetEntropyScorer(X_tgt=[[1.4], [1.6]])
    >>> far = TargetEntropyScorer(X_tgt=[[-9.0], [9.0]])
    >>> clf = LogisticRegression().fit(X, y)
    >>> near(clf, X) < far(clf, X) < 0
    True
    """

    _parameter_constraints: dict = {"diversity": ["boolean"]}

    def __init__(
        self, *, diversity: bool = False, X_tgt: Any = None, au_tgt: ArrayLike | None = None
    ):
        super().__init__(X_tgt=X_tgt, au_tgt=au_tgt)
        self.diversity = diversity

    def _score(self, estimator: Any, X: Any, y: Any, X_tgt: Any, au_tgt: Any) -> float:
        probabilities = _ask(estimator, "predict_proba", X_tgt, au_tgt, "X_tgt", "au_tgt")
        score = -entr(probabilities).sum(axis=1).mean()
        if self.diversity:
            score += entr(probabilities.mean(axis=0)).sum()
        return float(score)


class SoftNeighborhoodDensityScorer(_TargetScorer):
    """How densely the target's predictions lie together (SND).

    Each target face's predicted probabilities are compared with those of all
    others; the similarities, made to sum to 1, have a high entropy where many
    others are as near as each other. The score is the mean of these entropies.

    Parameters
    ----------
    temperature : float, default=0.05
        Similarities are divided by it.
    X_tgt : as in ``fit`` of the classifier, default=None
        Target data, where metadata routing does not bring them.
    au_tgt : array-like of shape (n_targets, n_aus), default=None
        For classifiers that take AU scores at ``predict``.

    Notes
    -----
    Time grows with the square of the target. A classifier that gives all faces
    one class has the highest score there is.

    References
    ----------
    K. Saito, D. Kim, P. Teterwak, S. Sclaroff, T. Darrell, K. Saenko: Tune It
    the Right Way: Unsupervised Validation of Domain Adaptation via Soft
    Neighborhood Density, ICCV 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from adafer.model_selection import SoftNeighborhoodDensityScorer
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 0, 1, 1]
    >>> scorer = SoftNeighborhoodDensityScorer(X_tgt=[[-9.0], [-8.0], [-7.0], [9.0], [8.0], [7.0]])
    >>> round(scorer(LogisticRegression().fit(X, y), X), 2)
    0.69
    """

    _parameter_constraints: dict = {"temperature": [Interval(Real, 0, None, closed="neither")]}

    def __init__(
        self, *, temperature: float = 0.05, X_tgt: Any = None, au_tgt: ArrayLike | None = None
    ):
        super().__init__(X_tgt=X_tgt, au_tgt=au_tgt)
        self.temperature = temperature

    def _score(self, estimator: Any, X: Any, y: Any, X_tgt: Any, au_tgt: Any) -> float:
        rows = _ask(estimator, "predict_proba", X_tgt, au_tgt, "X_tgt", "au_tgt")
        if len(rows) < 2:
            raise ValueError("X_tgt has 1 sample; soft neighbourhood density needs two or more.")
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        total, step = 0.0, max(1, _BLOCK // len(rows))
        for start in range(0, len(rows), step):
            logits = rows[start : start + step] @ rows.T / self.temperature
            at = np.arange(len(logits))
            logits[at, start + at] = -np.inf  # nobody is its own neighbour
            shares = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
            total += float(entr(shares).sum())
        return total / len(rows)


class _WeightedRiskScorer(_TargetScorer):
    """Base of scorers by the held-out source's loss, weighted by its likeness to the target."""

    _parameter_constraints: dict = {
        "loss": [StrOptions({"zero_one", "log_loss"})],
        "domain_classifier": [None, HasMethods(["fit", "predict_proba"])],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        loss: Literal["zero_one", "log_loss"] = "log_loss",
        domain_classifier: ClassifierMixin | None = None,
        cv: int = 5,
        random_state: int | np.random.RandomState | None = 0,
        X_tgt: Any = None,
        au_tgt: ArrayLike | None = None,
    ):
        super().__init__(X_tgt=X_tgt, au_tgt=au_tgt)
        self.loss = loss
        self.domain_classifier = domain_classifier
        self.cv = cv
        self.random_state = random_state

    __metadata_request__score: ClassVar = {"au_src": True}

    def score(
        self,
        estimator: Any,
        X: Any,
        y: ArrayLike | None = None,
        *,
        X_tgt: Any = None,
        au_src: ArrayLike | None = None,
        au_tgt: ArrayLike | None = None,
    ) -> float:
        """Score a fitted classifier; more is better.

        Parameters
        ----------
        estimator : fitted classifier
        X : as in the classifier's ``fit``
            Held-out source: what the classifier was trained on tells nothing.
        y : array-like of shape (n,)
            Labels of `X`.
        X_tgt : as X, default=None
            Unlabelled target; by default that of the constructor.
        au_src, au_tgt : array-like of shape (n, n_aus), values in [0, 1], default=None
            AU scores of `X` and of the target, for classifiers that take them at
            ``predict``.

        Returns
        -------
        score : float
            Minus the weighted risk.

        Raises
        ------
        ValueError, TypeError
            If `estimator` gives no probabilities, there is no target, there are no
            labels, or what is given does not fit together.
        """
        self._validate_params()
        if au_src is not None:
            _check_aus(au_src, X, "au_src", "X")
        X_tgt, au_tgt = self._target(X, X_tgt, au_tgt)
        losses = self._losses(estimator, X, y, au_src)
        source, target = self._points(estimator, X, X_tgt, au_src, au_tgt)
        return -self._risk(losses, self._density_ratios(source, target))

    def _points(
        self, estimator: Any, X: Any, X_tgt: Any, au_src: Any, au_tgt: Any
    ) -> tuple[NDArray, NDArray]:
        """Where source and target are compared."""
        raise NotImplementedError

    def _risk(self, losses: NDArray, weights: NDArray) -> float:
        raise NotImplementedError

    def _losses(self, estimator: Any, X: Any, y: Any, au: Any) -> NDArray:
        """Loss of each held-out source sample."""
        if y is None:
            raise ValueError(f"{type(self).__name__} needs y, the labels of the held-out source.")
        probabilities = _ask(estimator, "predict_proba", X, au, "X", "au_src")
        classes = np.asarray(estimator.classes_)
        truth = check_labels(y, n_samples=len(probabilities))
        with naming("y"):
            unique_labels(classes, truth)  # names beside numbers are refused
        if self.loss == "zero_one":
            return (classes[probabilities.argmax(axis=1)] != truth).astype(np.float64)
        is_truth = truth[:, None] == classes
        # of a class that the classifier does not know it is sure in the wrong
        picked = np.where(is_truth.any(axis=1), (probabilities * is_truth).sum(axis=1), 0.0)
        return -_log_rows(picked)

    def _density_ratios(self, source: NDArray, target: NDArray) -> NDArray:
        """Density of the target over that of the source, at each source sample.

        By a classifier of the domains, asked about samples it was not fitted on.
        """
        n_folds = min(self.cv, len(source), len(target))
        if n_folds < 2:
            raise ValueError(
                f"X has {len(source)} samples and X_tgt {len(target)}; densities need two or more "
                "of each."
            )
        points = np.concatenate([source, target])
        domain = np.repeat([0, 1], [len(source), len(target)])
        model = self.domain_classifier
        if model is None:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
        found = cross_val_predict(clone(model), points, domain, cv=folds, method="predict_proba")
        odds = found[domain == 0]
        ratios: NDArray = np.maximum(odds[:, 1], _FLOOR) / np.maximum(odds[:, 0], _FLOOR)
        return ratios * len(source) / len(target)


class ImportanceWeightedScorer(_WeightedRiskScorer):
    """Loss on the held-out source, weighted by how like the target its inputs are (IWCV).

    Under covariate shift, where only the inputs' distribution differs between
    the domains, the weighted loss estimates that on the target. Domains of faces
    hardly overlap, so that few samples carry most of the weight.

    Parameters
    ----------
    loss : {"zero_one", "log_loss"}, default="log_loss"
        Errors, or cross-entropy.
    domain_classifier : classifier, default=None
        Tells source from target; its odds are the weights. None is a logistic
        regression.
    cv : int, default=5
        Folds of the domain classifier, which is asked about unseen samples only.
    random_state : int, RandomState instance or None, default=0
        Shuffles these folds.
    X_tgt : as in ``fit`` of the classifier, default=None
        Target data, where metadata routing does not bring them.
    au_tgt : array-like of shape (n_targets, n_aus), default=None
        For classifiers that take AU scores at ``predict``.

    Notes
    -----
    Pictures are compared as grey thumbnails of 8 by 8 pixels, which tell light
    and camera and are the same for all classifiers; features as they are.

    References
    ----------
    M. Sugiyama, M. Krauledat, K.-R. Müller: Covariate Shift Adaptation by
    Importance Weighted Cross Validation, JMLR 8, 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from adafer.model_selection import ImportanceWeightedScorer
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 1))
    >>> y = (X[:, 0] > 0) ^ (X[:, 0] < -1)  # the model is wrong on the left
    >>> clf = LogisticRegression().fit(X, y)
    >>> score = [ImportanceWeightedScorer(X_tgt=X + shift)(clf, X, y) for shift in (-1, 1)]
    >>> score[0] < score[1]
    True
    """

    def _points(
        self, estimator: Any, X: Any, X_tgt: Any, au_src: Any, au_tgt: Any
    ) -> tuple[NDArray, NDArray]:
        has_default = self.domain_classifier is None  # which takes no NaN
        source, target = (
            _plain_points(data, name, finite=has_default)
            for data, name in ((X, "X"), (X_tgt, "X_tgt"))
        )
        if source.shape[1] != target.shape[1]:
            raise ValueError(
                f"X has {source.shape[1]} features and X_tgt {target.shape[1]}; densities are "
                "compared on the same ones. Did the pipeline skip X_tgt?"
            )
        return source, target

    def _risk(self, losses: NDArray, weights: NDArray) -> float:
        return float(np.mean(weights * losses))


def _plain_points(X: Any, name: str, *, finite: bool) -> NDArray:
    """Features as they are, pictures as grey thumbnails."""
    if is_features(X):
        with naming(name):
            points: NDArray = check_array(
                X,
                dtype=np.float64,
                ensure_all_finite=finite or "allow-nan",
                input_name=name,
            )
        return points
    chunks = [
        resize_faces(images, _THUMBNAIL).mean(axis=3).reshape(len(images), -1)
        for _, images in check_faces(X, name=name).chunks()
    ]
    return np.concatenate(chunks)


class DeepEmbeddedValidationScorer(_WeightedRiskScorer):
    """Loss on the held-out source, weighted by how like the target its features are (DEV).

    As `ImportanceWeightedScorer`, in the feature space of the classifier, where
    domains overlap more; and a control variate lowers the variance that large
    weights bring.

    Parameters
    ----------
    loss : {"zero_one", "log_loss"}, default="log_loss"
        Errors, or cross-entropy.
    domain_classifier : classifier, default=None
        Tells source from target; its odds are the weights. None is a logistic
        regression.
    cv : int, default=5
        Folds of the domain classifier, which is asked about unseen samples only.
    random_state : int, RandomState instance or None, default=0
        Shuffles these folds.
    X_tgt : as in ``fit`` of the classifier, default=None
        Target data, where metadata routing does not bring them.
    au_tgt : array-like of shape (n_targets, n_aus), default=None
        For classifiers that take AU scores at ``predict``.

    Notes
    -----
    The paper fits its domain classifier on the source that the network was
    trained on; here it is cross-fitted on the held-out source, which is what a
    scorer gets.

    References
    ----------
    K. You, X. Wang, M. Long, M. Jordan: Towards Accurate Model Selection in Deep
    Unsupervised Domain Adaptation, ICML 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer import SourceOnlyClassifier
    >>> from adafer.model_selection import DeepEmbeddedValidationScorer
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> X = rng.normal(size=(80, 4)) + 3 * y[:, None]
    >>> clf = SourceOnlyClassifier(epochs=5, batch_size=16, random_state=0, device="cpu")
    >>> clf = clf.fit(X[:40], y[:40])
    >>> DeepEmbeddedValidationScorer(X_tgt=X + 1)(clf, X[40:], y[40:]) <= 0
    True
    """

    def _points(
        self, estimator: Any, X: Any, X_tgt: Any, au_src: Any, au_tgt: Any
    ) -> tuple[NDArray, NDArray]:
        return (
            _ask(estimator, "transform", X, au_src, "X", "au_src"),
            _ask(estimator, "transform", X_tgt, au_tgt, "X_tgt", "au_tgt"),
        )

    def _risk(self, losses: NDArray, weights: NDArray) -> float:
        weighted = weights * losses
        variance = np.var(weights)
        # the covariance with weights, whose mean should be 1, tells what to take off
        eta = -np.cov(weighted, weights, ddof=0)[0, 1] / variance if variance > 0 else 0.0
        return float(weighted.mean() + eta * (weights.mean() - 1.0))


class AUAgreementScorer(_TargetScorer):
    """How far predictions on the target agree with what its action units say.

    AUs carry labels across: the target faces' label distributions by AU matching
    with the held-out source are compared with the predictions. No label of the
    target is looked at, nor anything that the classifier learnt.

    Parameters
    ----------
    measure : {"accuracy", "likelihood"}, default="accuracy"
        "accuracy": mean share that AUs give to the predicted class, which is the
        expected accuracy if AUs are right. "likelihood": minus the cross-entropy
        of the predicted probabilities under the AUs' labels.
    annotator : AUGuidedAnnotator, default=None
        What matches; None is ``AUGuidedAnnotator(matching="near")``. It is cloned
        and fitted on the source that the scorer gets, unless it is fitted
        already and frozen: ``sklearn.frozen.FrozenEstimator(annotator)``.
    au_extractor : AUExtractor, default=None
        What scores AUs where `au_src` or `au_tgt` are not given; give it a
        ``cache``, or each candidate waits for it.
    X_tgt : as in ``fit`` of the classifier, default=None
        Target data, where metadata routing does not bring them.
    au_tgt : array-like of shape (n_targets, n_aus), default=None
        AU scores of the target.

    Notes
    -----
    Target faces without AU scores do not count. The score favours classifiers
    that follow the same AUs, right or wrong: use it to choose between such that
    use AUs alike, and see docs/model_selection.md.

    References
    ----------
    AdaFER paper, section 3.3, for the labels.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from adafer.model_selection import AUAgreementScorer
    >>> y = np.array(["fear", "joy"] * 20)
    >>> au = np.where((y == "joy")[:, None], [0.9, 0.1], [0.2, 0.8])
    >>> X = np.zeros((40, 1))
    >>> clf = DummyClassifier(strategy="constant", constant="joy").fit(X, y)
    >>> scorer = AUAgreementScorer(X_tgt=X[1::2], au_tgt=au[1::2])  # joy only
    >>> scorer(clf, X, y, au_src=au) > 0.7
    True
    """

    __metadata_request__score: ClassVar = {"au_src": True}

    _parameter_constraints: dict = {
        "measure": [StrOptions({"accuracy", "likelihood"})],
        "annotator": [None, HasMethods(["fit", "predict_proba"])],
        "au_extractor": [None, HasMethods(["score_faces"])],
    }

    def __init__(
        self,
        *,
        measure: Literal["accuracy", "likelihood"] = "accuracy",
        annotator: AUGuidedAnnotator | FrozenEstimator | None = None,
        au_extractor: AUExtractor | None = None,
        X_tgt: Any = None,
        au_tgt: ArrayLike | None = None,
    ):
        super().__init__(X_tgt=X_tgt, au_tgt=au_tgt)
        self.measure = measure
        self.annotator = annotator
        self.au_extractor = au_extractor

    def score(
        self,
        estimator: Any,
        X: Any,
        y: ArrayLike | None = None,
        *,
        X_tgt: Any = None,
        au_src: ArrayLike | None = None,
        au_tgt: ArrayLike | None = None,
    ) -> float:
        """Score a fitted classifier; more is better.

        Parameters
        ----------
        estimator : fitted classifier
        X : as in the classifier's ``fit``
            Source, held out or not; looked at where `au_src` is not given.
        y : array-like of shape (n,)
            Labels of `X`.
        X_tgt : as X, default=None
            Unlabelled target; by default that of the constructor.
        au_src, au_tgt : array-like of shape (n, n_aus), values in [0, 1], default=None
            AU scores of `X` and of the target, NaN rows where no face was found;
            computed where not given.

        Returns
        -------
        score : float

        Raises
        ------
        ValueError, TypeError
            If `estimator` gives no probabilities, there is no target, or labels or AU
            scores cannot be had or do not fit.
        """
        self._validate_params()
        X_tgt, au_tgt = self._target(X, X_tgt, au_tgt)
        annotator = self.annotator
        au_tgt = self._au_scores(X_tgt, au_tgt, "au_tgt", "X_tgt")
        if not isinstance(annotator, FrozenEstimator):
            if y is None:
                raise ValueError(
                    "AUAgreementScorer needs y, the source's labels, or an annotator that is "
                    "fitted and frozen."
                )
            annotator = (
                AUGuidedAnnotator(matching="near") if annotator is None else clone(annotator)
            )
            au_src = self._au_scores(X, au_src, "au_src", "X")
            scores, _ = check_au_scores(au_src, name="au_src")
            labels = check_labels(y)
            check_rows(labels, len(scores), name="y", of="au_src")
            with naming("au_src"):
                annotator.fit(au_src, labels)
        predicted = _ask(estimator, "predict_proba", X_tgt, au_tgt, "X_tgt", "au_tgt")
        known = has_scores(check_au_scores(au_tgt, name="au_tgt", n_samples=len(predicted))[0])
        labels = np.zeros(predicted.shape)
        with naming("au_tgt"):
            by_aus = annotator.predict_proba(au_tgt)
        columns = {name: k for k, name in enumerate(np.asarray(estimator.classes_).tolist())}
        for k, name in enumerate(np.asarray(annotator.classes_).tolist()):
            if name in columns:
                labels[:, columns[name]] = by_aus[:, k]
        labels, predicted = labels[known], predicted[known]
        if self.measure == "accuracy":
            return float(labels[np.arange(len(labels)), predicted.argmax(axis=1)].mean())
        return float((labels * _log_rows(predicted)).sum(axis=1).mean())

    def _au_scores(self, X: Any, au: Any, name: str, of: str) -> Any:
        if au is not None:
            return au
        if is_features(X):
            raise ValueError(
                f"AU scores cannot be computed from 2-D features: give {name}, one row per sample."
            )
        extractor = AUExtractor() if self.au_extractor is None else clone(self.au_extractor)
        chunks = [extractor.score_faces(images) for _, images in check_faces(X, name=of).chunks()]
        return np.concatenate(chunks)
