"""One picture: pose the head, look at it, light it, take the photograph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from .assets import SKIN, FloatArray, HeadAssets
from .camera import take_picture
from .circumstances import Pose, draw_background, draw_lighting, draw_pose
from .domains import CameraRecipe, Domain
from .hair import blend_hair, draw_hair
from .identity import Identity
from .raster import FAR, rasterise, vertex_normals
from .rig import AU_NUMBERS, facial_displacement
from .shading import ambient_occlusion, shade
from .skin import paint_eyes_and_teeth, paint_head

_LARGE = 64  # pixels
_ASYMMETRY, _CLEAR_ASYMMETRY, _CLEAR_SHARE = 0.07, 0.3, 1 / 6
# The crop: the eyes lie at this share of its height, and it is this many times
# as high as the distance from the eyes to the chin.
_EYE_ROW = 0.40
_FRAME_PER_FACE = 1.84
_OPENED_JAW_COUNTS = 0.6
_METERED_LIGHT = 0.34


@dataclass(frozen=True)
class RenderedFace:
    """A picture and how the head is turned in it.

    Parameters
    ----------
    image : ndarray of shape (size, size, 3), dtype uint8
        The picture, in sRGB.
    pose : Pose
        Angles in radians.
    """

    image: NDArray[np.uint8]
    pose: Pose


@dataclass(frozen=True)
class _Head:
    """The head in head units: the eyes of every head are as far apart as the base mesh's."""

    vertices: FloatArray
    face_height: float
    eyes: FloatArray


@dataclass(frozen=True)
class _View:
    """Perspective that puts the eyes in their place."""

    width: int
    scale: float
    distance: float
    offset: FloatArray

    def project(self, points: FloatArray) -> FloatArray:
        """From head units to column, row (pixels) and depth (head units)."""
        shrink = self.distance / (self.distance - points[:, 2])
        columns = self.width / 2 + self.offset[0] + self.scale * points[:, 0] * shrink
        rows = self.width / 2 + self.offset[1] - self.scale * points[:, 1] * shrink
        return np.stack([columns, rows, -points[:, 2]], axis=1)


def render_face(
    assets: HeadAssets,
    identity: Identity,
    intensities: Mapping[int, float],
    domain: Domain,
    generator: np.random.Generator,
    *,
    size: int = 64,
    supersampling: int | None = None,
    pose: Pose | None = None,
    asymmetry: Mapping[int, float] | None = None,
) -> RenderedFace:
    """Render one face.

    Parameters
    ----------
    assets : HeadAssets
        The head.
    identity : Identity
        The person.
    intensities : dict of int to float
        Action units and their intensities in [0, 1].
    domain : Domain
        Pose, light, camera and background are drawn from its recipes.
    generator : numpy.random.Generator
        Source of randomness.
    size : int, default=64
        Width and height of the picture in pixels.
    supersampling : int, optional
        Pixels are the mean of this number squared; by default 3 in pictures
        smaller than 64 pixels, and 2 in larger ones.
    pose : Pose, optional
        The pose, instead of a drawn one.
    asymmetry : dict of int to float, optional
        For action units, how much more the left side moves than the mean of
        both, as a share of the intensity; by default drawn, and mostly small.

    Returns
    -------
    RenderedFace
    """
    drawn_asymmetry = _draw_asymmetry(generator)
    asymmetry = drawn_asymmetry if asymmetry is None else asymmetry
    if supersampling is None:
        supersampling = 3 if size < _LARGE else 2
    head = _posed_head(assets, identity, intensities, asymmetry)
    drawn = draw_pose(domain.pose, generator)
    pose = drawn if pose is None else pose
    rotation = pose.rotation
    turned = head.vertices @ rotation.T
    view = _aim(domain.camera, head, rotation, size * supersampling, generator)
    lighting = draw_lighting(domain.light, generator)
    background = draw_background(domain.background, view.width, generator)

    points = view.project(turned)
    seen = rasterise(points, assets.triangles, view.width, view.width)
    material = np.where(seen.covered, assets.material[np.maximum(seen.triangle, 0)], -1)
    rest = seen.interpolate(assets.vertices)
    normals = seen.interpolate_directions(vertex_normals(turned, assets.triangles))
    surface = paint_head(
        rest,
        seen.interpolate(assets.lips),
        seen.interpolate(assets.mouth_interior),
        material == SKIN,
        identity,
        intensities,
    )
    paint_eyes_and_teeth(surface, normals, material, rest, assets, identity, pose.gaze, rotation)
    hair = draw_hair(assets, identity, head.vertices, rotation, view.project, seen)
    depth = seen.depth if hair is None else hair.depth
    occlusion = ambient_occlusion(depth)
    light = shade(
        surface, material, seen.interpolate(turned), normals, occlusion, lighting, turned,
        assets.triangles,
    )  # fmt: skip
    picture = np.where(seen.covered[..., None], light, background)
    if hair is not None:
        picture = blend_hair(picture, hair, identity, lighting, occlusion)
    picture = _blend_lashes(picture, assets, points, depth)

    picture = picture * lighting.exposure * _metering(picture, material == SKIN, domain.camera)
    picture = np.clip(picture, 0, None)
    picture = picture / (1 + 0.18 * picture)
    blocks = picture.reshape(size, supersampling, size, supersampling, 3)
    photograph = take_picture(domain.camera, blocks.mean(axis=(1, 3)), generator)
    return RenderedFace(photograph, pose)


