"""The data set AffectNet, in its two forms: tables with boxes, or a file per annotation."""

from __future__ import annotations

import csv
import io
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..picture_files import read_file
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
    whole_number,
)
from .crops import with_crops
from .labels import AFFECTNET

__all__ = ["load_affectnet"]

# an annotation is an array with one entry
_MAX_CODE_BYTES = 1 << 16
_LARGEST = 10**9
# none, uncertain, no face
_DROPPED = (8, 9, 10)
_TABLES = {"train": "training.csv", "val": "validation.csv"}
_SETS = {"train": "train_set", "val": "val_set"}
_COLUMNS = [
    "subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks",
    "expression", "valence", "arousal",
]  # fmt: skip
_LAYOUT = """\
<path>/training.csv and <path>/validation.csv, or both in Manually_Annotated_file_lists,
  with the columns subDirectory_filePath, face_x, face_y, face_width, face_height,
  facial_landmarks, expression, valence, arousal
<path>/Manually_Annotated_Images/<subDirectory_filePath>, or where images= says
or, in the newer form,
<path>/train_set/annotations/0_exp.npy and <path>/train_set/images/0.jpg
<path>/val_set/annotations/0_exp.npy and <path>/val_set/images/0.jpg"""


@reader
def load_affectnet(
    path: str | PathLike[str],
    *,
    split: str = "all",
    return_X_y: bool = False,
    on_missing: str = "raise",
    contempt: bool = False,
    images: str | PathLike[str] | None = None,
    size: int | None = None,
    margin: float = 0.0,
    on_error: Literal["raise", "skip"] = "raise",
) -> Any:
    """Load the manually annotated faces of AffectNet.

    Pictures that are labelled none, uncertain or no face are left out. With
    tables each picture has the box of its face: with `size` the faces are cut
    out into memory; `save_crops` cuts them out into files. The newer form
    holds faces that are cut out already.

    Parameters
    ----------
    path : str or path
        The folder with the tables, or with ``train_set`` and ``val_set``.
    split : {"all", "train", "val"}, default="all"
        AffectNet's test set was not published.
    return_X_y : bool, default=False
        Give ``(X, y)`` instead of a Bunch: faces, or paths in the newer form,
        and the labels. With tables it needs `size`.
    on_missing : {"raise", "skip"}, default="raise"
        Whether a listed picture that is not there is an error, or is left out
        and listed in ``missing``.
    contempt : bool, default=False
        Keep the pictures that are labelled contempt.
    images : str or path, optional
        Where the pictures of the tables are, if not below `path`.
    size : int, optional
        Read the faces and resize them to ``size x size``: n * size**2 * 3 bytes.
    margin : float, default=0.0
        Widen each box by this share of its longer side, on every side; only
        with tables and `size`.
    on_error : {"raise", "skip"}, default="raise"
        Whether a picture that cannot be read, or a box beyond it, is an error,
        or is left out and listed in ``skipped``; only with `size`.

    Returns
    -------
    faces : `sklearn.utils.Bunch`
        With the attributes

        paths : list of str of length n
        boxes : ndarray of int64 of shape (n, 4), or None
            Left, top, right and bottom of each face in pixels; None in the
            newer form.
        images : ndarray of uint8 of shape (n, size, size, 3)
            RGB faces; only with `size`.
        target : ndarray of str of shape (n,)
            Expressions.
        target_names : list of str
            The labels that occur, sorted.
        split : ndarray of str of shape (n,)
            "train" or "val".
        subject : None
        missing : list of str
        skipped : list of tuple (index, path, reason)
            Faces that could not be read or cut out.
        DESCR : str

    (X, y) : tuple, if `return_X_y` is true

    Raises
    ------
    FileNotFoundError
        If tables, annotations or pictures are not there.
    ValueError
        If one of them is damaged, or `return_X_y` is asked for without `size`
        where pictures have boxes.
    adafer.faces.FaceReadError
        If a picture cannot be read and ``on_error="raise"``.

    References
    ----------
    Mollahosseini, Hasani, Mahoor. AffectNet: a database for facial expression,
    valence, and arousal computing in the wild. IEEE TAC 10(1), 2019.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from adafer.datasets import load_affectnet
    >>> with TemporaryDirectory() as folder:
    ...     for place in ("annotations", "images"):
    ...         Path(folder, "val_set", place).mkdir(parents=True)
    ...     np.save(Path(folder, "val_set/annotations/17_exp.npy"), np.array("6"))
    ...     Path(folder, "val_set/images/17.jpg").touch()
    ...     faces = load_affectnet(folder, split="val")
    >>> faces.target.tolist(), faces.split.tolist()
    (['anger'], ['val'])
    """
    check_options("AffectNet", split, tuple(_TABLES), on_missing)
    root = existing(path, _LAYOUT)
    parts = tuple(_TABLES) if split == "all" else (split,)
    newer = any((root / name / "annotations").is_dir() for name in _SETS.values())
    if return_X_y and size is None and not newer:
        raise ValueError(
            "return_X_y=True needs size here: these are pictures with boxes of faces. Pass size=, "
            "or use save_crops."
        )
    columns = _newer_form(root, parts) if newer else _tables(root, parts, images)
    left = columns["target"] != ""
    if not contempt:
        left &= columns["target"] != "contempt"
    rows = np.flatnonzero(left)
    columns["paths"] = [columns["paths"][row] for row in rows]
    for key in ("target", "split", "boxes"):
        columns[key] = columns[key][rows] if columns[key] is not None else None
    bunch = make_bunch("AffectNet", root, columns, on_missing=on_missing, layout=_LAYOUT)
    bunch.skipped = []
    if size is not None:
        bunch = with_crops(bunch, size, margin, on_error)
    return as_returned(bunch, return_X_y)


