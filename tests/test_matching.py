import numpy as np
import pytest

from adafer.aus.facs import binarize
from adafer.matching import (
    CodeTable,
    code_keys,
    codes_within,
    distinct_keys,
    score_keys,
    search_codes,
    unpack_keys,
)


def slow_counts(codes, labels, n_classes, query):
    counts = np.zeros(n_classes, dtype=int)
    for code, label in zip(codes, labels, strict=True):
        if all(code == query):
            counts[label] += 1
    return counts


@pytest.mark.parametrize("n_aus", [1, 7, 16, 63, 64, 65, 130])
def test_keys_are_equal_exactly_when_codes_are(n_aus):
    rng = np.random.default_rng(n_aus)
    codes = rng.integers(0, 2, (60, n_aus))
    codes[30:] = codes[:30]
    codes[45:, -1] ^= 1
    keys = code_keys(codes)
    for i in range(len(codes)):
        for j in range(len(codes)):
            assert (keys[i] == keys[j]) == np.array_equal(codes[i], codes[j])


@pytest.mark.parametrize("n_aus", [4, 9, 70])
def test_table_counts_what_a_slow_loop_counts(n_aus):
    rng = np.random.default_rng(n_aus)
    codes = (
        rng.integers(0, 2, (200, n_aus))
        if n_aus < 10
        else np.repeat(rng.integers(0, 2, (50, n_aus)), 4, axis=0)
    )
    labels = rng.integers(0, 3, 200)
    table = CodeTable.from_samples(codes, labels, 3)
    queries = np.concatenate([codes[:40], rng.integers(0, 2, (40, n_aus))])
    for query, row in zip(queries, table.lookup(queries), strict=True):
        expected = slow_counts(codes, labels, 3, query)
        if row < 0:
            assert expected.sum() == 0
        else:
            np.testing.assert_array_equal(table.counts[row], expected)
            same = [i for i in range(200) if np.array_equal(codes[i], query)]
            assert table.last_position[row] == same[-1]
            assert table.last_label[row] == labels[same[-1]]


def test_merged_pieces_equal_the_whole():
    rng = np.random.default_rng(0)
    codes, labels = rng.integers(0, 2, (300, 6)), rng.integers(0, 4, 300)
    whole = CodeTable.from_samples(codes, labels, 4)
    merged = CodeTable.from_samples(codes[:100], labels[:100], 4)
    for start in (100, 200):
        piece = slice(start, start + 100)
        merged = merged.merge(CodeTable.from_samples(codes[piece], labels[piece], 4))
    for name in ("codes", "keys", "counts", "last_position", "last_label"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
    assert merged.n_samples == 300


@pytest.mark.parametrize("n_aus", [5, 16, 20, 70])
def test_faiss_finds_the_same_rows_as_the_table(n_aus):
    rng = np.random.default_rng(n_aus)
    codes = rng.integers(0, 2, (150, n_aus))
    table = CodeTable.from_samples(codes, rng.integers(0, 2, 150), 2)
    queries = np.concatenate([codes[:60], rng.integers(0, 2, (60, n_aus))])
    found = search_codes(table.codes, queries)
    np.testing.assert_array_equal(found, table.lookup(queries))
    assert (found >= 0).sum() >= 60


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_codes_within_a_radius_are_those_of_a_slow_comparison(radius):
    rng = np.random.default_rng(radius)
    codes, queries = rng.integers(0, 2, (80, 11)), rng.integers(0, 2, (30, 11))
    query_index, code_index = codes_within(codes, queries, radius)
    distance = (queries[:, None] != codes[None]).sum(axis=2)
    expected = np.nonzero(distance <= radius)
    np.testing.assert_array_equal(query_index, expected[0])
    np.testing.assert_array_equal(code_index, expected[1])


@pytest.mark.parametrize("n_aus", [1, 8, 20, 33, 70])
def test_keys_of_scores_are_those_of_their_codes_whatever_the_blocks(n_aus):
    rng = np.random.default_rng(n_aus)
    scores = rng.random((70_000, n_aus), dtype=np.float32)  # three blocks
    scores[rng.random(70_000) < 0.01, 0] = np.nan
    thresholds = rng.random(n_aus)
    keys, known = score_keys(scores, thresholds)
    codes = binarize(scores, thresholds)
    np.testing.assert_array_equal(keys, code_keys(codes))
    np.testing.assert_array_equal(known, ~np.isnan(scores).any(axis=1))
    np.testing.assert_array_equal(unpack_keys(keys, n_aus), codes)


@pytest.mark.parametrize(("n_aus", "n_rows"), [(5, 300), (16, 3000), (20, 600_000), (40, 3000)])
def test_distinct_keys_are_those_of_sorting(n_aus, n_rows):
    codes = np.random.default_rng(n_aus).integers(0, 2, (n_rows, n_aus), dtype=np.uint8)
    keys = code_keys(codes)
    distinct, index = distinct_keys(keys, n_aus)
    expected, expected_index = np.unique(keys, return_inverse=True)
    np.testing.assert_array_equal(distinct, expected)
    np.testing.assert_array_equal(index, expected_index)


@pytest.mark.parametrize(("n_aus", "radius"), [(7, 0), (7, 1), (12, 2), (12, 12), (40, 1), (70, 1)])
def test_table_finds_the_codes_within_a_radius_that_faiss_finds(n_aus, radius):
    rng = np.random.default_rng(radius)
    codes = rng.integers(0, 2, (900, n_aus))
    queries = np.concatenate([codes[:20], codes[:20] ^ (rng.random((20, n_aus)) < 2 / n_aus)])
    table = CodeTable.from_samples(codes, rng.integers(0, 2, 900), 2)
    found = table.within(code_keys(queries), radius)
    expected = codes_within(table.codes, queries, radius)
    assert len(found[0]) >= 20
    for mine, others in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, others)


def test_tables_of_shards_merge_in_any_grouping():
    rng = np.random.default_rng(5)
    codes, labels = rng.integers(0, 2, (400, 7)), rng.integers(0, 3, 400)
    a, b, c, d = (
        CodeTable.from_samples(codes[start : start + 100], labels[start : start + 100], 3)
        for start in range(0, 400, 100)
    )
    whole = CodeTable.from_samples(codes, labels, 3)
    for merged in (a.merge(b).merge(c.merge(d)), a.merge(b.merge(c.merge(d)))):
        for name in ("codes", "keys", "counts", "last_position", "last_label", "n_samples"):
            np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
