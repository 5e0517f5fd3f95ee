"""Versions of what results depend on."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from . import __version__

__all__ = ["versions"]

_PACKAGES = ("numpy", "scikit-learn", "torch", "torchvision", "ai-edge-litert")


def versions() -> dict[str, str]:
    """Versions of adafer, of Python and of what results depend on.

    Returns
    -------
    versions : dict of str -> str
        "not installed" for what is missing.

    Examples
    --------
    >>> from adafer._versions import versions
    >>> list(versions())[:3]
    ['adafer', 'python', 'numpy']
    """
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    found = {"adafer": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
