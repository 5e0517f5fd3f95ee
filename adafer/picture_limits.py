"""How much a picture file may cost, and where that is set."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

from PIL import Image

__all__ = ["PictureLimits", "current_limits", "picture_limits"]


@dataclass(frozen=True)
class PictureLimits:
    """What a picture file may cost; more is an error before it is paid.

    Parameters
    ----------
    max_bytes : int, default=512 MiB
        Size of a file. Larger ones are not read.
    max_pixels : int or None, default=None
        Width times height. Larger pictures are not decoded. None takes
        ``PIL.Image.MAX_IMAGE_PIXELS`` (89 million unless you change it), which
        is a limit in any case.
    max_seconds : float or None, default=60
        Time to decode one picture, looked at between blocks of the file:
        decoding ends soon after it, except in TIFF, WebP and JPEG 2000, whose
        time is bounded by `max_pixels` alone. None sets no limit.

    Raises
    ------
    ValueError
        If a limit is no positive number.

    Examples
    --------
    >>> from adafer.faces import PictureLimits
    >>> PictureLimits(max_pixels=25_000_000).max_seconds
    60.0
    """

    max_bytes: int = 512 * 2**20
    max_pixels: int | None = None
    max_seconds: float | None = 60.0

    def __post_init__(self) -> None:
        for name, kind, words in (
            ("max_bytes", Integral, "an integer of at least 1"),
            ("max_pixels", Integral, "an integer of at least 1, or None"),
            ("max_seconds", Real, "a number above 0, or None"),
        ):
            value = getattr(self, name)
            if value is None and name != "max_bytes":
                continue
            if not isinstance(value, kind) or isinstance(value, bool) or not float(value) > 0:
                raise ValueError(f"{name} must be {words}; got {value!r}.")

    @property
    def pixels(self) -> int | None:
        """The smaller of `max_pixels` and Pillow's own limit."""
        given = [n for n in (self.max_pixels, Image.MAX_IMAGE_PIXELS) if n is not None]
        return min(given, default=None)


_DEFAULT = PictureLimits()
_current: ContextVar[PictureLimits] = ContextVar("picture_limits", default=_DEFAULT)


def current_limits() -> PictureLimits:
    """Limits that hold here: those of the innermost `picture_limits`."""
    return _current.get()


@contextlib.contextmanager
def picture_limits(**changes: Any) -> Iterator[PictureLimits]:
    """Set limits for all pictures that are read inside, by whatever reads them.

    Estimators, extractors and readers of data sets all take pictures through
    `check_faces` and `read_face`, which ask here; so limits need no parameter in
    each of their signatures, and clones and searches need not carry them.
    They hold in this thread and in the threads that decode for it. Processes
    that joblib or dask start have the defaults.

    Parameters
    ----------
    **changes : int, float or None
        Fields of `PictureLimits`; others stay as they are outside.

    Yields
    ------
    limits : PictureLimits

    Raises
    ------
    ValueError
        If a limit has another name, or is no positive number.

    Examples
    --------
    >>> from adafer.faces import FaceReadError, decode_face, picture_limits
    >>> with picture_limits(max_pixels=100):
    ...     try:
    ...         decode_face(b"P6 20 20 255 " + bytes(1200))
    ...     except FaceReadError as error:
    ...         print(str(error)[:60])
    The picture cannot be read: it has 20 x 20 pixels, more than
    """
    known = [field.name for field in fields(PictureLimits)]
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise ValueError(f"picture_limits got {unknown}; expected some of {known}.")
    limits = replace(current_limits(), **changes)
    token = _current.set(limits)
    try:
        yield limits
    finally:
        _current.reset(token)
