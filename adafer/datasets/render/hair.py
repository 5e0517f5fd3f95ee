"""Hair: the skin of the head pushed outwards, and for long hair a shell around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, grey_closing

from .assets import SKIN, FloatArray, HeadAssets
from .circumstances import Lighting
from .identity import Identity
from .raster import Fragments, normalised, rasterise, value_noise, vertex_normals

_HAIRLINE = 7.95


def scalp_height(rest: FloatArray, identity: Identity) -> FloatArray:
    """How far a place on the head lies behind the hairline.

    Parameters
    ----------
    rest : ndarray of shape (..., 3)
        Rest positions in decimetres.
    identity : Identity
        The person.

    Returns
    -------
    ndarray of shape (...)
        Positive where hair grows, in decimetres.
    """
    across, height, depth = rest[..., 0], rest[..., 1], rest[..., 2]
    beside = np.abs(across)
    temple = 0.55 * np.clip(beside - 0.48, 0, 1)
    front = height - _HAIRLINE - identity.hairline - 0.10 * np.abs(np.sin(3 * across)) + temple
    side = (0.46 - depth) * 0.8 + np.clip(height - 7.62, -0.6, 0.2) * 0.5
    above_ear = (height - 7.05 + 0.25 * np.clip(-depth, 0, 1)) * 0.6
    behind = np.maximum(front, np.minimum(side, above_ear))
    ragged = value_noise(rest * [2.5, 0.6, 2.5], identity.texture_seed + 31, 7, 2)
    return np.where(depth < 0.62, behind, front) + 0.04 * ragged


@dataclass(frozen=True)
class HairLayer:
    """Hair as it is seen.

    Parameters
    ----------
    opacity : ndarray of shape (height, width)
        In [0, 1].
    depth : ndarray of shape (height, width)
        Distance of the hair where it is opaque, of the head elsewhere.
    normals, rest : ndarray of shape (height, width, 3)
        Directions outwards, and rest positions, where there is hair.
    """

    opacity: FloatArray
    depth: FloatArray
    normals: FloatArray
    rest: FloatArray


def draw_hair(
    assets: HeadAssets,
    identity: Identity,
    vertices: FloatArray,
    rotation: FloatArray,
    project: Callable[[FloatArray], FloatArray],
    head: Fragments,
) -> HairLayer | None:
    """Find where hair is seen.

    Parameters
    ----------
    assets : HeadAssets
        The head.
    identity : Identity
        The person.
    vertices : ndarray of shape (n_vertices, 3)
        The head before it is turned, in head units.
    rotation : ndarray of shape (3, 3)
        Rotation of the head.
    project : callable
        From turned vertices to pixels and depth.
    head : Fragments
        What is seen of the head without hair.

    Returns
    -------
    HairLayer or None
        None for a bald head.
    """
    if identity.hair_style == "bald":
        return None
    width = head.depth.shape[0]
    volume = {
        "buzz": 0.012,
        "short": identity.hair_volume,
        "long": 0.8 * identity.hair_volume + 0.03,
    }[identity.hair_style]
    seed = identity.texture_seed
    grown = scalp_height(assets.vertices, identity)
    share = np.clip((grown + 0.02) / 0.3, 0, 1)
    share = share * share * (3 - 2 * share)
    thickness = volume * share * (1 + 0.35 * value_noise(assets.vertices, seed + 21, 2.5, 2))
    outward = vertex_normals(vertices, assets.triangles)
    turned = (vertices + outward * (thickness + 0.004)[:, None]) @ rotation.T

    skin = assets.triangles[assets.material == SKIN]
    is_scalp = (grown[skin] > -0.12).any(axis=1)
    is_scalp &= assets.vertices[skin][:, :, 1].mean(axis=1) > 6.3
    hair = skin[is_scalp]
    if identity.hair_style == "long":
        hair = np.concatenate([hair, assets.hair_shell])
    seen = rasterise(project(turned), hair, width, width)
    rest = seen.interpolate(assets.vertices)
    on_shell = assets.shell_vertices[seen.corners].all(axis=-1)
    tips = 5.3 + 0.8 * (seed % 97) / 97
    in_front = seen.covered & (seen.depth < head.depth + 0.02)
    opacity = np.zeros_like(seen.depth)
    opacity[in_front] = np.clip(0.5 + scalp_height(rest[in_front], identity) / 0.06, 0, 1)
    opacity = np.where(on_shell & in_front, rest[..., 1] > tips, opacity)
    if identity.hair_style == "buzz":
        opacity = 0.75 * opacity
    normals = seen.interpolate_directions(vertex_normals(turned, hair))
    inside_out = on_shell & (normals[..., 2] < 0)
    normals = np.where(inside_out[..., None], -normals, normals)
    depth = np.where(opacity > 0.5, np.minimum(seen.depth, head.depth), head.depth)
    return HairLayer(opacity, depth, normals, rest)


def blend_hair(
    picture: FloatArray,
    layer: HairLayer,
    identity: Identity,
    lighting: Lighting,
    occlusion: NDArray[np.floating],
) -> FloatArray:
    """Light the hair and lay it over a picture.

    Parameters
    ----------
    picture : ndarray of shape (height, width, 3)
        Linear light without hair.
    layer : HairLayer
        The hair.
    identity : Identity
        The person.
    lighting : Lighting
        The light.
    occlusion : ndarray of shape (height, width)
        Share of the surrounding light that arrives.

    Returns
    -------
    ndarray of shape (height, width, 3)
    """
    hairy = layer.opacity > 0
    normals = layer.normals[hairy]
    strands = value_noise(layer.rest[hairy] * [3.2, 0.5, 3.2], identity.texture_seed + 41, 9, 2)
    upward = normals[:, 1:2] * 0.5 + 0.5
    received = lighting.sky * upward + lighting.ground * (1 - upward)
    gleam = np.zeros_like(received)
    for light in lighting.lights:
        facing = np.clip(normals @ light.direction + 0.2, 0, 1)
        received = received + 0.8 * facing[:, None] * light.colour
        halfway = normalised(light.direction + np.array([0.0, 0.0, 1.0]))
        shine = np.clip(normals @ halfway, 0, 1) ** 10 * 0.10 * (1 + 1.5 * strands)
        gleam = gleam + shine[:, None] * light.colour
    lit = identity.hair * (1 + 0.9 * strands)[:, None] * received
    lit = lit * (0.6 * occlusion[hairy] + 0.4)[:, None] + gleam * (0.3 + identity.hair)
    weighted = np.zeros(picture.shape, dtype=np.float32)
    weighted[hairy] = np.clip(lit, 0, None) * layer.opacity[hairy][:, None]
    # Close the gaps between locks, and let the edges fade.
    width = picture.shape[0]
    gap, reach, soft = max(3, round(0.05 * width)), 0.012 * width, 0.005 * width
    covered = layer.opacity.astype(np.float32)
    opacity = covered
    if identity.hair_style == "long":
        opacity = grey_closing(opacity, size=(gap, gap))
    opacity = gaussian_filter(opacity, soft)
    spread = gaussian_filter(weighted, (reach, reach, 0))
    spread = spread / (gaussian_filter(covered, reach)[..., None] + 1e-6)
    return picture * (1 - opacity[..., None]) + spread * opacity[..., None]
