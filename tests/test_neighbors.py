import numpy as np

from adafer.neighbors import nearest_scores


def test_nearest_scores_are_those_of_a_slow_comparison():
    rng = np.random.default_rng(1)
    scores, queries = rng.random((90, 8)), rng.random((20, 8))
    distances, indices = nearest_scores(scores, queries, 7)
    slow = np.linalg.norm(queries[:, None] - scores[None], axis=2)
    np.testing.assert_array_equal(indices, np.argsort(slow, axis=1)[:, :7])
    np.testing.assert_allclose(distances, np.sort(slow, axis=1)[:, :7], atol=1e-5)


def test_more_neighbours_than_samples_are_cut_to_the_samples():
    distances, indices = nearest_scores(np.eye(3), np.eye(3), 10)
    assert indices.shape == distances.shape == (3, 3)
