"""From the landmarks and blendshapes of a face to AU scores: by name, or trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from .._files import new_file
from .._json_files import parse_json
from .appearance import N_GRADIENT_FEATURES, gradient_histograms
from .measurements import (
    MOVEMENTS,
    N_LANDMARKS,
    Measurements,
    average_sides,
    blendshape_features,
    landmark_features,
)

__all__ = [
    "AUHeads",
    "NameHeads",
    "TrainedHeads",
    "Views",
    "load_heads",
]

# AU -> blendshape of the same movement; where it has a left and a right side,
# their mean. Left out: cheekSquint (AU06), noseSneer (AU09) and cheekPuff
# (AU34), which the network always scores 0, and AU27, which would repeat AU26.
_BLENDSHAPE_OF_AU = {
    "AU01": "browInnerUp",
    "AU02": "browOuterUp",
    "AU04": "browDown",
    "AU05": "eyeWide",
    "AU07": "eyeSquint",
    "AU10": "mouthUpperUp",
    "AU12": "mouthSmile",
    "AU14": "mouthDimple",
    "AU15": "mouthFrown",
    "AU16": "mouthLowerDown",
    "AU17": "mouthShrugLower",
    "AU18": "mouthPucker",
    "AU20": "mouthStretch",
    "AU24": "mouthPress",
    "AU26": "jawOpen",
    "AU43": "eyeBlink",
}

_RIGHT_EYE, _LEFT_EYE = 33, 263  # outer corners
_UPPER_LIP, _LOWER_LIP = 13, 14  # inner borders
# Lips apart by this part of the distance between the outer corners of the eyes
# score 1.
_WIDE_LIP_GAP = 1 / 3

_TRAINED = "au_heads.safetensors"
_FORMAT = "1"


class AUHeads(Protocol):
    """What turns measurements of faces into AU scores."""

    @property
    def au_names(self) -> tuple[str, ...]:
        """AUs in the order of the columns."""

    @property
    def identity(self) -> str:
        """Equal identities give equal scores."""

    def scores(self, measured: Measurements) -> NDArray[np.float32]:
        """Score faces; there must be no rows of NaN."""
        ...


class NameHeads:
    """Take blendshapes for the action units of the same name.

    Most blendshapes are AUs by another name. Two AUs are made up: AU06 (cheeks
    raised) is the geometric mean of AU07 and AU12, and AU25 (lips apart) the
    distance between the inner lips, for which there is no blendshape.
    """

    au_names: tuple[str, ...] = tuple(sorted([*_BLENDSHAPE_OF_AU, "AU06", "AU25"]))
    identity = "blendshape-names"

    def scores(self, measured: Measurements) -> NDArray[np.float32]:
        """Score faces.

        Parameters
        ----------
        measured : Measurements
            Of n faces; points of shape (n, 478, 2) will do.

        Returns
        -------
        scores : ndarray of float32 of shape (n, 18), values in [0, 1]
        """
        points, movements = measured.points, average_sides(measured.blendshapes)
        columns = {
            au: movements[:, MOVEMENTS.index(kind)] for au, kind in _BLENDSHAPE_OF_AU.items()
        }
        # Cheeks rise in smiles that reach the eyes.
        columns["AU06"] = np.sqrt(np.clip(columns["AU07"] * columns["AU12"], 0, None))
        gap = np.linalg.norm(points[:, _UPPER_LIP, :2] - points[:, _LOWER_LIP, :2], axis=1)
        eyes = np.linalg.norm(points[:, _RIGHT_EYE, :2] - points[:, _LEFT_EYE, :2], axis=1)
        columns["AU25"] = gap / np.maximum(eyes * _WIDE_LIP_GAP, 1e-6)
        table = np.stack([columns[au] for au in self.au_names], axis=1)
        return np.clip(table, 0, 1).astype(np.float32)


class Views(NamedTuple):
    """What the heads see of faces.

    Attributes
    ----------
    landmarks : ndarray of float64 of shape (n, 956)
        See `landmark_features`.
    blendshapes : ndarray of float64 of shape (n, n_movements)
        See `blendshape_features`.
    appearance : ndarray of float32 of shape (n, 576)
        See `adafer.aus.appearance.gradient_histograms`.
    named : ndarray of float64 of shape (n, n_aus)
        Scores of `NameHeads`, 0 for AUs it has not.
    """

    landmarks: NDArray[np.float64]
    blendshapes: NDArray[np.float64]
    appearance: NDArray[np.float32]
    named: NDArray[np.float64]

    def rows(self, which: NDArray) -> Views:
        """Take some rows, by numbers or by a mask."""
        return Views(*(part[which] for part in self))


def look_at(
    measured: Measurements,
    au_names: Sequence[str],
    reference: NDArray[np.floating],
    mirror: NDArray[np.integer],
) -> Views:
    """Compute the views of faces.

    Parameters
    ----------
    measured : Measurements
        Of n faces, without NaN.
    au_names : sequence of str
        AUs of the columns of ``named``.
    reference, mirror : ndarray
        See `landmark_features`.

    Returns
    -------
    views : Views
    """
    by_name = NameHeads()
    table = by_name.scores(measured)
    named = np.zeros((len(table), len(au_names)))
    for column, au in enumerate(au_names):
        if au in by_name.au_names:
            named[:, column] = table[:, by_name.au_names.index(au)]
    return Views(
        landmark_features(measured.points, reference, mirror),
        blendshape_features(measured.blendshapes),
        gradient_histograms(measured.faces),
        named,
    )


@dataclass(frozen=True)
class TrainedHeads:
    """AU probabilities from four views of a face, trained on rendered faces.

    The views are linear functions of the aligned landmarks, of the blendshapes
    and of the gradients of the aligned face, and the blendshape of the AU's
    name where there is one. They err in different places: their mean is better
    than each. A logistic function turns it into the probability that the AU is
    visible.

    Parameters
    ----------
    au_names : tuple of str
        AUs in the order of the columns.
    reference : ndarray of float32 of shape (478, 3)
        Mean shape that landmarks are aligned to.
    mirror : ndarray of int64 of shape (478,)
        For each landmark, the one on the other side.
    landmarks : ndarray of float32 of shape (957, n_aus)
        Weights of `landmark_features`; the last row is the constant.
    blendshapes : ndarray of float32 of shape (n_movements + 1, n_aus)
        Weights of `blendshape_features`; the last row is the constant.
    appearance : ndarray of float32 of shape (577, n_aus)
        Weights of `adafer.aus.appearance.gradient_histograms`; the last row is
        the constant.
    named : ndarray of float32 of shape (2, n_aus)
        Slope and constant of the scores of `NameHeads`; slope 0 for AUs
        without one.
    calibration : ndarray of float32 of shape (2, n_aus)
        Slope and constant of the logistic function.

    See Also
    --------
    adafer.aus.training.fit_heads : Trains them.
    """

    au_names: tuple[str, ...]
    reference: NDArray[np.float32] = field(repr=False)
    mirror: NDArray[np.int64] = field(repr=False)
    landmarks: NDArray[np.float32] = field(repr=False)
    blendshapes: NDArray[np.float32] = field(repr=False)
    appearance: NDArray[np.float32] = field(repr=False)
    named: NDArray[np.float32] = field(repr=False)
    calibration: NDArray[np.float32] = field(repr=False)

    @property
    def identity(self) -> str:
        """Name with a digest of all weights."""
        return f"trained:{self._digest()[:16]}"

    def _digest(self) -> str:
        digest = hashlib.sha256(",".join(self.au_names).encode())
        for array in self._arrays().values():
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def opinions(self, views: Views) -> NDArray[np.float64]:
        """Give the standardised opinion of each view.

        Parameters
        ----------
        views : Views
            Of n faces.

        Returns
        -------
        opinions : ndarray of float64 of shape (4, n, n_aus)
            In the order of `Views`; about mean 0 and deviation 1 on rendered
            faces, NaN for AUs that no blendshape is named after.
        """
        pairs: list[tuple[NDArray, NDArray]] = [
            (views.landmarks, self.landmarks),
            (views.blendshapes, self.blendshapes),
            (views.appearance.astype(np.float64), self.appearance),
        ]
        linear = [view @ weights[:-1] + weights[-1] for view, weights in pairs]
        slope, constant = self.named
        return np.stack([*linear, np.where(slope == 0, np.nan, views.named * slope + constant)])

    def scores(self, measured: Measurements) -> NDArray[np.float32]:
        """Score faces.

        Parameters
        ----------
        measured : Measurements
            Of n faces, without NaN.

        Returns
        -------
        probabilities : ndarray of float32 of shape (n, n_aus)
            Of each AU being visible (FACS intensity A or more).
        """
        slope, constant = self.calibration
        views = look_at(measured, self.au_names, self.reference, self.mirror)
        mean = np.nanmean(self.opinions(views), axis=0)
        # rounded, so that the order of sums, which depends on how many faces are
        # scored together, cannot be seen
        return np.round(expit(mean * slope + constant), 6).astype(np.float32)

    def _arrays(self) -> dict[str, NDArray]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "au_names"}

    def save(self, path: str | PathLike[str]) -> None:
        """Write the weights as safetensors.

        Parameters
        ----------
        path : str or path
            Replaced if it exists.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        from safetensors.numpy import save

        described = {
            "format": _FORMAT,
            "au_names": json.dumps(self.au_names),
            "sha256": self._digest(),
        }
        arrays = {name: np.ascontiguousarray(array) for name, array in self._arrays().items()}
        with new_file(path) as temporary:
            temporary.write_bytes(save(arrays, metadata=described))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> TrainedHeads:
        """Read weights that `save` wrote.

        Parameters
        ----------
        path : str or path

        Returns
        -------
        heads : TrainedHeads

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it holds something else, or was damaged since it was saved.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(path).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"There are no AU heads at {str(path)!r}. Give heads the path of a file that "
                "adafer.aus.training wrote, or 'trained' or 'blendshape-names'."
            )
        try:
            with safe_open(path, framework="numpy") as stored:
                described = stored.metadata() or {}
                arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            if described.get("format") != _FORMAT:
                raise ValueError(f"its format is {described.get('format')!r}, not {_FORMAT!r}")
            heads = cls(au_names=_read_names(described["au_names"]), **arrays)
            heads._check_shapes()
            # files of earlier versions name none
            if described.get("sha256", heads._digest()) != heads._digest():
                raise ValueError("its SHA-256 is not the one that it names")
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{str(path)!r} holds no AU heads of this version: {error}. Expected a file that "
                "adafer.aus.training wrote."
            ) from error
        return heads

    def _check_shapes(self) -> None:
        n = len(self.au_names)
        expected = {
            "reference": (N_LANDMARKS, 3),
            "mirror": (N_LANDMARKS,),
            "landmarks": (2 * N_LANDMARKS + 1, n),
            "blendshapes": (len(MOVEMENTS) + 1, n),
            "appearance": (N_GRADIENT_FEATURES + 1, n),
            "named": (2, n),
            "calibration": (2, n),
        }
        for name, array in self._arrays().items():
            wanted = np.int64 if name == "mirror" else np.float32
            if array.dtype != wanted:
                raise ValueError(f"{name} holds {array.dtype}, not {np.dtype(wanted)}")
            if array.shape != expected[name]:
                raise ValueError(f"{name} has shape {array.shape}, not {expected[name]}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds NaN or infinity")
        if sorted(self.mirror.tolist()) != list(range(N_LANDMARKS)):
            raise ValueError("mirror is no permutation of the landmarks")


def _read_names(text: str) -> tuple[str, ...]:
    names = parse_json(text)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"its au_names are {text[:80]}, expected a list of names")
    if len(set(names)) < len(names):
        raise ValueError(f"its au_names hold a name twice: {names}")
    return tuple(names)


def load_heads(heads: str | PathLike[str]) -> AUHeads:
    """Give the heads of a name.

    Parameters
    ----------
    heads : {"trained", "blendshape-names"} or path
        A path is that of a file that `TrainedHeads.save` wrote.

    Returns
    -------
    heads : AUHeads

    Raises
    ------
    FileNotFoundError, ValueError
        As `TrainedHeads.load`.

    Examples
    --------
    >>> from adafer.aus.heads import load_heads
    >>> load_heads("blendshape-names").au_names[:3]
    ('AU01', 'AU02', 'AU04')
    """
    if heads == "blendshape-names":
        return NameHeads()
    if heads == "trained":
        return _packaged_heads()
    return TrainedHeads.load(heads)


@cache
def _packaged_heads() -> TrainedHeads:
    return TrainedHeads.load(str(files("adafer.aus").joinpath("models", _TRAINED)))
