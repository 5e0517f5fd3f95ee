"""Splits that can be made, kept in a file, and read again."""

from __future__ import annotations

import csv
import os
import warnings
from fractions import Fraction
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from .._files import check_output_file
from .._folders import unlabelled_pictures, write_table
from .._paths import check_path
from .._sklearn import Interval, judged
from ._arguments import reader
from ._reading import SPLITS, as_returned, check_options, existing, expected, inside, make_bunch

__all__ = ["make_split", "read_split", "write_split"]

# shares of groups are rounded to a fraction with at most this denominator
_MAX_FOLDS = 20
_LAYOUT = """\
file,label,subject,split
S005/001/S005_001_00000011.png,disgust,S005,train"""


def _check_entries(values: Any) -> None:
    found = np.asarray(values)
    if found.ndim != 1 or len(found) == 0:
        raise ValueError(f"one entry per picture is needed, shape (n,); got shape {found.shape}.")


def _check_pictures(paths: Any) -> None:
    if isinstance(paths, str) or not hasattr(paths, "__len__") or not len(paths):
        raise TypeError(f"paths must be a list of one or more paths; got {paths!r}.")
    for path in paths:
        check_path(path, name="paths")


@judged(
    y=_check_entries,
    groups=_check_entries,
    test_size=[Interval(Real, 0, 1, closed="neither")],
    val_size=[Interval(Real, 0, 1, closed="left")],
    random_state=["random_state"],
)
def make_split(
    y: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    test_size: float = 0.2,
    val_size: float = 0.0,
    random_state: int | np.random.RandomState | None = 0,
) -> NDArray[np.str_]:
    """Split faces into parts with the same shares of labels.

    Parameters
    ----------
    y : array-like of str of shape (n,)
        Labels.
    groups : array-like of shape (n,), optional
        Faces of one group go into one part: subjects, or the photographs that
        faces were cut out of.
    test_size : float, default=0.2
        Share in (0, 1) of the faces; with `groups` it is rounded to a fraction
        of whole groups, at the finest a twentieth.
    val_size : float, default=0.0
        Share in [0, 1) of all faces for validation.
    random_state : int, RandomState or None, default=0
        The same number gives the same split.

    Returns
    -------
    split : ndarray of str of shape (n,)
        "train", "val" or "test".

    Warns
    -----
    UserWarning
        If a part has no face of some label.

    Raises
    ------
    ValueError
        If the sizes leave nothing for training, or there are too few faces of a
        label, or too few groups.

    Examples
    --------
    >>> from adafer.datasets import make_split
    >>> y = ["fear", "anger"] * 5
    >>> subjects = ["KA", "KA", "KL", "KL", "KM", "KM", "KR", "KR", "MK", "MK"]
    >>> make_split(y, subjects, random_state=3).tolist().count("test")
    2
    """
    labels = np.asarray(y)
    if labels.ndim != 1 or len(labels) == 0:
        raise ValueError(f"y must be labels of shape (n,), n > 0; got shape {labels.shape}.")
    if not 0 < test_size < 1 or not 0 <= val_size < 1 or test_size + val_size >= 1:
        raise ValueError(
            f"test_size must lie in (0, 1), val_size in [0, 1), their sum below 1; got "
            f"{test_size!r} and {val_size!r}."
        )
    members = None if groups is None else np.asarray(groups)
    if members is not None and members.shape != labels.shape:
        raise ValueError(
            f"groups must have one entry per label; got shape {members.shape} for {len(labels)} "
            "labels."
        )
    split = np.full(len(labels), "train", dtype="<U5")
    left = np.arange(len(labels))
    for part, share in (("test", test_size), ("val", val_size / (1 - test_size))):
        if share == 0:
            continue
        held = _hold_out(
            labels[left], None if members is None else members[left], share, random_state
        )
        split[left[held]] = part
        left = np.delete(left, held)
    for part in np.unique(split):
        absent = np.setdiff1d(labels, labels[split == part]).tolist()
        if absent:
            warnings.warn(
                f"The part {part!r} has no faces of {absent}. Try another random_state, or other "
                "sizes.",
                stacklevel=3,
            )
    return split


