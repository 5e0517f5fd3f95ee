"""Judging what users pass: every error says which argument is wrong."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence, Sized
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import assert_all_finite, check_array, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ._labels import refuse_mixed_labels

__all__ = [
    "check_generator",
    "check_image",
    "check_images",
    "check_labels",
    "check_matrix",
    "check_rows",
    "naming",
]


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Put an argument's name before errors of numpy and scikit-learn that lack it.

    Parameters
    ----------
    name : str

    Raises
    ------
    ValueError, TypeError
        As inside, with ``name: `` before the text unless it is in it.

    Examples
    --------
    >>> from adafer._checks import naming
    >>> with naming("y"):
    ...     float("b")
    Traceback (most recent call last):
    ValueError: y: could not convert string to float: 'b'
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        # classes below these say more than a text, and take other arguments
        if type(error) not in (ValueError, TypeError):
            raise
        if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", str(error)):
            raise
        raise type(error)(f"{name}: {error}") from error


def check_labels(y: ArrayLike, *, name: str = "y", n_samples: int | None = None) -> NDArray:
    """Judge class labels.

    Parameters
    ----------
    y : array-like of shape (n,)
        Names or integers, of one kind.
    name : str, default="y"
        How errors call them.
    n_samples : int, optional
        How many there must be.

    Returns
    -------
    labels : ndarray of shape (n,)

    Raises
    ------
    ValueError, TypeError
        If they are no labels, or of another number.

    Warns
    -----
    DataConversionWarning
        If a column was given instead of a row.
    """
    with naming(name):
        labels: NDArray = column_or_1d(refuse_mixed_labels(y, name=name), warn=True)
        if n_samples is not None:
            check_rows(labels, n_samples, name=name)
        if len(labels) == 0:
            raise ValueError("it holds no labels; expected one per sample.")
        assert_all_finite(labels, input_name=name)
        check_classification_targets(labels)
    return labels


def check_rows(values: Sized, n_samples: int, *, name: str, of: str = "X") -> None:
    """Make sure that there is one row per sample.

    Parameters
    ----------
    values : sized
    n_samples : int
    name, of : str
        How the error calls both.

    Raises
    ------
    ValueError
        If there are more or fewer.
    """
    if len(values) != n_samples:
        raise ValueError(
            f"{of} and {name} have inconsistent lengths: {n_samples} samples but {len(values)} "
            f"rows of {name}. Give one per sample, in the same order."
        )


def check_matrix(values: Any, *, name: str, missing: bool = False) -> NDArray[np.float64]:
    """Judge a table of finite numbers.

    Parameters
    ----------
    values : array-like of shape (n, m)
    name : str
        How errors call it.
    missing : bool, default=False
        Whether NaN may be among them.

    Returns
    -------
    matrix : ndarray of float64 of shape (n, m)

    Raises
    ------
    ValueError, TypeError
        If it is none.
    """
    with naming(name):
        finite = "allow-nan" if missing else True
        return check_array(values, dtype=np.float64, ensure_all_finite=finite, input_name=name)


def check_images(images: Any, *, name: str = "images") -> None:
    """Judge pictures that were read already.

    Parameters
    ----------
    images : sequence of ndarrays of uint8 of shape (H, W, 3)
        May be empty; an array of shape (n, H, W, 3) is one, too.
    name : str, default="images"
        How errors call them.

    Raises
    ------
    TypeError, ValueError
        If it is something else.
    """
    if isinstance(images, str | bytes) or not isinstance(images, Sequence | np.ndarray):
        raise TypeError(
            f"{name} must be a sequence of RGB pictures; got {type(images).__name__}. Read files "
            "with adafer.faces.read_faces."
        )
    for number, image in enumerate(images[:1] if isinstance(images, np.ndarray) else images):
        check_image(image, name=f"{name}[{number}]")


def check_image(image: Any, *, name: str = "image") -> None:
    """Judge one picture that was read already.

    Parameters
    ----------
    image : ndarray of uint8 of shape (H, W, 3)
    name : str, default="image"
        How errors call it.

    Raises
    ------
    TypeError, ValueError
        If it is something else.
    """
    if not isinstance(image, np.ndarray):
        raise TypeError(f"{name} must be an array of uint8; got {type(image).__name__}.")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(
            f"{name} must be an RGB picture of uint8 of shape (H, W, 3); got {image.dtype} of "
            f"shape {image.shape}. Use adafer.faces.read_faces, which "
            "converts other forms."
        )


def check_generator(
    random_state: int | np.random.RandomState | np.random.Generator | None,
) -> np.random.Generator:
    """Give a generator for what users pass as `random_state`.

    Parameters
    ----------
    random_state : int, RandomState, Generator or None

    Returns
    -------
    rng : numpy.random.Generator
        The one given, or one that is seeded by what was given.

    Raises
    ------
    ValueError
        If it cannot be a seed.
    """
    if isinstance(random_state, np.random.Generator):
        return random_state
    with naming("random_state"):
        drawn = check_random_state(random_state).randint(2**31 - 1)
    return np.random.default_rng(drawn)
