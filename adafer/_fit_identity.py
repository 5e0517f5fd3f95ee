"""Which fit this is: its method, parameters and data, and how another one differs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import __version__

__all__ = ["array_digest", "describe_parameters", "differences", "fit_name", "identify"]

# Parameters that change nothing of what is learnt, or only by the data that are compared.
_WITHOUT_EFFECT = frozenset(
    {
        "au_extractor",
        "checkpoint_dir",
        "n_jobs",
        "on_error",
        "resume",
        "store",
        "test_time_flip",
        "verbose",
        "warm_start",
        "weights",
    }
)
_PIECE_BYTES = 2**24


def identify(
    estimator: Any, settings: Mapping[str, Any], data: Mapping[str, str | None]
) -> dict[str, Any]:
    """Say which fit this is, as JSON can hold it.

    Parameters
    ----------
    estimator : estimator
    settings : mapping
        What parameters such as ``device="auto"`` came to; takes their place.
    data : mapping of str -> str or None
        Digests of what `fit` was given.

    Returns
    -------
    identity : dict
        "method", "adafer" (its version), "parameters" and "data".
    """
    return {
        "method": type(estimator).__name__,
        "adafer": __version__,
        "parameters": {**describe_parameters(estimator), **settings},
        "data": dict(data),
    }


def describe_parameters(estimator: Any) -> dict[str, Any]:
    """Give the parameters that the result of a fit depends on, as JSON can hold them.

    Parameters
    ----------
    estimator : estimator
        A `random_state` that is no number is left out.

    Returns
    -------
    parameters : dict
        Those of estimators within too, as ``annotator__matching``.
    """
    found = estimator.get_params(deep=True)
    state = found.get("random_state")
    if not isinstance(state, (int, np.integer)):
        found.pop("random_state", None)
    return {
        name: _describe(value)
        for name, value in sorted(found.items())
        if name.split("__")[0] not in _WITHOUT_EFFECT
    }


def _describe(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_describe(item) for item in value]
    # parameters of an estimator follow under names of their own
    return type(value).__name__


def differences(saved: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """Say how two fits differ.

    Parameters
    ----------
    saved, present : mapping
        As `identify` gives them. What only one of them has counts as None.

    Returns
    -------
    differences : list of str
        Empty if none.

    Examples
    --------
    >>> from adafer._fit_identity import differences
    >>> differences(
    ...     {"method": "A", "parameters": {"epochs": 3}, "data": {"y": "12"}},
    ...     {"method": "A", "parameters": {"epochs": 5}, "data": {"y": "34"}},
    ... )
    ['epochs: 3 saved, 5 now', 'y has other values']
    """
    found = [
        f"{what}: {saved.get(what)} saved, {present.get(what)} now"
        for what in ("method", "adafer")
        if saved.get(what) != present.get(what)
    ]
    pairs = _both(saved, present, "parameters")
    found += [f"{name}: {was!r} saved, {now!r} now" for name, was, now in pairs]
    for name, was, now in _both(saved, present, "data"):
        if was is None or now is None:
            found.append(f"{name} was {'not ' if was is None else ''}given then")
        else:
            found.append(f"{name} has other {was.partition(':')[0] if ':' in was else 'values'}")
    return found


def _both(
    saved: Mapping[str, Any], present: Mapping[str, Any], part: str
) -> Iterable[tuple[str, Any, Any]]:
    """Entries that differ: name, saved value, present value."""
    before, after = saved.get(part) or {}, present.get(part) or {}
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield name, before.get(name), after.get(name)


def fit_name(identity: Mapping[str, Any]) -> str:
    """Name a fit by a digest of what it is: 16 hexadecimal digits."""
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def array_digest(array: NDArray | None, kind: str = "values", *, more: object = None) -> str | None:
    """Digest of an array's content, shape and type.

    Parameters
    ----------
    array : ndarray or None
        May be mapped from a file; it is read in pieces.
    kind : str, default="values"
        What it holds, such as "pictures"; goes before the digest.
    more : object, optional
        What belongs to it, such as names of columns; by its `repr`.

    Returns
    -------
    digest : str or None
        None for None.
    """
    if array is None:
        return None
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((array.dtype.str, array.shape, more)).encode())
    step = max(1, _PIECE_BYTES // max(1, array[:1].nbytes))
    for first in range(0, len(array), step):
        digest.update(np.ascontiguousarray(array[first : first + step]).data)
    return f"{kind}:{digest.hexdigest()}"
