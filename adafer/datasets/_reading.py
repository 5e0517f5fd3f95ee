"""What the readers of public data sets share: options, layouts, selecting, missing files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from ..picture_files import read_file

__all__ = [
    "SPLITS",
    "as_returned",
    "check_options",
    "decode",
    "existing",
    "expected",
    "first_existing",
    "inside",
    "make_bunch",
    "read_text",
    "whole_number",
]

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
# a file of labels has some bytes per picture
_MAX_TEXT_BYTES = 2**30
SPLITS = ("train", "val", "test")


def check_options(
    name: str, split: str, splits: tuple[str, ...] = (), on_missing: str = "raise"
) -> None:
    """Judge what all readers are given, before anything is read."""
    if on_missing not in ("raise", "skip"):
        raise ValueError(f'on_missing must be "raise" or "skip"; got {on_missing!r}.')
    if split == "all" or split in splits:
        return
    if not splits:
        raise ValueError(
            f'{name} has no published split: split must be "all"; got {split!r}. Make one with '
            "make_split, keep it with write_split."
        )
    raise ValueError(f"split must be one of {['all', *splits]} for {name}; got {split!r}.")


def expected(layout: str) -> str:
    """Put a layout below a message."""
    return "Expected layout:\n" + "\n".join(f"  {line}" for line in layout.splitlines())


def existing(path: str | PathLike[str], layout: str, *, file: bool = False) -> Path:
    """Find the folder of a data set, or its file where `file` allows one."""
    root = Path(path).expanduser()
    if root.is_dir() or (file and root.is_file()):
        return root
    state = "is a file, not a folder" if root.exists() else "does not exist"
    raise FileNotFoundError(
        f"{str(root)!r} {state}; relative paths start at {os.getcwd()!r}. {expected(layout)}"
    )


def first_existing(root: Path, names: Iterable[str], layout: str) -> Path:
    """Find the first of several places that files of a data set may have."""
    names = list(names)
    for name in names:
        if (root / name).exists():
            return root / name
    held = sorted(entry.name for entry in root.iterdir())
    raise FileNotFoundError(
        f"{str(root)!r} holds none of {names}; it holds {held[:8] or 'nothing'}. {expected(layout)}"
    )


def inside(folder: Path, names: Sequence[str], where: Path) -> list[str]:
    """Give the paths of pictures that a file lists; none may lead out of their folder.

    Parameters
    ----------
    folder : pathlib.Path
        What the names are relative to.
    names : sequence of str
        With forward slashes.
    where : pathlib.Path
        The file that lists them.

    Returns
    -------
    paths : list of str

    Raises
    ------
    ValueError
        If a name is empty, absolute, holds a NUL, or goes up by "..".
    """
    for name in names:
        if not name.strip() or "\0" in name or ".." in name.split("/") or os.path.isabs(name):
            raise ValueError(
                f"{str(where)!r} lists {name[:200]!r}, which is no picture below "
                f"{str(folder)!r}. Expected names relative to that folder, without '..': correct "
                "the list."
            )
    return [str(folder / name) for name in names]


def whole_number(text: str) -> int:
    """Read a whole number of ASCII digits; Python's `int` takes "1_0" and other scripts, too."""
    if not _WHOLE.fullmatch(text.strip()):
        raise ValueError(f"invalid literal for a whole number: {text[:40]!r}")
    return int(text)


