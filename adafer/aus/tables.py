"""AU tables of other tools, read into AU scores and joined with pictures."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from numbers import Real
from os import PathLike
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._checks import naming
from .._paths import check_path
from .._sklearn import Interval, StrOptions, judged
from ._table_files import read_tables
from .facs import parse_au_name

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = [
    "JoinReport",
    "au_scores_from_frame",
    "join_scores",
    "read_libreface",
    "read_openface",
    "read_pyfeat",
]

Kind: TypeAlias = Literal["occurrence", "intensity"]
Scale: TypeAlias = Literal["probability", "intensity", "binary"]

_SCALES: dict[str, tuple[float, str]] = {
    "probability": (1.0, "values in [0, 1]"),
    "intensity": (5.0, "values in 0..5"),
    "binary": (1.0, "zeros and ones"),
}
# How tools call the column with the picture's file, lower case.
_FILE_COLUMNS = "input image_path file_path path filename file_name file image".split()  # noqa: SIM905
_PICTURES = (".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")

_Tail: TypeAlias = tuple[str, ...]
_ByTail: TypeAlias = dict[_Tail, list[int]]


class JoinReport(NamedTuple):
    """What did not fit in `join_scores`.

    Attributes
    ----------
    missing : list of str
        Pictures that the table does not know; their scores are NaN.
    unused : list of str
        Names in the table that belong to no picture.
    """

    missing: list[str]
    unused: list[str]


@judged(path=check_path, min_confidence=[Interval(Real, 0, 1, closed="both")])
def read_openface(
    path: str | PathLike[str], *, min_confidence: float = 0.0, kind: Kind = "occurrence"
) -> DataFrame:
    r"""Read AU scores that OpenFace 2.x wrote.

    Parameters
    ----------
    path : str or path
        A CSV file, or a folder with one per picture, as ``FaceLandmarkImg``
        writes them.
    min_confidence : float, default=0.0
        Rows whose ``confidence``, in [0, 1], is lower become NaN, as do those
        without ``success``.
    kind : {"occurrence", "intensity"}, default="occurrence"
        Columns ``AU01_c``, 0 or 1, or ``AU01_r``, 0..5, which are divided by 5.
        Only occurrence has AU28.

    Returns
    -------
    scores : DataFrame of float64 of shape (n_rows, n_aus), values in [0, 1]
        Columns ``AU01`` and so on, ascending. From a folder, the index holds the
        names of its files without ``.csv``, which are those of the pictures
        without their ending; a picture with several faces has several rows.

    Raises
    ------
    ImportError, FileNotFoundError
        If pandas is not installed; if there is no such file.
    ValueError
        If the file is no such table, has a column twice or rows of other lengths,
        or values are out of their scale.

    Examples
    --------
    >>> from pathlib import Path
    >>> from adafer.aus import read_openface
    >>> lines = ["frame, success, AU01_r, AU12_r", "1, 1, 0.5, 4", "2, 0, 0, 0"]
    >>> _ = Path("openface.csv").write_text("\n".join(lines))
    >>> read_openface("openface.csv", kind="intensity")
       AU01  AU12
    0   0.1   0.8
    1   NaN   NaN
    """
    scale = _scale_of(kind)
    if not 0 <= min_confidence <= 1:
        raise ValueError(f"min_confidence must lie in [0, 1]; got {min_confidence!r}.")
    frame = read_tables(path)
    wanted = "_c" if scale == "binary" else "_r"
    columns = [name for name in frame.columns if name.lower().endswith(wanted)]
    known = np.ones(len(frame), dtype=bool)
    if "success" in frame.columns:
        known &= (_numbers(frame["success"], "success") == 1).to_numpy()
    if "confidence" in frame.columns:
        known &= (_numbers(frame["confidence"], "confidence") >= min_confidence).to_numpy()
    elif min_confidence > 0:
        raise ValueError(
            f"{str(path)!r} has no column 'confidence', which min_confidence={min_confidence} "
            "asks for. Write it with OpenFace's output of all columns, or leave min_confidence 0."
        )
    # Rows without a face may hold anything: they are emptied before values are judged.
    return _scores(_emptied(frame[columns], ~known), scale, _file_names(frame), path)


@judged(path=check_path)
def read_pyfeat(path: str | PathLike[str]) -> DataFrame:
    r"""Read AU scores that Py-Feat wrote.

    Parameters
    ----------
    path : str or path
        A CSV file with columns ``AU01`` and so on, probabilities.

    Returns
    -------
    scores : DataFrame of float64 of shape (n_rows, n_aus), values in [0, 1]
        Columns ``AU01`` and so on, ascending; indexed by the column ``input``
        where there is one. Rows without a face are NaN.

    Raises
    ------
    ImportError, FileNotFoundError, ValueError
        As `read_openface`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from adafer.aus import read_pyfeat
    >>> _ = Path("feat.csv").write_text("input,AU01,AU12\nfaces/a.png,0.2,0.9\n")
    >>> read_pyfeat("feat.csv")
                 AU01  AU12
    faces/a.png   0.2   0.9
    """
    frame = read_tables(path)
    return _scores(frame, "probability", _file_names(frame), path)


@judged(path=check_path)
def read_libreface(path: str | PathLike[str], *, kind: Kind = "occurrence") -> DataFrame:
    r"""Read AU scores that LibreFace wrote.

    Parameters
    ----------
    path : str or path
        A CSV file, or a folder with one per picture.
    kind : {"occurrence", "intensity"}, default="occurrence"
        Columns ``au_1``, 0 or 1, or ``au_1_intensity``, 0..5, which are divided
        by 5. The two hold different AUs.

    Returns
    -------
    scores : DataFrame of float64 of shape (n_rows, n_aus), values in [0, 1]
        Columns ``AU01`` and so on, ascending; indexed by file where the table
        names it, or by the names of a folder's files without ``.csv``.

    Raises
    ------
    ImportError, FileNotFoundError, ValueError
        As `read_openface`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from adafer.aus import read_libreface
    >>> _ = Path("libre.csv").write_text("frame_idx,au_1,au_1_intensity\n0,1,2.5\n")
    >>> read_libreface("libre.csv", kind="intensity")
       AU01
    0   0.5
    """
    scale, frame = _scale_of(kind), read_tables(path)
    intensity = scale == "intensity"
    columns = [name for name in frame.columns if name.lower().endswith("_intensity") == intensity]
    return _scores(frame[columns], scale, _file_names(frame), path)


def _check_frame(frame: object) -> None:
    if not hasattr(frame, "columns") or not hasattr(frame, "index"):
        raise TypeError(f"a data frame is needed; got {type(frame).__name__}.")


def _check_names(paths: object) -> None:
    if isinstance(paths, str) or not hasattr(paths, "__iter__"):
        raise TypeError(f"paths must be a list of paths; got {paths!r}.")
    if isinstance(paths, Collection):
        if not len(paths):
            raise ValueError("paths is empty; expected the pictures in the order wanted.")
        for path in paths:
            check_path(path, name="paths")


@judged(
    frame=_check_frame,
    scale=[StrOptions({"probability", "intensity", "binary"})],
    file_column=[None, str],
)
def au_scores_from_frame(
    frame: DataFrame, *, scale: Scale = "probability", file_column: str | None = None
) -> DataFrame:
    """Take the AU scores out of any table.

    Parameters
    ----------
    frame : DataFrame
        Columns named as `parse_au_name` understands them, and any others, which
        are left out.
    scale : {"probability", "intensity", "binary"}, default="probability"
        What the values are: in [0, 1]; in 0..5, which are divided by 5; or 0 and
        1. They are checked, never guessed.
    file_column : str, optional
        Column with the pictures' files, for the index; by default the index of
        `frame` is kept.

    Returns
    -------
    scores : DataFrame of float64 of shape (n_rows, n_aus), values in [0, 1]
        Columns ``AU01`` and so on, ascending.

    Raises
    ------
    ValueError
        If there are no AU columns, two for one AU, values that are no numbers or
        out of the scale, or no column `file_column`.

    Examples
    --------
    >>> import pandas as pd
    >>> from adafer.aus import au_scores_from_frame
    >>> frame = pd.DataFrame({"file": ["a.png"], "au_12": [5.0], "AU1": [1.0]})
    >>> au_scores_from_frame(frame, scale="intensity", file_column="file")
           AU01  AU12
    a.png   0.2   1.0
    """
    if scale not in _SCALES:
        raise ValueError(f"scale must be one of {', '.join(map(repr, _SCALES))}; got {scale!r}.")
    names = None
    if file_column is not None:
        if file_column not in frame.columns:
            raise ValueError(
                f"The table has no column {file_column!r}; its columns are "
                f"{_listed(frame.columns)}. Pass the one that holds the pictures' files."
            )
        names = frame[file_column]
    with naming("frame"):
        return _scores(frame, scale, names)


@judged(table=_check_frame, paths=_check_names)
def join_scores(
    table: DataFrame, paths: Iterable[str | PathLike[str]]
) -> tuple[DataFrame, JoinReport]:
    """Bring the rows of an AU table into the order of pictures.

    Rows and pictures belong together by file name; folders are not compared, so
    that a data set that moved keeps its table. Only where several have one name,
    the longest common end of their paths decides, which must include a folder.
    Where no name in the table ends like a picture (``.png``), the endings of
    the pictures are left aside.

    Parameters
    ----------
    table : DataFrame of shape (n_rows, n_aus)
        AU scores, indexed by file, as this module's readers give them.
    paths : sequence of n str or path
        The pictures.

    Returns
    -------
    scores : DataFrame of shape (n, n_aus)
        One row per picture, in their order, indexed by path; NaN for those
        missing in the table.
    report : JoinReport
        Pictures without a row, and rows without a picture.

    Raises
    ------
    ValueError
        If the table has no file names, one of them twice, or names that fit
        several pictures equally well; if no picture has a row.

    Examples
    --------
    >>> import pandas as pd
    >>> from adafer.aus import join_scores
    >>> table = pd.DataFrame({"AU01": [0.1, 0.2]}, index=["old/b.png", "old/c.png"])
    >>> scores, report = join_scores(table, ["new/a.png", "new/b.png"])
    >>> scores
               AU01
    new/a.png   NaN
    new/b.png   0.1
    >>> report
    JoinReport(missing=['new/a.png'], unused=['old/c.png'])
    """
    if isinstance(paths, (str, PathLike)):
        raise ValueError(
            f"paths must be a sequence; got the path {os.fspath(paths)!r}. Pass [path] for one."
        )
    pictures = [os.fspath(path) for path in paths]
    names = [os.fspath(name) if isinstance(name, PathLike) else name for name in table.index]
    rows = _match(names, pictures)
    found = rows >= 0
    if len(pictures) and not found.any():
        raise ValueError(
            f"None of the {len(pictures)} pictures is in the table of {len(names)} rows: pictures "
            f"like {_listed(pictures[:2])}, rows like {_listed(names[:2])}. Expected equal names."
        )
    # Position -1 takes the last row, which is then emptied.
    scores = _emptied(table.iloc[rows], ~found)
    scores.index = type(table.index)(pictures)
    used = set(rows[found].tolist())
    return scores, JoinReport(
        [path for path, known in zip(pictures, found, strict=True) if not known],
        [name for row, name in enumerate(names) if row not in used],
    )


def _match(names: list[object], pictures: list[str]) -> NDArray[np.intp]:
    """Find the row of each picture, -1 where there is none."""
    if not names or not all(isinstance(name, str) for name in names):
        got = f"got {names[0]!r} as the first" if names else "got no rows"
        raise ValueError(
            f"The table must be indexed by the pictures' files; {got}. Set its index to the names, "
            "for example table.index = sorted(file names) for OpenFace's rows of a sequence."
        )
    row_parts = [_parts(str(name)) for name in names]
    counts = Counter(row_parts)
    if len(counts) < len(names):
        twice = {name: None for name, p in zip(names, row_parts, strict=True) if counts[p] > 1}
        raise ValueError(
            f"The table has more than one row for {len(twice)} of its pictures: {_listed(twice)}. "
            "Expected one row per picture; where it shows several faces, keep one, for example "
            "the first: table[~table.index.duplicated()]."
        )
    picture_parts = [_parts(path) for path in pictures]
    keys = {parts: parts for parts in picture_parts}
    if not any(_suffix(parts[-1]) for parts in row_parts):
        keys = {parts: (*parts[:-1], parts[-1].removesuffix(_suffix(parts[-1]))) for parts in keys}
    by_tail = _by_tail(row_parts), _by_tail(list(keys.values()))
    match = {parts: _row_of(key, row_parts, *by_tail) for parts, key in keys.items()}
    return np.array([match[parts] for parts in picture_parts], dtype=np.intp)


def _row_of(
    parts: _Tail, row_parts: list[_Tail], rows_by_tail: _ByTail, pictures_by_tail: _ByTail
) -> int:
    tail = _longest_known_tail(parts, rows_by_tail)
    if not tail:
        return -1
    rows, n_pictures = rows_by_tail[tail], len(pictures_by_tail[tail])
    if len(rows) == n_pictures == 1:
        return rows[0]
    # A row that shares a longer end with another picture is that picture's. Where
    # folders differ, only a row that names none could be meant.
    folders_differ = len(tail) == 1 < len(parts)
    lengths = [len(_longest_known_tail(row_parts[row], pictures_by_tail)) for row in rows]
    rows = [row for row, length in zip(rows, lengths, strict=True) if length <= len(tail)]
    rows = [row for row in rows if len(row_parts[row]) == 1 or not folders_differ]
    if len(rows) == 0:
        return -1
    if len(rows) == n_pictures == 1:
        return rows[0]
    raise ValueError(
        f"The picture {'/'.join(parts)!r} cannot be told from others: {len(rows)} row(s) like "
        f"{'/'.join(row_parts[rows[0]])!r} fit {n_pictures} picture(s) equally well. Expected "
        "names that are unique with their folders and endings; give longer paths in both."
    )


def _by_tail(all_parts: Sequence[_Tail]) -> _ByTail:
    """Index paths by each of their ends: name, folder and name, and so on."""
    found = defaultdict(list)
    for i, parts in enumerate(all_parts):
        for start in range(len(parts)):
            found[parts[start:]].append(i)
    return dict(found)


def _longest_known_tail(parts: _Tail, by_tail: _ByTail) -> _Tail:
    return next((parts[i:] for i in range(len(parts)) if parts[i:] in by_tail), ())


def _parts(path: str) -> _Tail:
    """Split a path of any system; empty and "." are left out."""
    return PureWindowsPath(path).parts or (path,)


def _suffix(name: str) -> str:
    ending = os.path.splitext(name)[1]
    return ending if ending.lower() in _PICTURES else ""


def _file_names(frame: DataFrame) -> Series | None:
    if all(isinstance(name, str) for name in frame.index):
        return None  # the index holds them
    named = [frame[name] for name in frame.columns if name.lower() in _FILE_COLUMNS]
    return next((files for files in named if all(isinstance(file, str) for file in files)), None)


def _scale_of(kind: str) -> Scale:
    if kind not in ("occurrence", "intensity"):
        raise ValueError(f"kind must be 'occurrence' or 'intensity'; got {kind!r}.")
    return "intensity" if kind == "intensity" else "binary"


def _emptied(frame: DataFrame, rows: NDArray[np.bool_]) -> DataFrame:
    return frame.mask(np.repeat(rows[:, None], frame.shape[1], axis=1))


def _scores(frame: DataFrame, scale: Scale, names: Series | None, path: object = None) -> DataFrame:
    """Check the values of AU columns, divide them, and name rows and columns."""
    by_au: dict[str, str] = {}
    for column in frame.columns:
        try:
            name = parse_au_name(column)
        except ValueError:
            continue
        if name in by_au:
            raise ValueError(
                f"The table has two columns for {name}: {by_au[name]!r} and {column!r}. Expected "
                "one; leave one out, for example by table.drop(columns=...)."
            )
        by_au[name] = column
    if not by_au:
        raise ValueError(
            f"{'The table' if path is None else repr(str(path))} has no AU columns for the scale "
            f"{scale!r}; expected names like 'AU01', 'AU01_r' or 'au_1'. Is it another tool's "
            "table, or does it hold the other kind of AUs?"
        )
    largest, expected = _SCALES[scale]
    scores = frame[[by_au[name] for name in sorted(by_au)]].copy()
    for column in scores.columns:
        values = _numbers(scores[column], column)
        right = values.isin([0, 1]) if scale == "binary" else values.between(0, largest)
        if (wrong := values.notna() & ~right).any():
            raise ValueError(
                f"Column {column!r} holds values from {values.min():.4g} to {values.max():.4g}, "
                f"for example {values[wrong].iloc[0]:.4g}; expected {expected} on the scale "
                f"{scale!r}. Choose the scale or kind that the table has."
            )
        scores[column] = values / largest
    scores.columns = sorted(by_au)
    if names is not None:
        scores.index = names.astype(object).tolist()
    return scores


def _numbers(values: Series, column: str) -> Series:
    try:
        if values.dtype.kind not in "fiub" and values.astype(str).str.contains("_").any():
            raise ValueError("a number with '_'")  # which Python reads, and means none
        return values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Column {column!r} must hold numbers; got {error}. Correct the table or leave the "
            "column out."
        ) from error


def _listed(names: Iterable[object]) -> str:
    all_names = [repr(str(name)) for name in names]
    more = len(all_names) - 5
    return ", ".join(all_names[:5]) + (f" and {more} more" if more > 0 else "")
