"""The methods that a plan can name, and the estimators behind them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from .._files import sha256
from ..annotation import AUGuidedAnnotator

__all__ = [
    "METHODS",
    "AnnotatorClassifier",
    "Method",
    "build_estimator",
    "describe_estimator",
    "takes_parameter",
    "uses_aus",
]


@dataclass(frozen=True)
class Method:
    """What stands behind a method's name.

    Attributes
    ----------
    estimator : str
        ``"module:Class"``.
    about : str
        For reports.
    fixed : dict
        Parameters that make the method what it is.
    """

    estimator: str
    about: str
    fixed: Mapping[str, Any] = field(default_factory=dict)


METHODS: dict[str, Method] = {
    "source_only": Method(
        "adafer:SourceOnlyClassifier", "trained on the source alone, the paper's #1"
    ),
    "au_query": Method(
        "adafer:AUQueryClassifier", "most frequent source label under equal AUs, the paper's #2"
    ),
    "au_query_near": Method(
        "adafer.study.methods:AnnotatorClassifier",
        "labels of the nearest source faces by AU scores, no network",
        {"annotator__matching": "near"},
    ),
    "pseudo_hard": Method(
        "adafer:PseudoLabelClassifier",
        "fine-tuned on hard labels of the source model, the paper's #3",
        {"labels": "hard"},
    ),
    "pseudo_soft": Method(
        "adafer:PseudoLabelClassifier",
        "fine-tuned on soft labels of the source model, the paper's #4",
        {"labels": "soft"},
    ),
    "au_input": Method(
        "adafer:AUInputClassifier", "pictures and AUs as inputs, soft labels, the paper's #5"
    ),
    "adafer": Method("adafer:AdaFERClassifier", "adapted by action units"),
    "target_supervised": Method(
        "adafer:SourceOnlyClassifier",
        "ORACLE: trained on the target's labels, an upper mark and no rival",
    ),
}
# what nested parameters build where the outer one is not set
_PARTS = {"annotator": "adafer:AUGuidedAnnotator", "au_extractor": "adafer:AUExtractor"}
# these change how long a fit takes or what it prints, not what it finds
_WITHOUT_EFFECT = frozenset(
    {"checkpoint_dir", "n_jobs", "resume", "store", "verbose", "warm_start"}
)


class AnnotatorClassifier(ClassifierMixin, BaseEstimator):
    """Labels by AU matching alone, as an estimator of two domains.

    Parameters
    ----------
    annotator : AUGuidedAnnotator, default=None

    Attributes
    ----------
    annotator_ : AUGuidedAnnotator
        Fitted on the source.
    classes_ : ndarray of shape (n_classes,)
    coverage_ : float
        As in `AdaFERClassifier`; only after a fit with target scores.

    Examples
    --------
    >>> from adafer import AUGuidedAnnotator
    >>> from adafer.study.methods import AnnotatorClassifier
    >>> clf = AnnotatorClassifier(AUGuidedAnnotator(threshold=0.5))
    >>> clf = clf.fit([[0], [0]], ["joy", "sad"], au_src=[[0.9, 0.1], [0.2, 0.8]])
    >>> clf.predict([[0]], au=[[0.8, 0.2]])
    array(['joy'], dtype='<U3')
    """

    def __init__(self, annotator: AUGuidedAnnotator | None = None):
        self.annotator = annotator

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        X_tgt: Any = None,
        *,
        au_src: ArrayLike,
        au_tgt: ArrayLike | None = None,
    ) -> AnnotatorClassifier:
        """Count the labels of the source under its AUs; `X` and `X_tgt` are not looked at."""
        annotator = AUGuidedAnnotator() if self.annotator is None else clone(self.annotator)
        # fit would not know of classes whose pictures all lack a face
        self.annotator_ = annotator.partial_fit(au_src, y, classes=np.unique(np.asarray(y)))
        self.classes_ = self.annotator_.classes_
        if au_tgt is not None:
            self.annotation_ = self.annotator_.annotate(au_tgt, name="au_tgt")
            self.target_labels_ = self.annotation_.labels
            self.coverage_ = self.annotation_.coverage
        return self

    def predict_proba(self, X: Any, *, au: ArrayLike) -> NDArray:
        """Label distributions, the source's where nothing matches."""
        check_is_fitted(self, "annotator_")
        return self.annotator_.predict_proba(au)

    def predict(self, X: Any, *, au: ArrayLike) -> NDArray:
        """Most frequent labels."""
        check_is_fitted(self, "annotator_")
        return self.annotator_.predict(au)


