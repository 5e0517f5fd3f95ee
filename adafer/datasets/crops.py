"""Faces cut out of photographs by the boxes that a data set gives."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from sklearn.utils import Bunch

from .._files import check_output_folder, new_file
from .._paths import check_path
from .._sklearn import judged
from ..faces import FaceReadError, OnError, SkippedFace, check_faces, read_face, resize_faces
from ._arguments import MARGIN, ON_ERROR, SIZE

__all__ = ["crop_faces", "save_crops", "with_crops"]

_QUALITY = 95


def _check_paths(paths: Any) -> None:
    if isinstance(paths, str) or not isinstance(paths, Sequence | np.ndarray) or not len(paths):
        raise TypeError(f"paths must be a list of one or more paths; got {paths!r}.")


def _check_bunch(faces: Any) -> None:
    if not isinstance(faces, Bunch):
        raise TypeError(
            f"faces must be what a reader gives, a Bunch; got {type(faces).__name__}. Read them "
            "with load_image_folder, for example."
        )


@judged(paths=_check_paths, size=SIZE, margin=MARGIN)
def crop_faces(
    paths: Sequence[str], boxes: ArrayLike, *, size: int, margin: float = 0.0
) -> NDArray[np.uint8]:
    """Cut faces out of photographs and bring them to one size.

    Parameters
    ----------
    paths : sequence of str of length n
        Photographs, one per face; each is read once for all its faces.
    boxes : array-like of int of shape (n, 4)
        Left, top, right and bottom of each face in pixels, right and bottom
        exclusive. Parts beyond the photograph are cut off.
    size : int
        Pixels per side of the result.
    margin : float, default=0.0
        Widen each box by this share of its longer side, on every side.

    Returns
    -------
    images : ndarray of uint8 of shape (n, size, size, 3)
        RGB pictures.

    Raises
    ------
    ValueError
        If a box is empty or lies beyond its photograph.
    adafer.faces.FaceReadError
        If a photograph cannot be read.
    FileNotFoundError
        If a photograph does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> from PIL import Image
    >>> from adafer.datasets import crop_faces
    >>> Image.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10)).save("photograph.png")
    >>> crop_faces(["photograph.png"], [[2, 1, 6, 5]], size=4)[0, :, :, 0]
    array([[12, 13, 14, 15],
           [22, 23, 24, 25],
           [32, 33, 34, 35],
           [42, 43, 44, 45]], dtype=uint8)
    """
    checked = _check_boxes(paths, boxes, margin)
    images, _, _ = _crop(list(paths), checked, size, margin, "raise")
    return images


@judged(faces=_check_bunch, folder=check_path, size=[None, *SIZE], margin=MARGIN, on_error=ON_ERROR)
def save_crops(
    faces: Bunch,
    folder: str | PathLike[str],
    *,
    size: int | None = None,
    margin: float = 0.0,
    on_error: OnError = "raise",
) -> Bunch:
    """Cut the faces of a data set out of its photographs into a folder of files.

    For data sets that do not fit into memory. A file is named after its
    photograph and its box; faces whose file is there already are not cut out
    again, so that an interrupted run can be taken up.

    Parameters
    ----------
    faces : `sklearn.utils.Bunch`
        With ``paths`` and ``boxes``, such as from `load_expw`.
    folder : str or path
        Where to write; made if it does not exist.
    size : int, optional
        Resize to ``size x size``; by default faces keep their size.
    margin : float, default=0.0
        Widen each box by this share of its longer side, on every side.
    on_error : {"raise", "skip"}, default="raise"
        Whether a photograph that cannot be read, or a box beyond it, is an
        error, or is left out and listed in ``skipped``.

    Returns
    -------
    crops : `sklearn.utils.Bunch`
        As `faces`, but ``paths`` are those of the crops, in JPEG of quality 95;
        without ``boxes``; with ``skipped``, a list of tuples
        (index, path, reason).

    Raises
    ------
    ValueError
        If `faces` has no boxes, a face is listed twice, or a box lies beyond
        its photograph.
    adafer.faces.FaceReadError
        If a photograph cannot be read.
    OSError
        If the folder cannot be written to.

    Examples
    --------
    >>> import numpy as np
    >>> from PIL import Image
    >>> from sklearn.utils import Bunch
    >>> from adafer.datasets import save_crops
    >>> Image.new("RGB", (20, 20)).save("two.png")
    >>> faces = Bunch(
    ...     paths=["two.png", "two.png"],
    ...     boxes=np.array([[0, 0, 8, 8], [9, 9, 19, 19]]),
    ...     target=np.array(["fear", "anger"]),
    ... )
    >>> [path.split("crops")[1][1:] for path in save_crops(faces, "crops").paths]
    ['two_0_0_8_8.jpg', 'two_9_9_19_19.jpg']
    """
    if faces.get("boxes") is None or "paths" not in faces:
        raise ValueError(
            "faces must be a Bunch with paths and boxes, such as from load_expw; got "
            f"{sorted(faces)}. Pictures without boxes need none of it, or adafer.FaceAligner."
        )
    boxes = _check_boxes(faces.paths, faces.boxes, margin)
    place = check_output_folder(folder)
    names = _crop_names(faces.paths, boxes, margin, size)
    (twice, count), *_ = Counter(names).most_common(1)
    if count > 1:
        raise ValueError(
            f"Two faces would be written to {twice!r}: they share the name of their photographs "
            "and their box. Leave one out, or write photographs of different folders apart."
        )
    place.mkdir(parents=True, exist_ok=True)
    there = set(os.listdir(place))
    todo = np.array([row for row, name in enumerate(names) if name not in there], dtype=np.intp)
    skipped: list[SkippedFace] = []
    if len(todo):
        chosen = [faces.paths[row] for row in todo]
        for at, image in _each_crop(chosen, boxes[todo], margin, on_error, skipped):
            if size is not None:
                image = resize_faces([image], size)[0]
            with new_file(place / names[todo[at]]) as temporary:
                Image.fromarray(image).save(temporary, quality=_QUALITY)
    skipped = [SkippedFace(int(todo[index]), path, why) for index, path, why in skipped]
    written = Bunch(**faces)
    del written["boxes"]
    written.paths = [str(place / name) for name in names]
    return _without_skipped(written, skipped)


def with_crops(bunch: Bunch, size: int, margin: float, on_error: OnError) -> Bunch:
    """Add ``images`` to a data set; whole pictures where ``boxes`` is None."""
    boxes = None if bunch.boxes is None else _check_boxes(bunch.paths, bunch.boxes, margin)
    images, rows, skipped = _crop(bunch.paths, boxes, size, margin, on_error)
    if not len(rows):
        raise ValueError(
            f"None of the {len(bunch.paths)} faces can be read; the first: "
            f"{skipped[0].path!r}: {skipped[0].reason}."
        )
    bunch = _without_skipped(bunch, skipped)
    bunch.images = images
    return bunch


def _without_skipped(bunch: Bunch, skipped: list[SkippedFace]) -> Bunch:
    """Leave rows out of all that there is per face."""
    n = len(bunch.target)
    left = np.setdiff1d(np.arange(n), [face.index for face in skipped])
    result = Bunch(**bunch)
    for key, values in bunch.items():
        if isinstance(values, np.ndarray) and len(values) == n:
            result[key] = values[left]
    result.paths = [bunch.paths[row] for row in left]
    result.target_names = np.unique(result.target).tolist()
    result.skipped = skipped
    return result


def _crop(
    paths: list[str], boxes: NDArray[np.int64] | None, size: int, margin: float, on_error: OnError
) -> tuple[NDArray[np.uint8], NDArray[np.intp], list[SkippedFace]]:
    resize_faces([], size)  # judges the size before anything is read
    images = np.empty((len(paths), size, size, 3), dtype=np.uint8)
    skipped: list[SkippedFace] = []
    done = np.zeros(len(paths), dtype=bool)
    for row, image in _each_crop(paths, boxes, margin, on_error, skipped):
        images[row] = resize_faces([image], size)[0]
        done[row] = True
    rows = np.flatnonzero(done)
    return (images if done.all() else images[rows]), rows, skipped


def _each_crop(
    paths: list[str],
    boxes: NDArray[np.int64] | None,
    margin: float,
    on_error: OnError,
    skipped: list[SkippedFace],
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Read each photograph once and cut out all its faces."""
    check_faces(paths, name="paths")
    held, picture = None, np.empty((0, 0, 3), dtype=np.uint8)
    failure: FaceReadError | None = None
    for row in np.argsort(np.array(paths), kind="stable"):
        if paths[row] != held:
            held, failure = paths[row], None
            try:
                picture = read_face(held)
            except FaceReadError as error:
                failure = error
        problem: Exception | None = failure
        if failure is None and boxes is None:
            yield int(row), picture
            continue
        if failure is None and boxes is not None:
            left, top, right, bottom = _widen(boxes[row], margin)
            face = picture[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
            if face.size:
                yield int(row), face
                continue
            height, width = picture.shape[:2]
            problem = ValueError(
                f"{held!r}: boxes[{row}], {boxes[row].tolist()}, holds nothing of the photograph "
                f"of {width} x {height} pixels; expected left, top, right, bottom. Correct it, "
                'or leave the face out with on_error="skip".'
            )
        if on_error == "raise" and problem is not None:
            raise problem
        skipped.append(SkippedFace(int(row), str(held), str(problem)))
    skipped.sort()


def _widen(box: NDArray[np.int64], margin: float) -> tuple[int, int, int, int]:
    left, top, right, bottom = (int(side) for side in box)
    wider = round(margin * max(right - left, bottom - top))
    return left - wider, top - wider, right + wider, bottom + wider


def _crop_names(
    paths: Sequence[str], boxes: NDArray[np.int64], margin: float, size: int | None
) -> list[str]:
    ending = ".jpg" if size is None else f"_{size}px.jpg"
    return [
        f"{Path(path).stem}_{'_'.join(map(str, _widen(box, margin)))}{ending}"
        for path, box in zip(paths, boxes, strict=True)
    ]


def _check_boxes(paths: Any, boxes: ArrayLike, margin: float) -> NDArray[np.int64]:
    checked = np.asarray(boxes)
    if checked.shape != (len(paths), 4) or checked.dtype.kind not in "iu":
        raise ValueError(
            f"boxes must be integers of shape ({len(paths)}, 4), a row for each of paths: left, "
            f"top, right, bottom; got {checked.dtype} of shape {checked.shape}."
        )
    if not 0 <= margin < np.inf:
        raise ValueError(f"margin must be a number of at least 0; got {margin!r}.")
    return checked.astype(np.int64)
