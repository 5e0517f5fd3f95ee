import pickle
import tracemalloc
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from adafer import AUGuidedAnnotator
from adafer.inheritance import TargetAnnotation

CLASSES = np.array(["anger", "fear", "joy"])


def problem(seed, n_source=80, n_target=60, n_aus=4):
    rng = np.random.default_rng(seed)
    au_src = rng.random((n_source, n_aus))
    y = CLASSES[rng.integers(0, 3, n_source)]
    y[:3] = CLASSES
    return au_src, y, rng.random((n_target, n_aus)), rng


def matching_sources(au_src, target, threshold=0.5):
    return [i for i, row in enumerate(au_src) if all((row > threshold) == (target > threshold))]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("engine", ["numpy", "faiss"])
def test_t_soft_t_hard_and_match_counts_equal_a_slow_version(seed, engine):
    au_src, y, au_tgt, _ = problem(seed, n_source=20)
    annotation = AUGuidedAnnotator(threshold=0.5, engine=engine).fit(au_src, y).annotate(au_tgt)
    prior = [np.mean(y == c) for c in CLASSES]
    for j, target in enumerate(au_tgt):
        matches = matching_sources(au_src, target)
        assert annotation.match_counts[j] == len(matches)
        if not matches:
            assert annotation.weights[j] == 0
            assert annotation.hard_labels[j] == -1
            assert not annotation.labels[j].any()
            assert annotation.matched_by[j] == "none"
            continue
        votes = [sum(y[i] == c for i in matches) for c in CLASSES]
        np.testing.assert_allclose(annotation.labels[j], np.array(votes) / len(matches))
        best = max(range(3), key=lambda c: (votes[c], prior[c], -c))
        assert annotation.hard_labels[j] == best
        assert annotation.weights[j] == 1
        assert annotation.matched_by[j] == "exact"
    n_matched = sum(bool(matching_sources(au_src, t)) for t in au_tgt)
    assert annotation.coverage == n_matched / len(au_tgt)


def test_tie_goes_to_the_larger_prior_then_to_the_lower_class():
    au_src = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0, 0], [0, 0]], dtype=float)
    y = ["a", "b", "a", "b", "b", "b"]
    annotator = AUGuidedAnnotator(threshold=0.5).fit(au_src, y)
    assert annotator.predict([[1.0, 0.0]]) == ["b"]
    annotator = AUGuidedAnnotator(threshold=0.5).fit(au_src[:4], y[:4])
    assert annotator.predict([[1.0, 0.0]]) == ["a"]


@pytest.mark.parametrize("seed", range(10))
def test_s_hard_last_is_the_label_of_the_last_matching_source(seed):
    au_src, y, au_tgt, rng = problem(seed)
    annotation = AUGuidedAnnotator(threshold=0.5).fit(au_src, y).annotate(au_tgt)
    labels = annotation.source_hard("last", rng)
    for j, target in enumerate(au_tgt):
        matches = matching_sources(au_src, target)
        expected = (y[matches[-1]] == CLASSES).astype(float) if matches else np.zeros(3)
        np.testing.assert_array_equal(labels[j], expected)


def test_s_hard_random_draws_each_matching_source_equally_often():
    au_src = np.array([[1.0, 0.0]] * 4 + [[0.0, 1.0]] * 2)
    y = ["joy", "joy", "joy", "fear", "anger", "joy"]
    annotation = (
        AUGuidedAnnotator(threshold=0.5).fit(au_src, y).annotate(np.array([[0.9, 0.1]] * 8000))
    )
    drawn = annotation.source_hard("random", np.random.default_rng(0))
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_array_equal(drawn.sum(axis=1), 1)
    np.testing.assert_allclose(drawn.mean(axis=0), [0, 0.25, 0.75], atol=0.02)
    again = annotation.source_hard("random", np.random.default_rng(1))
    assert (again != drawn).any()


def test_s_hard_all_equals_t_soft():
    au_src, y, au_tgt, rng = problem(3)
    annotation = AUGuidedAnnotator(threshold=0.5).fit(au_src, y).annotate(au_tgt)
    np.testing.assert_array_equal(annotation.source_hard("all", rng), annotation.labels)


