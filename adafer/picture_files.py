"""Picture files: opened, judged by content and limits, and decoded to RGB."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from numbers import Integral
from os import PathLike
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ._paths import check_path
from ._sklearn import Interval, judged
from .picture_limits import PictureLimits, current_limits

__all__ = [
    "FORMATS",
    "FaceReadError",
    "Picture",
    "decode_face",
    "kind_of_file",
    "read_face",
    "read_file",
    "read_picture",
    "rgb_of_image",
    "strict_pillow",
    "to_rgb",
]

Picture: TypeAlias = NDArray[np.uint8]

# What is tried, by content and never by name. Left out are formats that start other
# programs (EPS) and those that hardly anybody sends and nobody tests (FITS, PSD, FLI ...).
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# Bytes that a decoder is given at a time: the clock is looked at in between.
_BLOCK = 1 << 14
# Rows of a transparent picture that are blended at once, so that what is made on the way
# does not take many times the picture's memory.
_BLENDED_PIXELS = 1 << 20


class FaceReadError(ValueError):
    """An image file cannot be read; the message names the file and the cause."""


@judged(path=check_path, limits=[None, PictureLimits])
def read_face(path: str | PathLike[str], *, limits: PictureLimits | None = None) -> Picture:
    """Read one picture from a file.

    What kind of picture it is, its content tells, not its name. The rotation
    noted by the camera (EXIF) is applied; grey, palette and CMYK
    pictures become RGB; 16-bit grey is scaled to 8 bits; transparent parts are
    laid over white, as viewers show them; of an animation the first frame is
    taken.

    Parameters
    ----------
    path : str or path
        BMP, GIF, JPEG, JPEG 2000, PNG, PPM, TIFF or WebP.
    limits : PictureLimits, optional
        By default those of `picture_limits`.

    Returns
    -------
    image : ndarray of uint8 of shape (H, W, 3)
        RGB, not writable.

    Raises
    ------
    FaceReadError
        If there is no such file, it is a pipe or a device, is no picture, is
        damaged or cut short, or exceeds a limit.

    Examples
    --------
    >>> from PIL import Image
    >>> from adafer.faces import read_face
    >>> Image.new("L", (4, 3)).save("face.png")
    >>> read_face("face.png").shape
    (3, 4, 3)
    """
    with strict_pillow():
        return read_picture(os.fsdecode(path), limits or current_limits())


@judged(
    content=[bytes],
    max_pixels=[None, Interval(Integral, 1, None, closed="left")],
    limits=[None, PictureLimits],
)
def decode_face(
    content: bytes,
    *,
    name: str = "The picture",
    max_pixels: int | None = None,
    limits: PictureLimits | None = None,
) -> Picture:
    """Read one picture from the bytes of a file, as `read_face` does.

    Nothing is written to disk.

    Parameters
    ----------
    content : bytes
        BMP, GIF, JPEG, JPEG 2000, PNG, PPM, TIFF or WebP.
    name : str, default="The picture"
        How errors call it.
    max_pixels : int, optional
        Instead of that of `limits`.
    limits : PictureLimits, optional
        By default those of `picture_limits`.

    Returns
    -------
    image : ndarray of uint8 of shape (H, W, 3)
        RGB, not writable.

    Raises
    ------
    FaceReadError
        As `read_face`.

    Examples
    --------
    >>> from adafer.faces import decode_face
    >>> decode_face(b"P6 2 1 255 " + bytes(6)).shape
    (1, 2, 3)
    """
    limits = limits or current_limits()
    if max_pixels is not None:
        limits = replace(limits, max_pixels=max_pixels)
    with strict_pillow():
        return _decode(content, name, limits)


@contextlib.contextmanager
def strict_pillow() -> Iterator[None]:
    """Silence Pillow's warnings, which tell of odd metadata without the file's name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        # of too many pixels this module judges itself, in every thread
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


# --------------------------------------------------------------------------- files


