"""The surface of the head: colours painted in the coordinates of the base mesh.

Because the paint is a function of the rest position, it sticks to the skin
under any movement. Furrows that action units and age leave are painted too,
as the mesh is too coarse for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .assets import EYE, TEETH, TONGUE, FloatArray, HeadAssets, IntArray
from .hair import scalp_height
from .identity import Identity
from .raster import normalised, value_noise

_FAINTEST = 0.008  # depth of furrows that are worth painting


@dataclass
class Surface:
    """What each pixel's surface does with light.

    Parameters
    ----------
    colour : ndarray of shape (height, width, 3)
        Share of the light that is reflected in all directions.
    shine : ndarray of shape (height, width)
        Strength of the highlights.
    polish : ndarray of shape (height, width)
        Exponent of the highlights: the larger, the smaller they are.
    """

    colour: FloatArray
    shine: FloatArray
    polish: FloatArray


@dataclass(frozen=True)
class _Spot:
    """Rest position of each pixel, in parts."""

    across: FloatArray
    height: FloatArray
    depth: FloatArray

    @property
    def beside(self) -> FloatArray:
        return np.abs(self.across)

    @property
    def front(self) -> FloatArray:
        return smooth_step(0.3, 0.9, self.depth)


def smooth_step(low: float, high: float, values: FloatArray) -> FloatArray:
    """Rise smoothly from 0 at ``low`` to 1 at ``high`` (which may be the lower)."""
    share = np.clip((values - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


def bump(
    values: FloatArray, centre: float | FloatArray, width: float, power: int = 2
) -> FloatArray:
    """1 at the centre, falling to 1/e at ``width`` beside it."""
    return np.exp(-(np.abs((values - centre) / width) ** power))


def paint_head(
    rest: FloatArray,
    lips: FloatArray,
    mouth_interior: FloatArray,
    on_skin: NDArray[np.bool_],
    identity: Identity,
    intensities: Mapping[int, float],
) -> Surface:
    """Paint skin, lips, brows, beard, stubble, furrows and shirt.

    Parameters
    ----------
    rest : ndarray of shape (height, width, 3)
        Rest position seen by each pixel, in decimetres.
    lips, mouth_interior : ndarray of shape (height, width)
        Masks in [0, 1].
    on_skin : ndarray of shape (height, width), dtype bool
        Pixels to be painted.
    identity : Identity
        The person.
    intensities : dict of int to float
        Action units, for their furrows.

    Returns
    -------
    Surface
        Zero where nothing was painted, and of an exponent of one.
    """
    painted = _painted(rest[on_skin], lips[on_skin], mouth_interior[on_skin], identity, intensities)
    surface = Surface(np.zeros_like(rest), np.zeros(lips.shape), np.ones(lips.shape))
    surface.colour[on_skin] = painted.colour
    surface.shine[on_skin], surface.polish[on_skin] = painted.shine, painted.polish
    return surface


def _painted(
    rest: FloatArray,
    lips: FloatArray,
    mouth_interior: FloatArray,
    identity: Identity,
    intensities: Mapping[int, float],
) -> Surface:
    spot = _Spot(rest[..., 0], rest[..., 1], rest[..., 2])
    seed = identity.texture_seed
    lip = np.clip(lips * 1.25, 0, 1)
    fine = value_noise(rest, seed + 7, 14, 2)
    colour = _bare_skin(spot, rest, fine, identity)
    colour = _blend(colour, _lip_colour(identity), lip)
    beard = _beard(spot, rest, identity) * (1 - lip)
    colour = _blend(colour, identity.hair * 0.8 + 0.01, beard)
    furrows = np.clip(_furrows(spot, intensities, identity.agedness), 0, 1)
    colour = colour * (1 - 0.45 * furrows[..., None] * np.array([0.85, 1.0, 1.05]))
    brows = _brows(spot, rest, identity)
    colour = _blend(colour, identity.hair * 0.45 + 0.004, brows)
    interior = np.clip(mouth_interior, 0, 1)[..., None]
    colour = colour * (1 - 0.75 * interior * np.array([0.6, 1.0, 1.0]))
    shirt = _shirt(spot)
    colour = _blend(colour, identity.shirt**1.8 * (1 + 0.15 * fine[..., None]), shirt)
    scalp = np.zeros_like(lip)
    if identity.hair_style != "bald":
        scalp = smooth_step(-0.04, 0.04, scalp_height(rest, identity)) * (spot.height > 6.9)
        colour = _blend(colour, identity.hair, 0.9 * scalp)
    matt = (1 - 0.9 * brows) * (1 - 0.9 * shirt) * (1 - scalp)
    return Surface(
        colour=colour,
        shine=np.where(lips > 0.3, 0.28, 0.12) * matt,
        polish=np.where(lips > 0.3, 30.0, 14.0),
    )


def paint_eyes_and_teeth(
    surface: Surface,
    normals: FloatArray,
    material: IntArray,
    rest: FloatArray,
    assets: HeadAssets,
    identity: Identity,
    gaze: tuple[float, float],
    rotation: FloatArray,
) -> None:
    """Paint the eyeballs, the teeth and the tongue into a surface, in place.

    Parameters
    ----------
    surface : Surface
        Receives the paint.
    normals : ndarray of shape (height, width, 3)
        Receives the normals of the eyeballs, which are spheres.
    material : ndarray of shape (height, width)
        What each pixel sees.
    rest : ndarray of shape (height, width, 3)
        Rest position seen by each pixel.
    assets : HeadAssets
        The head.
    identity : Identity
        The person.
    gaze : (float, float)
        Where the eyes look: radians to the left of the person, and upward.
    rotation : ndarray of shape (3, 3)
        Rotation of the head.
    """
    eye = material == EYE
    points = rest[eye]
    left, right = assets.eye_centres(assets.vertices)
    outward = normalised(points - np.where(points[:, :1] > 0, left, right))
    looking = normalised(np.array([gaze[0], gaze[1], 1.0]))
    angle = np.arccos(np.clip(outward @ looking, -1, 1))
    iris = smooth_step(0.52, 0.46, angle)[:, None]
    pupil = smooth_step(0.22, 0.17, angle)[:, None]
    rim = (smooth_step(0.38, 0.48, angle) * (angle < 0.53))[:, None]
    around = np.arctan2(outward[:, 1], outward[:, 0])
    fibres = value_noise(
        np.stack([around * 4, angle * 3, angle], axis=1), identity.texture_seed + 5, 2, 1
    )
    iris_colour = identity.iris * (1 + 0.6 * fibres)[:, None] * (1 - 0.6 * rim)
    white = np.array([0.82, 0.79, 0.76]) * (1 - 0.2 * smooth_step(0.6, 1.2, angle))[:, None]
    colour = white * (1 - iris) + iris_colour * iris
    surface.colour[eye] = colour * (1 - pupil) + 0.01 * pupil
    surface.shine[eye], surface.polish[eye] = 0.7, 120.0
    normals[eye] = outward @ rotation.T
    teeth = material == TEETH
    surface.colour[teeth] = np.array([0.90, 0.86, 0.77])
    surface.shine[teeth], surface.polish[teeth] = 0.4, 40.0
    surface.colour[material == TONGUE] = np.array([0.42, 0.12, 0.11])


def _blend(below: FloatArray, above: FloatArray, share: FloatArray) -> FloatArray:
    return below * (1 - share[..., None]) + above * share[..., None]


def _bare_skin(spot: _Spot, rest: FloatArray, fine: FloatArray, identity: Identity) -> FloatArray:
    mottled = 1 + 0.10 * value_noise(rest, identity.texture_seed, 3, 3) + 0.05 * fine
    colour = identity.skin * mottled[..., None]
    cheeks = bump(spot.beside, 0.42, 0.2) * bump(spot.height, 6.98, 0.17)
    nose = bump(spot.across, 0, 0.12) * bump(spot.height, 6.98, 0.1)
    blush = (cheeks + 0.6 * nose) * spot.front
    colour = colour * (1 - blush[..., None] * np.array([0.0, 0.13, 0.12]))
    socket = bump(spot.beside, 0.30, 0.15) * bump(spot.height, 7.20, 0.085) * spot.front
    return colour * (1 - 0.15 * socket[..., None] * np.array([0.8, 1.0, 1.0]))


def _lip_colour(identity: Identity) -> FloatArray:
    red = 0.35 * identity.lip_redness
    return identity.skin * np.array([0.84, 0.50, 0.50]) * (1 - red) + red * np.array(
        [0.45, 0.05, 0.08]
    )


def _brows(spot: _Spot, rest: FloatArray, identity: Identity) -> FloatArray:
    along = np.clip((spot.beside - 0.095) / 0.46, -0.3, 1.3)
    inner = np.clip(along, 0, 1)
    arch = identity.brow_height + 0.045 * np.sin(2.4 * inner) - 0.040 * inner
    thickness = 0.038 * (1 - 0.5 * inner) * identity.brow_thickness
    band = np.exp(-(np.abs((spot.height - arch) / thickness) ** 2.4))
    ends = smooth_step(-0.06, 0.08, along) * (1 - smooth_step(0.92, 1.05, along))
    hairs = 1.15 + 0.5 * value_noise(rest * [1.0, 2.5, 1.0], identity.texture_seed + 3, 16, 2)
    return 0.9 * np.clip(band * ends * smooth_step(0.7, 1.0, spot.depth) * hairs, 0, 1)


def _beard(spot: _Spot, rest: FloatArray, identity: Identity) -> FloatArray:
    if identity.beard == 0:
        return np.zeros_like(spot.across)
    edge = spot.height + 0.10 * spot.beside - 0.25 * smooth_step(0.4, 0.75, spot.beside)
    jaw = smooth_step(6.80, 6.62, edge) * smooth_step(5.85, 6.15, spot.height)
    jaw = jaw * smooth_step(-0.05, 0.3, spot.depth)
    moustache = bump(spot.across, 0, 0.26, 4) * bump(spot.height, 6.86, 0.06)
    moustache = moustache * smooth_step(1.0, 1.2, spot.depth)
    hairs = 0.85 + 0.8 * value_noise(rest, identity.texture_seed + 11, 18, 2)
    return identity.beard * np.clip(np.maximum(jaw, moustache) * hairs, 0, 1)


def _shirt(spot: _Spot) -> FloatArray:
    collar = bump(spot.across, 0, 0.5) * smooth_step(0.2, 0.8, spot.depth)
    edge = spot.height - 0.35 * np.maximum(0, -spot.depth) + 0.25 * collar
    return smooth_step(5.62, 5.58, edge)


def _stripes(phase: FloatArray, sharpness: int) -> FloatArray:
    return np.clip(np.cos(phase), 0, 1) ** sharpness


def _furrows(spot: _Spot, intensities: Mapping[int, float], agedness: float) -> FloatArray:
    """Depth of the furrows in [0, 1], from action units and from age."""

    def shown(number: int) -> float:
        return intensities.get(number, 0.0)

    age = 0.12 + 0.88 * agedness
    across, beside, height, front = spot.across, spot.beside, spot.height, spot.front
    depth = np.zeros_like(across)

    def add(strength: float, place: Callable[[], FloatArray], *, in_front: bool = True) -> None:
        if strength > _FAINTEST:
            depth[...] += strength * place() * (front if in_front else 1.0)

    def forehead(where: FloatArray) -> FloatArray:
        lines = _stripes((height - 7.66 + 0.06 * across**2) * 55, 6)
        return lines * bump(height, 7.80, 0.13, 4) * where

    def frown() -> FloatArray:
        sides = bump(beside, 0.050 + 0.10 * (height - 7.46), 0.018)
        return sides * bump(height, 7.49, 0.10, 4)

    def beside_nose() -> FloatArray:
        fold = bump(beside, 0.20 + 0.30 * (7.02 - height), 0.032)
        return fold * bump(height, 6.88, 0.16, 4)

    def crow_feet() -> FloatArray:
        rays = _stripes((height - 7.26 - (beside - 0.5) * 0.25) * 75, 5)
        return rays * bump(beside, 0.56, 0.07) * bump(height, 7.26, 0.11, 4)

    def across_nose() -> FloatArray:
        lines = _stripes((height - 7.2 + 0.5 * beside) * 70, 4)
        return lines * bump(across, 0, 0.14, 4) * bump(height, 7.26, 0.12, 4)

    def below_eye(level: float, bend: float, width: float, length: float) -> FloatArray:
        line = bump(height, level + bend * (beside - 0.3) ** 2, width)
        return line * bump(beside, 0.315, length, 4)

    def beneath_corner() -> FloatArray:
        line = bump(beside, 0.27 + 0.5 * (6.58 - height), 0.02)
        return line * bump(height, 6.52, 0.06)

    def chin() -> FloatArray:
        return bump(height, 6.42, 0.03) * bump(across, 0, 0.16, 4) + _pebbles(spot)

    raised_lip = max(0.9 * shown(12), 1.1 * shown(9), 0.9 * shown(10))
    add(0.33 * shown(1), lambda: forehead(bump(across, 0, 0.24, 4)))
    add(0.30 * shown(2), lambda: forehead(bump(beside, 0.4, 0.16, 4)))
    add(0.06 * age, lambda: forehead(bump(across, 0, 0.42, 4)))
    add(shown(4), frown)
    add(0.85 * shown(9), across_nose)
    add(0.6 * (raised_lip + 0.35 * age), beside_nose)
    add(0.5 * (0.9 * shown(6) + 0.25 * age), crow_feet, in_front=False)
    add(0.6 * (0.75 * shown(6) + 0.15 * age), lambda: below_eye(7.05, 0.30, 0.018, 0.15))
    lid = 0.7 * shown(7) + 0.15 * shown(6) + 0.2 * age
    add(0.5 * lid, lambda: below_eye(7.15, 0.4, 0.014, 0.12))
    add(0.75 * shown(14), lambda: bump(beside, 0.315, 0.018) * bump(height, 6.62, 0.055))
    add(0.5 * shown(15), beneath_corner)
    add(0.5 * shown(17), chin)
    return depth


def _pebbles(spot: _Spot) -> FloatArray:
    """Pits of a chin that is pushed up."""
    place = np.stack([spot.across, spot.height, np.zeros_like(spot.across)], axis=-1)
    pits = np.clip(value_noise(place, 77, 16, 1) - 0.05, 0, 1) * 2.2
    return pits * bump(spot.across, 0, 0.15) * bump(spot.height, 6.32, 0.08)