def test_s_hard_never_labels_a_target_without_match():
    au_src, y, au_tgt, rng = problem(5, n_source=6)
    annotation = AUGuidedAnnotator(threshold=0.5).fit(au_src, y).annotate(au_tgt)
    assert (annotation.weights == 0).any()
    for conflict in ("random", "last", "all"):
        labels = annotation.source_hard(conflict, rng)
        assert not labels[annotation.weights == 0].any()
        np.testing.assert_allclose(labels[annotation.weights == 1].sum(axis=1), 1)


@pytest.mark.parametrize("radius", [0, 1, 2])
def test_hamming_backoff_pools_the_codes_within_the_radius(radius):
    au_src, y, au_tgt, _ = problem(7, n_source=12, n_aus=6)
    annotator = AUGuidedAnnotator(threshold=0.5, backoff="hamming", radius=radius)
    annotation = annotator.fit(au_src, y).annotate(au_tgt)
    for j, target in enumerate(au_tgt):
        exact = matching_sources(au_src, target)
        near = [
            i for i, row in enumerate(au_src) if ((row > 0.5) != (target > 0.5)).sum() <= radius
        ]
        used = exact or near
        assert annotation.match_counts[j] == len(exact)
        expected = [np.mean([y[i] == c for i in used]) if used else 0 for c in CLASSES]
        np.testing.assert_allclose(annotation.labels[j], expected)
        assert annotation.last_labels[j] == (np.searchsorted(CLASSES, y[used[-1]]) if used else -1)
    if radius == 2:
        assert annotation.labelled_share > annotation.coverage


@pytest.mark.parametrize("metric", ["euclidean", "discriminant"])
def test_near_matching_equals_a_slow_kernel_vote(metric):
    au_src, y, au_tgt, _ = problem(11)
    annotator = AUGuidedAnnotator(matching="near", n_neighbors=9, metric=metric, shrinkage=2.0)
    annotation = annotator.fit(au_src, y).annotate(au_tgt)
    mapped_src = annotator.au_space_.transform(au_src)
    mapped_tgt = annotator.au_space_.transform(au_tgt)
    if metric == "euclidean":
        ranks = np.argsort(np.argsort(au_src, axis=0), axis=0) / (len(au_src) - 1)
        np.testing.assert_allclose(mapped_src, ranks, atol=0.02)
    prior = np.array([np.mean(y == c) for c in CLASSES])
    for j in range(len(au_tgt)):
        distance = np.linalg.norm(mapped_src - mapped_tgt[j], axis=1)
        nearest = np.argsort(distance)[:9]
        weight = np.exp(-2 * (distance[nearest] / distance[nearest[-1]]) ** 2)
        votes = np.array([weight[y[nearest] == c].sum() for c in CLASSES])
        np.testing.assert_allclose(annotation.votes[j], votes, rtol=1e-4)
        expected = (votes + 2 * prior) / (votes.sum() + 2)
        np.testing.assert_allclose(annotation.labels[j], expected, rtol=1e-4)
    assert annotation.labelled_share == 1


def test_near_matching_does_not_change_when_an_au_is_rescaled_monotonically():
    au_src, y, au_tgt, _ = problem(12, n_source=300)
    first = AUGuidedAnnotator(matching="near").fit(au_src, y).annotate(au_tgt).labels
    au_src[:, 0], au_tgt[:, 0] = au_src[:, 0] ** 2, au_tgt[:, 0] ** 2
    second = AUGuidedAnnotator(matching="near").fit(au_src, y).annotate(au_tgt).labels
    np.testing.assert_allclose(first, second, atol=0.02)


def test_prior_backoff_gives_the_source_prior_to_what_has_no_match():
    au_src, y, au_tgt, rng = problem(5, n_source=6)
    annotator = AUGuidedAnnotator(threshold=0.5, backoff="prior").fit(au_src, y)
    annotation = annotator.annotate(au_tgt)
    filled = annotation.matched_by == "prior"
    assert filled.any()
    np.testing.assert_allclose(
        annotation.labels[filled], np.tile([np.mean(y == c) for c in CLASSES], (filled.sum(), 1))
    )
    assert annotation.labelled_share == 1 > annotation.coverage
    assert annotation.source_hard("random", rng)[filled].sum() == filled.sum()


