"""Confusion matrices side by side."""

import sys

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

from adafer.display import ConfusionDisplay

TRUTH = np.array(["joy", "fear", "joy", "anger", "fear", "joy"])
PREDICTIONS = {
    "before": np.array(["fear", "fear", "joy", "joy", "anger", "joy"]),
    "after": np.array(["joy", "fear", "joy", "joy", "fear", "joy"]),
}
LABELS = ["anger", "fear", "joy"]


@pytest.mark.parametrize("normalize", ["true", "pred", "all", None])
def test_matrices_are_those_of_scikit_learn(normalize):
    display = ConfusionDisplay.from_predictions(TRUTH, PREDICTIONS, normalize=normalize)
    for name, predicted in PREDICTIONS.items():
        expected = confusion_matrix(TRUTH, predicted, labels=LABELS, normalize=normalize)
        np.testing.assert_array_equal(display.matrices[name], expected)
        shown = display.displays_[name]
        assert isinstance(shown, ConfusionMatrixDisplay)
        np.testing.assert_array_equal(shown.im_.get_array(), expected)
    assert [panel.get_title() for panel in display.axes_] == ["before", "after"]


@pytest.mark.parametrize(("normalize", "top"), [("true", 1), (None, 3)])
def test_all_share_one_colour_scale(normalize, top):
    display = ConfusionDisplay.from_predictions(TRUTH, PREDICTIONS, normalize=normalize)
    scales = [shown.im_.get_clim() for shown in display.displays_.values()]
    assert scales == [(0, top)] * 2
    assert len(display.figure_.axes) == 4  # a hidden whole, two panels and one colour bar


def contrast(*colours):
    """Contrast of two colours by WCAG 2, from 1 to 21."""
    luminances = []
    for colour in colours:
        linear = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
            for part in to_rgb(colour)
        ]
        luminances.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)


def test_numbers_contrast_with_their_cells():
    truth = np.repeat(["a", "b"], 10)
    weak = np.repeat(["a", "b", "a", "b"], [3, 7, 4, 6])
    display = ConfusionDisplay.from_predictions(truth, {"weak": weak, "strong": truth})
    for cmap in ("Blues", "viridis"):
        display.plot(cmap=cmap)
        for name, shown in display.displays_.items():
            for text, value in zip(
                shown.text_.ravel(), display.matrices[name].ravel(), strict=True
            ):
                assert contrast(text.get_color(), shown.im_.cmap(value)) > 4, (cmap, value)


def test_order_of_the_classes_may_be_chosen():
    display = ConfusionDisplay.from_predictions(TRUTH, PREDICTIONS, labels=LABELS[::-1])
    ticks = [text.get_text() for text in display.axes_[0].get_yticklabels()]
    assert ticks == LABELS[::-1]
    expected = confusion_matrix(TRUTH, PREDICTIONS["after"], labels=LABELS[::-1], normalize="true")
    np.testing.assert_array_equal(display.matrices["after"], expected)


def test_estimators_predict(feature_problem):
    problem = feature_problem
    clf = LogisticRegression().fit(problem["X"], problem["y"])
    display = ConfusionDisplay.from_estimators(
        {"linear": clf}, problem["X_tgt"], problem["y_tgt"], normalize=None
    )
    expected = confusion_matrix(problem["y_tgt"], clf.predict(problem["X_tgt"]))
    np.testing.assert_array_equal(display.matrices["linear"], expected)


def test_texts_neither_overlap_nor_leave_the_figure(check_texts):
    rng = np.random.default_rng(0)
    classes = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear"]
    truth = rng.choice(classes, 300)
    predictions = {f"method {number}": rng.choice(classes, 300) for number in range(4)}
    check_texts(ConfusionDisplay.from_predictions(truth, predictions).figure_)
    one = {"alone": predictions["method 0"]}
    check_texts(ConfusionDisplay.from_predictions(truth, one, normalize=None).figure_)


def test_given_axes_are_drawn_into_and_no_global_figure_is_made():
    pair = Figure().subplots(1, 2)
    display = ConfusionDisplay.from_predictions(TRUTH, PREDICTIONS, ax=pair)
    assert list(display.axes_) == list(pair)
    assert display.plot() is display
    assert display.figure_ is not pair[0].figure
    # scikit-learn's display loads pyplot
    assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="predictions is empty"):
        ConfusionDisplay.from_predictions(TRUTH, {})
    with pytest.raises(ValueError, match="inconsistent numbers"):
        ConfusionDisplay.from_predictions(TRUTH, {"a": TRUTH[1:]})
    with pytest.raises(ValueError, match="estimators is empty"):
        ConfusionDisplay.from_estimators({}, TRUTH, TRUTH)
