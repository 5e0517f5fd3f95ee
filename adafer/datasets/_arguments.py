"""Arguments that readers of data sets share, judged before a folder is looked at."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Mapping
from numbers import Integral, Real
from typing import Any, TypeVar

from .._paths import check_path
from .._sklearn import Interval, StrOptions, judged

__all__ = ["MARGIN", "ON_ERROR", "SIZE", "reader"]

_Reader = TypeVar("_Reader", bound=Callable[..., Any])

SIZE = [Interval(Integral, 1, 4096, closed="both")]
MARGIN = [Interval(Real, 0, 10, closed="both")]
ON_ERROR = [StrOptions({"raise", "skip"})]


def _check_classes(classes: Any) -> None:
    if isinstance(classes, str) or not hasattr(classes, "__iter__"):
        raise TypeError(f"classes must be a list of names; got {classes!r}.")
    if not isinstance(classes, Collection):
        return  # what can be gone through once only is not gone through here
    names = list(classes)
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"classes must be one or more names, each a str; got {names!r}.")
    if len(set(names)) < len(names):
        raise ValueError(f"classes must differ; got {names!r}.")


def _check_label_names(label_names: Any) -> None:
    words = ("canonical", "as-is")
    if not isinstance(label_names, Mapping) and label_names not in words:
        raise ValueError(
            f"label_names must be one of {words}, or a mapping of folder names to labels; got "
            f"{label_names!r}."
        )


_ARGUMENTS: dict[str, Any] = {
    "path": check_path,
    "return_X_y": ["boolean"],
    "contempt": ["boolean"],
    "neutral": ["boolean"],
    "aligned": ["boolean"],
    "size": [None, *SIZE],
    "margin": MARGIN,
    "on_error": ON_ERROR,
    "images": [None, str, os.PathLike],
    "fer2013": [None, str, os.PathLike],
    "root": [None, str, os.PathLike],
    "n_peak": [Interval(Integral, 0, None, closed="left")],
    "min_confidence": [None, Interval(Real, 0, None, closed="left")],
    "classes": _check_classes,
    "label_names": _check_label_names,
}


def reader(function: _Reader) -> _Reader:
    """Decorate a reader so that what it shares with others is judged first.

    Parameters
    ----------
    function : callable
        With any of the arguments above.

    Returns
    -------
    function : callable
        Raises a ValueError or a TypeError that names a wrong argument.
    """
    names = inspect.signature(function).parameters
    return judged(**{name: kind for name, kind in _ARGUMENTS.items() if name in names})(function)
