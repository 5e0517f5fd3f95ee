"""Movements that the MakeHuman shapes lack, modelled on the base mesh.

Also keeps lips together: only AU25 (and AU27) parts them, as in the facial
action coding system, whatever else pulls at them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LIPS_FRONT = 1.3  # the masks of the lips reach behind the face
_STATIONS = np.linspace(-0.2, 0.2, 9)


@dataclass(frozen=True)
class LipStations:
    """Pairs of vertices where the lips meet, from the right to the left corner.

    Parameters
    ----------
    across : ndarray of shape (n_stations,)
        Their places, in decimetres to the person's left.
    upper, lower : ndarray of shape (n_stations,)
        Vertices on the border of either lip.
    follows : ndarray of shape (n_vertices,)
        In [0, 1], how much a vertex goes along when the lower lip is raised.
    """

    across: FloatArray
    upper: IntArray
    lower: IntArray
    follows: FloatArray


@dataclass(frozen=True)
class FacePoints:
    """Vertices by which faces are measured; pairs are left and right.

    Parameters
    ----------
    upper_lids, lower_lids, corners, inner_brows, cheeks, nose_wings : ndarray of shape (2,)
        Borders of the lids above and below the pupils, corners of the mouth,
        inner ends of the brows, cheeks below the eyes, and wings of the nose.
    chin : ndarray of shape (1,)
        Middle of the chin.
    lips : LipStations
        Where the lips meet.
    """

    upper_lids: IntArray
    lower_lids: IntArray
    corners: IntArray
    inner_brows: IntArray
    cheeks: IntArray
    nose_wings: IntArray
    chin: IntArray
    lips: LipStations


def face_points(vertices: FloatArray, lips: FloatArray, jaw_open: FloatArray) -> FacePoints:
    """Find the vertices by which faces are measured; see `lip_stations`."""

    def nearest(x: float, y: float, z: float) -> IntArray:
        places = [(x, y, z), (-x, y, z)] if x else [(0.0, y, z)]
        return np.array([np.argmin(((vertices - place) ** 2).sum(axis=1)) for place in places])

    return FacePoints(
        upper_lids=nearest(0.311, 7.332, 1.410),
        lower_lids=nearest(0.311, 7.240, 1.405),
        corners=nearest(0.250, 6.615, 1.374),
        inner_brows=nearest(0.130, 7.510, 1.480),
        cheeks=nearest(0.334, 7.040, 1.431),
        nose_wings=nearest(0.150, 6.900, 1.450),
        chin=nearest(0.0, 6.327, 1.499),
        lips=lip_stations(vertices, lips, jaw_open),
    )


def lip_stations(vertices: FloatArray, lips: FloatArray, jaw_open: FloatArray) -> LipStations:
    """Find where the lips meet.

    Parameters
    ----------
    vertices : ndarray of shape (n_vertices, 3)
        Rest positions in decimetres.
    lips : ndarray of shape (n_vertices,)
        Mask of the lips.
    jaw_open : ndarray of shape (n_vertices, 3)
        Displacement of the open jaw, which moves the lower lip only.

    Returns
    -------
    LipStations
    """
    across, height, depth = vertices.T
    is_lip = (lips > 0.5) & (np.abs(across) < 0.27) & (depth > _LIPS_FRONT)
    drop = -jaw_open[:, 1]
    upper_lip = np.flatnonzero(is_lip & (drop < 0.1))
    lower_lip = np.flatnonzero(is_lip & (drop > 0.15))

    def border(lip: IntArray, sign: float) -> IntArray:
        cost = np.abs(across[lip] - _STATIONS[:, None]) + 0.6 * sign * height[lip]
        return lip[np.argmin(cost, axis=1)]

    share = np.clip((drop - 0.02) / 0.2, 0, 1) * (depth > 1.0)
    below = np.clip((height - 6.26) / 0.2, 0, 1)
    beside = np.clip((0.38 - np.abs(across)) / 0.12, 0, 1)
    inside = np.clip((depth - 1.25) / 0.15, 0, 1)
    return LipStations(
        across=_STATIONS,
        upper=border(upper_lip, 1.0),
        lower=border(lower_lip, -1.0),
        follows=share * below * below * (3 - 2 * below) * beside * inside,
    )


def seal_lips(
    stations: LipStations, vertices: FloatArray, displacement: FloatArray, sealed: float
) -> FloatArray:
    """Raise the lower lip where a movement has parted it from the upper one.

    Parameters
    ----------
    stations : LipStations
        Where the lips meet.
    vertices, displacement : ndarray of shape (n_vertices, 3)
        Rest positions and the movement.
    sealed : float
        1 closes the gap, 0 leaves it.

    Returns
    -------
    ndarray of shape (n_vertices, 3)
        The movement, a new array.
    """
    parted = displacement[stations.upper] - displacement[stations.lower]
    gap = np.clip(parted[:, 1], 0, None)
    lift = np.interp(vertices[:, 0], stations.across, gap, left=0.0, right=0.0)
    forward = np.interp(vertices[:, 0], stations.across, np.clip(parted[:, 2], 0, None) * 0.7)
    result = displacement.copy()
    result[:, 1] += sealed * stations.follows * 1.12 * lift
    result[:, 2] += sealed * stations.follows * np.where(lift > 0, forward, 0.0)
    return result


def sculpted_units(vertices: FloatArray) -> dict[str, FloatArray]:
    """Movements at full strength, made of smooth bumps on the base mesh.

    Parameters
    ----------
    vertices : ndarray of shape (n_vertices, 3)
        Rest positions in decimetres.

    Returns
    -------
    dict of str to ndarray of shape (n_vertices, 3)
        ``browGather`` draws the brows together; ``cheekRaiseLeft`` (``Right``)
        lifts and bulges the cheek below the eye; ``lidTighten*`` straightens
        the lower lid; ``cornerTuck*`` presses the corner of the mouth into the
        cheek; ``chinBoss`` pushes the chin up and forward; ``lipsNarrow`` draws
        the corners towards the middle; ``alaRaise*`` lifts the wing of the nose.
    """
    across, height, depth = vertices.T
    beside, front = np.abs(across), np.clip((depth - 0.9) / 0.3, 0, 1)

    def bump(x: float, y: float, width: float, tall: float) -> FloatArray:
        return np.exp(-(((beside - x) / width) ** 2) - ((height - y) / tall) ** 2) * front

    def moved(weight: FloatArray, x: float, y: float, z: float) -> FloatArray:
        outwards = np.tanh(across / 0.03)
        return weight[:, None] * np.stack(
            [x * outwards, np.full_like(across, y), np.full_like(across, z)], axis=1
        )

    gather = bump(0.15, 7.49, 0.12, 0.11) * np.clip(beside / 0.06, 0, 1)
    both = {
        "cheekRaise": moved(bump(0.36, 6.99, 0.14, 0.10), 0.012, 0.055, 0.035),
        "lidTighten": moved(bump(0.31, 7.205, 0.14, 0.045), 0.0, 0.014, 0.004),
        "cornerTuck": moved(bump(0.275, 6.615, 0.055, 0.06), 0.008, 0.0, -0.06)
        + moved(bump(0.37, 6.63, 0.05, 0.10), 0.0, 0.0, 0.022),
        "alaRaise": moved(bump(0.13, 6.90, 0.06, 0.07), 0.012, 0.03, 0.0),
    }
    result = {
        "browGather": moved(gather, -0.062, 0.0, 0.0)
        + moved(bump(0.0, 7.47, 0.07, 0.09), 0.0, 0.0, 0.014),
        "chinBoss": moved(bump(0.0, 6.33, 0.14, 0.10), 0.0, 0.03, 0.025),
        "lipsNarrow": moved(bump(0.24, 6.61, 0.12, 0.09), -0.04, 0.0, 0.012),
    }
    left = (np.tanh(across / 0.03) + 1)[:, None] / 2
    for name, shape in both.items():
        result[f"{name}Left"], result[f"{name}Right"] = shape * left, shape * (1 - left)
    return result
