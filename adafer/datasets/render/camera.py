"""The camera: from light to the levels of a picture."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from .assets import FloatArray
from .domains import CameraRecipe

_LUMINANCE = np.array([0.30, 0.59, 0.11])


def take_picture(
    recipe: CameraRecipe, light: FloatArray, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Take a picture: resolution, blur, colour, tone, noise and compression.

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
    ndarray of shape (size, size, 3), dtype uint8
        The picture in sRGB.
    """
    size = light.shape[0]
    sharp = max(8, round(size * generator.uniform(*recipe.resolution)))
    blur = generator.uniform(*recipe.blur) * sharp / 64
    cast = generator.uniform(1 - recipe.cast, 1 + recipe.cast, 3)
    gamma = generator.uniform(*recipe.gamma)
    noise = generator.normal(0, generator.uniform(*recipe.noise), (sharp, sharp, 3))
    is_grey = generator.random() < recipe.grey_share
    quality = round(generator.uniform(*recipe.quality))
    picture = resized(light, sharp, Image.Resampling.BOX) if sharp < size else light
    picture = gaussian_filter(picture, (blur, blur, 0)) if blur > 0 else picture
    picture = np.clip(picture * cast, 0, None) ** gamma
    picture = picture + noise * (0.5 + np.sqrt(np.clip(picture, 0, 1)))
    if is_grey:
        picture = np.repeat((picture @ _LUMINANCE)[..., None], 3, axis=2)
    levels = (np.clip(picture, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)
    image = Image.fromarray(levels)
    if quality < 100:
        image = _compressed(image, quality)
    if sharp < size:
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)


def resized(picture: FloatArray, size: int, how: Image.Resampling) -> FloatArray:
    """Bring a picture of shape (n, n, 3) to shape (size, size, 3)."""
    bands = [Image.fromarray(band) for band in np.moveaxis(picture, 2, 0).astype(np.float32)]
    smaller = [np.asarray(band.resize((size, size), how)) for band in bands]
    return np.stack(smaller, axis=2).astype(np.float64)


def enlarged(picture: FloatArray, size: int) -> FloatArray:
    """Enlarge a picture smoothly."""
    return resized(picture, size, Image.Resampling.BICUBIC)


def _compressed(image: Image.Image, quality: int) -> Image.Image:
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=quality, subsampling=2)
    with Image.open(stored) as opened:
        return opened.convert("RGB")
