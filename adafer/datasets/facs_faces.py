"""The data set FACS faces: rendered faces whose action units are known exactly."""

from __future__ import annotations

import hashlib
import io
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.utils import Bunch

from ._arguments import reader

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["load_facs_faces"]

_DOMAINS = ("studio", "wild", "webcam")
_SPLITS = ("train", "test")
_LABELS = ("target", "clean_target")
_PER_FACE = (*_LABELS, "au", "identity", "split", "age", "sex", "ethnicity", "yaw", "pitch", "roll")
_LISTINGS = ("target_names", "au_names", "ethnicity_names")
_CHECKSUMS = "SHA256SUMS"
_REINSTALL = "Reinstall adafer, or render the data set anew with `adafer render`."


@overload
def load_facs_faces(
    *, domain: str = ..., split: str = ..., return_X_y: Literal[False] = ...
) -> Bunch: ...


@overload
def load_facs_faces(
    *, domain: str = ..., split: str = ..., return_X_y: Literal[True]
) -> tuple[NDArray[np.uint8], NDArray[np.str_]]: ...


@reader
def load_facs_faces(
    *, domain: str = "all", split: str = "all", return_X_y: bool = False
) -> Bunch | tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Load rendered faces of seven expressions from three domains.

    The faces are drawn by a computer from a table of facial action units, so
    that the intensity of each unit is known exactly. In the domain ``"studio"``
    people face the camera in even light before a grey background; in ``"wild"``
    they turn their heads in all kinds of light, and about half of the pictures
    are grey; in ``"webcam"`` young and old people are seen from below, near, by
    a noisy camera. Each domain has other people, and other annotators, who
    take one expression for another as ``confusion`` says. No picture shows a
    real person. The files are part of the package: nothing is downloaded.

    Parameters
    ----------
    domain : {"all", "studio", "wild", "webcam"}, default="all"
        Which faces.
    split : {"all", "train", "test"}, default="all"
        Which part. The parts share no identity.
    return_X_y : bool, default=False
        Return ``(images, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        images : ndarray of shape (n_faces, 64, 64, 3), dtype uint8
            The faces, sRGB.
        target : ndarray of shape (n_faces,), dtype str
            The expression that the domain's annotators saw.
        clean_target : ndarray of shape (n_faces,), dtype str
            The expression that was drawn.
        confusion : dict of str to ndarray of shape (7, 7)
            For each domain, how often its annotators give each label (column)
            to each expression (row), both in the order of `target_names`.
        target_names : list of str
            The seven expressions.
        au : ndarray of shape (n_faces, n_aus), dtype float32
            Intensity in [0, 1] of each action unit; 1 is FACS level E.
        au_names : list of str
            ``"AU01"``, ``"AU02"``, ...
        identity : ndarray of shape (n_faces,), dtype str
            Who is seen, such as ``"studio-0007"``.
        domain, split : ndarray of shape (n_faces,), dtype str
            Where each face belongs.
        age : ndarray of shape (n_faces,), dtype float32
            Age in years for which the head was modelled.
        sex : ndarray of shape (n_faces,), dtype float32
            From 0, a female head, to 1, a male head.
        ethnicity : ndarray of shape (n_faces, 3), dtype float32
            Weights of the head's shape, which sum to one.
        ethnicity_names : list of str
            Names of these weights, as in the MakeHuman project.
        yaw, pitch, roll : ndarray of shape (n_faces,), dtype float32
            Rotation of the head in degrees.
        DESCR : str
            The description of the data set.

    (images, target) : tuple if ``return_X_y`` is True
        Two ndarrays of shape (n_faces, 64, 64, 3) and (n_faces,).

    Raises
    ------
    ValueError
        If the domain or the split is unknown, or a data file is damaged.
    FileNotFoundError
        If a data file is missing.

    Examples
    --------
    >>> from adafer.datasets import load_facs_faces
    >>> faces = load_facs_faces(domain="studio", split="test")
    >>> faces.images.shape
    (448, 64, 64, 3)
    >>> faces.target_names[:3]
    ['neutral', 'happiness', 'surprise']
    """
    _check_choice("domain", domain, ("all", *_DOMAINS))
    _check_choice("split", split, ("all", *_SPLITS))
    folder = files("adafer.datasets").joinpath("data", "facs_faces")
    names = _DOMAINS if domain == "all" else (domain,)
    tables = [_load_table(folder, name) for name in names]
    parts = [_columns(table, name, split) for name, table in zip(names, tables, strict=True)]
    columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    if return_X_y:
        return columns["images"], columns["target"]
    # the names are the same in all domains
    listings = {key: tables[0][key].tolist() for key in _LISTINGS}
    confusion = {name: table["confusion"] for name, table in zip(names, tables, strict=True)}
    description = folder.joinpath("README.md").read_text(encoding="utf-8")
    return Bunch(**columns, **listings, confusion=confusion, DESCR=description)


def _check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, expected one of {list(allowed)}.")


def _load_table(folder: Traversable, name: str) -> dict[str, NDArray[Any]]:
    content = _read_checked(folder, f"{name}.npz")
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}


def _columns(table: dict[str, NDArray[Any]], name: str, split: str) -> dict[str, NDArray[Any]]:
    """Take what there is per face, of the faces of a split."""
    kept = np.arange(len(table["target"]))
    if split != "all":
        kept = np.flatnonzero(table["split"] == split)
    offsets, blob = table["offsets"], table["jpeg"].tobytes()
    result = {key: table[key][kept] for key in _PER_FACE}
    result["images"] = np.stack([_decode(blob[offsets[n] : offsets[n + 1]]) for n in kept])
    for key in _LABELS:
        result[key] = table["target_names"][result[key]]
    result["identity"] = np.array([f"{name}-{number:04d}" for number in result["identity"]])
    result["domain"] = np.full(len(kept), name)
    return result


def _read_checked(folder: Traversable, name: str) -> bytes:
    """Read a data file and compare it with its stored SHA-256."""
    contents = {}
    for wanted in (_CHECKSUMS, name):
        try:
            contents[wanted] = folder.joinpath(wanted).read_bytes()
        except OSError as error:
            raise FileNotFoundError(
                f"The data file {wanted} of the FACS faces cannot be read from {folder}. "
                f"{_REINSTALL}"
            ) from error
    lines = contents[_CHECKSUMS].decode("utf-8", errors="replace").split()
    expected = dict(zip(lines[1::2], lines[0::2], strict=False)).get(name)
    found = hashlib.sha256(contents[name]).hexdigest()
    if found != expected:
        raise ValueError(
            f"The data file {name} of the FACS faces in {folder} is damaged: its SHA-256 is "
            f"{found}, expected {expected}. {_REINSTALL}"
        )
    return contents[name]


def _decode(jpeg: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(jpeg)) as image:
        return np.asarray(image.convert("RGB"))
