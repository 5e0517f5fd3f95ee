"""How light falls on the head: shadows, corners, skin that glows a little."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from .assets import EYE, TEETH, TONGUE, FloatArray, IntArray
from .circumstances import Light, Lighting
from .raster import FAR, nearer_share, normalised, rasterise
from .skin import Surface

_SHADOW_SIZE = 192
_SHADOW_SPAN = 4.2  # head units
_SHADOW_OFFSETS = 0.75 * np.array(
    [(0, 0), (1.5, 0), (-1.5, 0), (0, 1.5), (0, -1.5), (1, 1), (-1, 1), (1, -1), (-1, -1)]
)
# How far light reaches round the skin's curve, and through it, per colour band.
_WRAP = np.array([0.32, 0.18, 0.14])
_BLEED = (0.012, 0.006, 0.004)
_TOWARDS_CAMERA = np.array([0.0, 0.0, 1.0])


def ambient_occlusion(depth: FloatArray) -> NDArray[np.float32]:
    """Share of the surrounding light that reaches each pixel, from the depth alone.

    Parameters
    ----------
    depth : ndarray of shape (width, width)
        Distance in head units, at least ``FAR / 10`` where nothing is seen.

    Returns
    -------
    ndarray of shape (width, width)
        In (0, 1]; small where the surroundings are nearer than the pixel.
    """
    width = depth.shape[0]
    filled = np.where(depth > FAR / 10, 1.2, depth).astype(np.float32)
    result = np.ones_like(filled)
    for reach, strength in ((0.006, 5.0), (0.018, 2.2), (0.05, 0.8)):
        around = blurred(filled, reach * width)
        result *= 1 - np.clip(strength * np.clip(filled - around, 0, 0.12), 0, 0.55)
    return result


def blurred(values: NDArray[np.float32], reach: float) -> NDArray[np.float32]:
    """Blur a picture; a wide blur is made from every fourth pixel of a narrow one."""
    if reach < 3:
        return gaussian_filter(values, reach, truncate=3)
    width = values.shape[0]
    small = np.ascontiguousarray(gaussian_filter(values, 1.0, truncate=2)[::2, ::2])
    small = gaussian_filter(small, np.sqrt(reach**2 - 1) / 2, truncate=3)
    return np.repeat(np.repeat(small, 2, axis=0), 2, axis=1)[:width, :width]


def lit_share(
    light: Light,
    vertices: FloatArray,
    triangles: IntArray,
    position: FloatArray,
    normals: FloatArray,
) -> FloatArray:
    """Share of a light that is not blocked by the head itself.

    Parameters
    ----------
    light : Light
        The light.
    vertices : ndarray of shape (n_vertices, 3)
        The turned head, in head units.
    triangles : ndarray of shape (n_triangles, 3)
        Its triangles.
    position, normals : ndarray of shape (width, width, 3)
        What each pixel sees.

    Returns
    -------
    ndarray of shape (width, width)
        In [0, 1].
    """
    first = normalised(np.cross(light.direction, [0.0, 1.0, 0.01]))
    second = np.cross(first, light.direction)
    scale, middle = _SHADOW_SIZE / _SHADOW_SPAN, _SHADOW_SIZE / 2

    def seen_from_light(points: FloatArray) -> FloatArray:
        return np.stack(
            [
                points @ first * scale + middle,
                points @ second * scale + middle,
                -(points @ light.direction),
            ],
            axis=-1,
        )

    nearest = rasterise(seen_from_light(vertices), triangles, _SHADOW_SIZE, _SHADOW_SIZE).depth
    points = seen_from_light(position + 0.02 * normals)
    return nearer_share(points, nearest, _SHADOW_OFFSETS, 0.035)


def shade(
    surface: Surface,
    material: IntArray,
    position: FloatArray,
    normals: FloatArray,
    occlusion: NDArray[np.floating],
    lighting: Lighting,
    vertices: FloatArray,
    triangles: IntArray,
) -> FloatArray:
    """Light the head.

    Parameters
    ----------
    surface : Surface
        Colours and highlights.
    material : ndarray of shape (width, width)
        What each pixel sees.
    position, normals : ndarray of shape (width, width, 3)
        Where, and facing which way, in head units.
    occlusion : ndarray of shape (width, width)
        See `ambient_occlusion`.
    lighting : Lighting
        The lights.
    vertices, triangles
        The turned head, for its shadows.

    Returns
    -------
    ndarray of shape (width, width, 3)
        Linear light; of no meaning where no head is seen.
    """
    upward = normals[..., 1:2] * 0.5 + 0.5
    received = (lighting.sky * upward + lighting.ground * (1 - upward)) * occlusion[..., None]
    highlights = np.zeros_like(received)
    for light in lighting.lights:
        lit = lit_share(light, vertices, triangles, position, normals)
        facing = normals @ light.direction
        wrapped = np.clip((facing[..., None] + _WRAP) / (1 + _WRAP), 0, 1)
        arriving = (0.85 * lit + 0.15 * np.clip(facing, 0, 1)) * (0.5 * occlusion + 0.5)
        received = received + wrapped * arriving[..., None] * light.colour
        halfway = normalised(light.direction + _TOWARDS_CAMERA)
        gleam = np.clip(normals @ halfway, 0, 1) ** surface.polish * surface.shine * lit
        highlights = highlights + gleam[..., None] * light.colour
    received = _bleed(received, ~np.isin(material, (EYE, TEETH)))
    inside = np.where((material == TEETH) | (material == TONGUE), 0.85, 1.0)
    inside = np.where(material == EYE, 0.92, inside)
    return surface.colour * received * inside[..., None] + highlights


def _bleed(received: FloatArray, is_skin: np.ndarray) -> FloatArray:
    """Let light spread within the skin, red the farthest."""
    width = received.shape[0]
    weight = is_skin.astype(np.float32)
    result = received.copy()
    for band, reach in enumerate(_BLEED):
        light = (received[..., band] * weight).astype(np.float32)
        spread = blurred(light, reach * width) / (blurred(weight, reach * width) + 1e-6)
        result[..., band] = np.where(is_skin, spread, received[..., band])
    return result
