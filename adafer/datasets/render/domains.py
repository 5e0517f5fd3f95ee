"""The circumstances of a picture: pose, light, camera and background of a domain."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from .assets import FloatArray

Range = tuple[float, float]


@dataclass(frozen=True)
class PoseRecipe:
    """How heads are turned and eyes look: standard deviations in radians.

    ``camera_height`` is the mean pitch: positive where the camera looks down
    on the face.
    """

    yaw: float
    pitch: float
    roll: float
    gaze: float
    camera_height: float


@dataclass(frozen=True)
class LightRecipe:
    """How faces are lit.

    Ranges are drawn uniformly. ``azimuth`` and ``elevation`` (radians) say
    where the key light stands, ``warmth`` how far its colour strays from
    white, ``fill_share`` how often there is a second light.
    """

    azimuth: Range
    elevation: Range
    key: Range
    fill: Range
    fill_share: float
    sky: Range
    ground: Range
    warmth: float
    exposure: Range


@dataclass(frozen=True)
class CameraRecipe:
    """How the picture is taken.

    ``zoom`` scales the frame, ``shift`` (standard deviation, as a share of the
    picture) moves it, ``distance`` is that of the camera in head units.
    ``metering`` says how much of a too dark or too bright face the camera
    corrects; ``grey_share`` how often it sees no colour; ``cast`` how far its
    white strays; ``gamma`` bends its tones. ``blur`` is in pixels of a 64
    pixel wide picture, ``noise`` in linear light.
    """

    zoom: Range
    shift: float
    distance: Range
    metering: float
    grey_share: float
    cast: float
    gamma: Range
    blur: Range
    noise: Range


@dataclass(frozen=True)
class BackgroundRecipe:
    """What is behind the head: its brightness, its unevenness and its colour."""

    level: Range
    contrast: Range
    colour: float


@dataclass(frozen=True)
class Domain:
    """A kind of pictures.

    Parameters
    ----------
    name : str
        Its name.
    code : int
        Its number in the seeds, so that domains have different people.
    pose, light, camera, background
        Its recipes.
    """

    name: str
    code: int
    pose: PoseRecipe
    light: LightRecipe
    camera: CameraRecipe
    background: BackgroundRecipe


STUDIO = Domain(
    name="studio",
    code=1,
    pose=PoseRecipe(yaw=0.06, pitch=0.04, roll=0.025, gaze=0.05, camera_height=0.0),
    light=LightRecipe(
        azimuth=(-0.6, -0.3),
        elevation=(0.35, 0.55),
        key=(0.78, 0.88),
        fill=(0.28, 0.34),
        fill_share=1.0,
        sky=(0.42, 0.46),
        ground=(0.26, 0.30),
        warmth=0.03,
        exposure=(0.95, 1.05),
    ),
    camera=CameraRecipe(
        zoom=(0.97, 1.03),
        shift=0.010,
        distance=(9, 14),
        metering=0.3,
        grey_share=0.0,
        cast=0.02,
        gamma=(1.0, 1.0),
        blur=(0.0, 0.0),
        noise=(0.003, 0.005),
    ),
    background=BackgroundRecipe(level=(0.28, 0.40), contrast=(0.0, 0.0), colour=0.0),
)

WILD = Domain(
    name="wild",
    code=2,
    pose=PoseRecipe(yaw=0.19, pitch=0.07, roll=0.06, gaze=0.09, camera_height=0.135),
    light=LightRecipe(
        azimuth=(-1.25, 1.25),
        elevation=(0.0, 1.1),
        key=(0.5, 1.5),
        fill=(0.1, 0.6),
        fill_share=0.6,
        sky=(0.14, 0.55),
        ground=(0.08, 0.36),
        warmth=1.0,
        exposure=(0.8, 1.2),
    ),
    camera=CameraRecipe(
        zoom=(0.95, 1.12),
        shift=0.016,
        distance=(3.8, 7.5),
        metering=0.65,
        grey_share=0.5,
        cast=0.16,
        gamma=(0.8, 1.3),
        blur=(0.0, 0.7),
        noise=(0.003, 0.011),
    ),
    background=BackgroundRecipe(level=(0.06, 0.5), contrast=(0.02, 0.12), colour=0.22),
)

DOMAINS: dict[str, Domain] = {domain.name: domain for domain in (STUDIO, WILD)}


@dataclass(frozen=True)
class Pose:
    """Angles in radians; positive yaw turns the face to the person's left."""

    yaw: float
    pitch: float
    roll: float
    gaze: tuple[float, float]

    @property
    def rotation(self) -> FloatArray:
        """Matrix of shape (3, 3): turn, then nod, then tilt."""
        sine, cosine = math.sin, math.cos
        turn = np.array(
            [
                [cosine(self.yaw), 0, sine(self.yaw)],
                [0, 1, 0],
                [-sine(self.yaw), 0, cosine(self.yaw)],
            ]
        )
        nod = np.array(
            [
                [1, 0, 0],
                [0, cosine(self.pitch), -sine(self.pitch)],
                [0, sine(self.pitch), cosine(self.pitch)],
            ]
        )
        tilt = np.array(
            [
                [cosine(self.roll), -sine(self.roll), 0],
                [sine(self.roll), cosine(self.roll), 0],
                [0, 0, 1],
            ]
        )
        return tilt @ nod @ turn


