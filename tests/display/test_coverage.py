"""Coverage of the target by class."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.exceptions import NotFittedError

from adafer import AdaFERClassifier, SourceOnlyClassifier
from adafer.display import CoverageDisplay
from adafer.inheritance import TargetAnnotation

CLASSES = np.array(["fear", "joy", "fear", "joy", "joy", "fear"])
OF_TARGETS = (
    "labels",
    "votes",
    "hard_labels",
    "last_labels",
    "weights",
    "match_counts",
    "matched_by",
)


def changed(annotation, n_targets=6, **values):
    """The annotation with other values, of its first targets over and over."""
    rows = np.resize(np.arange(len(annotation)), n_targets)
    kept = {name: getattr(annotation, name)[rows] for name in OF_TARGETS}
    return TargetAnnotation(annotation.classes, **{**kept, **values})


def texts_of(ax):
    return [text.get_text() for text in ax.texts]


def test_shares_are_counted_per_class(annotation):
    display = CoverageDisplay.from_annotation(annotation, CLASSES)
    assert display.labels.tolist() == ["fear", "joy"]
    assert display.counts.tolist() == [3, 3]
    np.testing.assert_allclose(display.coverage, [2 / 3, 1 / 3])
    np.testing.assert_allclose(display.labelled_share, [2 / 3, 2 / 3])


def test_bars_show_matches_and_other_labels_of_all_and_of_each_class(annotation):
    display = CoverageDisplay.from_annotation(annotation, CLASSES)
    covered, others = display.axes_[0].containers
    np.testing.assert_allclose([bar.get_width() for bar in covered], [50, 200 / 3, 100 / 3])
    np.testing.assert_allclose([bar.get_width() for bar in others], [100 / 6, 0, 100 / 3])
    np.testing.assert_allclose([bar.get_x() for bar in others], [50, 200 / 3, 100 / 3])
    assert texts_of(display.axes_[0]) == ["50 + 17 % of 6", "67 + 0 % of 3", "33 + 33 % of 3"]
    ticks = [text.get_text() for text in display.axes_[0].get_yticklabels()]
    assert ticks == ["all faces", "fear", "joy"]
    assert display.axes_[0].get_ylabel() == "true class"
    exact = changed(annotation, weights=(annotation.match_counts > 0) * 1.0)
    alone = CoverageDisplay.from_annotation(exact, CLASSES)
    assert len(alone.axes_[0].containers) == 1
    assert texts_of(alone.axes_[0])[0] == "50 % of 6"


def test_match_counts_are_binned_by_doubling(annotation):
    counts = np.array([0, 0, 1, 2, 3, 4, 7, 8, 16, 16])
    annotation = changed(annotation, 10, match_counts=counts)
    _, histogram = CoverageDisplay.from_annotation(annotation).axes_
    ticks = [text.get_text() for text in histogram.get_yticklabels()]
    assert ticks == ["0", "1", "2 to 3", "4 to 7", "8 to 15", "16 to 31"]
    assert [bar.get_width() for bar in histogram.containers[0]] == [2, 1, 2, 2, 1, 2]


@pytest.mark.parametrize("largest", [0, 1, 2, 1000])
def test_every_target_is_in_the_histogram(annotation, largest):
    counts = np.full(6, largest)
    annotation = changed(annotation, match_counts=counts)
    _, histogram = CoverageDisplay.from_annotation(annotation).axes_
    assert [bar.get_width() for bar in histogram.containers[0]][-1] == 6


def test_without_classes_all_faces_are_counted_together(annotation):
    display = CoverageDisplay.from_annotation(annotation)
    assert display.labels.size == display.counts.size == display.coverage.size == 0
    assert texts_of(display.axes_[0]) == ["50 + 17 % of 6"]
    assert display.axes_[0].get_ylabel() == ""


def test_order_is_chosen_and_a_class_without_faces_is_told(annotation):
    display = CoverageDisplay.from_annotation(annotation, CLASSES, labels=["joy", "anger", "fear"])
    assert np.isnan(display.coverage).tolist() == [False, True, False]
    assert texts_of(display.axes_[0])[2] == "no face"


def test_an_estimator_is_covered_by_true_or_by_predicted_classes(adapted, feature_problem):
    X_tgt, y_tgt = feature_problem["X_tgt"], feature_problem["y_tgt"]
    matched = adapted.annotation_.match_counts > 0
    predicted = adapted.predict(X_tgt)
    assert (predicted != y_tgt).any()
    for display, y, axis in (
        (CoverageDisplay.from_estimator(adapted, X_tgt, y_tgt), y_tgt, "true class"),
        (CoverageDisplay.from_estimator(adapted, y_tgt=y_tgt), y_tgt, "true class"),
        (CoverageDisplay.from_estimator(adapted, (X_tgt,)), predicted, "predicted class"),
    ):
        expected = [matched[y == label].mean() for label in display.labels]
        np.testing.assert_allclose(display.coverage, expected)
        assert display.axes_[0].get_ylabel() == axis
    assert CoverageDisplay.from_estimator(adapted).labels.size == 0


def test_unreadable_files_are_left_out(adapted_to_faces, face_problem):
    classifier, paths = adapted_to_faces
    truth = face_problem["y_tgt"]
    by_truth = CoverageDisplay.from_estimator(classifier, paths, truth)
    np.testing.assert_array_equal(by_truth.y, np.delete(truth, 2))
    by_prediction = CoverageDisplay.from_estimator(classifier, paths)
    np.testing.assert_array_equal(by_prediction.y, classifier.predict(paths[:2] + paths[3:]))


def test_wrong_input_is_named(annotation, adapted, feature_problem):
    with pytest.raises(ValueError, match="inconsistent numbers"):
        CoverageDisplay.from_annotation(annotation, CLASSES[1:])
    with pytest.raises(ValueError, match="kind must be 'true' or 'predicted'; got 'guessed'"):
        CoverageDisplay.from_annotation(annotation, CLASSES, kind="guessed")
    with pytest.raises(ValueError, match="labels is given but y is not"):
        CoverageDisplay.from_annotation(annotation, labels=["joy"])
    X, y, X_tgt = (feature_problem[name] for name in ("X", "y", "X_tgt"))
    for given in ({"X_tgt": X_tgt[1:]}, {"X_tgt": X_tgt, "y_tgt": CLASSES}):
        with pytest.raises(ValueError, match="adapted to 120 target faces"):
            CoverageDisplay.from_estimator(adapted, **given)
    with pytest.raises(NotFittedError):
        CoverageDisplay.from_estimator(AdaFERClassifier())
    other = SourceOnlyClassifier(epochs=0, device="cpu", random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="SourceOnlyClassifier has no annotation_"):
        CoverageDisplay.from_estimator(other, X_tgt)


def test_texts_neither_overlap_nor_leave_the_figure(annotation, check_texts):
    check_texts(CoverageDisplay.from_annotation(annotation).figure_)
    check_texts(CoverageDisplay.from_annotation(annotation, CLASSES).figure_)
    many = changed(annotation, match_counts=np.array([0, 1, 3, 9, 80, 40000]))
    names = np.array(["anger", "disgust", "fear", "happiness", "surprise", "sadness"])
    check_texts(CoverageDisplay.from_annotation(many, names).figure_)


def test_one_axes_is_divided_and_two_are_taken(annotation):
    figure = Figure()
    whole = figure.subplots()
    display = CoverageDisplay.from_annotation(annotation, CLASSES, ax=whole)
    assert display.figure_ is figure
    assert len(display.axes_) == 2
    pair = Figure().subplots(2)
    assert display.plot(ax=pair) is display
    assert list(display.axes_) == list(pair)
