import numpy as np
import pytest

from adafer.neighbors import NeighborIndex, nearest_scores, neighbor_blocks


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


def shifted_problem(seed=0, n=20_000):
    """Crowded points, and queries of another spread."""
    rng = np.random.default_rng(seed)
    centres = rng.random((30, 6))
    points = centres[rng.integers(30, size=n)] + 0.1 * rng.normal(size=(n, 6))
    queries = centres[rng.integers(30, size=500)] + 0.2 * rng.normal(size=(500, 6)) + 0.05
    return points.astype(np.float32), queries.astype(np.float32)


@pytest.fixture
def lists_from_a_thousand(monkeypatch):
    monkeypatch.setattr("adafer.neighbors.EXACT_UP_TO", 1000)


@pytest.mark.parametrize("similarity", ["distance", "product"])
@pytest.mark.usefixtures("lists_from_a_thousand")
def test_lists_find_the_neighbours_of_shifted_queries(similarity):
    points, queries = shifted_problem()
    if similarity == "product":
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    lists = NeighborIndex(points, 50, similarity=similarity)
    exact = NeighborIndex(points, 50, search="exact", similarity=similarity)
    assert exact.is_exact
    assert not lists.is_exact
    found, true = lists.search(queries)[1], exact.search(queries)[1]
    recall = np.mean([len(np.intersect1d(a, b)) / 50 for a, b in zip(found, true, strict=True)])
    assert recall > 0.98
    assert lists._index.nprobe < lists._index.nlist / 4  # it did not look everywhere


@pytest.mark.usefixtures("lists_from_a_thousand")
def test_lists_are_the_same_each_time_and_for_each_piece():
    points, queries = shifted_problem(1)
    whole = NeighborIndex(points, 20).search(queries)
    again = NeighborIndex(points, 20)
    for rows in (slice(0, 100), slice(100, 101), slice(101, 500)):
        for first, second in zip(whole, again.search(queries[rows]), strict=True):
            np.testing.assert_array_equal(first[rows], second)


@pytest.mark.usefixtures("lists_from_a_thousand")
def test_equal_points_do_not_confuse_the_lists():
    points = np.repeat(np.eye(4, dtype=np.float32), 500, axis=0)
    squared, indices = NeighborIndex(points, 30).search(np.eye(4, dtype=np.float32))
    np.testing.assert_array_equal(squared, 0)
    np.testing.assert_array_equal(indices // 500, np.arange(4)[:, None] * np.ones((1, 30)))


def test_blocks_of_queries_cover_all_and_keep_results_few():
    blocks = list(neighbor_blocks(100_000, 2000))
    assert [rows.start for rows in blocks[1:]] == [rows.stop for rows in blocks[:-1]]
    assert (blocks[0].start, blocks[-1].stop) == (0, 100_000)
    assert all((rows.stop - rows.start) * 2000 <= 1 << 24 for rows in blocks)
