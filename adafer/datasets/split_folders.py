"""Class folders in a folder per split, as SFEW and many others have them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ._arguments import reader
from ._reading import SPLITS, as_returned, check_options, existing, expected, make_bunch
from .image_folder import load_image_folder, load_image_paths

__all__ = ["load_split_folders"]

_LAYOUT = """\
<path>/Train/<class>/<picture>, such as Train/Angry/0001.png
<path>/Val/<class>/<picture>
<path>/Test/<class>/<picture>, or Test/<picture> without labels"""
# "train", "Training", "val_set", "Train_Aligned_Faces"
_SPLIT_FOLDER = re.compile(r"(train|val|test)(?:ing|id|idation)?(?:[ _.-].*)?", re.IGNORECASE)


@reader
def load_split_folders(
    path: str | PathLike[str],
    *,
    split: str = "all",
    return_X_y: bool = False,
    classes: Iterable[str] | None = None,
    label_names: Literal["canonical", "as-is"] | Mapping[Any, str] = "canonical",
) -> Any:
    """Load class folders that lie in a folder per split, such as those of SFEW.

    The splits' folders are called like "Train", "val" or
    "Validation_Aligned_Faces". Where such a folder holds one that has "aligned"
    in its name, as ``Train/Train_Aligned_Faces/Angry``, that one is read.

    Parameters
    ----------
    path : str or path
        The folder that holds the splits' folders.
    split : {"all", "train", "val", "test"}, default="all"
        Which of them. Pictures without class folders, such as SFEW's test set,
        are listed in ``unlabelled`` only.
    return_X_y : bool, default=False
        Give ``(paths, target)`` instead of a Bunch.
    classes : iterable of str, optional
        Load these classes only, see `load_image_folder`.
    label_names : {"canonical", "as-is"} or mapping, default="canonical"
        See `load_image_folder`.

    Returns
    -------
    faces : `sklearn.utils.Bunch`
        With the attributes

        paths : list of str of length n
        target : ndarray of str of shape (n,)
            Labels.
        target_names : list of str
            The labels that occur, sorted.
        split : ndarray of str of shape (n,)
            "train", "val" or "test".
        subject : None
        unlabelled : list of str
            Pictures of splits without labels.
        missing : list of str
            Empty.
        DESCR : str

    (paths, target) : tuple, if `return_X_y` is true

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it has another layout, or the split asked for has no labels.

    References
    ----------
    Dhall, Goecke, Lucey, Gedeon. Static facial expression analysis in tough
    conditions. ICCV Workshops, 2011.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from adafer.datasets import load_split_folders
    >>> with TemporaryDirectory() as folder:
    ...     for part in ("Train", "Val"):
    ...         Path(folder, part, "Angry").mkdir(parents=True)
    ...         Image.new("L", (9, 9)).save(Path(folder, part, "Angry", "1.png"))
    ...     faces = load_split_folders(folder)
    >>> faces.target.tolist(), faces.split.tolist()
    (['anger', 'anger'], ['train', 'val'])
    """
    check_options("this folder", split, SPLITS)
    root = existing(path, _LAYOUT)
    folders = _split_folders(root)
    if split != "all" and split not in folders:
        raise ValueError(
            f"split={split!r} but {str(root)!r} has {list(folders)}. {expected(_LAYOUT)}"
        )
    paths: list[str] = []
    targets, splits, unlabelled = [], [], []
    for part, folder in folders.items():
        if split not in ("all", part):
            continue
        if not any(entry.is_dir() for entry in _visible(folder)):
            unlabelled += load_image_paths(folder)
            continue
        found = load_image_folder(folder, classes=classes, label_names=label_names)
        paths += found.paths
        targets.append(found.target)
        splits.append(np.full(len(found.paths), part))
    if not paths:
        raise ValueError(
            f"The {len(unlabelled)} pictures of split={split!r} in {str(root)!r} have no class "
            "folders, and so no labels; load_image_paths lists them as an unlabelled target. "
            f"{expected(_LAYOUT)}"
        )
    columns = {
        "paths": paths,
        "target": np.concatenate(targets),
        "subject": None,
        "split": np.concatenate(splits),
    }
    bunch = make_bunch("the class folders", root, columns, layout=_LAYOUT)
    bunch.unlabelled = unlabelled
    return as_returned(bunch, return_X_y)


def _split_folders(root: Path) -> dict[str, Path]:
    """Find each split's folder, in the usual order."""
    found: dict[str, Path] = {}
    for entry in _visible(root):
        match = _SPLIT_FOLDER.fullmatch(entry.name)
        if not match or not entry.is_dir():
            continue
        part = match[1].lower()
        if part in found:
            raise ValueError(
                f"{str(root)!r} has two folders for {part!r}: {found[part].name!r} and "
                f"{entry.name!r}. Move one away."
            )
        found[part] = entry
    if not found:
        raise ValueError(f"{str(root)!r} holds no folder per split. {expected(_LAYOUT)}")
    return {part: _aligned(found[part]) for part in SPLITS if part in found}


def _aligned(folder: Path) -> Path:
    """Go down to the aligned faces where there are some."""
    inner = [
        entry for entry in _visible(folder) if entry.is_dir() and "aligned" in entry.name.lower()
    ]
    return inner[0] if len(inner) == 1 else folder


def _visible(folder: Path) -> list[Path]:
    return sorted(
        entry
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and entry.name != "__MACOSX"
    )