def read_text(file: Path) -> str:
    """Read a small text file of a data set."""
    try:
        return read_file(file, _MAX_TEXT_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{str(file)!r} is no text file: {error}. Copy it again.") from error
    except ValueError as error:
        raise ValueError(f"{str(file)!r} is no list: {error}.") from error


def decode(
    codes: Sequence[int] | NDArray, table: Mapping[int, str], where: Path, dropped: Any = ()
) -> NDArray[np.str_]:
    """Turn codes into names of expressions; "" for those that are `dropped`."""
    found = np.asarray(codes)
    if found.dtype.kind == "f" and not np.array_equal(found, np.trunc(found)):
        wrong = found[found != np.trunc(found)][0]
        raise ValueError(
            f"{str(where)!r} has the expression code {wrong:g}; expected whole numbers, some of "
            f"{sorted(table)}."
        )
    values, inverse = np.unique(found, return_inverse=True)
    unknown = [int(value) for value in values if value not in table and value not in dropped]
    if unknown:
        raise ValueError(
            f"{str(where)!r} has the expression codes {unknown}; expected {sorted(table)}"
            f"{f' or {list(dropped)}, which are left out' if dropped else ''}."
        )
    names = [table.get(int(value), "") for value in values]
    return np.array(names, dtype=np.str_)[inverse]


def make_bunch(
    name: str,
    root: Path,
    columns: Mapping[str, Any],
    *,
    split: str = "all",
    on_missing: str = "raise",
    missing: Sequence[str] = (),
    layout: str,
) -> Bunch:
    """Select the rows of a split whose pictures are there.

    Parameters
    ----------
    name : str
        The data set's.
    root : pathlib.Path
        Where it lies.
    columns : mapping
        ``target``, ``paths`` or ``images``, and what else there is per face,
        as lists or arrays of the same length, or None.
    split : str
        Of those in the column ``split``, or "all".
    on_missing : {"raise", "skip"}
        What to do about paths that do not exist.
    missing : sequence of str
        What else is already known to be missing.
    layout : str
        Shown in errors.

    Returns
    -------
    bunch : Bunch
    """
    target = columns["target"]
    rows = np.arange(len(target))
    if split != "all":
        rows = np.flatnonzero(columns["split"] == split)
    lost = list(missing)
    if "paths" in columns:
        absent = _absent([columns["paths"][row] for row in rows])
        # a photograph with several faces is missing once
        lost += dict.fromkeys(columns["paths"][row] for row in rows[absent])
        rows = rows[~absent]
    if lost and (on_missing == "raise" or not len(rows)):
        raise FileNotFoundError(
            f"{len(lost)} pictures of {name} are listed in {str(root)!r} but are not there: "
            f"{lost[:3]}{' and more' if len(lost) > 3 else ''}. Unpack all archives, or leave "
            f'these pictures out with on_missing="skip". {expected(layout)}'
        )
    if not len(rows):
        raise ValueError(
            f"{str(root)!r} has no labelled faces of {name} for split={split!r} with these "
            f"settings. {expected(layout)}"
        )
    bunch = Bunch(**{key: _take(values, rows) for key, values in columns.items()})
    bunch.target_names = np.unique(bunch.target).tolist()
    bunch.missing = lost
    bunch.DESCR = _describe(name, root, bunch)
    return bunch


def as_returned(bunch: Bunch, return_X_y: bool) -> Any:
    """Give what the caller asked for: the Bunch, or pictures and labels."""
    if not return_X_y:
        return bunch
    return (bunch.images if "images" in bunch else bunch.paths), bunch.target


def _take(values: Any, rows: NDArray) -> Any:
    if values is None:
        return None
    if isinstance(values, list):
        return [values[row] for row in rows]
    # what is whole stays as it is: pictures may fill gigabytes
    return values if len(rows) == len(values) else values[rows]


def _absent(paths: list[str]) -> NDArray[np.bool_]:
    """Tell which files do not exist, listing each folder once."""
    held: dict[str, set[str]] = {}
    result = np.zeros(len(paths), dtype=bool)
    for row, path in enumerate(paths):
        folder, file = os.path.split(path)
        if folder not in held:
            place = folder or os.curdir
            held[folder] = set(os.listdir(place)) if os.path.isdir(place) else set()
        result[row] = file not in held[folder]
    return result


def _describe(name: str, root: Path, bunch: Bunch) -> str:
    labels, counts = np.unique(bunch.target, return_counts=True)
    lines = [f"{len(bunch.target)} faces of {len(labels)} classes of {name}, from {root}:"]
    lines += [f"  {label}: {count}" for label, count in zip(labels, counts, strict=True)]
    if bunch.get("split") is not None:
        parts, counts = np.unique(bunch.split, return_counts=True)
        sizes = (f"{part} {count}" for part, count in zip(parts, counts, strict=True))
        lines.append(f"Split: {', '.join(sizes)}.")
    if bunch.get("subject") is not None:
        lines.append(f"Subjects: {len(np.unique(bunch.subject))}.")
    if bunch.missing:
        lines.append(f"{len(bunch.missing)} listed pictures are missing.")
    return "\n".join(lines)
