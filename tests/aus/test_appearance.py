"""Aligned faces and their gradients, against slow versions."""

import numpy as np
import pytest
from PIL import Image

from adafer.aus.appearance import (
    _LANDMARKS,
    _PLACES,
    N_GRADIENT_FEATURES,
    cut_face,
    gradient_histograms,
)


def points_at(places):
    points = np.zeros((478, 2))
    points[list(_LANDMARKS)] = places
    return points


def dots(places, size):
    """A black picture with a soft bright dot around each place, colours equal."""
    rows, columns = np.mgrid[:size, :size]
    light = sum(
        np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (0.02 * size) ** 2) for x, y in places
    )
    return np.repeat((np.clip(light, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize(("scale", "angle"), [(1.0, 0.0), (0.8, 0.4), (3.7, -0.3), (11.0, 1.0)])
def test_features_come_to_lie_in_their_places(scale, angle):
    turn = scale * np.exp(1j * angle)
    size = int(90 * scale)
    moved = turn * ((_PLACES - 32) @ [1, 1j]) + size / 2 * (1 + 1j)
    places = np.stack([moved.real, moved.imag], axis=1)
    face = cut_face(dots(places, size), points_at(places))
    assert face.shape == (64, 64)
    assert face.dtype == np.uint8
    expected = dots(_PLACES, 64)[..., 0].astype(float)
    rows, columns = np.mgrid[:64, :64]
    for x, y in _PLACES:  # centre of mass of each dot
        near = (np.abs(rows - y) < 2.6) & (np.abs(columns - x) < 2.6)
        for axis, place in ((columns, x), (rows, y)):
            centre = (face * axis)[near].sum() / face[near].sum()
            best = (expected * axis)[near].sum() / expected[near].sum()
            assert abs(centre - best) < 0.25, (x, y, place)


def test_beyond_the_picture_is_black():
    face = cut_face(np.full((20, 20, 3), 200, np.uint8), points_at(_PLACES - [25, 0]))
    assert face[10, :5].min() == 0
    assert face[10, 32] == 200


def slow_histograms(face):
    grey = face.astype(float)
    counts = np.zeros((8, 8, 9))
    for y in range(64):
        for x in range(64):
            dx = grey[y, x + 1] - grey[y, x - 1] if 0 < x < 63 else 0.0
            dy = grey[y + 1, x] - grey[y - 1, x] if 0 < y < 63 else 0.0
            place = np.arctan2(dy, dx) % np.pi / np.pi * 9
            k, share = int(place), place - int(place)
            counts[y // 8, x // 8, k % 9] += np.hypot(dx, dy) * (1 - share)
            counts[y // 8, x // 8, (k + 1) % 9] += np.hypot(dx, dy) * share
    result = np.zeros_like(counts)
    for i in range(8):
        for j in range(8):
            energy = sum(
                (counts[min(max(i + a, 0), 7), min(max(j + b, 0), 7)] ** 2).sum()
                for a in (-1, 0, 1)
                for b in (-1, 0, 1)
            )
            result[i, j] = np.minimum(counts[i, j] / np.sqrt(energy + 50), 0.4)
    return result


def test_gradients_equal_a_slow_version():
    faces = np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)
    faces[1] = np.asarray(Image.fromarray(faces[1]).resize((8, 8)).resize((64, 64)))
    features = gradient_histograms(faces)
    assert features.shape == (3, N_GRADIENT_FEATURES)
    assert features.dtype == np.float32
    for face, row in zip(faces, features, strict=True):
        slow = (slow_histograms(face) + slow_histograms(face[:, ::-1])) / 2
        np.testing.assert_allclose(row, slow.ravel(), atol=2e-5)


def test_a_face_and_its_mirror_image_look_alike():
    faces = np.random.default_rng(1).integers(0, 256, (2, 64, 64), dtype=np.uint8)
    np.testing.assert_allclose(
        gradient_histograms(faces), gradient_histograms(faces[:, :, ::-1]), atol=1e-6
    )


def test_even_skin_has_no_gradients_and_brightness_does_not_matter():
    flat = np.full((1, 64, 64), 90, np.uint8)
    assert gradient_histograms(flat).max() == 0
    faces = np.random.default_rng(2).integers(0, 100, (1, 64, 64), dtype=np.uint8)
    np.testing.assert_array_equal(gradient_histograms(faces), gradient_histograms(faces + 50))
