"""Finding the face of a picture, whichever way up it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._face_models import FaceModels, Picture, Region

__all__ = ["FoundFace", "find_face", "region_around"]

_RIGHT_EYE, _LEFT_EYE = 33, 263  # outer corners
_WHOLE_PICTURE = 1.25  # first region of a face crop, in parts of its longer side
_FACE_REGION = 1.5  # region around landmarks, in parts of their extent

# The network places landmarks on faces that lie or stand on their head, too, and
# often believes in them at the second look, but seldom at both. On upright faces of
# 28 pixels and more both are above _CERTAIN in 19 of 20; on others in 1 of 50.
_CERTAIN, _LIKELY = 0.9995, 0.9
_TURNS = np.deg2rad([180, 90, 270])
_HALF_TURNS = np.deg2rad([180, 90, 270, 45, 315, 135, 225])
_LEVEL = np.deg2rad(8)  # a third look where the second one turned the eyes by more


class FoundFace(NamedTuple):
    """Landmarks of a face, and how sure the network is of it.

    Attributes
    ----------
    points : ndarray of float64 of shape (478, 3)
        As `FaceModels.landmarks` gives them.
    presence : float
        In [0, 1], at the last look.
    confidence : float
        The smaller of the presence at the first and at the last look: how sure
        it is that the face is taken the right way up.
    """

    points: NDArray[np.float64]
    presence: float
    confidence: float


def region_around(points: NDArray[np.float64]) -> Region:
    """Put a square around landmarks, levelled by the line of the eyes.

    Parameters
    ----------
    points : ndarray of float64 of shape (478, 2) or (478, 3)

    Returns
    -------
    region : Region
        Its side is 1.5 times the longer extent of the landmarks.
    """
    points = points[:, :2]
    x, y = points[_LEFT_EYE] - points[_RIGHT_EYE]
    angle = float(np.arctan2(y, x))
    cos, sin = np.cos(angle), np.sin(angle)
    level = np.array([[cos, -sin], [sin, cos]])
    turned = points @ level
    low, high = turned.min(axis=0), turned.max(axis=0)
    centre = level @ ((low + high) / 2)
    side = max(float((high - low).max()) * _FACE_REGION, 1.0)
    return Region(float(centre[0]), float(centre[1]), side, angle)


class _Glance(NamedTuple):
    """A first look at a region."""

    points: NDArray[np.float64]
    presence: float
    replicate: bool
    turned: bool = False


def find_face(
    models: FaceModels, image: NDArray[np.uint8], min_presence: float
) -> FoundFace | None:
    """Look for a face: as a crop, as a photograph, and turned.

    Parameters
    ----------
    models : FaceModels
    image : ndarray of uint8 of shape (H, W, 3)
    min_presence : float
        In [0, 1].

    Returns
    -------
    face : FoundFace or None
        The most confident one of those that reach `min_presence`; turned ones
        only where they are likely, so that patterns do not become faces.

    Notes
    -----
    A face is never more confident than its first look. All first looks are
    taken, then second ones in order of the first, until no other can win: the
    face is that of looking twice everywhere, for fewer runs of the network.
    """
    picture = Picture(image)
    first = _glance(models, picture, _whole(picture), replicate=True)
    certain = max(_CERTAIN, min_presence)
    upright = None
    if first.presence >= certain:
        upright = _look_again(models, picture, first)
        if upright.confidence >= certain:
            return upright
    glances = [first, *_upright(models, picture), *_turned(models, picture)]
    best: FoundFace | None = None
    best_rank = (0.0, 0)  # of equally confident faces, the one found first
    for k in sorted(range(len(glances)), key=lambda k: -glances[k].presence):
        if best is not None and (glances[k].presence, -k) < best_rank:
            break
        face = (upright if k == 0 else None) or _look_again(models, picture, glances[k])
        if face.presence < min_presence:
            continue
        if glances[k].turned and face.confidence < _LIKELY:
            continue
        if best is None or (face.confidence, -k) > best_rank:
            best, best_rank = face, (face.confidence, -k)
    return best


def _upright(models: FaceModels, picture: Picture) -> Iterator[_Glance]:
    # Black borders find faces that touch the picture's edge, where repeated
    # borders smear them; where both find one, repeated borders score better.
    for region in (models.largest_face(picture), _whole(picture)):
        if region is not None:
            yield _glance(models, picture, region, replicate=False)


def _turned(models: FaceModels, picture: Picture) -> Iterator[_Glance]:
    """Take the picture for a crop in the likeliest turn, then for a photograph."""
    crops = (
        _glance(models, picture, _whole(picture, angle), replicate=True)
        for angle in _HALF_TURNS.tolist()
    )
    glances = [max(crops, key=lambda glance: glance.presence)]
    for angle in _TURNS.tolist():
        region = models.largest_face(picture, angle)
        if region is not None:
            glances.append(_glance(models, picture, region, replicate=False))
    for glance in glances:
        if glance.presence >= _LIKELY:
            yield glance._replace(turned=True)


def _whole(picture: Picture, angle: float = 0.0) -> Region:
    height, width = picture.shape[:2]
    return Region(width / 2, height / 2, _WHOLE_PICTURE * max(height, width), angle)


def _glance(models: FaceModels, picture: Picture, region: Region, *, replicate: bool) -> _Glance:
    points, presence = models.landmarks(picture, region, replicate=replicate)
    return _Glance(points, presence, replicate)


def _look_again(models: FaceModels, picture: Picture, glance: _Glance) -> FoundFace:
    """Look at the region around the landmarks found at the first look."""
    region = region_around(glance.points)
    points, presence = models.landmarks(picture, region, replicate=glance.replicate)
    again = region_around(points)
    turn = (again.angle - region.angle + np.pi) % (2 * np.pi) - np.pi
    if abs(turn) > _LEVEL:
        points, presence = models.landmarks(picture, again, replicate=glance.replicate)
    return FoundFace(points, presence, min(glance.presence, presence))
