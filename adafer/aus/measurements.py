"""What the networks say about faces, and what can be computed from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BLENDSHAPE_NAMES",
    "MOVEMENTS",
    "N_LANDMARKS",
    "Measurements",
    "align_points",
    "average_sides",
    "blendshape_features",
    "landmark_features",
]

_BLENDSHAPES = """
    _neutral browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff
    cheekSquintLeft cheekSquintRight eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight
    eyeLookInLeft eyeLookInRight eyeLookOutLeft eyeLookOutRight eyeLookUpLeft eyeLookUpRight
    eyeSquintLeft eyeSquintRight eyeWideLeft eyeWideRight jawForward jawLeft jawOpen jawRight
    mouthClose mouthDimpleLeft mouthDimpleRight mouthFrownLeft mouthFrownRight mouthFunnel
    mouthLeft mouthLowerDownLeft mouthLowerDownRight mouthPressLeft mouthPressRight mouthPucker
    mouthRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthSmileLeft
    mouthSmileRight mouthStretchLeft mouthStretchRight mouthUpperUpLeft mouthUpperUpRight
    noseSneerLeft noseSneerRight
"""
BLENDSHAPE_NAMES: tuple[str, ...] = tuple(_BLENDSHAPES.split())
N_LANDMARKS = 478


def _average_sides(names: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Names without their side, and the matrix that averages left and right."""
    stems = [name.removesuffix("Left").removesuffix("Right") for name in names]
    kinds = tuple(dict.fromkeys(stems))
    matrix = np.array([[stem == kind for kind in kinds] for stem in stems], dtype=np.float64)
    return kinds, matrix / matrix.sum(axis=0)


MOVEMENTS, _MEAN_OF_SIDES = _average_sides(BLENDSHAPE_NAMES)


class Measurements(NamedTuple):
    """What the networks say about faces.

    Attributes
    ----------
    points : ndarray of float64 of shape (n, 478, 3)
        Landmarks: x to the right and y down in pixels, z away from the camera
        in the same scale; NaN where no face was found.
    blendshapes : ndarray of float32 of shape (n, 52), values in [0, 1]
        In the order of `BLENDSHAPE_NAMES`; NaN where no face was found.
    faces : ndarray of uint8 of shape (n, 64, 64)
        The aligned face, grey, see `adafer.aus.appearance.cut_face`; black
        where no face was found.
    presence : ndarray of float64 of shape (n,), values in [0, 1]
        How sure the network is that there is a face.
    """

    points: NDArray[np.float64]
    blendshapes: NDArray[np.float32]
    faces: NDArray[np.uint8]
    presence: NDArray[np.float64]

    @property
    def found(self) -> NDArray[np.bool_]:
        """True for rows with a face, shape (n,)."""
        return np.asarray(~np.isnan(self.blendshapes).any(axis=1))

    def rows(self, which: NDArray) -> Measurements:
        """Take some rows, by numbers or by a mask."""
        return Measurements(*(part[which] for part in self))

    @classmethod
    def join(cls, parts: Sequence[Measurements]) -> Measurements:
        """Put measurements below each other."""
        return cls(*map(np.concatenate, zip(*parts, strict=True)))


def average_sides(blendshapes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Average the left and the right blendshape of each movement.

    Parameters
    ----------
    blendshapes : ndarray of shape (n, 52)
        In the order of `BLENDSHAPE_NAMES`.

    Returns
    -------
    movements : ndarray of float64 of shape (n, n_movements)
        In the order of `MOVEMENTS`.
    """
    return blendshapes @ _MEAN_OF_SIDES


def align_points(
    points: NDArray[np.floating], reference: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Move, scale and turn faces onto a reference, in space.

    Parameters
    ----------
    points : ndarray of shape (n, n_points, 3)
    reference : ndarray of shape (n_points, 3)
        Centred at 0, of Frobenius norm 1.

    Returns
    -------
    aligned : ndarray of float64 of shape (n, n_points, 3)
        Centred, of norm 1, turned so that the sum of squared distances to the
        reference is least (orthogonal Procrustes, without reflection).
    """
    aligned = points - points.mean(axis=1, keepdims=True)
    size = np.linalg.norm(aligned, axis=(1, 2), keepdims=True)
    aligned = aligned / np.maximum(size, 1e-12)
    u, _, vt = np.linalg.svd(aligned.transpose(0, 2, 1) @ reference)
    u[:, :, -1] *= np.sign(np.linalg.det(u @ vt))[:, None]
    return aligned @ (u @ vt)


def landmark_features(
    points: NDArray[np.floating], reference: NDArray[np.floating], mirror: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Describe faces by x and y of their aligned landmarks, averaged over both sides.

    AUs are scored for the whole face, so that the difference of the sides is
    only noise of landmarks and pose.

    Parameters
    ----------
    points : ndarray of shape (n, 478, 3)
    reference : ndarray of shape (478, 3)
        See `align_points`.
    mirror : ndarray of int of shape (478,)
        For each landmark, the one on the other side.

    Returns
    -------
    features : ndarray of float64 of shape (n, 956)
    """
    aligned = align_points(points, reference)[..., :2]
    mirrored = aligned[:, mirror] * [-1.0, 1.0]
    return ((aligned + mirrored) / 2).reshape(len(aligned), -1)


def blendshape_features(blendshapes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Describe faces by their blendshapes: mean of both sides, square root.

    The root opens up the small values, in which most of the 52 stay.

    Parameters
    ----------
    blendshapes : ndarray of shape (n, 52), values in [0, 1]

    Returns
    -------
    features : ndarray of float64 of shape (n, n_movements)
    """
    return np.sqrt(np.clip(average_sides(blendshapes), 0, 1))