def _hold_out(
    labels: NDArray, groups: NDArray | None, share: float, random_state: Any
) -> NDArray[np.intp]:
    """Choose a share of the rows."""
    if groups is None:
        try:
            _, held = train_test_split(
                np.arange(len(labels)), test_size=share, stratify=labels, random_state=random_state
            )
        except ValueError as error:
            names, counts = np.unique(labels, return_counts=True)
            sizes = dict(zip(names.tolist(), counts.tolist(), strict=True))
            raise ValueError(
                f"A part of {share:.3g} of the faces cannot be held out: {error} There are "
                f"{sizes}. Leave out rare labels, or change the sizes."
            ) from None
        return held
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        raise ValueError(
            f"groups has {n_groups} different entries, too few for another part. Use fewer parts, "
            "or more subjects."
        )
    n_folds = min(n_groups, _MAX_FOLDS)
    wanted = Fraction(share).limit_denominator(n_folds)
    # at least one fold is held out, and one is left
    wanted = min(max(wanted, Fraction(1, n_folds)), Fraction(n_folds - 1, n_folds))
    folds = StratifiedGroupKFold(wanted.denominator, shuffle=True, random_state=random_state)
    with warnings.catch_warnings():
        # labels with fewer faces than folds; what matters is told by the caller
        warnings.filterwarnings("ignore", message="The least populated class")
        try:
            parts = [part for _, part in folds.split(labels, labels, groups)]
        except ValueError as error:
            raise ValueError(
                f"A part of {share:.3g} of the groups cannot be held out: {error} Change the sizes."
            ) from None
    return np.sort(np.concatenate(parts[: wanted.numerator]))


@judged(
    path=check_path,
    paths=_check_pictures,
    target=_check_entries,
    split=_check_entries,
    subject=_check_entries,
    root=[None, str, PathLike],
)
def write_split(
    path: str | PathLike[str],
    paths: list[str],
    target: ArrayLike,
    split: ArrayLike,
    *,
    subject: ArrayLike | None = None,
    root: str | PathLike[str] | None = None,
) -> None:
    """Keep a split in a CSV file, so that a result can be repeated.

    Parameters
    ----------
    path : str or path
        The file to write.
    paths : list of str of length n
        Pictures, each once.
    target : array-like of str of shape (n,)
        Their labels.
    split : array-like of str of shape (n,)
        "train", "val" or "test" of each.
    subject : array-like of str of shape (n,), optional
        Who is seen.
    root : str or path, optional
        The folder to which names of pictures are relative in the file; by
        default the folder of the file.

    Raises
    ------
    ValueError
        If lengths differ, a picture is there twice or lies outside of `root`,
        or a name of a split is unknown.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> from pathlib import Path
    >>> from adafer.datasets import write_split
    >>> write_split("split.csv", ["a/1.png", "a/2.png"], ["fear", "anger"], ["train", "test"])
    >>> print(Path("split.csv").read_text().strip())
    file,label,subject,split
    a/1.png,fear,,train
    a/2.png,anger,,test
    """
    output = check_output_file(path)
    columns = [target, np.full(len(paths), "") if subject is None else subject, split]
    arrays = [np.asarray(column) for column in columns]
    for name, array in zip(("target", "subject", "split"), arrays, strict=True):
        if array.shape != (len(paths),):
            raise ValueError(
                f"{name} must have one entry for each of the {len(paths)} paths; got shape "
                f"{array.shape}."
            )
    unknown = np.setdiff1d(arrays[2], SPLITS).tolist()
    if unknown:
        raise ValueError(f"split holds {unknown}; expected {list(SPLITS)}.")
    folder = Path(output.parent if root is None else root)
    whole = [os.path.abspath(picture) for picture in paths]
    inside = os.path.join(os.path.abspath(folder), "")
    outside = [picture for picture in whole if not picture.startswith(inside)]
    if outside:
        raise ValueError(
            f"{len(outside)} pictures, such as {outside[0]!r}, do not lie in {str(folder)!r}. Pass "
            "the folder that holds them all as root=."
        )
    if len(set(whole)) < len(whole):
        raise ValueError(
            f"{len(whole) - len(set(whole))} of the {len(whole)} pictures are there a second time. "
            "For several faces in a photograph cut them out with save_crops first."
        )
    cells = {
        row: [str(cell) for cell in values] for row, values in enumerate(zip(*arrays, strict=True))
    }
    write_table(output, Path(os.path.abspath(folder)), whole, ["label", "subject", "split"], cells)


