"""Folders of pictures and tables about them, for the command line."""

from __future__ import annotations

import csv
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from ._files import new_file
from .datasets.image_folder import IMAGE_EXTENSIONS, load_image_folder
from .faces import check_faces
from .picture_files import read_file
from .picture_limits import current_limits

__all__ = [
    "AUTable",
    "au_table",
    "each_chunk",
    "labelled_pictures",
    "nameless_order",
    "unlabelled_pictures",
    "write_table",
]

# names of files that are no UTF-8 are written as they are, and found again
_NAMES = "surrogateescape"


def labelled_pictures(folder: Path) -> tuple[list[str], NDArray]:
    """List pictures and their labels, the names of their folders as they are.

    Parameters
    ----------
    folder : pathlib.Path
        Holds a folder per class.

    Returns
    -------
    paths : list of str
    labels : ndarray of str of shape (n,)
    """
    found = load_image_folder(folder, label_names="as-is")
    return found.paths, found.target


def unlabelled_pictures(folder: Path) -> list[str]:
    """List all pictures in a folder and in the folders in it.

    Parameters
    ----------
    folder : pathlib.Path

    Returns
    -------
    paths : list of str
        Sorted.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If there are no pictures.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise FileNotFoundError(f"{str(folder)!r} {what}. Give a folder of pictures.")
    paths, entered = [], set()
    for place, inner, names in os.walk(folder, followlinks=True):
        entered.add(os.path.realpath(place))
        # links may lead back to where the walk has been
        inner[:] = [
            name
            for name in inner
            if _visible(name) and os.path.realpath(os.path.join(place, name)) not in entered
        ]
        paths += [
            os.path.join(place, name)
            for name in names
            if _visible(name) and name.lower().endswith(IMAGE_EXTENSIONS)
        ]
    if not paths:
        raise ValueError(
            f"{str(folder)!r} holds no pictures, neither itself nor in folders in it; expected "
            f"files that end in {', '.join(ending[1:] for ending in IMAGE_EXTENSIONS)}."
        )
    return sorted(paths)


def _visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def nameless_order(paths: list[str]) -> list[str]:
    """Sort pictures so that the names of their folders make no difference.

    Training depends on the order of its data. Folders of a target often bear
    its labels, which must not reach `fit`, not even in this way: pictures are
    ordered by their own names, and those that share one by their content.

    Parameters
    ----------
    paths : list of str

    Returns
    -------
    paths : list of str
    """
    shared = Counter(os.path.basename(path) for path in paths)

    def key(path: str) -> tuple[str, str]:
        name = os.path.basename(path)
        if shared[name] == 1:
            return name, ""
        try:
            content = read_file(path, current_limits().max_bytes)
        except (OSError, ValueError):
            return name, ""  # whoever reads the pictures says what is wrong with it
        return name, hashlib.sha256(content).hexdigest()

    return sorted(paths, key=key)


def each_chunk(
    paths: list[str], on_error: Any, what: str
) -> Iterator[tuple[NDArray, list[NDArray[np.uint8]]]]:
    """Read pictures piece by piece, with a progress bar on the standard error.

    Parameters
    ----------
    paths : list of str
    on_error : {"raise", "skip"}
    what : str
        Title of the bar.

    Yields
    ------
    rows : ndarray of int of shape (m,), m > 0
        Positions in `paths`.
    images : list of m ndarrays of uint8 of shape (H, W, 3)

    Raises
    ------
    FaceReadError
        If a picture cannot be read and `on_error` is "raise".
    """
    with tqdm(total=len(paths), desc=what, unit="picture", file=sys.stderr, disable=None) as bar:
        for rows, images in check_faces(paths, name="pictures").chunks(on_error=on_error):
            if len(rows):
                yield rows, images
                bar.update(len(rows))


def write_table(
    output: Path,
    folder: Path,
    paths: list[str],
    columns: list[str],
    cells: Mapping[int, list[str]],
) -> None:
    """Write a table with a row per picture as CSV.

    Parameters
    ----------
    output : pathlib.Path
    folder : pathlib.Path
        The first column, ``file``, is relative to it, with forward slashes.
    paths : list of str
    columns : list of str
        Names of the other columns.
    cells : dict of int -> list of str
        What is in them, by row; rows that are not there stay empty.
    """
    empty = [""] * len(columns)
    with (
        new_file(output) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors=_NAMES) as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["file", *columns])
        for row, path in enumerate(paths):
            writer.writerow([_relative(path, folder), *cells.get(row, empty)])


def _relative(path: str, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


class AUTable(NamedTuple):
    """AU scores with names, in the form that `AdaFERClassifier.fit` takes.

    Attributes
    ----------
    scores : ndarray of float64 of shape (n, n_aus)
    columns : list of str
    """

    scores: NDArray[np.float64]
    columns: list[str]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        return np.array(self.scores, dtype=dtype)


def au_table(table: Path, folder: Path, paths: list[str]) -> AUTable:
    """Read AU scores of pictures from a CSV table, in the order of the pictures.

    Parameters
    ----------
    table : pathlib.Path
        A column ``file``, relative to `folder`, and a column per AU; rows with
        empty cells are pictures without a face.
    folder : pathlib.Path
    paths : list of str

    Returns
    -------
    scores : AUTable
        NaN rows where no face was found.

    Raises
    ------
    FileNotFoundError
        If there is no such table.
    ValueError
        If it has no column ``file`` or one twice, lacks pictures or names one twice, or holds
        other than numbers in [0, 1].
    """
    try:
        with table.open(newline="", encoding="utf-8-sig", errors=_NAMES) as stream:
            rows = list(csv.reader(stream, strict=True))
    except csv.Error as error:
        raise ValueError(f"{table} is no table in CSV: {error}. Copy it again.") from error
    names = [name.strip() for name in rows[0]] if rows else []
    if "file" not in names or len(names) < 2:
        raise ValueError(
            f"{table} has the columns {names}; expected 'file' and one per AU, as `adafer aus` "
            "writes them."
        )
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise ValueError(f"{table} has two columns named {twice[0]!r}. Leave one of them out.")
    at = names.index("file")
    found: dict[str, list[float]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != len(names):
            raise ValueError(
                f"{table}, line {number}: got {len(row)} cells, expected {len(names)}."
            )
        cells = [cell for column, cell in enumerate(row) if column != at]
        try:
            scores = [_score(cell) for cell in cells]
        except ValueError as error:
            raise ValueError(
                f"{table}, line {number}: {error}. Expected numbers in [0, 1], or empty cells "
                "where no face was found; leave out other columns, and divide intensities of 0..5 "
                "by 5 and percentages by 100."
            ) from None
        if row[at] in found:
            raise ValueError(f"{table}, line {number}: {row[at]!r} is there a second time.")
        found[row[at]] = scores
    wanted = [_relative(path, folder) for path in paths]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ValueError(
            f"{table} lacks {len(missing)} of the {len(wanted)} pictures in {str(folder)!r}, such "
            f"as {missing[0]!r}. Its column 'file' must be relative to that folder."
        )
    columns = [name for column, name in enumerate(names) if column != at]
    return AUTable(np.array([found[name] for name in wanted], dtype=np.float64), columns)


def _score(cell: str) -> float:
    text = cell.strip()
    if text.lower() in ("", "nan"):
        return np.nan
    # Python reads "0_1" as 1
    score = np.nan if "_" in text else float(text)
    if not 0 <= score <= 1:
        raise ValueError(f"got {text!r}")
    return score