def test_rows_without_face_are_left_out_and_get_no_label():
    au_src, y, au_tgt, _ = problem(0)
    broken = au_src.copy()
    broken[10:20] = np.nan
    whole = np.delete(np.arange(80), np.arange(10, 20))
    au_tgt[5] = np.nan
    for options in ({}, {"matching": "near"}, {"backoff": "prior"}):
        annotator = AUGuidedAnnotator(**options)
        annotation = annotator.fit(broken, y).annotate(au_tgt)
        expected = clone(annotator).fit(au_src[whole], y[whole]).annotate(au_tgt)
        np.testing.assert_array_equal(annotation.labels, expected.labels)
        assert annotator.n_missing_ == 10
        assert annotation.weights[5] == 0
        assert not annotation.labels[5].any()


def test_thresholds_are_the_quantiles_of_the_source():
    au_src, y, _, _ = problem(2)
    annotator = AUGuidedAnnotator(quantile=0.6).fit(au_src, y)
    np.testing.assert_allclose(annotator.thresholds_, np.quantile(au_src, 0.6, axis=0))


@pytest.mark.parametrize("matching", ["exact", "hamming", "near"])
def test_pieces_and_merged_annotators_equal_one_fit(matching):
    au_src, y, au_tgt, _ = problem(4)
    settings = {"threshold": 0.5, "matching": matching, "n_neighbors": 10}
    whole = AUGuidedAnnotator(**settings).fit(au_src, y)
    pieces = AUGuidedAnnotator(**settings).partial_fit(au_src[:40], y[:40], classes=CLASSES)
    other = AUGuidedAnnotator(**settings).partial_fit(au_src[40:], y[40:], classes=CLASSES)
    merged = pickle.loads(pickle.dumps(pieces)).merge(other)
    pieces.partial_fit(au_src[40:], y[40:])
    for annotator in (pieces, merged):
        np.testing.assert_array_equal(annotator.code_table_.counts, whole.code_table_.counts)
        np.testing.assert_allclose(annotator.class_prior_, whole.class_prior_)
        if matching != "near":  # its quantile map is that of the first piece
            np.testing.assert_array_equal(
                annotator.annotate(au_tgt).last_labels, whole.annotate(au_tgt).last_labels
            )
            np.testing.assert_allclose(
                annotator.annotate(au_tgt).labels, whole.annotate(au_tgt).labels
            )
        else:
            assert len(annotator.source_scores_) == 80


def test_refit_forgets_the_first_fit():
    au_src, y, au_tgt, _ = problem(4)
    annotator = AUGuidedAnnotator().fit(au_src[:50], y[:50]).fit(au_src, y)
    np.testing.assert_array_equal(
        annotator.annotate(au_tgt).labels,
        AUGuidedAnnotator().fit(au_src, y).annotate(au_tgt).labels,
    )


def test_annotators_with_other_thresholds_are_not_merged():
    au_src, y, _, _ = problem(4)
    first = AUGuidedAnnotator().fit(au_src[:40], y[:40])
    second = AUGuidedAnnotator().fit(au_src[40:], y[40:])
    with pytest.raises(ValueError, match="different thresholds_ cannot be merged"):
        first.merge(second)


def test_no_match_at_all_is_an_error_that_names_the_backoffs():
    au_src = np.array([[0.9, 0.1], [0.8, 0.2], [0.9, 0.9]])
    annotator = AUGuidedAnnotator(threshold=0.5).fit(au_src, ["a", "b", "a"])
    with pytest.raises(ValueError, match=r"0 of 2 matched.*backoff='near', 'hamming'.*'prior'"):
        annotator.annotate([[0.1, 0.9], [0.2, 0.8]])


def test_all_equal_scores_are_refused():
    with pytest.raises(ValueError, match=r"(?i)equal|constant"):
        AUGuidedAnnotator().fit(np.full((6, 3), 0.4), ["a", "b"] * 3)


def test_scores_that_are_all_nan_are_refused():
    with pytest.raises(ValueError, match="Every row of X holds NaN"):
        AUGuidedAnnotator().fit(np.full((6, 3), np.nan), ["a", "b"] * 3)


