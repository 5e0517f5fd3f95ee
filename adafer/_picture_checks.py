"""Judging arrays, lists of pictures and paths, before anything is read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .picture_files import kind_of_file, rgb_of_image

__all__ = ["KINDS", "as_array", "check_array", "check_paths", "check_picture"]

KINDS = (
    "an array of shape (n, H, W), (n, H, W, 1), (n, H, W, 3) or (n, H, W, 4), a list of such "
    "pictures, or a sequence of paths"
)


def as_array(X: Any, name: str) -> NDArray:
    """Make an array of what may be pictures; a ValueError calls it `name`."""
    try:
        return np.asarray(X)
    except (TypeError, ValueError, RuntimeError) as error:
        # tensors on a GPU or with a gradient, ragged sequences
        raise ValueError(
            f"{name} must be {KINDS}; got {type(X).__name__}, which makes no array: {error}"
        ) from error


def check_array(X: NDArray, name: str) -> None:
    """Refuse an array that holds no pictures, with a ValueError that calls it `name`."""
    if X.ndim == 2:
        raise ValueError(
            f"{name} is a 2-D array of shape {X.shape}: features, not faces. Expected {KINDS}. "
            f"For one grey picture pass {name}[None]; for flattened pictures "
            f"{name}.reshape(n, H, W)."
        )
    if X.ndim == 3 and X.shape[2] in (1, 3, 4):
        raise ValueError(
            f"{name} of shape {X.shape} looks like one colour picture; expected {KINDS}. "
            f"Pass {name}[None]."
        )
    if X.ndim == 4 and X.shape[3] not in (1, 3, 4) and X.shape[1] in (1, 3, 4):
        raise ValueError(
            f"{name} of shape {X.shape} has its channels first; expected {KINDS}. "
            f"Pass {name}.transpose(0, 2, 3, 1)."
        )
    if X.ndim not in (3, 4) or (X.ndim == 4 and X.shape[3] not in (1, 3, 4)):
        raise ValueError(f"{name} must be {KINDS}; got an array of shape {X.shape}.")
    _check_pixels(X, name)


def _check_pixels(pixels: NDArray, name: str) -> None:
    if 0 in pixels.shape:
        raise ValueError(f"{name} holds pictures without pixels: got shape {pixels.shape}.")
    if pixels.dtype == np.uint8:
        return
    if pixels.dtype.kind != "f":
        raise ValueError(
            f"{name} must hold uint8 or floats in [0, 1]; got {pixels.dtype}. If its values lie "
            f"in 0..255, pass {name}.astype(np.uint8)."
        )
    low, high = float(pixels.min()), float(pixels.max())
    if np.isnan(low) or np.isnan(high):
        raise ValueError(
            f"{name} holds NaN; expected uint8 or floats in [0, 1]. Leave out the broken pictures."
        )
    if low < 0 or high > 1:
        raise ValueError(
            f"{name} holds floats from {low:.4g} to {high:.4g}; expected [0, 1]. Divide values in "
            "0..255 by 255; undo a normalisation by mean and deviation."
        )


def check_picture(item: Any, name: str, whole: str) -> NDArray:
    """Give one entry, `name`, of a list called `whole` as an array, or raise a ValueError."""
    if isinstance(item, Image.Image):
        # as an array a palette's picture would be its indices, and CMYK look like RGBA
        return rgb_of_image(item)
    try:
        picture = np.asarray(item)
    except (TypeError, ValueError, RuntimeError):
        picture = np.empty(0, dtype=object)
    if picture.dtype.kind in "OUSM" or picture.ndim < 2:
        got = f"{type(item).__name__} {item!r}" if np.isscalar(item) else type(item).__name__
        raise ValueError(
            f"{whole} must be {KINDS}; {name} is {got}. Do not mix pictures and paths, and leave "
            "out rows without a picture."
        )
    if picture.ndim > 3 or (picture.ndim == 3 and picture.shape[2] not in (1, 3, 4)):
        raise ValueError(
            f"{name} must have shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); "
            f"got {picture.shape}."
        )
    _check_pixels(picture, name)
    return picture


def check_paths(X: Sequence[Any] | NDArray, name: str) -> list[str]:
    """Give paths as texts; a ValueError tells what is none, a FileNotFoundError what is missing."""
    paths: list[str] = []
    missing: list[str] = []
    for i, item in enumerate(X):
        if not isinstance(item, (str, PathLike)):
            raise ValueError(
                f"{name} must be a sequence of paths like its first entry; {name}[{i}] is "
                f"{type(item).__name__} {item!r}. Leave out rows without a path."
            )
        path = os.fsdecode(item)
        if not os.path.isfile(path):
            missing.append(path)
        paths.append(path)
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        # what was no file a moment ago may be one now
        kind = kind_of_file(missing[0]) or "did not exist"
        raise FileNotFoundError(
            f"{name}: {missing[0]!r} {kind}{more}. Check the paths; relative ones start at "
            f"{os.getcwd()!r}."
        )
    return paths
