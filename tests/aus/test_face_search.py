"""Searching a picture for its face: few looks, with the result of many."""

import zlib

import numpy as np
import pytest

from adafer.aus import _face_search
from adafer.aus._face_models import Region
from adafer.aus._face_search import FoundFace, find_face, region_around

IMAGE = np.zeros((60, 80, 3), np.uint8)


class Dice:
    """Networks that say anything, but always the same of the same region."""

    def __init__(self, seed, levels):
        self.seed, self.levels = seed, levels
        self.runs = 0

    def _rng(self, *key):
        return np.random.default_rng([self.seed, zlib.crc32(np.array(key, float).tobytes())])

    def landmarks(self, image, region, *, replicate=True):
        self.runs += 1
        rng = self._rng(*region, replicate)
        presence = float(rng.choice(self.levels))
        # on a circle, the eyes hardly or strongly turned
        around = np.linspace(0, 2 * np.pi, 478)
        points = np.stack([np.cos(around), np.sin(around), 0 * around], axis=1) * 20 + 40
        turn = rng.choice([0.01, 0.5]) * rng.normal()
        points[33, :2] = 40 - 8 * np.cos(turn), 40 - 8 * np.sin(turn)
        points[263, :2] = 40 + 8 * np.cos(turn), 40 + 8 * np.sin(turn)
        points[0, 2] = rng.normal()  # tells regions apart
        return points, presence

    def largest_face(self, image, angle=0.0):
        rng = self._rng(angle)
        if rng.random() < 0.4:
            return None
        return Region(*rng.uniform(20, 60, 3), angle)


def look_twice_everywhere(models, image, min_presence):
    """All looks, as they are described, then the most confident face."""
    height, width = image.shape[:2]

    def whole(degrees):
        return Region(width / 2, height / 2, 1.25 * max(height, width), np.deg2rad(degrees))

    def look(region, replicate):
        points, at_first = models.landmarks(image, region, replicate=replicate)
        region = region_around(points)
        points, presence = models.landmarks(image, region, replicate=replicate)
        again = region_around(points)
        if abs((again.angle - region.angle + np.pi) % (2 * np.pi) - np.pi) > np.deg2rad(8):
            points, presence = models.landmarks(image, again, replicate=replicate)
        return FoundFace(points, presence, min(at_first, presence))

    first = look(whole(0), True)
    if first.confidence >= max(0.9995, min_presence):
        return first
    box = models.largest_face(image)
    upright = [first, *([look(box, False)] if box else []), look(whole(0), False)]
    regions = [whole(degrees) for degrees in (180, 90, 270, 45, 315, 135, 225)]
    presence = [models.landmarks(image, region)[1] for region in regions]
    turned = [look(regions[int(np.argmax(presence))], True)]
    for degrees in (180, 90, 270):
        box = models.largest_face(image, np.deg2rad(degrees))
        if box:
            turned.append(look(box, False))
    found = [face for face in upright if face.presence >= min_presence]
    found += [face for face in turned if face.confidence >= 0.9 and face.presence >= min_presence]
    return max(found, key=lambda face: face.confidence, default=None)


@pytest.mark.parametrize("min_presence", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize(
    "levels",
    [
        (0.2, 0.6, 0.9, 0.95, 0.9995, 1.0),  # few values: many ties
        tuple(np.linspace(0.3, 1, 50)),
        (0.0, 0.1),
    ],
)
def test_the_face_is_that_of_looking_twice_everywhere(levels, min_presence):
    runs = np.zeros(2)
    for seed in range(25):
        quick, slow = Dice(seed, levels), Dice(seed, levels)
        face = find_face(quick, IMAGE, min_presence)
        expected = look_twice_everywhere(slow, IMAGE, min_presence)
        if expected is None:
            assert face is None
        else:
            assert face[1:] == expected[1:]
            np.testing.assert_array_equal(face.points, expected.points)
        assert quick.runs <= slow.runs
        runs += quick.runs, slow.runs
    assert runs[0] < runs[1]


def test_a_certain_face_takes_two_looks():
    models = Dice(0, (0.9999,))
    face = find_face(models, IMAGE, 0.5)
    assert face.confidence == 0.9999
    assert models.runs in (2, 3)  # three where the eyes were turned


def test_no_second_look_is_taken_at_what_cannot_win(monkeypatch):
    again = []
    look_again = _face_search._look_again

    def counted(models, image, glance):
        again.append(glance.presence)
        return look_again(models, image, glance)

    monkeypatch.setattr(_face_search, "_look_again", counted)
    for seed in range(30):
        again.clear()
        face = find_face(Dice(seed, (0.3, 0.8, 0.92, 0.98)), IMAGE, 0.0)
        assert all(presence >= face.confidence for presence in again)
