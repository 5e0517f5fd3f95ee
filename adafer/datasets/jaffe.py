"""The data set JAFFE, whose files' names tell everything."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ._arguments import reader
from ._reading import as_returned, check_options, existing, expected, make_bunch
from .image_folder import load_image_paths
from .labels import JAFFE

__all__ = ["load_jaffe"]

_LAYOUT = """\
<path>/KA.AN1.39.tiff and so on: subject, code and number of the expression, number"""
_NAME = re.compile(r"([A-Z]{2})[._-]([A-Z]{2})\d*[._-]\d+", re.IGNORECASE)


@reader
def load_jaffe(path: str | PathLike[str], *, split: str = "all", return_X_y: bool = False) -> Any:
    """Load JAFFE, 213 pictures of ten Japanese women.

    Parameters
    ----------
    path : str or path
        The folder of pictures, or the one above, which holds ``jaffe`` or
        ``jaffedbase``. The pictures may have been converted from TIFF.
    split : "all", default="all"
        JAFFE has no published split; see `make_split`.
    return_X_y : bool, default=False
        Give ``(paths, target)`` instead of a Bunch.

    Returns
    -------
    faces : `sklearn.utils.Bunch`
        With the attributes

        paths : list of str of length n
            Sorted.
        target : ndarray of str of shape (n,)
            The seven basic expressions.
        target_names : list of str
            The labels that occur, sorted.
        split : None
        subject : ndarray of str of shape (n,)
            Such as "KA".
        missing : list of str
            Empty.
        DESCR : str

    (paths, target) : tuple, if `return_X_y` is true

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it holds no pictures, or one whose name is of another form.

    References
    ----------
    Lyons, Akamatsu, Kamachi, Gyoba. Coding facial expressions with Gabor
    wavelets. IEEE FG, 1998.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from adafer.datasets import load_jaffe
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("KA.AN1.39.tiff", "KL.SU2.165.tiff"):
    ...         Path(folder, name).touch()
    ...     faces = load_jaffe(folder)
    >>> faces.target.tolist(), faces.subject.tolist()
    (['anger', 'surprise'], ['KA', 'KL'])
    """
    check_options("JAFFE", split)
    root = existing(path, _LAYOUT)
    inner = [root / name for name in ("jaffe", "jaffedbase") if (root / name).is_dir()]
    try:
        paths = load_image_paths(inner[0] if inner else root)
    except ValueError:
        raise ValueError(f"{str(root)!r} holds no pictures. {expected(_LAYOUT)}") from None
    matches = [_NAME.match(Path(picture).name) for picture in paths]
    strange = [
        Path(picture).name
        for picture, match in zip(paths, matches, strict=True)
        if match is None or match[2].upper() not in JAFFE
    ]
    if strange:
        raise ValueError(
            f"{str(root)!r} holds {len(strange)} pictures that are not named as JAFFE's, such as "
            f"{strange[:3]}; codes are {list(JAFFE)}. Move them away. {expected(_LAYOUT)}"
        )
    known = [match for match in matches if match is not None]
    columns = {
        "paths": paths,
        "target": np.array([JAFFE[match[2].upper()] for match in known]),
        "subject": np.array([match[1].upper() for match in known]),
        "split": None,
    }
    return as_returned(make_bunch("JAFFE", root, columns, layout=_LAYOUT), return_X_y)
