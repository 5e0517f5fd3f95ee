"""The data set FER2013: its tables of pixels, or its class folders."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._arguments import reader
from ._reading import (
    SPLITS,
    as_returned,
    check_options,
    decode,
    existing,
    expected,
    first_existing,
    make_bunch,
    whole_number,
)
from .labels import FER2013
from .split_folders import load_split_folders

__all__ = ["FER2013_TABLES", "Fer2013Rows", "load_fer2013", "read_fer2013_rows", "usage_splits"]

FER2013_TABLES = ("fer2013.csv", "fer2013/fer2013.csv", "icml_face_data.csv")
_USAGES = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
_SIDE = 48
_LAYOUT = """\
<path>, or <path>/fer2013.csv, or <path>/icml_face_data.csv:
  a table with the columns emotion, pixels and Usage, such as
  0,70 80 82 ... (48 x 48 numbers),Training
or <path>/train/<class>/<picture> and <path>/test/<class>/<picture>"""


class Fer2013Rows(NamedTuple):
    """Rows of a table of FER2013.

    Attributes
    ----------
    codes : ndarray of int64 of shape (n_rows,)
    usage : ndarray of str of shape (n_rows,)
    images : ndarray of uint8 of shape (n_kept, 48, 48)
    kept : ndarray of int64 of shape (n_kept,)
        Rows whose pixels were read.
    """

    codes: NDArray[np.int64]
    usage: NDArray[np.str_]
    images: NDArray[np.uint8]
    kept: NDArray[np.int64]


@reader
def load_fer2013(path: str | PathLike[str], *, split: str = "all", return_X_y: bool = False) -> Any:
    r"""Load FER2013 from a table of pixels or from class folders.

    Parameters
    ----------
    path : str or path
        ``fer2013.csv``, ``icml_face_data.csv``, or a folder that holds one of
        them or the folders ``train/<class>`` and ``test/<class>``.
    split : {"all", "train", "val", "test"}, default="all"
        "val" is PublicTest, "test" is PrivateTest. Class folders have "train"
        and "test", which is PublicTest and PrivateTest or one of them,
        depending on who made them.
    return_X_y : bool, default=False
        Give ``(X, y)`` instead of a Bunch: pictures or paths, and the labels.

    Returns
    -------
    faces : `sklearn.utils.Bunch`
        With the attributes

        images : ndarray of uint8 of shape (n, 48, 48)
            Grey pictures; only from a table.
        paths : list of str of length n
            Only from class folders.
        target : ndarray of str of shape (n,)
            The seven basic expressions.
        target_names : list of str
            The labels that occur, sorted.
        split : ndarray of str of shape (n,)
            "train", "val" or "test".
        subject : None
        row : ndarray of int64 of shape (n,)
            The row in the table, from 0; only from a table.
        missing : list of str
            Empty.
        DESCR : str

    (X, y) : tuple, if `return_X_y` is true

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    ValueError
        If it has another layout, or a row of the table is damaged.

    References
    ----------
    Goodfellow et al. Challenges in representation learning: a report on three
    machine learning contests. ICONIP, 2013.

    Examples
    --------
    >>> from pathlib import Path
    >>> from adafer.datasets import load_fer2013
    >>> pixels = " ".join(["128"] * 48 * 48)
    >>> lines = ["emotion,pixels,Usage", f"3,{pixels},Training", f"4,{pixels},PrivateTest"]
    >>> _ = Path("fer2013.csv").write_text("\n".join(lines))
    >>> faces = load_fer2013("fer2013.csv", split="test")
    >>> faces.images.shape, faces.target.tolist()
    ((1, 48, 48), ['sadness'])
    """
    check_options("FER2013", split, SPLITS)
    root = existing(path, _LAYOUT, file=True)
    if root.is_dir() and not any((root / name).is_file() for name in FER2013_TABLES):
        first_existing(root, (*FER2013_TABLES, "train", "Train"), _LAYOUT)
        return _load_folders(root, split, return_X_y)
    table = root if root.is_file() else first_existing(root, FER2013_TABLES, _LAYOUT)
    rows = read_fer2013_rows(table, lambda _, usage: split in ("all", _USAGES.get(usage)))
    columns = {
        "images": rows.images,
        "target": decode(rows.codes, FER2013, table)[rows.kept],
        "subject": None,
        "split": usage_splits(rows.usage, table)[rows.kept],
        "row": rows.kept,
    }
    return as_returned(make_bunch("FER2013", table, columns, layout=_LAYOUT), return_X_y)


def _load_folders(root: Path, split: str, return_X_y: bool) -> Any:
    bunch = load_split_folders(root, split=split)
    unknown = sorted(set(bunch.target_names) - set(FER2013.values()))
    if unknown:
        raise ValueError(
            f"{str(root)!r} has the class folders {unknown}, which are none of FER2013's "
            f"{sorted(FER2013.values())}; load_split_folders reads any. {expected(_LAYOUT)}"
        )
    bunch.DESCR = bunch.DESCR.replace("the class folders", "FER2013", 1)
    return as_returned(bunch, return_X_y)


def usage_splits(usage: NDArray[np.str_], where: Path) -> NDArray[np.str_]:
    """Turn the column ``Usage`` into names of splits."""
    values, inverse = np.unique(usage, return_inverse=True)
    unknown = [str(value) for value in values if value not in _USAGES]
    if unknown:
        raise ValueError(
            f"{str(where)!r} has the Usage {unknown}; expected {list(_USAGES)}. {expected(_LAYOUT)}"
        )
    return np.array([_USAGES[value] for value in values], dtype=np.str_)[inverse]


def read_fer2013_rows(table: Path, wanted: Callable[[int, str], bool]) -> Fer2013Rows:
    """Read a table of FER2013.

    Parameters
    ----------
    table : pathlib.Path
    wanted : callable
        Gets a row's number, from 0, and its Usage, and tells whether its pixels
        are wanted.

    Returns
    -------
    rows : Fer2013Rows

    Raises
    ------
    ValueError
        If the file is no such table, or a row is damaged.
    """
    codes, usages, images, kept = [], [], [], []
    with table.open(newline="", encoding="utf-8-sig") as stream, warnings.catch_warnings():
        # numpy only warns of text that holds other than numbers
        warnings.simplefilter("error", DeprecationWarning)
        lines = csv.reader(stream, strict=True)
        try:
            header = [cell.strip().lower() for cell in next(lines, [])]
            if not {"emotion", "pixels", "usage"} <= set(header):
                raise ValueError(
                    f"{str(table)!r} has the columns {header[:6]}; expected emotion, pixels and "
                    f"Usage. {expected(_LAYOUT)}"
                )
            at = [header.index(name) for name in ("emotion", "pixels", "usage")]
            for row, cells in enumerate(line for line in lines if line):
                try:
                    code, pixels, usage = (cells[column] for column in at)
                    codes.append(whole_number(code))
                    usages.append(usage.strip())
                    if wanted(row, usages[-1]):
                        images.append(_to_image(pixels))
                        kept.append(row)
                except (IndexError, ValueError, DeprecationWarning) as error:
                    raise ValueError(
                        f"{str(table)!r}, line {lines.line_num}: {error}. Expected a code, "
                        f"{_SIDE * _SIDE} numbers in 0..255 and a Usage. The file may be cut "
                        "short: copy it again."
                    ) from None
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(
                f"{str(table)!r} is no table in CSV: {error}. {expected(_LAYOUT)}"
            ) from error
    return Fer2013Rows(
        np.array(codes, dtype=np.int64),
        np.array(usages, dtype=np.str_),
        np.stack(images) if images else np.empty((0, _SIDE, _SIDE), dtype=np.uint8),
        np.array(kept, dtype=np.int64),
    )


def _to_image(text: str) -> NDArray[np.uint8]:
    pixels = np.fromstring(text, dtype=np.int64, sep=" ")
    if pixels.size != _SIDE * _SIDE:
        raise ValueError(f"got {pixels.size} pixels")
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(f"got pixels from {pixels.min()} to {pixels.max()}")
    return pixels.astype(np.uint8).reshape(_SIDE, _SIDE)