def test_intensities_on_another_scale_are_refused():
    with pytest.raises(ValueError, match=r"0\.\.5 .* must be divided by 5"):
        AUGuidedAnnotator().fit([[0.0, 4.5], [1.0, 2.0]], ["a", "b"])


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="inconsistent lengths"):
        AUGuidedAnnotator().fit(np.eye(3), ["a", "b"])


def test_other_au_columns_are_refused_and_other_orders_are_not():
    source = pd.DataFrame({"AU01": [0.9, 0.1, 0.8], "AU12": [0.2, 0.9, 0.8]})
    annotator = AUGuidedAnnotator(threshold=0.5).fit(source, ["a", "b", "b"])
    turned = annotator.annotate(source[["AU12", "AU01"]])
    np.testing.assert_array_equal(turned.labels, annotator.annotate(source).labels)
    with pytest.raises(ValueError, match=r"lacks \['AU12'\] and adds \['AU25'\]"):
        annotator.annotate(source.rename(columns={"AU12": "AU25"}))
    with pytest.raises(ValueError, match="X has 3 features, but AUGuidedAnnotator is expecting 2"):
        annotator.annotate(np.zeros((2, 3)))


def test_unknown_class_in_a_later_piece_is_refused():
    au_src, y, _, _ = problem(4)
    annotator = AUGuidedAnnotator().partial_fit(au_src, y)
    with pytest.raises(ValueError, match=r"\['Joy'\] that are not among"):
        annotator.partial_fit(au_src[:2], ["Joy", "fear"])


def test_unknown_scheme_and_parameters_are_refused():
    au_src, y, _, _ = problem(4)
    with pytest.raises(ValueError, match="schemes must be distinct names"):
        AUGuidedAnnotator(schemes=("soft",)).fit(au_src, y)
    with pytest.raises(ValueError, match="'conflict' parameter"):
        AUGuidedAnnotator(conflict="first").fit(au_src, y)
    with pytest.raises(ValueError, match="conflict must be"):
        AUGuidedAnnotator().fit(au_src, y).annotate(au_src).source_hard(
            "first", np.random.default_rng(0)
        )


def test_near_backoff_set_after_fit_says_what_to_do():
    au_src, y, au_tgt, _ = problem(4)
    annotator = AUGuidedAnnotator().fit(au_src, y).set_params(matching="near")
    with pytest.raises(ValueError, match="before fit"):
        annotator.annotate(au_tgt)


def test_probabilities_of_unmatched_samples_are_the_prior():
    au_src, y, au_tgt, _ = problem(5, n_source=6)
    annotator = AUGuidedAnnotator(threshold=0.5).fit(au_src, y)
    annotation: TargetAnnotation = annotator.annotate(au_tgt)
    found = annotator.predict_proba(au_tgt)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(
        found[annotation.weights == 0],
        np.tile(annotator.class_prior_, (int((annotation.weights == 0).sum()), 1)),
    )


def attributes(annotation):
    """All that it says of the targets."""
    names = ("labels", "votes", "hard_labels", "last_labels", "weights", "match_counts")
    return {name: getattr(annotation, name) for name in (*names, "matched_by")}


def check_equal(first, second):
    for (name, mine), others in zip(
        attributes(first).items(), attributes(second).values(), strict=True
    ):
        np.testing.assert_array_equal(mine, others, err_msg=name)
        assert mine.dtype == others.dtype