def _load(reference: str) -> Any:
    module, _, name = reference.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"the estimator {reference!r} cannot be imported ({error}); expected "
            '"module:Class" of a module on the Python path.'
        ) from error


def _class_of(method: str) -> Any:
    return _load(METHODS[method].estimator if method in METHODS else method)


def takes_parameter(method: str, parameter: str) -> bool:
    """Whether a method has a parameter, so that ``[base]`` may set it.

    Parameters
    ----------
    method : str
        A name of `METHODS`, or ``"module:Class"``.
    parameter : str
        As for ``set_params``, ``annotator__matching`` for instance.

    Returns
    -------
    bool
        False also for what makes the method what it is.
    """
    if method in METHODS and parameter in METHODS[method].fixed:
        return False
    outer, _, inner = parameter.partition("__")
    names = _class_of(method)().get_params(deep=True)
    if parameter in names:
        return True
    return bool(inner) and outer in names and outer in _PARTS


def build_estimator(method: str, parameters: Mapping[str, Any], *, seed: int) -> Any:
    """Make the estimator of a method, judged but not fitted.

    Parameters
    ----------
    method : str
        A name of `METHODS`, or ``"module:Class"``.
    parameters : dict
        For ``set_params``.
    seed : int
        Becomes ``random_state`` where there is one.

    Returns
    -------
    estimator : object

    Raises
    ------
    ValueError
        If the class cannot be imported, or a parameter is unknown or wrong.
    """
    estimator = _class_of(method)()
    fixed = METHODS[method].fixed if method in METHODS else {}
    parameters = {**parameters, **fixed}
    names = estimator.get_params(deep=False)
    for outer, part in _PARTS.items():
        nested = any(key.startswith(f"{outer}__") for key in parameters)
        if nested and outer in names and names[outer] is None:
            estimator.set_params(**{outer: _load(part)()})
    if "annotator" in names and names["annotator"] is None and estimator.annotator is not None:
        # the estimator's own default, which set_params would else not know of
        recipe = parameters.get("recipe", names.get("recipe"))
        parameters.setdefault("annotator__matching", "near" if recipe == "fused" else "exact")
    if "random_state" in names and "random_state" not in parameters:
        parameters["random_state"] = seed
    estimator.set_params(**parameters)
    for value in (estimator, *estimator.get_params(deep=False).values()):
        if isinstance(value, BaseEstimator) and hasattr(value, "_parameter_constraints"):
            value._validate_params()
    return estimator


def describe_estimator(estimator: Any) -> dict[str, Any]:
    """All parameters of an estimator that bear on what it finds, for JSON.

    Parameters
    ----------
    estimator : object

    Returns
    -------
    description : dict
        Its class, and its parameters, nested ones in the same form.
    """
    parameters = {
        name: _plain(value)
        for name, value in sorted(estimator.get_params(deep=False).items())
        if name not in _WITHOUT_EFFECT
    }
    weights = parameters.get("weights")
    if isinstance(weights, str) and Path(weights).is_file():
        parameters["weights"] = sha256(Path(weights))
    kind = type(estimator)
    return {"class": f"{kind.__module__}:{kind.__qualname__}", "parameters": parameters}


def _plain(value: Any) -> Any:
    if hasattr(value, "get_params"):
        return describe_estimator(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def uses_aus(estimator: Any) -> bool:
    """Whether an estimator looks at AU scores in `fit`.

    Parameters
    ----------
    estimator : object

    Returns
    -------
    bool
    """
    use = getattr(estimator, "_au_use", None)
    if use is not None:
        return use != "never"
    return "au_src" in inspect.signature(estimator.fit).parameters
