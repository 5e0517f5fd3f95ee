"""What is looked at when a model arrives from another machine, saved or pickled."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

from ._versions import versions

__all__ = ["move_to_this_machine", "warn_of_versions"]


def warn_of_versions(saved: Mapping[str, str], what: str) -> None:
    """Say it when a model was made by versions that may mean something else here.

    A newer adafer may have written what this one does not know; another major
    version of a library may compute otherwise. Smaller differences move
    probabilities in the seventh digit and are not told.

    Parameters
    ----------
    saved : mapping of str -> str
        As `adafer._versions.versions` gives them.
    what : str
        How the warning calls the model.

    Warns
    -----
    UserWarning
        With both versions, and what to do.
    """
    here = versions()
    newer = _numbers(saved.get("adafer", "")) > _numbers(here["adafer"])
    if newer:
        warnings.warn(
            f"{what} was made by adafer {saved['adafer']}, newer than {here['adafer']} here: what "
            "that version added is not known to this one. Update adafer.",
            stacklevel=3,
        )
    others = [
        f"{name} {saved[name]} (here {found})"
        for name, found in here.items()
        if name not in ("adafer", "python")
        and _numbers(saved.get(name, ""))
        and _numbers(found)
        and _numbers(saved[name])[0] != _numbers(found)[0]
    ]
    if others:
        warnings.warn(
            f"{what} was made with {', '.join(others)}: its predictions may differ from those "
            "there. Install these versions, or compare predictions on faces you know.",
            stacklevel=3,
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Numbers that a version begins with; empty for "not installed"."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def move_to_this_machine(classifier: Any, what: str) -> None:
    """Set a device that is not here to "auto", and say so.

    Parameters
    ----------
    classifier : estimator
        Its parameter `device` may be changed.
    what : str
        How the warning calls it.

    Warns
    -----
    UserWarning
        If the device is not on this machine.
    """
    device = getattr(classifier, "device", None)
    if device in (None, "auto", "cpu"):
        return
    from .deep.device import resolve_device

    try:
        resolve_device(device)
    except ValueError:
        classifier.device = "auto"
        warnings.warn(
            f"{what} was made with device={device!r}, which is not on this machine; device='auto' "
            f"was set, which is {str(resolve_device('auto'))!r} here.",
            stacklevel=3,
        )