SETTINGS = [
    {},
    {"matching": "hamming"},
    {"matching": "near", "n_neighbors": 9},
    {"backoff": "near", "n_neighbors": 9},
    {"backoff": "hamming"},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_shards_merged_in_any_grouping_equal_the_whole_to_the_bit(settings):
    au_src, y, au_tgt, _ = problem(13, n_source=200, n_aus=6)
    annotator = AUGuidedAnnotator(threshold=0.6, **settings)
    whole = clone(annotator).fit(au_src, y).annotate(au_tgt)

    def shard(start, stop):
        return clone(annotator).partial_fit(au_src[start:stop], y[start:stop], classes=CLASSES)

    ends = [0, 30, 31, 120, 200]
    a, b, c, d = (shard(*pair) for pair in pairwise(ends))
    check_equal(a.merge(b).merge(c.merge(d)).annotate(au_tgt), whole)
    a, b, c, d = (shard(*pair) for pair in pairwise(ends))
    check_equal(a.merge(b.merge(c.merge(d))).annotate(au_tgt), whole)


@pytest.mark.parametrize("settings", SETTINGS)
def test_scores_mapped_from_a_file_in_pieces_equal_those_in_memory(settings, tmp_path):
    au_src, y, au_tgt, _ = problem(14, n_source=300, n_target=250, n_aus=6)
    au_tgt[17] = np.nan
    for name, scores in (("source", au_src), ("target", au_tgt)):
        np.save(tmp_path / f"{name}.npy", scores.astype(np.float32))
    source, target = (
        np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("source", "target")
    )
    whole = AUGuidedAnnotator(threshold=0.6, **settings)
    whole.fit(np.array(source, dtype=np.float64), y)
    expected = whole.annotate(np.array(target, dtype=np.float64))
    pieces = AUGuidedAnnotator(threshold=0.6, **settings)
    for start in range(0, 300, 70):
        rows = slice(start, start + 70)
        pieces.partial_fit(source[rows], y[rows], classes=CLASSES)
    check_equal(pieces.annotate(target), expected)
    for start in range(0, 250, 90):
        rows = slice(start, start + 90)
        check_equal(pieces.annotate(target[rows]), expected.take(rows))


def test_codes_given_as_scores_are_taken_as_they_are():
    au_src, y, au_tgt, _ = problem(15)
    expected = AUGuidedAnnotator(threshold=0.5).fit(au_src > 0.5, y)
    for dtype in (np.uint8, np.int64, np.float32):
        annotator = AUGuidedAnnotator(threshold=0.5).fit((au_src > 0.5).astype(dtype), y)
        check_equal(
            annotator.annotate((au_tgt > 0.5).astype(dtype)), expected.annotate(au_tgt > 0.5)
        )


def test_part_of_an_annotation_is_that_of_these_targets():
    au_src, y, au_tgt, rng = problem(16, n_source=15)
    annotator = AUGuidedAnnotator(threshold=0.5, backoff="hamming").fit(au_src, y)
    annotation = annotator.annotate(au_tgt)
    rows = rng.permutation(len(au_tgt))[:20]
    part = annotation.take(rows)
    check_equal(part, annotator.annotate(au_tgt[rows]))
    assert len(part) == 20
    given = TargetAnnotation(CLASSES, **attributes(annotation))
    check_equal(given.take(rows), part)
    assert given.coverage == annotation.coverage
    for conflict in ("random", "last", "all"):
        np.testing.assert_array_equal(
            given.source_hard(conflict, np.random.default_rng(1)),
            annotation.source_hard(conflict, np.random.default_rng(1)),
        )


def test_near_matching_by_lists_labels_as_comparing_with_all(monkeypatch):
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=5000)
    au_src = np.clip(0.2 + 0.2 * y[:, None] + 0.2 * rng.normal(size=(5000, 6)), 0, 1)
    au_tgt = au_src[:500] * 0.9
    exact = AUGuidedAnnotator(matching="near", n_neighbors=50, search="exact").fit(au_src, y)
    lists = AUGuidedAnnotator(matching="near", n_neighbors=50).fit(au_src, y)
    expected = exact.annotate(au_tgt)
    check_equal(lists.annotate(au_tgt), expected)  # few: both compare with all
    monkeypatch.setattr("adafer.neighbors.EXACT_UP_TO", 1000)
    lists = clone(lists).fit(au_src, y)
    found = lists.annotate(au_tgt)
    assert np.abs(found.labels - expected.labels).mean() < 0.002
    assert np.mean(found.hard_labels == expected.hard_labels) > 0.99
    np.testing.assert_allclose(found.labels, expected.labels, atol=0.05)
    again = pickle.loads(pickle.dumps(lists))
    check_equal(again.annotate(au_tgt), found)
    check_equal(again.annotate(au_tgt[100:300]), found.take(slice(100, 300)))


