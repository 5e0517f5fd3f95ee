"""The one place that touches scikit-learn's private API."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from numbers import Integral
from types import FrameType
from typing import Any, TypeVar

from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.base import _fit_context as fit_context
from sklearn.metrics import accuracy_score
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import _check_sample_weight

from ._checks import check_labels, naming

__all__ = [
    "N_JOBS",
    "AdaFEREstimator",
    "HasMethods",
    "Interval",
    "Options",
    "StrOptions",
    "accuracy",
    "check_sample_weight",
    "fit_context",
    "is_cross_validating",
    "judged",
    "pipelines_around",
]

# What joblib takes: workers from 1 up, or so many less than all.
N_JOBS = [
    None,
    Interval(Integral, 1, None, closed="left"),
    Interval(Integral, None, -1, closed="right"),
]

# Functions of scikit-learn that fit or score on a part of the rows.
_SLICING = {
    ("sklearn.model_selection._validation", "_fit_and_score"),
    ("sklearn.model_selection._validation", "_fit_and_predict"),
    ("sklearn.calibration", "_fit_classifier_calibrator_pair"),
}


class AdaFEREstimator(BaseEstimator):
    """scikit-learn's base, with links to this package's documentation in notebooks.

    scikit-learn draws estimators as HTML, with a link to their page. Ours are
    linked where the environment variable ``ADAFER_DOCS`` says where the
    documentation is served, such as ``https://example.org/adafer``; the page of a
    class is ``api/MODULE.CLASS.html`` there. Without it no link is drawn.
    """

    _doc_link_module = "adafer"

    @property
    def _doc_link_template(self) -> str:
        base = os.environ.get("ADAFER_DOCS", "").rstrip("/")
        return f"{base}/api/{{estimator_module}}.{{estimator_name}}.html" if base else ""


def check_sample_weight(sample_weight: Any, X: Any) -> Any:
    """Judge the weights of samples.

    Parameters
    ----------
    sample_weight : array-like of shape (n,), number, or None
    X : sized
        What the weights belong to.

    Returns
    -------
    weights : ndarray of float64 of shape (n,), or None
        None where none were given.

    Raises
    ------
    ValueError
        If lengths differ, or weights are negative, not finite or all zero.
    """
    if sample_weight is None:
        return None
    with naming("sample_weight"):
        weights = _check_sample_weight(sample_weight, X, dtype=float, ensure_non_negative=True)
    if not weights.any():  # before version 1.8 these were let pass
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights


class _NoNumber:
    """Stands for True or False where a number is expected."""

    def __init__(self, value: bool):
        self.value = value

    def __repr__(self) -> str:
        return repr(self.value)


_Function = TypeVar("_Function", bound=Callable[..., Any])


def judged(**arguments: list | Callable[[Any], object]) -> Callable[[_Function], _Function]:
    """Decorate a function so that its arguments are judged before it runs.

    Parameters
    ----------
    **arguments : list or callable
        By name: constraints as in scikit-learn, such as ``[None, Interval(...)]``,
        or a function that raises a ValueError or a TypeError for a wrong value.
        A function is not asked about an argument that is its default.

    Returns
    -------
    decorator : callable
        What it gives raises errors that name the argument.

    Examples
    --------
    >>> from adafer._sklearn import StrOptions, judged
    >>> @judged(colour=[StrOptions({"red"})])
    ... def paint(colour):
    ...     return colour
    >>> try:
    ...     paint("blue")
    ... except ValueError as error:
    ...     print(error)
    The 'colour' parameter of paint must be a str among {'red'}. Got 'blue' instead.
    """

    def decorate(function: _Function) -> _Function:
        signature = inspect.signature(function)
        unknown = set(arguments) - set(signature.parameters)
        if unknown:
            raise TypeError(f"{function.__qualname__} has no parameters {sorted(unknown)}.")

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs).arguments
            for name, value in given.items():
                wanted = arguments.get(name)
                if isinstance(wanted, list):
                    if isinstance(value, bool) and "boolean" not in wanted:
                        # Python's bool is an int, too
                        value = _NoNumber(value)
                    validate_parameter_constraints(
                        {name: wanted}, {name: value}, caller_name=function.__qualname__
                    )
                elif wanted is not None and value is not signature.parameters[name].default:
                    with naming(name):
                        wanted(value)
            return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    return decorate


def accuracy(y: ArrayLike, found: NDArray, sample_weight: ArrayLike | None = None) -> float:
    """Judge labels, and give the share of the samples whose label was found.

    Parameters
    ----------
    y : array-like of shape (n,)
    found : ndarray of shape (n,)
    sample_weight : array-like of shape (n,), optional

    Returns
    -------
    accuracy : float

    Raises
    ------
    ValueError, TypeError
        If `y` or the weights are none, or of another length.
    """
    truth = check_labels(y, n_samples=len(found))
    weights = check_sample_weight(sample_weight, found)
    with naming("y"):
        return float(accuracy_score(truth, found, sample_weight=weights))


def _callers() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back


def is_cross_validating() -> bool:
    """Tell whether one of scikit-learn's functions that cut rows called us.

    There is no public way to know. Where a later scikit-learn names these
    functions otherwise, the answer is no.
    """
    return any(
        (frame.f_globals.get("__name__"), frame.f_code.co_name) in _SLICING for frame in _callers()
    )


def pipelines_around(estimator: Any) -> list[Any]:
    """Give the pipelines that are fitting the estimator as their last step, the inner first."""
    found, inner = [], estimator
    for frame in _callers():
        where, function = frame.f_globals.get("__name__"), frame.f_code.co_name
        if where == "sklearn.pipeline" and function in ("fit", "fit_transform"):
            pipeline = frame.f_locals.get("self")
            steps = getattr(pipeline, "steps", None)
            if steps and steps[-1][1] is inner:
                found.append(pipeline)
                inner = pipeline
    return found
