"""The one place that touches scikit-learn's private API."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import HasMethods, Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight

__all__ = [
    "AdaFEREstimator",
    "HasMethods",
    "Interval",
    "Options",
    "StrOptions",
    "check_sample_weight",
    "fit_context",
    "is_cross_validating",
    "pipelines_around",
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
    weights = _check_sample_weight(sample_weight, X, dtype=float, ensure_non_negative=True)
    if not weights.any():  # before version 1.8 these were let pass
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights


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