def kind_of_file(path: str | PathLike[str]) -> str | None:
    """Say what is at a path instead of a file; None if it is one.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    words : str or None
        Such as "is a folder, not a file".
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if os.path.islink(path):
            return f"is a link to nothing ({os.strerror(error.errno or 0)})"
        if isinstance(error, FileNotFoundError):
            return "does not exist"
        return f"cannot be looked at ({error.strerror})"
    except ValueError:
        return "does not exist: no file has a NUL in its name"
    return _kind(mode)


def _kind(mode: int) -> str | None:
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode):
        return "is a folder, not a file"
    return "is a pipe, socket or device, not a file"


def read_file(path: str | PathLike[str], max_bytes: int) -> bytes:
    """Read a whole regular file of bounded size; pipes and devices are not waited for.

    Parameters
    ----------
    path : str or path
    max_bytes : int

    Returns
    -------
    content : bytes

    Raises
    ------
    OSError
        If it cannot be opened, or is no regular file.
    ValueError
        If it is larger.
    """
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY"):
        flags |= getattr(os, name, 0)
    with open(os.open(path, flags), "rb", buffering=0) as stream:
        found = os.fstat(stream.fileno())
        if kind := _kind(found.st_mode):
            raise OSError(f"it {kind}")
        if found.st_size <= max_bytes:
            content = stream.read(found.st_size) if found.st_size else b""
            while len(content) < found.st_size and (more := stream.read(found.st_size)):
                content += more
            return content
    raise ValueError(f"it has {found.st_size} bytes, more than the {max_bytes} allowed")


def read_picture(path: str, limits: PictureLimits) -> Picture:
    """Read a picture inside of `strict_pillow`; see `read_face`."""
    name = repr(path)
    try:
        content = read_file(path, limits.max_bytes)
    except (OSError, ValueError, MemoryError) as error:
        raise _unreadable(name, error) from error
    return _decode(content, name, limits)


# ------------------------------------------------------------------------ decoding


class _TimedBytes(io.BytesIO):
    """Bytes that refuse to be read after a deadline."""

    def __init__(self, content: bytes, seconds: float | None) -> None:
        super().__init__(content)
        self._seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds

    def read(self, size: int | None = -1, /) -> bytes:
        if self._end is not None and time.monotonic() > self._end:
            raise FaceReadError(f"decoding took longer than the {self._seconds:g} s allowed")
        return super().read(size)


def _decode(content: bytes, name: str, limits: PictureLimits) -> Picture:
    if len(content) > limits.max_bytes:
        raise _unreadable(
            name, ValueError(f"it has {len(content)} bytes, more than the {limits.max_bytes}")
        )
    try:
        with Image.open(_TimedBytes(content, limits.max_seconds), formats=FORMATS) as image:
            _check_size(image, limits.pixels)
            if hasattr(image, "decodermaxblock"):
                image.decodermaxblock = _BLOCK
            image.load()
            return rgb_of_image(image)
    except Image.DecompressionBombError as error:
        raise FaceReadError(
            f"{name} cannot be read: {error} Make the picture smaller, or raise max_pixels and "
            "PIL.Image.MAX_IMAGE_PIXELS if you trust it."
        ) from error
    except UnidentifiedImageError as error:
        what = f"it is none of {', '.join(FORMATS)}" if content else "it is empty"
        raise FaceReadError(
            f'{name} cannot be read: {what}. Convert it, or leave it out with on_error="skip".'
        ) from error
    except Exception as error:
        # Pillow does not say what its decoders raise on damaged files: OSError, ValueError,
        # SyntaxError, struct.error, KeyError, TypeError, RuntimeError were all seen.
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: BaseException) -> FaceReadError:
    cause = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        cause = error.strerror
    return FaceReadError(
        f'{name} cannot be read: {cause}. Replace the file, or leave it out with on_error="skip".'
    )


def _check_size(image: Image.Image, max_pixels: int | None) -> None:
    if max_pixels is not None and image.width * image.height > max_pixels:
        raise Image.DecompressionBombError(
            f"it has {image.width} x {image.height} pixels, more than the {max_pixels} allowed, "
            "and could be a decompression bomb."
        )


def rgb_of_image(image: Image.Image) -> Picture:
    """Turn a picture of Pillow, of any mode, into uint8 RGB.

    Parameters
    ----------
    image : PIL.Image.Image

    Returns
    -------
    pixels : ndarray of uint8 of shape (H, W, 3)

    Raises
    ------
    ValueError
        If its grey values exceed 16 bits, or [0, 1] for floats.
    """
    image = ImageOps.exif_transpose(image) or image
    if image.mode.startswith("I") or image.mode == "F":
        return to_rgb(_scale_to_8_bits(image))
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        return to_rgb(np.asarray(image.convert("RGBA")))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _scale_to_8_bits(image: Image.Image) -> Picture:
    """Scale grey pictures of 16-bit integers or of floats in [0, 1]."""
    pixels = np.asarray(image)
    low, high = pixels.min(), pixels.max()
    limit = 1 if image.mode == "F" else 65535
    if not (low >= 0 and high <= limit):
        raise ValueError(
            f"its grey values run from {low:.6g} to {high:.6g}, expected 0..{limit}; convert it "
            "to 8 bits"
        )
    return np.rint(pixels * (255 / limit)).astype(np.uint8)


def to_rgb(pixels: NDArray) -> Picture:
    """Turn checked pixels, one picture or several, into uint8 RGB.

    Parameters
    ----------
    pixels : ndarray of uint8, or of floats in [0, 1]
        Of shape (H, W), (H, W, c), (n, H, W) or (n, H, W, c), c one of 1, 3, 4.

    Returns
    -------
    pixels : ndarray of uint8 of shape (H, W, 3) or (n, H, W, 3)
        Transparent parts lie over white.
    """
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels * np.float32(255)).astype(np.uint8)
    if pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)):
        pixels = pixels[..., None]
    if pixels.shape[-1] == 4:
        return _over_white(pixels)
    if pixels.shape[-1] == 1:
        return np.repeat(pixels, 3, axis=-1)
    return pixels


def _over_white(pixels: Picture) -> Picture:
    """Blend, rounded: colour * alpha + 255 * (1 - alpha)."""
    blended = np.empty((*pixels.shape[:-1], 3), dtype=np.uint8)
    step = max(1, _BLENDED_PIXELS * len(pixels) * 4 // max(pixels.size, 1))
    for start in range(0, len(pixels), step):
        some = pixels[start : start + step]
        alpha = some[..., 3:].astype(np.uint16)
        blend = some[..., :3] * alpha + 255 * (255 - alpha) + 127
        blended[start : start + step] = blend // 255
    return blended