def _draw_asymmetry(generator: np.random.Generator) -> dict[int, float]:
    """Mostly slight, one sixth of it clear; clipped, so that both sides still move."""
    slight = generator.normal(0, _ASYMMETRY, len(AU_NUMBERS))
    clear = generator.normal(0, _CLEAR_ASYMMETRY, len(AU_NUMBERS))
    is_clear = generator.random(len(AU_NUMBERS)) < _CLEAR_SHARE
    drawn = np.clip(np.where(is_clear, clear, slight), -0.7, 0.7)
    return dict(zip(AU_NUMBERS, drawn.tolist(), strict=True))


def _posed_head(
    assets: HeadAssets,
    identity: Identity,
    intensities: Mapping[int, float],
    asymmetry: Mapping[int, float],
) -> _Head:
    rest = assets.vertices + identity.displacement
    eyes, base_eyes = assets.eye_centres(rest), assets.eye_centres(assets.vertices)
    scale = float(np.linalg.norm(eyes[0] - eyes[1]) / np.linalg.norm(base_eyes[0] - base_eyes[1]))
    posed = rest + scale * facial_displacement(assets, intensities, asymmetry)
    for ball in assets.eyeballs:  # the lids move, the eyes do not
        posed[ball] = rest[ball]
    at_rest = eyes[:, 1].mean() - rest[assets.chin, 1]
    now = eyes[:, 1].mean() - posed[assets.chin, 1]
    face_height = at_rest + _OPENED_JAW_COUNTS * (now - at_rest)
    middle = eyes.mean(axis=0) - np.array([0.0, 0.3 * scale, 0.75 * scale])
    return _Head(
        vertices=(posed - middle) / scale,
        face_height=float(face_height / scale),
        eyes=(eyes - middle) / scale,
    )


def _aim(
    camera: CameraRecipe,
    head: _Head,
    rotation: FloatArray,
    width: int,
    generator: np.random.Generator,
) -> _View:
    zoom = generator.uniform(*camera.zoom)
    distance = generator.uniform(*camera.distance)
    wanted = np.array([0.5, _EYE_ROW]) + np.clip(generator.normal(0, 1, 2), -2, 2) * camera.shift
    scale = zoom * width / (_FRAME_PER_FACE * head.face_height)
    view = _View(width, scale, distance, np.zeros(2))
    # A crop follows the face, of which the eyes are the front: centre a turned
    # head between its eyes and its middle.
    eyes = view.project(head.eyes @ rotation.T).mean(axis=0)[:2]
    middle = view.project(np.array([[0.0, 0.3, 0.0]]) @ rotation.T)[0, :2]
    anchor = np.array([0.7 * eyes[0] + 0.3 * middle[0], 0.8 * eyes[1] + 0.2 * middle[1]])
    return _View(width, scale, distance, wanted * width - anchor)


def _metering(picture: FloatArray, is_skin: NDArray[np.bool_], camera: CameraRecipe) -> float:
    """How much a camera brightens the picture for the sake of the face."""
    if not is_skin.any():
        return 1.0
    brightness = np.median(picture[is_skin] @ np.array([0.30, 0.59, 0.11]))
    return float((_METERED_LIGHT / max(brightness, 1e-3)) ** camera.metering)


def _blend_lashes(
    picture: FloatArray, assets: HeadAssets, points: FloatArray, depth: FloatArray
) -> FloatArray:
    width = picture.shape[0]
    lashes = rasterise(points, assets.lashes, width, width)
    in_front = lashes.covered & (lashes.depth < np.minimum(depth, FAR) + 0.03)
    opacity = gaussian_filter(in_front.astype(np.float64), 0.0025 * width)[..., None] * 0.6
    return picture * (1 - opacity) + 0.015 * opacity