def _newer_form(root: Path, parts: tuple[str, ...]) -> dict[str, Any]:
    paths: list[str] = []
    targets, splits = [], []
    for part in parts:
        folder = first_existing(root, [_SETS[part]], _LAYOUT)
        files = sorted(folder.glob("annotations/*_exp.npy"))
        if not files:
            raise FileNotFoundError(f"{str(folder)!r} holds no annotations. {expected(_LAYOUT)}")
        targets.append(decode([_read_code(file) for file in files], AFFECTNET, folder, _DROPPED))
        splits.append(np.full(len(files), part))
        pictures = folder / "images"
        paths += [str(pictures / f"{file.name.removesuffix('_exp.npy')}.jpg") for file in files]
    return {
        "paths": paths,
        "target": np.concatenate(targets),
        "subject": None,
        "split": np.concatenate(splits),
        "boxes": None,
    }


def _read_code(file: Path) -> int:
    try:
        content = read_file(file, _MAX_CODE_BYTES)
        if not content.startswith(b"\x93NUMPY"):
            raise ValueError("it is no array of NumPy")
        # a number, or a text that holds one; its header may ask for more than the file holds
        code = np.load(io.BytesIO(content), allow_pickle=False).item()
        return whole_number(
            str(int(code) if isinstance(code, float) and code == int(code) else code)
        )
    except Exception as error:
        # a damaged header makes numpy raise what Python's own tokenizer does
        raise ValueError(
            f"{str(file)!r} is no annotation: {error}. Expected an array that holds one code. Copy "
            "it again."
        ) from error


def _first_row(lines: Any, file: Path) -> list[str]:
    try:
        return next(lines, [])
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(
            f"{str(file)!r} is no table in CSV: {error}. {expected(_LAYOUT)}"
        ) from error


def _pixels(text: str) -> int:
    value = float(text)
    if not -_LARGEST < value < _LARGEST:
        raise ValueError(f"{text!r} is no number of pixels")
    return int(value)


def _tables(
    root: Path, parts: tuple[str, ...], images: str | PathLike[str] | None
) -> dict[str, Any]:
    places = ("", "Manually_Annotated_file_lists/", "Manually_Annotated/")
    # all are looked for before the first is read
    files = [
        first_existing(root, [f"{at}{_TABLES[part]}" for at in places], _LAYOUT) for part in parts
    ]
    if images is None:
        inner = "Manually_Annotated_Images"
        there = [root / name for name in (inner, f"Manually_Annotated/{inner}")]
        folder = next((place for place in there if place.is_dir()), root)
    else:
        folder = existing(images, _LAYOUT)
    paths: list[str] = []
    targets, splits, boxes = [], [], []
    for part, file in zip(parts, files, strict=True):
        names, codes, found = _read_table(file)
        paths += inside(folder, [name.replace("\\", "/") for name in names], file)
        targets.append(decode(codes, AFFECTNET, file, _DROPPED))
        splits.append(np.full(len(names), part))
        boxes.append(found)
    return {
        "paths": paths,
        "target": np.concatenate(targets),
        "subject": None,
        "split": np.concatenate(splits),
        "boxes": np.concatenate(boxes),
    }


def _read_table(file: Path) -> tuple[list[str], list[int], NDArray[np.int64]]:
    names, codes, boxes = [], [], []
    with file.open(newline="", encoding="utf-8-sig") as stream:
        lines = csv.reader(stream, strict=True)
        header = _first_row(lines, file)
        first = []
        if len(header) == len(_COLUMNS) and _COLUMNS[0] not in header:
            # some copies of the table have no header
            header, first = _COLUMNS, [header]
        absent = [name for name in (*_COLUMNS[:5], "expression") if name not in header]
        if absent:
            raise ValueError(f"{str(file)!r} lacks the columns {absent}. {expected(_LAYOUT)}")
        at = header.index(_COLUMNS[0])
        code_at = header.index("expression")
        box_at = [header.index(name) for name in _COLUMNS[1:5]]
        try:
            for cells in chain(first, lines):
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise ValueError(f"got {len(cells)} cells, expected {len(header)}")
                codes.append(whole_number(cells[code_at]))
                # what is no expression may have no box
                left, top, width, height = (
                    (_pixels(cells[column]) for column in box_at)
                    if codes[-1] in AFFECTNET
                    else (0, 0, 0, 0)
                )
                boxes.append((left, top, left + width, top + height))
                names.append(cells[at].strip())
        except (IndexError, ValueError, OverflowError, csv.Error) as error:
            raise ValueError(
                f"{str(file)!r}, line {lines.line_num}: {error}. Expected numbers in "
                f"{_COLUMNS[1:5]} and 'expression'. {expected(_LAYOUT)}"
            ) from None
    return names, codes, np.array(boxes, dtype=np.int64).reshape(-1, 4)
