"""Classes of a saved model: their type and values, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._saved_network import AGAIN, DESCRIPTION

__all__ = ["describe_classes", "restore_classes"]

# a limit that keeps a wrong file from asking for all the memory
_MAX_NAME_LENGTH = 4096


def describe_classes(classes: NDArray) -> dict[str, Any]:
    """Describe the classes of a classifier, of any type that JSON can hold."""
    values = classes.tolist()
    is_text = all(isinstance(value, str) for value in values)
    if classes.dtype.kind not in "Uiufb" and not (classes.dtype == object and is_text):
        raise ValueError(
            f"Classes of dtype {classes.dtype} cannot be saved; expected texts, numbers or "
            "booleans. Fit with y.astype(str)."
        )
    return {"dtype": "object" if classes.dtype == object else classes.dtype.str, "values": values}


def restore_classes(stored: Mapping[str, Any]) -> NDArray:
    """Make the same classes again, or say what is wrong with them."""
    dtype, values = np.dtype(stored["dtype"]), stored["values"]
    kinds: dict[str, Any] = {"U": str, "O": str, "i": int, "u": int, "b": bool, "f": (int, float)}
    wanted = kinds.get(dtype.kind)
    length = dtype.itemsize // 4 if dtype.kind == "U" else 0
    if (
        wanted is None
        or not isinstance(values, list)
        or not all(isinstance(value, wanted) for value in values)
        or length > _MAX_NAME_LENGTH
    ):
        raise ValueError(f"{DESCRIPTION} has classes of dtype {dtype} that cannot be read. {AGAIN}")
    classes = np.array(values, dtype=dtype)
    if len(values) < 2 or classes.tolist() != values or len(np.unique(classes)) != len(values):
        raise ValueError(
            f"{DESCRIPTION} has the classes {values}; expected at least 2, all different, that "
            f"fit into {dtype}. {AGAIN}"
        )
    return classes
