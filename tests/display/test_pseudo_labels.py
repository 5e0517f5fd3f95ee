"""Faces with their inherited labels."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from adafer import AdaFERClassifier, PseudoLabelClassifier
from adafer.display import PseudoLabelsDisplay
from adafer.display._style import RIGHT, WRONG

CLASSES = ["anger", "fear", "joy", "neutral"]
LABELS = np.array([[0.05, 0.6, 0.15, 0.2], [0.0, 0.0, 1.0, 0.0], [0, 0, 0, 0]])


@pytest.fixture
def faces():
    return np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


def texts_of(display):
    return [text.get_text() for text in display.ax_.texts]


def test_the_top_three_classes_stand_under_each_face(faces):
    display = PseudoLabelsDisplay.from_predictions(faces, LABELS, CLASSES)
    assert texts_of(display) == [
        "fear", "60 %", "neutral", "20 %", "joy", "15 %",
        "joy", "100 %",
        "no label",
    ]  # fmt: skip
    assert len(display.ax_.images) == 3
    for image, face in zip(display.ax_.images, faces, strict=True):
        np.testing.assert_array_equal(image.get_array(), face)
    few = PseudoLabelsDisplay.from_predictions(faces, LABELS, CLASSES, n_top=1)
    assert texts_of(few) == ["fear", "60 %", "joy", "100 %", "no label"]


def test_bars_are_as_long_as_probabilities(faces):
    display = PseudoLabelsDisplay.from_predictions(faces, LABELS, CLASSES)
    bars = [patch for patch in display.ax_.patches if patch.get_fill()]
    assert [bar.get_width() for bar in bars] == [0.6, 0.2, 0.15, 1.0]
    # below their face, one under the other
    assert bars[0].get_x() == bars[1].get_x() == 0
    assert 1 < bars[0].get_y() < bars[1].get_y() < bars[2].get_y()


def test_true_labels_are_marked_right_or_wrong(faces):
    display = PseudoLabelsDisplay.from_predictions(
        faces, LABELS, CLASSES, y_true=["fear", "anger", "joy"]
    )
    marked = [text for text in display.ax_.texts if text.get_weight() == "bold"]
    assert [text.get_text() for text in marked] == ["fear ✓", "anger ✗", "joy"]
    assert [text.get_color() for text in marked[:2]] == [RIGHT, WRONG]


def test_tiny_probabilities_and_long_names(faces):
    display = PseudoLabelsDisplay.from_predictions(
        faces[:1], [[0.997, 0.003]], ["disappointment", "joy"]
    )
    assert texts_of(display) == ["disappointm…", "100 %"]


def test_labels_of_fit_stand_under_their_faces_and_unreadable_files_are_left_out(
    adapted_to_faces, face_problem
):
    classifier, paths = adapted_to_faces
    truth = face_problem["y_tgt"]
    display = PseudoLabelsDisplay.from_estimator(classifier, paths, truth, subsample=None)
    kept = np.delete(np.arange(40), 2)
    np.testing.assert_array_equal(display.images, face_problem["X_tgt"][kept])
    np.testing.assert_array_equal(display.label_distribution, classifier.target_labels_)
    np.testing.assert_array_equal(display.y_true, truth[kept])
    assert display.classes.tolist() == ["joy", "sad"]
    few = PseudoLabelsDisplay.from_estimator(classifier, (paths,), truth, subsample=7)
    assert len(few.images) == 7
    place = {face.tobytes(): row for row, face in enumerate(display.images)}
    rows = [place[face.tobytes()] for face in few.images]
    np.testing.assert_array_equal(few.label_distribution, display.label_distribution[rows])
    np.testing.assert_array_equal(few.y_true, display.y_true[rows])
    again = PseudoLabelsDisplay.from_estimator(make_pipeline(classifier), paths, subsample=7)
    np.testing.assert_array_equal(few.images, again.images)
    assert again.y_true is None


def test_labels_of_a_baseline_can_be_shown(face_problem):
    problem = face_problem
    baseline = PseudoLabelClassifier(
        "convnet", labels="soft", image_size=16, epochs=1, random_state=0, device="cpu"
    ).fit(problem["X"], problem["y"], problem["X_tgt"])
    display = PseudoLabelsDisplay.from_estimator(baseline, problem["X_tgt"], subsample=3)
    assert display.label_distribution.shape == (3, 2)


def test_only_the_target_of_fit_can_be_shown(adapted_to_faces, face_problem):
    classifier, paths = adapted_to_faces
    with pytest.raises(ValueError, match="39 rows, but the classifier was adapted to 40 target"):
        PseudoLabelsDisplay.from_estimator(classifier, paths[1:])
    with pytest.raises(ValueError, match="inconsistent numbers"):
        PseudoLabelsDisplay.from_estimator(classifier, paths, face_problem["y_tgt"][1:])
    with pytest.raises(NotFittedError):
        PseudoLabelsDisplay.from_estimator(AdaFERClassifier(), paths)
    source_only = AdaFERClassifier(
        "convnet", image_size=16, epochs=0, random_state=0, device="cpu"
    ).fit(face_problem["X"], face_problem["y"])
    with pytest.raises(ValueError, match=r"no target_labels_; .* Fit an AdaFERClassifier with X_t"):
        PseudoLabelsDisplay.from_estimator(source_only, paths)


@pytest.mark.parametrize("n", [1, 12])
@pytest.mark.parametrize("with_truth", [True, False])
def test_texts_neither_overlap_nor_leave_the_figure(n, with_truth, check_texts):
    rng = np.random.default_rng(n)
    classes = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear"]
    display = PseudoLabelsDisplay.from_predictions(
        rng.integers(0, 256, (n, 16, 16), dtype=np.uint8), rng.dirichlet(np.ones(7), n), classes,
        y_true=rng.choice(classes, n) if with_truth else None,
    )  # fmt: skip
    check_texts(display.figure_)
    assert display.plot(n_columns=1) is display


def test_wrong_input_is_named(faces):
    refused = [
        ((faces[:2], LABELS, CLASSES), "inconsistent numbers"),
        ((faces, LABELS, CLASSES[:3]), "4 columns for 3 classes"),
        ((faces, LABELS / 2, CLASSES), r"sum to 1, or all zero; row 0 is \[0.025, 0.3"),
        ((faces, -LABELS, CLASSES), "must be probabilities"),
        ((faces * 1000.0, LABELS, CLASSES), r"expected \[0, 1\]"),
    ]
    for arguments, words in refused:
        with pytest.raises(ValueError, match=words):
            PseudoLabelsDisplay.from_predictions(*arguments)
    with pytest.raises(ValueError, match="n_top must be at least 1"):
        PseudoLabelsDisplay.from_predictions(faces, LABELS, CLASSES, n_top=0)