def draw_pose(recipe: PoseRecipe, generator: np.random.Generator) -> Pose:
    """Draw how the head is turned; no angle strays farther than two deviations."""
    spreads = np.array([recipe.yaw, recipe.pitch, recipe.roll])
    yaw, pitch, roll = spreads * np.clip(generator.normal(0, 1, 3), -2, 2)
    pitch += recipe.camera_height
    across, upward = recipe.gaze * np.clip(generator.normal(0, 1, 2), -2, 2)
    return Pose(float(yaw), float(pitch), float(roll), (float(across), float(upward)))


@dataclass(frozen=True)
class Light:
    """A distant light: direction towards it (length one) and colour, both of shape (3,)."""

    direction: FloatArray
    colour: FloatArray


@dataclass(frozen=True)
class Lighting:
    """All light of a picture: from above, from below, and distant lights."""

    sky: FloatArray
    ground: FloatArray
    lights: tuple[Light, ...]
    exposure: float


def draw_lighting(recipe: LightRecipe, generator: np.random.Generator) -> Lighting:
    """Draw the lights of a picture."""
    warmth = recipe.warmth * generator.uniform(-1, 1)
    warm = np.array([1 + 0.18 * warmth, 1, 1 - 0.25 * warmth])
    key = Light(
        _direction(generator.uniform(*recipe.azimuth), generator.uniform(*recipe.elevation)),
        warm * generator.uniform(*recipe.key),
    )
    lights = [key]
    if generator.random() < recipe.fill_share:
        opposite = -np.sign(key.direction[0]) * generator.uniform(0.5, 1.0)
        colour = warm[::-1] * generator.uniform(*recipe.fill)
        lights.append(Light(_direction(opposite, generator.uniform(0, 0.4)), colour))
    return Lighting(
        sky=np.array([0.97, 1.0, 1.05]) * generator.uniform(*recipe.sky),
        ground=np.array([1.03, 1.0, 0.95]) * generator.uniform(*recipe.ground),
        lights=tuple(lights),
        exposure=float(generator.uniform(*recipe.exposure)),
    )


def _direction(azimuth: float, elevation: float) -> FloatArray:
    level = math.cos(elevation)
    return np.array([level * math.sin(azimuth), math.sin(elevation), level * math.cos(azimuth)])


def draw_background(
    recipe: BackgroundRecipe, width: int, generator: np.random.Generator
) -> FloatArray:
    """Draw what is behind the head, out of focus.

    Parameters
    ----------
    recipe : BackgroundRecipe
        Its looks.
    width : int
        Width and height in pixels.
    generator : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of shape (width, width, 3)
        Linear light in [0, 1].
    """
    level = generator.uniform(*recipe.level)
    contrast = generator.uniform(*recipe.contrast)
    rows, columns = np.mgrid[0:width, 0:width] / width - 0.5
    vignette = 1 - 0.25 * (rows**2 + columns**2)
    if contrast == 0:
        return np.repeat((level * vignette)[..., None], 3, axis=2)
    coarse = 16
    cells = gaussian_filter(
        generator.random((coarse, coarse, 3)), (*[generator.uniform(0.7, 2.5)] * 2, 0)
    )
    spacing = -(-width // coarse)
    blobs = np.kron(cells, np.ones((spacing, spacing, 1)))[:width, :width]
    blobs = gaussian_filter(blobs, (spacing * 0.8, spacing * 0.8, 0))
    grey = blobs.mean(axis=2, keepdims=True)
    blobs = grey + recipe.colour * (blobs - grey)
    blobs = (blobs - blobs.mean(axis=(0, 1))) / (blobs.std() + 1e-9)
    tint = 1 + recipe.colour * generator.uniform(-0.5, 0.5, 3)
    return np.clip((level * tint + contrast * blobs) * vignette[..., None], 0, 1)


def take_picture(
    recipe: CameraRecipe, light: FloatArray, generator: np.random.Generator
) -> FloatArray:
    """Pass a picture through the camera: blur, colour, tone and noise.

    Parameters
    ----------
    recipe : CameraRecipe
        The camera.
    light : ndarray of shape (size, size, 3)
        Linear light.
    generator : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of shape (size, size, 3)
        Linear light, not yet clipped to [0, 1].
    """
    size = light.shape[0]
    blur = generator.uniform(*recipe.blur) * size / 64
    cast = generator.uniform(1 - recipe.cast, 1 + recipe.cast, 3)
    gamma = generator.uniform(*recipe.gamma)
    noise = generator.normal(0, generator.uniform(*recipe.noise), light.shape)
    is_grey = generator.random() < recipe.grey_share
    picture = gaussian_filter(light, (blur, blur, 0)) if blur > 0 else light
    picture = np.clip(picture * cast, 0, None) ** gamma
    picture = picture + noise * (0.5 + np.sqrt(np.clip(picture, 0, 1)))
    if is_grey:
        picture = np.repeat((picture @ np.array([0.30, 0.59, 0.11]))[..., None], 3, axis=2)
    return picture
