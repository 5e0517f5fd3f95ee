"""Labels of samples, judged before scikit-learn looks at them."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["refuse_mixed_labels"]


def refuse_mixed_labels(y: Any, *, name: str = "y") -> Any:
    """Refuse labels that are missing or of several kinds.

    numpy makes texts of a list of texts and numbers, so that 1 and "1" would
    become one class, and sorting texts among None or NA fails without a word
    on labels.

    Parameters
    ----------
    y : array-like of shape (n,)
    name : str, default="y"
        How errors call it.

    Returns
    -------
    y : array-like
        As it was given.

    Raises
    ------
    ValueError
        If some labels are None or NA, or texts among others.

    Examples
    --------
    >>> from adafer._labels import refuse_mixed_labels
    >>> refuse_mixed_labels(["joy", "sad"])
    ['joy', 'sad']
    """
    if isinstance(y, (list, tuple)):
        values = y
    elif (
        getattr(y, "dtype", None) is not None and getattr(y.dtype, "kind", "O") in "OT"
    ):  # of "U" all are texts
        values = np.asarray(y, dtype=object).ravel().tolist()
    else:
        return y
    kinds = {kind: kind.__name__ for kind in set(map(type, values))}
    missing = [kind for kind, text in kinds.items() if text in ("NoneType", "NAType", "NaTType")]
    if missing:
        at = next(i for i, value in enumerate(values) if type(value) in missing)
        raise ValueError(
            f"{name} has no label for some samples: {name}[{at}] is {values[at]!r}. Leave these "
            "samples out, or give them to fit as the target, which needs no labels."
        )
    texts = {kind for kind in kinds if issubclass(kind, str)}
    if texts and len(texts) < len(kinds):
        first = next(i for i, value in enumerate(values) if type(value) not in texts)
        raise ValueError(
            f"{name} mixes texts with other labels: {name}[{first}] is {values[first]!r}, a "
            f"{type(values[first]).__name__}. Give labels of one kind, for example all as str; "
            "leave samples without a label (NaN) out."
        )
    return y