def test_annotating_many_faces_keeps_few_bytes_of_each():
    """Codes, keys and labels of a kind: no copies of the scores, no tables of all targets."""
    rng = np.random.default_rng(0)
    n = 200_000
    scores = rng.random((n, 20), dtype=np.float32)
    scores[:, 8:] = 0.0
    y = rng.integers(7, size=n)
    tracemalloc.start()
    try:
        annotation = AUGuidedAnnotator(threshold=0.5).fit(scores, y).annotate(scores)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert annotation.coverage == 1
    assert kept < 12 * n
    assert peak < 200 * n  # one copy in float64 is 160 bytes a face


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", ["quantile", 0.5])
def test_whole_weights_are_repetitions(seed, threshold):
    au_src, y, au_tgt, rng = problem(seed)
    au_src = au_src.round(1)  # equal scores, too
    weights = rng.integers(0, 4, len(y))
    for options in ({}, {"backoff": "prior"}, {"matching": "hamming"}):
        annotator = AUGuidedAnnotator(threshold=threshold, quantile=0.6, **options)
        weighted = clone(annotator).fit(au_src, y, weights)
        repeated = clone(annotator).fit(au_src.repeat(weights, axis=0), y.repeat(weights))
        np.testing.assert_allclose(weighted.thresholds_, repeated.thresholds_, atol=1e-12)
        np.testing.assert_allclose(weighted.class_prior_, repeated.class_prior_)
        found, expected = weighted.annotate(au_tgt), repeated.annotate(au_tgt)
        np.testing.assert_allclose(found.labels, expected.labels)
        np.testing.assert_array_equal(found.match_counts, expected.match_counts)
        np.testing.assert_array_equal(found.hard_labels, expected.hard_labels)


def test_near_matching_weighs_the_votes_of_sources():
    au_src, y, au_tgt, rng = problem(0)
    weights = rng.random(len(y)) + 0.1
    annotator = AUGuidedAnnotator(matching="near", n_neighbors=7).fit(au_src, y, weights)
    annotation = annotator.annotate(au_tgt)
    sources, targets = (annotator.au_space_.transform(scores) for scores in (au_src, au_tgt))
    prior = np.array([weights[y == name].sum() for name in CLASSES]) / weights.sum()
    for target, label in zip(targets, annotation.labels, strict=True):
        distance = np.linalg.norm(sources - target, axis=1)
        nearest = np.argsort(distance)[:7]
        kernel = np.exp(-2 * (distance[nearest] / distance[nearest].max()) ** 2)
        votes = 5.0 * prior
        for row, share in zip(nearest, kernel * weights[nearest], strict=True):
            votes[y[row] == CLASSES] += share
        np.testing.assert_allclose(label, votes / votes.sum(), rtol=1e-4)


def test_weights_add_up_over_pieces():
    au_src, y, au_tgt, rng = problem(1)
    weights = rng.random(len(y))
    for matching in ("exact", "near"):
        whole = AUGuidedAnnotator(matching=matching, threshold=0.5).fit(au_src, y, weights)
        pieces = AUGuidedAnnotator(matching=matching, threshold=0.5)
        for rows in np.array_split(np.arange(len(y)), 3):
            pieces.partial_fit(au_src[rows], y[rows], CLASSES, sample_weight=weights[rows])
        np.testing.assert_allclose(
            pieces.predict_proba(au_tgt), whole.predict_proba(au_tgt), rtol=1e-6
        )


@pytest.mark.parametrize("matching", ["exact", "near"])
@pytest.mark.parametrize("weighted_first", [True, False])
def test_samples_of_a_piece_without_weights_count_as_one(matching, weighted_first):
    au_src, y, au_tgt, rng = problem(2)
    weights = rng.random(len(y))
    plain = slice(40, None) if weighted_first else slice(0, 40)
    weights[plain] = 1.0
    annotator = AUGuidedAnnotator(matching=matching, threshold=0.5)
    whole = clone(annotator).fit(au_src, y, weights)
    shards = [
        clone(annotator).partial_fit(
            au_src[rows], y[rows], CLASSES, None if rows == plain else weights[rows]
        )
        for rows in (slice(0, 40), slice(40, None))
    ]
    merged = shards[0].merge(shards[1])
    np.testing.assert_allclose(merged.predict_proba(au_tgt), whole.predict_proba(au_tgt), rtol=1e-6)
    np.testing.assert_allclose(
        merged.annotate(au_tgt).match_counts, whole.annotate(au_tgt).match_counts
    )
