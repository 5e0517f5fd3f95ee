"""What labels and AU scores may be, for classifiers and for labels by AUs alone."""

import numpy as np
import pytest

from adafer import AUGuidedAnnotator, SourceOnlyClassifier
from adafer._labels import refuse_mixed_labels

X = np.random.default_rng(0).uniform(size=(8, 3))
KINDS = [SourceOnlyClassifier(epochs=0, device="cpu"), AUGuidedAnnotator(threshold=0.5)]
NAMES = ["classifier", "annotator"]


@pytest.mark.parametrize("estimator", KINDS, ids=NAMES)
@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([None] * 8, r"no label for some samples: y\[0\] is None"),
        (["a", "b", None, "a"] * 2, r"no label for some samples: y\[2\] is None"),
        (np.array(["a", "b", None, "a"] * 2, object), r"y\[2\] is None"),
        (np.array([True, None] * 4, object), r"y\[1\] is None"),
        (["a", 1] * 4, r"mixes texts with other labels: y\[1\] is 1, a int"),
        (np.array(["a", 1] * 4, object), r"mixes texts"),
        (np.array(["a", "b", np.nan, "a"] * 2, object), r"mixes texts.*y\[2\] is nan"),
        ([1.0, 2.0, np.nan, 1.0] * 2, "NaN"),
        ([1, np.inf] * 4, "infinity"),
        ([0.5, 1.5] * 4, "Unknown label type"),
        ([["a", "b"]] * 8, "1d array"),
        ([["a"], ["a", "b"]] * 4, "inhomogeneous|1d array"),
        ([{}, {}] * 4, "Unknown label type"),
        (["a", "b"], "inconsistent"),
        ("a", "1d array"),
    ],
)
def test_labels_that_are_none_are_value_errors(estimator, y, words):
    with pytest.raises(ValueError, match=words):
        estimator.fit(X, y)


@pytest.mark.parametrize("estimator", KINDS, ids=NAMES)
def test_missing_labels_of_pandas_are_told(estimator):
    pd = pytest.importorskip("pandas")
    for dtype in ("string", "object", "category"):
        y = pd.Series(["a", "b", pd.NA, "a", "b", "a", "b", "a"], dtype=dtype)
        with pytest.raises(ValueError, match=r"no label for some samples|mixes texts"):
            estimator.fit(X, y)
    estimator.fit(X, pd.Series(["a", "b"] * 4, dtype="category"))


def test_one_class_is_too_few_for_a_classifier_and_is_named():
    with pytest.raises(ValueError, match=r"y has 1 class \('a'\)"):
        SourceOnlyClassifier(epochs=0, device="cpu").fit(X, ["a"] * 8)


def test_unseen_classes_score_as_wrong_and_do_not_fail():
    clf = SourceOnlyClassifier(epochs=0, device="cpu").fit(X, ["a", "b"] * 4)
    assert clf.score(X, ["other"] * 8) == 0


def test_labels_come_back_as_they_were_given():
    for y in (
        ["a", "b"],
        np.array(["a"], object),
        np.array([1]),
        (1, 2.0),
        [True, 0],
        "text",
        None,
    ):
        assert refuse_mixed_labels(y) is y


@pytest.mark.parametrize(
    ("au", "words"),
    [
        (X * 5, "divided by 5"),
        (X * 100, r"must lie in \[0, 1\]"),
        (X - 0.5, r"must lie in \[0, 1\]"),
        (np.full((8, 3), np.inf), r"must lie in \[0, 1\]"),
        (np.full((8, 3), np.nan), "Every row"),
        (X[:5], "5 rows but there are 8|inconsistent"),
        (X[:, :0], "0 feature"),
        (X[0], "shape"),
        (X.astype(complex), "Complex"),
        ([[0.1, 0.2], [0.3]] * 4, "numbers|inhomogeneous"),
        ([["0.1", "high", "0"]] * 8, "must hold numbers"),
    ],
)
def test_au_scores_of_another_scale_or_shape_are_refused(au, words):
    with pytest.raises(ValueError, match=words):
        AUGuidedAnnotator(threshold=0.5).fit(au, ["a", "b"] * 4)
