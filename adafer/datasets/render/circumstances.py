"""What is drawn anew for each picture: pose, light and background."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from .assets import FloatArray
from .camera import enlarged
from .domains import BackgroundRecipe, LightRecipe, PoseRecipe

_CELLS = 16


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
    warmth = generator.uniform(*recipe.warmth)
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
    """Draw what is behind the head, out of focus: patches of colour and a few edges.

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
    rows, columns = (np.arange(width) / width - 0.5)[:, None], np.arange(width) / width - 0.5
    vignette = (1 - 0.25 * (rows**2 + columns**2))[..., None]
    if contrast == 0:
        return np.repeat(level * vignette, 3, axis=2)
    cells = gaussian_filter(
        generator.random((_CELLS, _CELLS, 3)), (*[generator.uniform(0.7, 2.5)] * 2, 0)
    )
    cells = (cells - cells.mean(axis=(0, 1))) / (cells.std() + 1e-9)
    for _ in range(generator.integers(0, 4)):  # windows, doors, shelves
        left, top = generator.integers(-4, _CELLS, 2)
        wide, tall = generator.integers(3, 12, 2)
        box = np.zeros((_CELLS, _CELLS, 1))
        box[max(0, top) : max(0, top + tall), max(0, left) : max(0, left + wide)] = 1
        cells = cells + gaussian_filter(box, (0.8, 0.8, 0)) * generator.normal(0, 1.2, (1, 1, 3))
    grey = cells.mean(axis=2, keepdims=True)
    cells = grey + recipe.colour * (cells - grey)
    blobs = enlarged(cells, width)
    tint = 1 + recipe.colour * generator.uniform(-0.5, 0.5, 3)
    return np.clip((level * tint + contrast * blobs) * vignette, 0, 1)
