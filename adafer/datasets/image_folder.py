"""Pictures in folders: one folder per class, or one folder of pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.utils import Bunch

from ..faces import check_faces, resize_faces
from ._arguments import reader
from .labels import canonical_label

__all__ = ["IMAGE_EXTENSIONS", "load_image_folder", "load_image_paths"]

IMAGE_EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_LAYOUT = "Expected layout: <path>/<class>/<picture>, for example faces/happiness/0001.png."


@reader
def load_image_folder(
    path: str | PathLike[str],
    *,
    classes: Iterable[str] | None = None,
    size: int | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    label_names: Literal["canonical", "as-is"] | Mapping[Any, str] = "canonical",
    return_X_y: bool = False,
) -> Any:
    """Load pictures from one folder per class.

    The folders' names are the labels. Pictures are the files that end in bmp,
    gif, jpeg, jpg, png, tif, tiff or webp, in any case, directly in these
    folders. Files and folders whose name starts with a dot are ignored.

    Parameters
    ----------
    path : str or path
        The folder that holds the class folders.
    classes : iterable of str, optional
        Load these classes only, by their labels (after `label_names`).
    size : int, optional
        Read all pictures and resize them to ``size x size``; by default they
        are not opened, and their paths are what estimators take.
    on_error : {"raise", "skip"}, default="raise"
        Whether a picture that cannot be read is an error, or is left out and
        listed in ``skipped``. It matters only with `size`.
    label_names : {"canonical", "as-is"} or mapping, default="canonical"
        "canonical" turns names into the usual ones ("happy" and "Happiness"
        into "happiness", see `adafer.datasets.canonical_label`) and leaves
        unknown ones as they are; folders with the same label become one
        class. A mapping gives each folder its label, such as
        `adafer.datasets.labels.RAF_DB` for folders "1" to "7".
    return_X_y : bool, default=False
        Give ``(X, y)`` instead of a Bunch: pictures (with `size`) or paths, and
        the labels.

    Returns
    -------
    faces : `sklearn.utils.Bunch`
        With the attributes

        paths : list of str of length n
            Sorted by label, then by path.
        images : ndarray of uint8 of shape (n, size, size, 3)
            RGB pictures; only with `size`.
        target : ndarray of str of shape (n,)
            Labels.
        target_names : list of str
            The labels that occur, sorted.
        skipped : list of tuple (index, path, reason)
            Pictures that could not be read; `index` counts all pictures, with
            the skipped ones.
        DESCR : str

    (X, y) : tuple, if `return_X_y` is true

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it holds no class folders, one of them holds no pictures, or one of
        `classes` or of the mapping's labels is missing.
    adafer.faces.FaceReadError
        If a picture cannot be read and ``on_error="raise"``.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from adafer.datasets import load_image_folder
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("happy", "sad"):
    ...         Path(folder, name).mkdir()
    ...         Image.new("L", (48, 48)).save(Path(folder, name, "1.png"))
    ...     faces = load_image_folder(folder, size=32)
    >>> faces.images.shape, faces.target.tolist()
    ((2, 32, 32, 3), ['happiness', 'sadness'])
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f'on_error must be "raise" or "skip"; got {on_error!r}.')
    root = _existing_folder(path)
    labelled = _label_folders(_class_folders(root), label_names)
    found = sorted({label for label, _ in labelled})
    if classes is not None:
        wanted = [classes] if isinstance(classes, str) else list(classes)
        missing = [label for label in wanted if label not in found]
        if missing or not wanted:
            raise ValueError(
                f"classes={wanted} but {str(root)!r} has {found}: {missing or 'nothing'} asked for "
                'is not there. Use the labels as they are after label_names ("canonical" turns '
                '"happy" into "happiness").'
            )
        labelled = [(label, folder) for label, folder in labelled if label in wanted]

    pairs: list[tuple[str, str]] = []
    for label, folder in labelled:
        pictures = _pictures_in(folder)
        if not pictures:
            raise ValueError(_no_pictures(folder, root))
        pairs += [(label, str(picture)) for picture in pictures]
    pairs.sort()
    paths = [picture for _, picture in pairs]
    target = np.array([label for label, _ in pairs])

    bunch = Bunch(paths=paths, target=target, skipped=[])
    if size is not None:
        faces = check_faces(paths, name="pictures")
        kept, images = [], []
        for indices, chunk in faces.chunks(on_error=on_error):
            kept.append(indices)
            images.append(resize_faces(chunk, size))
        rows = np.concatenate(kept)
        if len(rows) == 0:
            raise ValueError(
                f"None of the {len(paths)} pictures in {str(root)!r} can be read; the first: "
                f"{faces.skipped[0].path!r}: {faces.skipped[0].reason}."
            )
        bunch.update(
            paths=[paths[row] for row in rows],
            images=np.concatenate(images),
            target=target[rows],
            skipped=list(faces.skipped),
        )
    bunch.target_names = np.unique(bunch.target).tolist()
    bunch.DESCR = _describe(root, bunch)
    if return_X_y:
        return (bunch.paths if size is None else bunch.images), bunch.target
    return bunch


