"""What landmarks do not see: folds and edges of the aligned face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["CROP", "N_GRADIENT_FEATURES", "cut_face", "gradient_histograms"]

CROP = 64  # pixels per side of the aligned face
_CELL = 8
_DIRECTIONS = 9
_FLOOR = 50.0  # energy of the noise in a block of even skin
_CLIP = 0.4
N_GRADIENT_FEATURES = (CROP // _CELL) ** 2 * _DIRECTIONS

# Corners of the eyes and of the mouth, tip of the nose, chin: landmarks, and
# where they lie in the aligned face. From the mean of rendered faces.
_LANDMARKS = (33, 133, 362, 263, 1, 61, 291, 152)
_PLACES = np.array(
    [
        [16.0, 18.8],
        [25.7, 19.2],
        [38.3, 19.2],
        [48.0, 18.8],
        [32.0, 31.5],
        [23.1, 43.7],
        [40.9, 43.7],
        [32.0, 57.6],
    ]
)


def cut_face(image: NDArray[np.uint8], points: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Cut out a face so that its features lie where those of all faces lie.

    Parameters
    ----------
    image : ndarray of uint8 of shape (H, W, 3)
    points : ndarray of shape (478, 2) or (478, 3)
        Landmarks in pixels.

    Returns
    -------
    face : ndarray of uint8 of shape (64, 64)
        Grey; black beyond the picture.
    """
    # The similarity that takes the places nearest to the points, by least
    # squares, with places and points as complex numbers.
    places = _PLACES @ [1, 1j]
    wanted = points[list(_LANDMARKS), :2] @ [1, 1j]
    centred = places - places.mean()
    turn = centred.conj() @ (wanted - wanted.mean()) / (centred.conj() @ centred).real
    shift = wanted.mean() - turn * places.mean()
    # PIL counts from corners of pixels, landmarks from their centres
    shift = shift + (0.5 + 0.5j) * (1 - turn)
    picture = Image.fromarray(image).convert("L")
    factor = int(abs(turn))
    if factor > 1:  # single samples of a large picture would skip pixels
        picture = picture.reduce(factor)
        turn, shift = turn / factor, shift / factor
    coefficients = (turn.real, -turn.imag, shift.real, turn.imag, turn.real, shift.imag)
    aligned = picture.transform(
        (CROP, CROP), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC
    )
    return np.asarray(aligned)


def gradient_histograms(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe aligned faces by histograms of oriented gradients, averaged over both sides.

    Parameters
    ----------
    faces : ndarray of uint8 of shape (n, 64, 64)
        As `cut_face` gives them.

    Returns
    -------
    features : ndarray of float32 of shape (n, 576), values in [0, 0.4]
        Cells of 8 x 8 pixels with 9 directions, normalised over 3 x 3 cells;
        mean of the face and its mirror image.

    References
    ----------
    N. Dalal and B. Triggs, Histograms of Oriented Gradients for Human
    Detection, 2005.
    """
    grey = faces.astype(np.float32)
    across, down = np.zeros_like(grey), np.zeros_like(grey)
    across[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    down[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    strength = np.hypot(across, down)
    direction = np.arctan2(down, across) % np.pi / np.pi * _DIRECTIONS
    lower = np.floor(direction)
    upper_share = direction - lower
    lower = lower.astype(np.int64) % _DIRECTIONS

    n, cells = len(faces), CROP // _CELL
    histograms = np.empty((n, cells, cells, _DIRECTIONS), dtype=np.float32)
    for k in range(_DIRECTIONS):
        share = np.where(lower == k, 1 - upper_share, 0)
        share += np.where((lower + 1) % _DIRECTIONS == k, upper_share, 0)
        blocks = (strength * share).reshape(n, cells, _CELL, cells, _CELL)
        histograms[..., k] = blocks.sum(axis=(2, 4))
    energy = np.pad((histograms**2).sum(axis=-1), ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = sum(energy[:, i : i + cells, j : j + cells] for i in range(3) for j in range(3))
    histograms /= np.sqrt(around + _FLOOR)[..., None]
    np.minimum(histograms, _CLIP, out=histograms)
    mirrored = histograms[:, :, ::-1, -np.arange(_DIRECTIONS) % _DIRECTIONS]
    return (np.float32(0.5) * (histograms + mirrored)).reshape(n, -1)
