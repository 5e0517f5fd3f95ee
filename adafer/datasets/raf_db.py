"""The data set RAF-DB, its basic expressions."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

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
from .labels import RAF_DB

__all__ = ["load_raf_db"]

_LIST = "EmoLabel/list_patition_label.txt"
_LAYOUT = """\
<path>/EmoLabel/list_patition_label.txt with lines such as "train_00001.jpg 5"
<path>/Image/aligned/train_00001_aligned.jpg
<path>/Image/original/train_00001.jpg, which only aligned=False needs"""


@reader
def load_raf_db(
    path: str | PathLike[str],
    *,
    split: str = "all",
    return_X_y: bool = False,
    on_missing: str = "raise",
    aligned: bool = True,
) -> Any:
    """Load the basic expressions of RAF-DB.

    Parameters
    ----------
    path : str or path
        The folder that holds ``EmoLabel`` and ``Image``, or the one above,
        which holds ``basic``.
    split : {"all", "train", "test"}, default="all"
        The authors' own.
    return_X_y : bool, default=False
        Give ``(paths, target)`` instead of a Bunch.
    on_missing : {"raise", "skip"}, default="raise"
        Whether a listed picture that is not there is an error, or is left out
        and listed in ``missing``.
    aligned : bool, default=True
        The authors' aligned faces of 100 x 100 pixels instead of the
        photographs, which need `adafer.FaceAligner`.

    Returns
    -------
    faces : `sklearn.utils.Bunch`
        With the attributes

        paths : list of str of length n
        target : ndarray of str of shape (n,)
            The seven basic expressions.
        target_names : list of str
            The labels that occur, sorted.
        split : ndarray of str of shape (n,)
            "train" or "test".
        subject : None
        missing : list of str
        DESCR : str

    (paths, target) : tuple, if `return_X_y` is true

    Raises
    ------
    FileNotFoundError
        If the list of labels, or a picture, is not there.
    ValueError
        If the list is damaged.

    References
    ----------
    Li, Deng. Reliable crowdsourcing and deep locality-preserving learning for
    unconstrained facial expression recognition. IEEE TIP 28(1), 2019.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from adafer.datasets import load_raf_db
    >>> with TemporaryDirectory() as folder:
    ...     for place in ("EmoLabel", "Image/aligned"):
    ...         Path(folder, place).mkdir(parents=True)
    ...     _ = Path(folder, "EmoLabel/list_patition_label.txt").write_text("test_0001.jpg 4")
    ...     Path(folder, "Image/aligned/test_0001_aligned.jpg").touch()
    ...     faces = load_raf_db(folder)
    >>> faces.target.tolist(), faces.split.tolist()
    (['happiness'], ['test'])
    """
    check_options("RAF-DB", split, ("train", "test"), on_missing)
    root = existing(path, _LAYOUT)
    file = first_existing(root, [_LIST, f"basic/{_LIST}"], _LAYOUT)
    names, codes = _read_list(file)
    folder = file.parent.parent / "Image" / ("aligned" if aligned else "original")
    endings = [name.rpartition(".") for name in names]
    if aligned:
        names = [f"{stem}_aligned.{ending}" for stem, _, ending in endings]
    columns = {
        "paths": inside(folder, names, file),
        "target": decode(codes, RAF_DB, file),
        "subject": None,
        "split": np.array([name.split("_")[0] for name in names], dtype=np.str_),
    }
    bunch = make_bunch("RAF-DB", root, columns, split=split, on_missing=on_missing, layout=_LAYOUT)
    return as_returned(bunch, return_X_y)


def _read_list(file: Path) -> tuple[list[str], list[int]]:
    names, codes = [], []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        name, _, code = line.strip().replace("\t", " ").rpartition(" ")
        if not code.isdecimal() or not name.startswith(("train_", "test_")) or "." not in name:
            raise ValueError(
                f"{str(file)!r}, line {number}: got {line!r}, expected a picture and a code. "
                f"{expected(_LAYOUT)}"
            )
        names.append(name.strip())
        codes.append(int(code))
    return names, codes
