"""The space of near matching."""

import numpy as np
import pytest

from adafer import AUGuidedAnnotator
from adafer.au_space import AUSpace


def problem(n=600, seed=0):
    """Two telling AUs that go together, and sixteen that do not depend on the class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=n)
    telling = 0.5 + 0.1 * y[:, None] * [1, -1] + 0.08 * rng.normal(size=(n, 2))
    return np.clip(np.column_stack([telling, rng.random((n, 16))]), 0, 1), y


def test_directions_without_classes_count_little():
    scores, y = problem()
    points = AUSpace().fit(scores, y).transform(scores)
    assert points.shape == (600, 2)
    moved = scores.copy()
    moved[:, 2:] = np.random.default_rng(1).random((600, 16))
    by_noise = np.linalg.norm(AUSpace().fit(scores, y).transform(moved) - points, axis=1)
    moved = scores.copy()
    moved[:, 0] = 1 - moved[:, 0]
    by_class = np.linalg.norm(AUSpace().fit(scores, y).transform(moved) - points, axis=1)
    assert by_class.mean() > 3 * by_noise.mean()


def test_the_spread_within_classes_is_the_same_in_all_directions():
    scores, y = problem(4000)
    points = AUSpace().fit(scores, y).transform(scores)
    within = np.mean([np.cov(points[y == k].T) for k in range(3)], axis=0)
    np.testing.assert_allclose(within, np.eye(2), atol=0.1)


def test_near_matching_is_right_more_often_than_by_plain_distance():
    scores, y = problem()
    held_out, truth = problem(seed=1)

    def accuracy(metric):
        annotator = AUGuidedAnnotator(matching="near", metric=metric, n_neighbors=20)
        return np.mean(annotator.fit(scores, y).predict(held_out) == truth)

    assert accuracy("discriminant") > accuracy("euclidean") + 0.05


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        (np.random.default_rng(0).random((20, 3)), np.zeros(20)),  # one class
        (np.random.default_rng(0).random((5, 3)), np.arange(5)),  # one sample per class
        (np.repeat([[0.1, 0.9], [0.9, 0.1]], 10, axis=0), np.repeat([0, 1], 10)),  # no spread
    ],
)
def test_where_classes_have_no_spread_plain_distance_is_used(scores, labels):
    space = AUSpace().fit(scores, labels)
    np.testing.assert_allclose(
        space.transform(scores), AUSpace("euclidean").fit(scores, labels).transform(scores)
    )


def test_pieces_give_the_space_of_the_whole():
    scores, y = problem()
    whole = AUGuidedAnnotator(matching="near").fit(scores, y)
    pieces = AUGuidedAnnotator(matching="near").partial_fit(scores[:200], y[:200])
    pieces.partial_fit(scores[200:], y[200:])
    held_out, _ = problem(seed=1)
    np.testing.assert_array_equal(whole.predict_proba(held_out), pieces.predict_proba(held_out))
