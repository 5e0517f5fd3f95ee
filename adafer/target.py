"""Target data on their way through scikit-learn's tools."""

from __future__ import annotations

import warnings
from typing import Any

from ._sklearn import is_cross_validating, pipelines_around

__all__ = [
    "UntransformedTargetWarning",
    "as_target",
    "check_not_cut",
    "check_transformed",
    "unwrap_target",
]


class UntransformedTargetWarning(UserWarning):
    """The target reaches a pipeline's classifier without passing the steps before it."""


def as_target(X_tgt: Any) -> tuple[Any]:
    """Wrap target data so that cross-validation leaves them whole.

    scikit-learn slices every array-like fit parameter that has as many rows as
    ``X`` by the *source's* fold indices, silently. A 1-tuple is never sliced,
    and ``Pipeline(transform_input=["X_tgt"])`` transforms what is inside it.
    Use it for ``X_tgt`` and ``au_tgt`` whenever a search or a cross-validation
    calls ``fit``; outside of these it changes nothing.

    Parameters
    ----------
    X_tgt : array-like or sequence of paths
        Target data, of any length.

    Returns
    -------
    wrapped : tuple of length 1

    Examples
    --------
    >>> from adafer import as_target
    >>> as_target([[0.1, 0.2]])
    ([[0.1, 0.2]],)
    """
    return (X_tgt,)


def unwrap_target(value: Any) -> Any:
    """Undo `as_target`; anything else is given back unchanged."""
    return value[0] if _is_wrapped(value) else value


def _is_wrapped(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 1 and not isinstance(value[0], (str, bytes))


def check_not_cut(n_samples: int, **targets: Any) -> None:
    """Refuse target data that cross-validation seems to have cut.

    Parameters
    ----------
    n_samples : int
        Rows of `X`.
    **targets : object
        Target data by name, as they arrived.

    Raises
    ------
    ValueError
        If one came without `as_target`, out of a function of scikit-learn that
        cuts rows, with just as many rows as `X`.
    """
    plain = [
        name
        for name, value in targets.items()
        if value is not None
        and not _is_wrapped(value)
        and hasattr(value, "__len__")
        and len(value) == n_samples
    ]
    if plain and is_cross_validating():
        name = plain[0]
        raise ValueError(
            f"{name} has {n_samples} rows, as many as X, inside a cross-validation, which cuts "
            "everything that has as many rows as X by the folds of the source. Pass "
            f"{name}=as_target({name}), which stays whole."
        )


def check_transformed(estimator: Any) -> None:
    """Warn where a pipeline that is fitting an estimator hands on the target as it came.

    Parameters
    ----------
    estimator : estimator
        Whose ``fit`` got a target.

    Warns
    -----
    UntransformedTargetWarning
        If there are steps before it that `X` passed and `X_tgt` did not.
    """
    before = [
        name
        for pipeline in pipelines_around(estimator)
        if "X_tgt" not in (pipeline.transform_input or [])
        for name, step in pipeline.steps[:-1]
        if step not in (None, "passthrough")
    ]
    if before:
        warnings.warn(
            f"X_tgt did not pass the steps {before} before {type(estimator).__name__}, while X "
            'did. Make the pipeline with transform_input=["X_tgt"] under '
            "sklearn.set_config(enable_metadata_routing=True). If X_tgt was brought to the same "
            "form by hand, ignore adafer.target.UntransformedTargetWarning.",
            UntransformedTargetWarning,
            stacklevel=4,
        )
