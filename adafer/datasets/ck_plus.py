"""The data set CK+: its sequences, or class folders of small faces."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arguments import reader
from ._reading import as_returned, check_options, existing, expected, make_bunch, read_text
from .image_folder import load_image_folder
from .labels import CK_PLUS

__all__ = ["load_ck_plus"]

_IMAGES = "cohn-kanade-images"
_LABELS = ("Emotion", "Emotion_labels", "Emotion_labels/Emotion")
_LAYOUT = """\
<path>/cohn-kanade-images/S005/001/S005_001_00000011.png
<path>/Emotion/S005/001/S005_001_00000011_emotion.txt
or class folders: <path>/anger/S010_004_00000017.png"""
_FRAME = re.compile(r"(S\d+)_(\d+)_(\d+)", re.IGNORECASE)
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


@reader
def load_ck_plus(
    path: str | PathLike[str],
    *,
    split: str = "all",
    return_X_y: bool = False,
    on_missing: str = "raise",
    n_peak: int = 3,
    neutral: bool = True,
    contempt: bool = False,
) -> Any:
    """Load CK+ from its sequences or from class folders.

    A sequence begins with a neutral face and ends with the labelled expression
    at its peak. With the defaults, the first frame and the last three of each
    of the 309 sequences that are labelled other than contempt are loaded,
    1,236 pictures. Split by subject: `make_split` with ``groups=subject``.

    Parameters
    ----------
    path : str or path
        The folder that holds ``cohn-kanade-images`` and ``Emotion``; or one
        that holds a folder per class with files such as
        ``S010_004_00000017.png``, three peak frames of 48 x 48 pixels of each
        sequence as others distribute them, without neutral faces.
    split : "all", default="all"
        CK+ has no published split.
    return_X_y : bool, default=False
        Give ``(paths, target)`` instead of a Bunch.
    on_missing : {"raise", "skip"}, default="raise"
        Whether a labelled sequence whose last frame is not there is an error,
        or is left out, its last frame listed in ``missing``.
    n_peak : int, default=3
        How many of the last frames of each sequence to load.
    neutral : bool, default=True
        Load the first frame as a neutral face.
    contempt : bool, default=False
        Load the sequences that are labelled contempt.

    Returns
    -------
    faces : `sklearn.utils.Bunch`
        With the attributes

        paths : list of str of length n
            Sorted by sequence, then by frame.
        target : ndarray of str of shape (n,)
            Expressions.
        target_names : list of str
            The labels that occur, sorted.
        split : None
        subject : ndarray of str of shape (n,)
            Such as "S005".
        sequence : ndarray of str of shape (n,)
            Such as "S005_001".
        frame : ndarray of int64 of shape (n,)
            The frame's number in its file's name.
        missing : list of str
        DESCR : str

    (paths, target) : tuple, if `return_X_y` is true

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or sequences are missing.
    ValueError
        If it has another layout, a label is damaged, or a sequence has too few
        frames.

    References
    ----------
    Lucey et al. The extended Cohn-Kanade dataset (CK+). CVPR Workshops, 2010.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from adafer.datasets import load_ck_plus
    >>> with TemporaryDirectory() as folder:
    ...     frames = Path(folder, "cohn-kanade-images/S005/001")
    ...     labels = Path(folder, "Emotion/S005/001")
    ...     frames.mkdir(parents=True)
    ...     labels.mkdir(parents=True)
    ...     for number in range(1, 12):
    ...         (frames / f"S005_001_{number:08d}.png").touch()
    ...     _ = (labels / "S005_001_00000011_emotion.txt").write_text("   3.0000000e+00")
    ...     faces = load_ck_plus(folder)
    >>> faces.target.tolist(), faces.frame.tolist()
    (['neutral', 'disgust', 'disgust', 'disgust'], [1, 9, 10, 11])
    """
    check_options("CK+", split, (), on_missing)
    if n_peak == 0 and not neutral:
        raise ValueError("n_peak=0 and neutral=False leave no frames. Change one of them.")
    neutral, contempt = bool(neutral), bool(contempt)
    root = existing(path, _LAYOUT)
    if (root / _IMAGES).is_dir():
        return _load_sequences(root, int(n_peak), neutral, contempt, on_missing, return_X_y)
    return _load_folders(root, int(n_peak), neutral, contempt, return_X_y)


def _load_sequences(
    root: Path, n_peak: int, neutral: bool, contempt: bool, on_missing: str, return_X_y: bool
) -> Any:
    paths: list[str] = []
    targets: list[str] = []
    missing: list[str] = []
    for file, label in _read_labels(root):
        if label == "contempt" and not contempt:
            continue
        match = _FRAME.match(file.name)
        if match is None:
            raise ValueError(f"{str(file)!r} is not named as a label of CK+. {expected(_LAYOUT)}")
        folder = root / _IMAGES / match[1] / match[2]
        frames = _frames(folder)
        # the label's file is named after the last frame
        if match[0] not in {Path(frame).stem for frame in frames}:
            missing.append(str(folder / f"{match[0]}.png"))
            continue
        if len(frames) < n_peak + neutral:
            raise ValueError(
                f"{str(folder)!r} has {len(frames)} frames, too few for n_peak={n_peak} and "
                f"neutral={neutral}. Copy the sequence again, or lower n_peak."
            )
        chosen = frames[:1] * neutral + frames[len(frames) - n_peak :]
        paths += chosen
        targets += ["neutral"] * neutral + [label] * n_peak
    columns = _columns(paths, np.array(targets, dtype=np.str_))
    bunch = make_bunch("CK+", root, columns, on_missing=on_missing, missing=missing, layout=_LAYOUT)
    return as_returned(bunch, return_X_y)


def _read_labels(root: Path) -> list[tuple[Path, str]]:
    """Find the labelled sequences."""
    for name in _LABELS:
        files = sorted((root / name).glob("S*/*/*_emotion.txt"))
        if files:
            break
    else:
        raise FileNotFoundError(
            f"{str(root)!r} holds {_IMAGES!r} but no labels of its sequences. {expected(_LAYOUT)}"
        )
    labels = []
    for file in files:
        text = read_text(file).strip()
        try:
            code = float(text)
        except ValueError:
            code = -1.0
        if code not in CK_PLUS:
            raise ValueError(
                f"{str(file)!r} holds {text[:40]!r}, expected a number of {sorted(CK_PLUS)}, such "
                "as 3.0000000e+00."
            )
        labels.append((file, CK_PLUS[int(code)]))
    return labels


def _frames(folder: Path) -> list[str]:
    """List the frames of a sequence in order."""
    if not folder.is_dir():
        return []
    return sorted(
        str(entry)
        for entry in folder.iterdir()
        if entry.suffix.lower() in _PICTURES and _FRAME.fullmatch(entry.stem)
    )


def _load_folders(root: Path, n_peak: int, neutral: bool, contempt: bool, return_X_y: bool) -> Any:
    try:
        found = load_image_folder(root)
    except ValueError as error:
        raise ValueError(f"{error} {expected(_LAYOUT)}") from error
    unknown = sorted(set(found.target_names) - set(CK_PLUS.values()))
    strange = [path for path in found.paths if not _FRAME.fullmatch(Path(path).stem)]
    if unknown:
        raise ValueError(
            f"{str(root)!r} has the folders {unknown}, which are no classes of CK+; expected some "
            f"of {sorted(CK_PLUS.values())}. {expected(_LAYOUT)}"
        )
    if strange:
        raise ValueError(
            f"{str(root)!r} holds {len(strange)} pictures that are not named as frames of CK+, "
            f"such as {strange[:3]}. {expected(_LAYOUT)}"
        )
    pairs = sorted(zip(found.paths, found.target.tolist(), strict=True), key=_by_frame)
    columns = _columns([path for path, _ in pairs], np.array([label for _, label in pairs]))
    is_neutral = columns["target"] == "neutral"
    kept = np.where(is_neutral, neutral, _last_of_each(columns["sequence"], n_peak))
    kept &= contempt | (columns["target"] != "contempt")
    rows = np.flatnonzero(kept)
    columns = _columns([pairs[row][0] for row in rows], columns["target"][rows])
    return as_returned(make_bunch("CK+", root, columns, layout=_LAYOUT), return_X_y)


def _by_frame(pair: tuple[str, str]) -> str:
    return Path(pair[0]).stem.upper()


def _last_of_each(sequence: NDArray[np.str_], n: int) -> NDArray[np.bool_]:
    """Mark the last n rows of each run of equal values."""
    _, start, size = np.unique(sequence, return_index=True, return_counts=True)
    end = np.repeat(start + size, size)
    return np.arange(len(sequence)) >= end - n


def _columns(paths: list[str], target: NDArray[np.str_]) -> dict[str, Any]:
    parts = [Path(path).stem.upper().split("_") for path in paths]
    return {
        "paths": paths,
        "target": target,
        "subject": np.array([part[0] for part in parts], dtype=np.str_),
        "split": None,
        "sequence": np.array([f"{part[0]}_{part[1]}" for part in parts], dtype=np.str_),
        "frame": np.array([int(part[2]) for part in parts], dtype=np.int64),
    }
