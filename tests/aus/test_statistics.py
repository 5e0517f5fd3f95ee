"""AU frequencies by expression, and how alike they are."""

import numpy as np
import pytest

from adafer.aus import au_frequencies, au_similarity
from adafer.aus.facs import fit_thresholds
from adafer.datasets import load_facs_faces


def slow_frequencies(scores, y, thresholds, labels):
    rows, counts = [], []
    for label in labels:
        faces = [s for s, name in zip(scores, y, strict=True)
                 if name == label and not any(np.isnan(s))]  # fmt: skip
        counts.append(len(faces))
        rows.append([np.mean([face[k] > thresholds[k] for face in faces])
                     for k in range(scores.shape[1])])  # fmt: skip
    return np.array(rows), counts


def slow_similarity(a, b):
    return np.array([
        [sum(min(*pair) for pair in zip(p, q, strict=True))
         / sum(max(*pair) for pair in zip(p, q, strict=True)) for q in b] for p in a
    ])  # fmt: skip


@pytest.fixture
def problem():
    rng = np.random.default_rng(3)
    scores = rng.random((60, 5))
    scores[[4, 17, 30]] = np.nan
    scores[8, 2] = np.nan  # one unknown AU: no face
    return scores, rng.choice(["joy", "fear", "anger"], 60)


def test_frequencies_are_shares_of_the_faces_of_each_expression(problem):
    scores, y = problem
    counted = au_frequencies(scores, y, threshold=0.6)
    assert counted.labels.tolist() == ["anger", "fear", "joy"]
    rows, counts = slow_frequencies(scores, y, [0.6] * 5, counted.labels)
    np.testing.assert_allclose(counted.frequencies, rows)
    assert counted.counts.tolist() == counts
    assert counted.n_missing == 4
    assert sum(counts) + 4 == len(y)


def test_thresholds_can_be_quantiles_or_one_per_au(problem):
    scores, y = problem
    thresholds = fit_thresholds(scores, quantile=0.4)
    assert len(set(thresholds)) == 5
    rows, _ = slow_frequencies(scores, y, thresholds, ["anger", "fear", "joy"])
    for threshold in ("quantile", thresholds):
        counted = au_frequencies(scores, y, threshold=threshold, quantile=0.4)
        np.testing.assert_allclose(counted.frequencies, rows)


def test_codes_stay_as_they_are():
    codes = np.array([[1, 0], [1, 1], [1, 0], [0, 0]])
    frequencies = au_frequencies(codes, ["a", "a", "b", "b"]).frequencies
    np.testing.assert_array_equal(frequencies, [[1, 0.5], [0.5, 0]])


def test_labels_set_the_order_and_leave_others_out(problem):
    scores, y = problem
    whole = au_frequencies(scores, y, threshold=0.5)
    some = au_frequencies(scores, y, threshold=0.5, labels=["joy", "contempt", "anger"])
    np.testing.assert_array_equal(some.frequencies[[0, 2]], whole.frequencies[[2, 0]])
    assert some.counts[1] == 0
    assert np.isnan(some.frequencies[1]).all()


def test_similarity_is_the_overlap_of_all_pairs():
    rng = np.random.default_rng(0)
    a, b = rng.random((4, 6)), rng.random((3, 6))
    np.testing.assert_allclose(au_similarity(a, b), slow_similarity(a, b))
    np.testing.assert_allclose(au_similarity(a, b), au_similarity(b, a).T)
    np.testing.assert_allclose(au_similarity(a, a).diagonal(), 1)


def test_aus_that_neither_shows_do_not_count():
    a, b = np.array([[0.5, 0.2]]), np.array([[0.1, 0.4]])
    padded = [np.pad(x, ((0, 0), (0, 30))) for x in (a, b)]
    np.testing.assert_allclose(au_similarity(*padded), au_similarity(a, b))
    np.testing.assert_allclose(au_similarity(a, b), 0.3 / 0.9)


def test_no_au_at_all_and_unknown_rows():
    none, some, unknown = [0.0, 0.0], [0.5, 0.0], [np.nan, np.nan]
    similarity = au_similarity([none, some, unknown], [none, some])
    np.testing.assert_array_equal(similarity, [[1, 0], [0, 1], [np.nan, np.nan]])


def test_wrong_input_is_named(problem):
    scores, y = problem
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        au_frequencies(scores * 5, y)
    with pytest.raises(ValueError, match="60 samples but 59 rows of y"):
        au_frequencies(scores, y[1:])
    with pytest.raises(ValueError, match="threshold must be one number or 5 of them"):
        au_frequencies(scores, y, threshold=[0.5, 0.5])
    with pytest.raises(ValueError, match="frequencies of the same AUs"):
        au_similarity(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="negative"):
        au_similarity([[-0.1]], [[0.1]])


def test_each_expression_is_most_alike_to_itself_in_the_other_domain():
    """The claim of section 3.2, on the true AUs of the faces in the package."""
    studio, wild = load_facs_faces(domain="studio"), load_facs_faces(domain="wild")
    a, b = (au_frequencies(d.au, d.clean_target, threshold=0.0).frequencies for d in (studio, wild))
    similarity = au_similarity(a, b)
    assert (similarity.argmax(axis=1) == np.arange(7)).all()
    assert similarity.diagonal().min() > 0.75
    assert similarity[~np.eye(7, dtype=bool)].max() < 0.7
