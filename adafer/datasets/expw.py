"""The data set ExpW: photographs from the web with boxes of faces."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ._arguments import reader
from ._reading import (
    as_returned,
    check_options,
    decode,
    existing,
    expected,
    first_existing,
    inside,
    make_bunch,
    read_text,
)
from .crops import with_crops
from .labels import EXPW

__all__ = ["load_expw"]

# pixels, and ten digits more than any confidence
_LARGEST = 1e15
_LAYOUT = """\
<path>/label/label.lst, or <path>/label.lst, with lines of
  image_name face_id top left right bottom confidence label
<path>/image/origin/<image_name>, or <path>/origin/..., or <path>/image/..."""


@reader
def load_expw(
    path: str | PathLike[str],
    *,
    split: str = "all",
    return_X_y: bool = False,
    on_missing: str = "raise",
    min_confidence: float | None = None,
    size: int | None = None,
    margin: float = 0.0,
    on_error: Literal["raise", "skip"] = "raise",
) -> Any:
    """Load ExpW, faces in photographs from the web.

    Estimators take faces, not whole photographs: with `size` the faces are cut
    out into memory; `save_crops` cuts them out into files.

    Parameters
    ----------
    path : str or path
        The folder that holds ``label`` and ``image``.
    split : "all", default="all"
        ExpW has no published split. Faces of one photograph belong together:
        ``make_split(faces.target, groups=faces.paths)``.
    return_X_y : bool, default=False
        Give ``(images, target)`` instead of a Bunch; needs `size`.
    on_missing : {"raise", "skip"}, default="raise"
        Whether a listed photograph that is not there is an error, or is left
        out and listed in ``missing``.
    min_confidence : float, optional
        Leave out faces whose box the detector was less sure of.
    size : int, optional
        Cut out the faces and resize them to ``size x size``: n * size**2 * 3
        bytes.
    margin : float, default=0.0
        Widen each box by this share of its longer side, on every side; only
        with `size`.
    on_error : {"raise", "skip"}, default="raise"
        Whether a photograph that cannot be read, or a box beyond it, is an
        error, or is left out and listed in ``skipped``; only with `size`.

    Returns
    -------
    faces : `sklearn.utils.Bunch`
        With the attributes

        paths : list of str of length n
            The photograph of each face.
        boxes : ndarray of int64 of shape (n, 4)
            Left, top, right and bottom of each face in pixels.
        confidence : ndarray of float64 of shape (n,)
            How sure the detector was of each box.
        images : ndarray of uint8 of shape (n, size, size, 3)
            RGB faces; only with `size`.
        target : ndarray of str of shape (n,)
            The seven basic expressions.
        target_names : list of str
            The labels that occur, sorted.
        split : None
        subject : None
        missing : list of str
        skipped : list of tuple (index, path, reason)
            Faces that could not be cut out.
        DESCR : str

    (images, target) : tuple, if `return_X_y` is true

    Raises
    ------
    FileNotFoundError
        If the list of labels, or a photograph, is not there.
    ValueError
        If the list is damaged, or `return_X_y` is asked for without `size`.
    adafer.faces.FaceReadError
        If a photograph cannot be read and ``on_error="raise"``.

    References
    ----------
    Zhang, Luo, Loy, Tang. From facial expression recognition to interpersonal
    relation prediction. IJCV 126, 2018.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from adafer.datasets import load_expw
    >>> with TemporaryDirectory() as folder:
    ...     for place in ("label", "image/origin"):
    ...         Path(folder, place).mkdir(parents=True)
    ...     _ = Path(folder, "label/label.lst").write_text("a.jpg 0 10 20 50 40 75.5 3")
    ...     Image.new("RGB", (60, 60)).save(Path(folder, "image/origin/a.jpg"))
    ...     faces = load_expw(folder, size=24)
    >>> faces.target.tolist(), faces.boxes.tolist(), faces.images.shape
    (['happiness'], [[20, 10, 50, 40]], (1, 24, 24, 3))
    """
    check_options("ExpW", split, (), on_missing)
    if return_X_y and size is None:
        raise ValueError(
            "return_X_y=True needs size: without it there are whole photographs, not faces. Pass "
            "size=, or use save_crops."
        )
    root = existing(path, _LAYOUT)
    file = first_existing(root, ["label/label.lst", "label.lst"], _LAYOUT)
    folder = first_existing(root, ["image/origin", "origin", "image"], _LAYOUT)
    names, numbers = _read_list(file)
    columns: dict[str, Any] = {
        "paths": inside(folder, names, file),
        "target": decode(numbers[:, 6], EXPW, file),
        "subject": None,
        "split": None,
        # published as top, left, right, bottom
        "boxes": numbers[:, [2, 1, 3, 4]].astype(np.int64),
        "confidence": numbers[:, 5],
    }
    if min_confidence is not None:
        rows = np.flatnonzero(columns["confidence"] >= min_confidence)
        columns["paths"] = [columns["paths"][row] for row in rows]
        for key in ("target", "boxes", "confidence"):
            columns[key] = columns[key][rows]
    bunch = make_bunch("ExpW", root, columns, on_missing=on_missing, layout=_LAYOUT)
    bunch.skipped = []
    if size is not None:
        bunch = with_crops(bunch, size, margin, on_error)
    return as_returned(bunch, return_X_y)


def _read_list(file: Path) -> tuple[list[str], Any]:
    """Read the names and, of shape (n, 7), all the numbers."""
    names, numbers = [], []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        name, *cells = line.strip().rsplit(maxsplit=7)
        try:
            if len(cells) != 7:
                raise ValueError(f"got {len(cells) + 1} cells")
            values = [float(cell) for cell in cells]
            if not all(-_LARGEST < value < _LARGEST for value in values):
                raise ValueError(f"got a number that is none or too large in {cells}")
            numbers.append(values)
        except ValueError as error:
            raise ValueError(
                f"{str(file)!r}, line {number}: {error}, in {line[:80]!r}. {expected(_LAYOUT)}"
            ) from None
        names.append(name)
    return names, np.array(numbers, dtype=np.float64).reshape(-1, 7)