@reader
def read_split(
    path: str | PathLike[str],
    *,
    split: str = "all",
    return_X_y: bool = False,
    on_missing: str = "raise",
    root: str | PathLike[str] | None = None,
) -> Any:
    """Load the pictures of a split that `write_split` kept.

    Parameters
    ----------
    path : str or path
        The CSV file.
    split : {"all", "train", "val", "test"}, default="all"
        Which part.
    return_X_y : bool, default=False
        Give ``(paths, target)`` instead of a Bunch.
    on_missing : {"raise", "skip"}, default="raise"
        Whether a listed picture that is not there is an error, or is left out
        and listed in ``missing``.
    root : str or path, optional
        The folder that holds the pictures; by default the folder of the file.

    Returns
    -------
    faces : `sklearn.utils.Bunch`
        With the attributes

        paths : list of str of length n
            In the order of the file.
        target : ndarray of str of shape (n,)
            Labels.
        target_names : list of str
            The labels that occur, sorted.
        split : ndarray of str of shape (n,)
        subject : ndarray of str of shape (n,), or None
        missing : list of str
            Pictures of the part that are listed but not there.
        unlisted : list of str
            Pictures that are in `root` but not in the file.
        DESCR : str

    (paths, target) : tuple, if `return_X_y` is true

    Raises
    ------
    FileNotFoundError
        If the file, the folder or a picture is not there.
    ValueError
        If the file is damaged, names pictures outside of the folder, or has none of
        the part.

    Examples
    --------
    >>> from pathlib import Path
    >>> from adafer.datasets import read_split, write_split
    >>> for name in ("1.png", "2.png", "3.png"):
    ...     Path(name).touch()
    >>> write_split("split.csv", ["1.png", "2.png"], ["fear", "anger"], ["train", "test"])
    >>> faces = read_split("split.csv", split="test")
    >>> faces.target.tolist(), [Path(picture).name for picture in faces.unlisted]
    (['anger'], ['3.png'])
    """
    check_options("a split file", split, SPLITS, on_missing)
    file = existing(path, _LAYOUT, file=True)
    if file.is_dir():
        raise FileNotFoundError(f"{str(file)!r} is a folder, not a split file. {expected(_LAYOUT)}")
    folder = existing(file.parent if root is None else root, _LAYOUT)
    rows = _read_rows(file)
    names = [row["file"] for row in rows]
    subjects = np.array([row.get("subject") or "" for row in rows], dtype=np.str_)
    paths = inside(folder, names, file)
    columns = {
        "paths": paths,
        "target": np.array([row["label"] for row in rows], dtype=np.str_),
        "subject": subjects if (subjects != "").any() else None,
        "split": np.array([row["split"] for row in rows], dtype=np.str_),
    }
    bunch = make_bunch(
        f"the split {file.name}",
        folder,
        columns,
        split=split,
        on_missing=on_missing,
        layout=_LAYOUT,
    )
    listed = {os.path.normpath(picture) for picture in paths}
    present = [os.path.normpath(picture) for picture in unlabelled_pictures(folder)]
    bunch.unlisted = [picture for picture in present if picture not in listed]
    return as_returned(bunch, return_X_y)


def _read_rows(file: Path) -> list[dict[str, str]]:
    try:
        with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
            reader = csv.DictReader(stream, strict=True)
            rows = list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{str(file)!r} is no split file: {error}. {expected(_LAYOUT)}") from None
    absent = {"file", "label", "split"} - set(reader.fieldnames or [])
    if absent or not rows:
        lack = f"lacks the columns {sorted(absent)}" if absent else "has no rows"
        raise ValueError(f"{str(file)!r} {lack}. {expected(_LAYOUT)}")
    seen: set[str] = set()
    for number, row in enumerate(rows, start=2):
        if None in row.values() or None in row or not row["label"] or row["split"] not in SPLITS:
            raise ValueError(
                f"{str(file)!r}, row {number}: got {list(row.values())}; expected a cell per "
                f"column, a label, and a split of {list(SPLITS)}. {expected(_LAYOUT)}"
            )
        if row["file"] in seen:
            raise ValueError(f"{str(file)!r}, row {number}: {row['file']!r} is there twice.")
        seen.add(row["file"])
    return rows
