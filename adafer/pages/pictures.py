"""Pictures inside a page: as ``data:`` addresses, which fetch nothing."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["data_address", "figure_names"]

_LONGEST_NAME = 16


def data_address(image: NDArray[np.uint8], longest: int) -> str:
    """Shrink a picture and write it as the address of a JPEG.

    Parameters
    ----------
    image : ndarray of uint8 of shape (H, W, 3)
    longest : int
        Pixels that its longer side has at most.

    Returns
    -------
    address : str
        Begins with ``data:image/jpeg;base64,``.
    """
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.thumbnail((longest, longest), Image.Resampling.BILINEAR, reducing_gap=3.0)
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def figure_names(names: Sequence[str]) -> dict[str, str]:
    """Say how figures write names: long ones cut, so that they leave room for the figure.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    written : dict of str -> str
        All different, and no formulas to matplotlib.

    Examples
    --------
    >>> from adafer.pages.pictures import figure_names
    >>> list(figure_names(["joy", "a very long name of one", "a very long name of two"]).values())
    ['joy', 'a very long nam…', 'a very long n… 2']
    """
    written: dict[str, str] = {}
    for name in dict.fromkeys(names):
        short, number = _cut(name, _LONGEST_NAME), 1
        while short in written.values():
            number += 1
            short = f"{_cut(name, _LONGEST_NAME - 2)} {number}"
        written[name] = short.replace("$", r"\$")
    return written


def _cut(name: str, longest: int) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
