"""Judging paths that users pass, before anything is looked up."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["check_path"]


def check_path(path: Any, *, name: str = "path") -> str:
    """Judge what should be a path; nothing is looked up.

    Parameters
    ----------
    path : str or path-like
    name : str, default="path"
        How errors call it.

    Returns
    -------
    path : str

    Raises
    ------
    TypeError
        If it is no path.
    ValueError
        If it is empty, or holds a null character.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{name} must be a str or a pathlib.Path; got {type(path).__name__}.")
    text = os.fsdecode(path)
    if not text or "\0" in text:
        raise ValueError(f"{name} must name a file or a folder; got {text!r}.")
    return text
