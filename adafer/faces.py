"""Reading face pictures: arrays, lists of arrays, and image files."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from numbers import Integral
from os import PathLike
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import NDArray
from PIL import Image

from ._checks import check_images
from ._picture_checks import KINDS, as_array, check_array, check_paths, check_picture
from ._sklearn import Interval, StrOptions, judged
from .picture_files import (
    FaceReadError,
    Picture,
    decode_face,
    read_face,
    read_picture,
    strict_pillow,
    to_rgb,
)
from .picture_limits import PictureLimits, current_limits, picture_limits

__all__ = [
    "FaceReadError",
    "Faces",
    "PictureLimits",
    "SkippedFace",
    "check_faces",
    "decode_face",
    "picture_limits",
    "read_face",
    "read_faces",
    "resize_faces",
]

OnError: TypeAlias = Literal["raise", "skip"]

# A chunk ends early when its pictures fill this many bytes: photographs of a
# whole camera frame must not fill the memory.
_SIZE = [Interval(Integral, 1, 2**14, closed="both")]
_CHUNK_BYTES = 256 * 2**20


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
    limits : PictureLimits
        What a file may cost.
    skipped : list of SkippedFace
        What the last iteration of `chunks` left out, as tuples
        (index, path, reason).
    """

    def __init__(
        self,
        pictures: NDArray | list[NDArray] | None = None,
        paths: list[str] | None = None,
        limits: PictureLimits | None = None,
    ) -> None:
        if (pictures is None) == (paths is None):
            raise ValueError("Faces takes either pictures or paths; use check_faces to make them.")
        self._pictures = pictures
        self.paths = paths
        self.limits = limits or current_limits()
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
                images = to_rgb(pictures[start : start + chunk_size])
                yield np.arange(start, start + len(images)), list(images)
            return
        start = 0
        while start < len(pictures):
            chunk: list[Picture] = []
            while start + len(chunk) < len(pictures) and not _is_full(chunk, chunk_size):
                chunk.append(to_rgb(pictures[start + len(chunk)]))
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
                    for path, found in zip(some, _read_files(some, pool, self.limits), strict=True):
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


def _read_files(
    paths: list[str], pool: Executor | None, limits: PictureLimits
) -> list[Picture | FaceReadError]:
    """Read files by threads, all under one setting of the warnings, which threads share."""
    read = partial(_read_file, limits=limits)
    with strict_pillow():
        return list(map(read, paths) if pool is None else pool.map(read, paths))


def _read_file(path: str, limits: PictureLimits) -> Picture | FaceReadError:
    try:
        return read_picture(path, limits)
    except FaceReadError as error:
        return error


@judged(limits=[None, PictureLimits])
def check_faces(X: Any, *, name: str = "X", limits: PictureLimits | None = None) -> Faces:
    """Judge pictures without opening a file.

    Parameters
    ----------
    X : array-like or sequence of paths
        One of

        - array of shape (n, H, W), (n, H, W, 1), (n, H, W, 3) or (n, H, W, 4):
          grey, RGB or RGBA pictures, uint8 or floats in [0, 1];
        - list of such pictures, which may differ in size;
        - list of pictures of Pillow, of any mode;
        - sequence of str or `pathlib.Path`: list, tuple, array, pandas Series.
    name : str, default="X"
        How errors call it.
    limits : PictureLimits, optional
        What a file may cost; by default what `picture_limits` says here.
        Estimators take what this function gives in the place of paths.

    Returns
    -------
    faces : Faces
        Its length is the number of pictures; `Faces.chunks` reads them. Given
        Faces come back themselves.

    Raises
    ------
    ValueError
        If `X` is empty or holds no pictures.
    FileNotFoundError
        If a file does not exist, or is a folder, pipe or device.

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
        raise ValueError(f"{name} must be {KINDS}; got {type(X).__name__}.")
    if not isinstance(X, (list, tuple)):
        X = as_array(X, name)
        if X.ndim == 0:
            raise ValueError(f"{name} must be {KINDS}; got a single value, {X!r}.")
    if len(X) == 0:
        raise ValueError(f"{name} is empty: got 0 pictures, expected at least 1.")
    if isinstance(X, np.ndarray) and X.dtype.kind not in "OUS":
        check_array(X, name)
        return Faces(X)
    if isinstance(X, np.ndarray) and X.ndim > 1:
        raise ValueError(
            f"{name} must be {KINDS}; got an array of shape {X.shape} and dtype {X.dtype}. "
            "Pass the column that holds the paths."
        )
    if isinstance(X[0], (str, PathLike)):
        return Faces(paths=check_paths(X, name), limits=limits)
    return Faces([check_picture(item, f"{name}[{i}]", name) for i, item in enumerate(X)])


@judged(images=check_images, size=_SIZE)
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
        If `size` is no integer from 1 to 16,384 or `images` hold something else.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.faces import resize_faces
    >>> resize_faces([np.zeros((60, 50, 3), np.uint8), np.zeros((9, 9, 3), np.uint8)], 32).shape
    (2, 32, 32, 3)
    """
    ready = isinstance(images, np.ndarray) and images.ndim == 4 and len(images)
    if ready and images.shape[1:3] == (size, size):  # type: ignore[union-attr]
        return images  # type: ignore[return-value]
    resized = np.empty((len(images), size, size, 3), dtype=np.uint8)
    for row, image in zip(resized, images, strict=True):
        if image.shape == row.shape:
            row[:] = image
        else:
            picture = Image.fromarray(np.ascontiguousarray(image))
            # Beyond a factor of 6 whole pixels are averaged first: faster, same look.
            small = picture.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
            row[:] = np.asarray(small)
    return resized


@judged(
    size=[None, *_SIZE],
    on_error=[StrOptions({"raise", "skip"})],
    limits=[None, PictureLimits],
)
def read_faces(
    X: Any,
    size: int | None = None,
    *,
    name: str = "X",
    on_error: OnError = "raise",
    limits: PictureLimits | None = None,
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
    limits : PictureLimits, optional
        What a file may cost, see `check_faces`.

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
    faces = check_faces(X, name=name, limits=limits)
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
            stacklevel=3,
        )
    if size is not None:
        return np.concatenate(pieces) if pieces else np.empty((0, size, size, 3), np.uint8)
    if images and len({image.shape for image in images}) == 1:
        return np.stack(images)
    return images
