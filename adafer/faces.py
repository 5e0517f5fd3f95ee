"""Reading face pictures: arrays, lists of arrays, and image files."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from numbers import Integral
from os import PathLike
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = [
    "FaceReadError",
    "Faces",
    "SkippedFace",
    "check_faces",
    "decode_face",
    "read_face",
    "read_faces",
    "resize_faces",
]

Picture: TypeAlias = NDArray[np.uint8]
OnError: TypeAlias = Literal["raise", "skip"]

# Formats are named so that no decoder that runs other programs (EPS) is tried.
_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# A chunk ends early when its pictures fill this many bytes: photographs of a
# whole camera frame must not fill the memory.
_CHUNK_BYTES = 256 * 2**20
_KINDS = (
    "an array of shape (n, H, W), (n, H, W, 1), (n, H, W, 3) or (n, H, W, 4), a list of such "
    "pictures, or a sequence of paths"
)


class FaceReadError(ValueError):
    """An image file cannot be read; the message names the file and the cause."""


class SkippedFace(NamedTuple):
    """A picture that could not be read."""

    index: int  # type: ignore[assignment]  # not the method of tuple
    path: str
    reason: str


class Faces:
    """Pictures that were judged but not read yet; made by `check_faces`.

    Attributes
    ----------
    image_shape : tuple (height, width) or None
        The size that all pictures share; None when they differ or are files,
        which were not opened yet.
    paths : list of str or None
        The files, None when the pictures are in memory.
    skipped : list of SkippedFace
        What the last iteration of `chunks` left out, as tuples
        (index, path, reason).
    """

    def __init__(
        self,
        pictures: NDArray | list[NDArray] | None = None,
        paths: list[str] | None = None,
    ) -> None:
        if (pictures is None) == (paths is None):
            raise ValueError("Faces takes either pictures or paths; use check_faces to make them.")
        self._pictures = pictures
        self.paths = paths
        self.skipped: list[SkippedFace] = []
        self.image_shape: tuple[int, int] | None = None
        if pictures is not None:
            shapes = {picture.shape[:2] for picture in pictures}
            if len(shapes) == 1:
                self.image_shape = shapes.pop()

    def __len__(self) -> int:
        return len(self._held())

    def ready(self, size: int) -> Picture | None:
        """Give pictures that need neither decoding nor resizing.

        Parameters
        ----------
        size : int

        Returns
        -------
        pictures : ndarray of uint8 of shape (n, size, size, 3) or None
            The array that was judged itself, not a copy; None if it is none, or
            has another form.
        """
        pictures = self._pictures
        shape = (len(self), size, size, 3)
        if isinstance(pictures, np.ndarray) and pictures.shape == shape:
            return pictures if pictures.dtype == np.uint8 else None
        return None

    def _held(self) -> Sequence[Any] | NDArray:
        return self._pictures if self.paths is None else self.paths  # type: ignore[return-value]

    def chunks(
        self, chunk_size: int = 128, on_error: OnError = "raise", n_jobs: int | None = None
    ) -> Iterator[tuple[NDArray[np.intp], list[Picture]]]:
        """Read the pictures piece by piece, each exactly once.

        Parameters
        ----------
        chunk_size : int, default=128
            Pictures per chunk; fewer where pictures are large, so that a chunk
            holds about 256 MiB at most.
        on_error : {"raise", "skip"}, default="raise"
            What to do with a file that cannot be read: stop, or leave it out
            and list it in `skipped`.
        n_jobs : int, default=None
            Threads that decode files, as in joblib: None means one, -1 one per
            core. Decoders let other threads run, so that they share the work.

        Yields
        ------
        indices : ndarray of int of shape (m,)
            Positions of the pictures in the input. Empty if a whole chunk was
            skipped.
        images : list of m ndarrays of uint8 of shape (H, W, 3)
            RGB pictures. Those of an array may share its memory: do not change
            them.

        Raises
        ------
        FaceReadError
            If a file cannot be read and ``on_error="raise"``.
        """
        if not isinstance(chunk_size, Integral) or chunk_size < 1:
            raise ValueError(f"chunk_size must be an integer of at least 1; got {chunk_size!r}.")
        if on_error not in ("raise", "skip"):
            raise ValueError(f'on_error must be "raise" or "skip"; got {on_error!r}.')
        self.skipped = []
        if self.paths is None:
            return self._chunks_in_memory(int(chunk_size))
        return self._chunks_of_files(int(chunk_size), on_error, effective_n_jobs(n_jobs))

    def _chunks_in_memory(
        self, chunk_size: int
    ) -> Iterator[tuple[NDArray[np.intp], list[Picture]]]:
        pictures = self._pictures
        assert pictures is not None
        if isinstance(pictures, np.ndarray):
            for start in range(0, len(pictures), chunk_size):
                images = _to_rgb(pictures[start : start + chunk_size])
                yield np.arange(start, start + len(images)), list(images)
            return
        start = 0
        while start < len(pictures):
            chunk: list[Picture] = []
            while start + len(chunk) < len(pictures) and not _is_full(chunk, chunk_size):
                chunk.append(_to_rgb(pictures[start + len(chunk)]))
            yield np.arange(start, start + len(chunk)), chunk
            start += len(chunk)

    def _chunks_of_files(
        self, chunk_size: int, on_error: OnError, n_threads: int
    ) -> Iterator[tuple[NDArray[np.intp], list[Picture]]]:
        assert self.paths is not None
        # several for each thread at a time, so that none waits long for the slowest
        at_once = 1 if n_threads == 1 else 4 * n_threads
        with ThreadPoolExecutor(n_threads) if n_threads > 1 else contextlib.nullcontext() as pool:
            start = 0
            while start < len(self.paths):
                end = min(start + chunk_size, len(self.paths))
                indices: list[int] = []
                images: list[Picture] = []
                while start < end and not _is_full(images, chunk_size):
                    some = self.paths[start : min(start + at_once, end)]
                    for path, found in zip(some, _read_files(some, pool), strict=True):
                        if isinstance(found, np.ndarray):
                            indices.append(start)
                            images.append(found)
                        elif on_error == "raise":
                            raise found
                        else:
                            reason = str(found.__cause__ or found)
                            self.skipped.append(SkippedFace(start, path, reason))
                        start += 1
                yield np.array(indices, dtype=np.intp), images


def _is_full(chunk: list[Picture], chunk_size: int) -> bool:
    return len(chunk) >= chunk_size or sum(image.nbytes for image in chunk) >= _CHUNK_BYTES


def _read_files(paths: list[str], pool: Executor | None) -> list[Picture | FaceReadError]:
    """Read files by threads, all under one setting of the warnings, which threads share."""
    with _strict_pillow():
        return list(map(_read_file, paths) if pool is None else pool.map(_read_file, paths))


def _read_file(path: str) -> Picture | FaceReadError:
    try:
        return _read_picture(path)
    except FaceReadError as error:
        return error


def check_faces(X: Any, *, name: str = "X") -> Faces:
    """Judge pictures without opening a file.

    Parameters
    ----------
    X : array-like or sequence of paths
        One of

        - array of shape (n, H, W), (n, H, W, 1), (n, H, W, 3) or (n, H, W, 4):
          grey, RGB or RGBA pictures, uint8 or floats in [0, 1];
        - list of such pictures, which may differ in size;
        - sequence of str or `pathlib.Path`: list, tuple, array, pandas Series.
    name : str, default="X"
        How errors call it.

    Returns
    -------
    faces : Faces
        Its length is the number of pictures; `Faces.chunks` reads them.

    Raises
    ------
    ValueError
        If `X` is empty or holds no pictures.
    FileNotFoundError
        If a file does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.faces import check_faces
    >>> faces = check_faces(np.zeros((5, 48, 48), dtype=np.uint8))
    >>> len(faces), faces.image_shape
    (5, (48, 48))
    """
    if isinstance(X, Faces):
        return X
    if isinstance(X, (str, bytes, PathLike)):
        raise ValueError(
            f"{name} must be a sequence of pictures; got the single path {os.fspath(X)!r}. Pass "
            f"[path] for one picture, or load_image_paths(path) for all of a folder."
        )
    if not hasattr(X, "__len__") and not hasattr(X, "__array__"):
        raise ValueError(f"{name} must be {_KINDS}; got {type(X).__name__}.")
    if not isinstance(X, (list, tuple)):
        X = np.asarray(X)
        if X.ndim == 0:
            raise ValueError(f"{name} must be {_KINDS}; got a single value, {X!r}.")
    if len(X) == 0:
        raise ValueError(f"{name} is empty: got 0 pictures, expected at least 1.")
    if isinstance(X, np.ndarray) and X.dtype.kind not in "OUS":
        _check_array(X, name)
        return Faces(X)
    if isinstance(X, np.ndarray) and X.ndim > 1:
        raise ValueError(
            f"{name} must be {_KINDS}; got an array of shape {X.shape} and dtype {X.dtype}. "
            "Pass the column that holds the paths."
        )
    if isinstance(X[0], (str, PathLike)):
        return Faces(paths=_check_paths(X, name))
    return Faces([_check_picture(item, f"{name}[{i}]", name) for i, item in enumerate(X)])


def _check_array(X: NDArray, name: str) -> None:
    if X.ndim == 2:
        raise ValueError(
            f"{name} is a 2-D array of shape {X.shape}: features, not faces. Expected {_KINDS}. "
            f"For one grey picture pass {name}[None]; for flattened pictures "
            f"{name}.reshape(n, H, W)."
        )
    if X.ndim == 3 and X.shape[2] in (1, 3, 4):
        raise ValueError(
            f"{name} of shape {X.shape} looks like one colour picture; expected {_KINDS}. "
            f"Pass {name}[None]."
        )
    if X.ndim == 4 and X.shape[3] not in (1, 3, 4) and X.shape[1] in (1, 3, 4):
        raise ValueError(
            f"{name} of shape {X.shape} has its channels first; expected {_KINDS}. "
            f"Pass {name}.transpose(0, 2, 3, 1)."
        )
    if X.ndim not in (3, 4) or (X.ndim == 4 and X.shape[3] not in (1, 3, 4)):
        raise ValueError(f"{name} must be {_KINDS}; got an array of shape {X.shape}.")
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


def _check_picture(item: Any, name: str, whole: str) -> NDArray:
    try:
        picture = np.asarray(item)
    except ValueError:
        picture = np.empty(0, dtype=object)
    if picture.dtype.kind in "OUSM" or picture.ndim < 2:
        got = f"{type(item).__name__} {item!r}" if np.isscalar(item) else type(item).__name__
        raise ValueError(
            f"{whole} must be {_KINDS}; {name} is {got}. Do not mix pictures and paths, and leave "
            "out rows without a picture."
        )
    if picture.ndim > 3 or (picture.ndim == 3 and picture.shape[2] not in (1, 3, 4)):
        raise ValueError(
            f"{name} must have shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); "
            f"got {picture.shape}."
        )
    _check_pixels(picture, name)
    return picture


def _check_paths(X: Sequence[Any] | NDArray, name: str) -> list[str]:
    paths: list[str] = []
    missing: list[str] = []
    for i, item in enumerate(X):
        if not isinstance(item, (str, PathLike)):
            raise ValueError(
                f"{name} must be a sequence of paths like its first entry; {name}[{i}] is "
                f"{type(item).__name__} {item!r}. Leave out rows without a path."
            )
        path = str(os.fspath(item))
        if not os.path.isfile(path):
            missing.append(path)
        paths.append(path)
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        kind = "is a folder, not a picture" if os.path.isdir(missing[0]) else "does not exist"
        raise FileNotFoundError(
            f"{name}: {missing[0]!r} {kind}{more}. Check the paths; relative ones start at "
            f"{os.getcwd()!r}."
        )
    return paths


def _to_rgb(pixels: NDArray) -> Picture:
    """Turn checked pixels, one picture or several, into uint8 RGB."""
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels * np.float32(255)).astype(np.uint8)
    if pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)):
        pixels = pixels[..., None]
    if pixels.shape[-1] == 4:
        # Over white, rounded: colour * alpha + 255 * (1 - alpha).
        alpha = pixels[..., 3:].astype(np.uint16)
        blend = pixels[..., :3] * alpha + 255 * (255 - alpha) + 127
        return (blend // 255).astype(np.uint8)
    if pixels.shape[-1] == 1:
        return np.repeat(pixels, 3, axis=-1)
    return pixels


def read_face(path: str | PathLike[str]) -> Picture:
    """Read one picture from a file.

    The rotation noted by the camera (EXIF) is applied; grey, palette and CMYK
    pictures become RGB; 16-bit grey is scaled to 8 bits; transparent parts are
    laid over white, as viewers show them; of an animation the first frame is
    taken.

    Parameters
    ----------
    path : str or path
        BMP, GIF, JPEG, JPEG 2000, PNG, PPM, TIFF or WebP.

    Returns
    -------
    image : ndarray of uint8 of shape (H, W, 3)
        RGB, not writable.

    Raises
    ------
    FaceReadError
        If the file is no picture, is damaged or cut short, or has more pixels
        than ``PIL.Image.MAX_IMAGE_PIXELS``.
    """
    with _strict_pillow():
        return _read_picture(os.fspath(path))


def decode_face(
    content: bytes, *, name: str = "The picture", max_pixels: int | None = None
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
        Refuse larger pictures before they are decoded; by default only those
        beyond ``PIL.Image.MAX_IMAGE_PIXELS``.

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
    with _strict_pillow():
        return _read_picture(io.BytesIO(content), name, max_pixels)


@contextlib.contextmanager
def _strict_pillow() -> Iterator[None]:
    with warnings.catch_warnings():
        # Pillow's warnings tell of odd metadata, without the file's name; but
        # of too many pixels it warns before it fails at twice the limit.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _read_picture(
    file: str | io.BytesIO, name: str | None = None, max_pixels: int | None = None
) -> Picture:
    name = repr(file) if name is None else name
    try:
        with Image.open(file, formats=_FORMATS) as image:
            _check_size(image, max_pixels)
            image.load()
            return _decode(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise FaceReadError(
            f"{name} cannot be read: {error} Make the picture smaller, or raise "
            "PIL.Image.MAX_IMAGE_PIXELS if you trust it."
        ) from error
    except UnidentifiedImageError as error:
        raise FaceReadError(
            f"{name} cannot be read: it is none of {', '.join(_FORMATS)}. Convert it, or leave "
            'it out with on_error="skip".'
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, ArithmeticError) as error:
        # What Pillow's decoders raise on damaged files.
        raise FaceReadError(
            f"{name} cannot be read: {error or type(error).__name__}. Replace the file, or "
            'leave it out with on_error="skip".'
        ) from error


def _check_size(image: Image.Image, max_pixels: int | None) -> None:
    if max_pixels is not None and image.width * image.height > max_pixels:
        raise Image.DecompressionBombError(
            f"it has {image.width} x {image.height} pixels, more than the {max_pixels} allowed."
        )


def _decode(image: Image.Image) -> Picture:
    image = ImageOps.exif_transpose(image) or image
    if image.mode.startswith("I") or image.mode == "F":
        return _to_rgb(_scale_to_8_bits(image))
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        return _to_rgb(np.asarray(image.convert("RGBA")))
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


def resize_faces(images: Sequence[Picture] | Picture, size: int) -> Picture:
    """Bring pictures to one square size.

    Face crops are square or nearly so: each picture is resized straight to
    ``size x size``, so that one of another shape is stretched. Photographs
    need their faces cut out first. The filter is bilinear, antialiased when
    pictures get smaller.

    Parameters
    ----------
    images : sequence of ndarray of uint8 of shape (H, W, 3), or one such array
        RGB pictures, which may differ in size.
    size : int
        Pixels per side.

    Returns
    -------
    resized : ndarray of uint8 of shape (n, size, size, 3)
        An array that has this size already is given back itself.

    Raises
    ------
    ValueError
        If `size` is no positive integer or `images` hold something else.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.faces import resize_faces
    >>> resize_faces([np.zeros((60, 50, 3), np.uint8), np.zeros((9, 9, 3), np.uint8)], 32).shape
    (2, 32, 32, 3)
    """
    if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
        raise ValueError(f"size must be an integer of at least 1; got {size!r}.")
    if isinstance(images, np.ndarray) and images.ndim == 4 and len(images):
        _check_rgb(images[0])
        if images.shape[1:3] == (size, size):
            return images
    resized = np.empty((len(images), size, size, 3), dtype=np.uint8)
    for row, image in zip(resized, images, strict=True):
        _check_rgb(image)
        if image.shape == row.shape:
            row[:] = image
        else:
            picture = Image.fromarray(np.ascontiguousarray(image))
            # Beyond a factor of 6 whole pixels are averaged first: faster, same look.
            row[:] = picture.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return resized


def _check_rgb(image: NDArray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"Pictures must be uint8 of shape (H, W, 3); got {image.dtype} of shape "
            f"{image.shape}. Use read_faces, which converts other forms."
        )


def read_faces(
    X: Any, size: int | None = None, *, name: str = "X", on_error: OnError = "raise"
) -> Picture | list[Picture]:
    """Read all pictures into memory.

    Parameters
    ----------
    X : array-like or sequence of paths
        What `check_faces` takes.
    size : int, optional
        Resize to this many pixels per side, see `resize_faces`.
    name : str, default="X"
        How errors call `X`.
    on_error : {"raise", "skip"}, default="raise"
        Whether a file that cannot be read is an error, or is left out with a
        warning. To learn which ones, use `Faces.chunks`.

    Returns
    -------
    images : ndarray of uint8 of shape (n, H, W, 3), or list of such pictures
        A list only if sizes differ and `size` is None.

    Raises
    ------
    ValueError
        If `X` holds no pictures; `FaceReadError`, which is one, if a file
        cannot be read.
    FileNotFoundError
        If a file does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.faces import read_faces
    >>> read_faces(np.full((2, 8, 8), 0.5), size=4)[0, 0, 0]
    array([128, 128, 128], dtype=uint8)
    """
    faces = check_faces(X, name=name)
    pieces: list[Picture] = []
    images: list[Picture] = []
    for _, chunk in faces.chunks(on_error=on_error):
        if size is None:
            images.extend(chunk)
        elif chunk:
            pieces.append(resize_faces(chunk, size))
    if faces.skipped:
        first = faces.skipped[0]
        warnings.warn(
            f"{len(faces.skipped)} of the {len(faces)} pictures of {name} could not be read and "
            f"were left out; the first is {first.path!r}: {first.reason}",
            stacklevel=2,
        )
    if size is not None:
        return np.concatenate(pieces) if pieces else np.empty((0, size, size, 3), np.uint8)
    if images and len({image.shape for image in images}) == 1:
        return np.stack(images)
    return images
