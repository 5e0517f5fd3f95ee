"""Target data on their way through scikit-learn's tools."""

from __future__ import annotations

from typing import Any

__all__ = ["as_target", "unwrap_target"]


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
    if isinstance(value, tuple) and len(value) == 1 and not isinstance(value[0], (str, bytes)):
        return value[0]
    return value