@reader
def load_image_paths(path: str | PathLike[str]) -> list[str]:
    """List the pictures of one folder, which need no labels.

    Parameters
    ----------
    path : str or path
        The folder. Pictures are the files that `load_image_folder` takes;
        sub-folders are not searched.

    Returns
    -------
    paths : list of str
        Sorted.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it holds no pictures.
    """
    folder = _existing_folder(path)
    pictures = _pictures_in(folder)
    if not pictures:
        raise ValueError(_no_pictures(folder, folder))
    return [str(picture) for picture in pictures]


def _existing_folder(path: str | PathLike[str]) -> Path:
    folder = Path(path).expanduser()
    if not folder.is_dir():
        state = "is a file, not a folder" if folder.exists() else "does not exist"
        raise FileNotFoundError(
            f"{str(folder)!r} {state}; relative paths start at {os.getcwd()!r}. {_LAYOUT}"
        )
    return folder


def _visible(folder: Path) -> list[Path]:
    return sorted(
        (
            entry
            for entry in folder.iterdir()
            if not entry.name.startswith(".") and entry.name != "__MACOSX"
        ),
        key=lambda entry: entry.name,
    )


def _pictures_in(folder: Path) -> list[Path]:
    return [
        entry
        for entry in _visible(folder)
        if entry.suffix.lower() in IMAGE_EXTENSIONS and entry.is_file()
    ]


def _class_folders(root: Path) -> list[Path]:
    folders = [entry for entry in _visible(root) if entry.is_dir()]
    if not folders:
        flat = len(_pictures_in(root))
        mend = f" It holds {flat} pictures: load_image_paths lists them." if flat else ""
        raise ValueError(f"{str(root)!r} holds no class folders. {_LAYOUT}{mend}")
    return folders


def _label_folders(folders: list[Path], label_names: Any) -> list[tuple[str, Path]]:
    if isinstance(label_names, Mapping):
        names = {str(key): str(label) for key, label in label_names.items()}
        unknown = [folder.name for folder in folders if folder.name not in names]
        if unknown:
            raise ValueError(
                f"label_names has no label for the folders {unknown}; it knows {sorted(names)}. "
                "Add them, or move these folders away."
            )
        return [(names[folder.name], folder) for folder in folders]
    if label_names == "canonical":
        return [(canonical_label(folder.name, unknown="keep"), folder) for folder in folders]
    if label_names == "as-is":
        return [(folder.name, folder) for folder in folders]
    raise ValueError(
        f'label_names must be "canonical", "as-is" or a mapping of folder names to labels; '
        f"got {label_names!r}."
    )


def _no_pictures(folder: Path, root: Path) -> str:
    inner = [entry.name for entry in _visible(folder) if entry.is_dir()]
    mend = "Remove the folder, or leave its class out with classes=."
    if folder == root:
        mend = "load_image_folder reads pictures sorted into class folders." if inner else ""
    elif inner:
        mend = f"It holds folders, {inner[:4]}: if these are the classes, pass {str(folder)!r}."
    endings = ", ".join(ending[1:] for ending in IMAGE_EXTENSIONS)
    return f"{str(folder)!r} holds no pictures ({endings}). {mend} {_LAYOUT}"


def _describe(root: Path, bunch: Bunch) -> str:
    labels, counts = np.unique(bunch.target, return_counts=True)
    lines = [f"{len(bunch.paths)} pictures of {len(labels)} classes from {root}:"]
    lines += [f"  {label}: {count}" for label, count in zip(labels, counts, strict=True)]
    if bunch.skipped:
        lines.append(f"{len(bunch.skipped)} pictures could not be read and were left out.")
    return "\n".join(lines)
