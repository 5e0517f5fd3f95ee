import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from adafer.display import PredictionsDisplay, RecallDisplay

TRUTH = np.array(["joy", "fear", "joy", "anger", "fear"])
BEFORE = np.array(["fear", "fear", "joy", "joy", "anger"])
AFTER = np.array(["joy", "fear", "joy", "joy", "fear"])


@pytest.fixture
def faces():
    return np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)


def texts_of(display):
    return [text.get_text() for text in display.ax_.texts]


def test_each_face_shows_truth_before_and_after_with_marks(faces):
    display = PredictionsDisplay.from_predictions(faces, TRUTH, BEFORE, AFTER)
    assert len(display.ax_.images) == 5
    assert texts_of(display)[:3] == ["joy", "fear ✗", "→ joy ✓"]
    assert texts_of(display)[9:12] == ["anger", "joy ✗", "→ joy ✗"]


def test_right_and_wrong_differ_in_colour(faces):
    display = PredictionsDisplay.from_predictions(faces, TRUTH, BEFORE, AFTER)
    wrong, right = (text.get_color() for text in display.ax_.texts[1:3])
    assert wrong != right
    frames = [patch.get_edgecolor() for patch in display.ax_.patches]
    assert frames[0] == frames[1] == frames[2] == frames[4] != frames[3]


def test_faces_do_not_overlap_and_texts_stay_in_the_figure(faces):
    display = PredictionsDisplay.from_predictions(faces, TRUTH, BEFORE, AFTER, n_columns=2)
    places = {(image.get_extent()[0], image.get_extent()[3]) for image in display.ax_.images}
    assert len(places) == 5
    assert len({x for x, _ in places}) == 2
    display.figure_.draw_without_rendering()
    width, height = display.figure_.get_size_inches() * display.figure_.dpi
    for text in display.ax_.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= width
        assert box.y0 >= 0
        assert box.y1 <= height


@pytest.mark.parametrize("form", ["grey", "float", "list", "several sizes"])
def test_pictures_of_each_form_are_drawn(faces, form):
    pictures = {
        "grey": faces[..., 0],
        "float": faces / 255.0,
        "list": list(faces),
        "several sizes": [face[: 8 + n] for n, face in enumerate(faces)],
    }[form]
    black = [np.zeros_like(face) for face in pictures]

    def draw(images):
        canvas = PredictionsDisplay.from_predictions(images, TRUTH, BEFORE, AFTER).figure_.canvas
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)

    drawn, without = draw(pictures), draw(black)
    differs = np.abs(drawn - without).max(axis=2) > 0
    assert 0.05 < differs.mean() < 0.9  # the faces, and nothing around them


def test_bars_show_accuracy_and_recalls():
    display = RecallDisplay.from_predictions(TRUTH, {"before": BEFORE, "after": AFTER})
    assert display.labels.tolist() == ["anger", "fear", "joy"]
    assert display.recalls["before"].tolist() == [0.0, 0.5, 0.5]
    assert display.recalls["after"].tolist() == [0.0, 1.0, 1.0]
    assert display.accuracies == {"before": 0.4, "after": 0.8}
    widths = [[bar.get_width() for bar in bars] for bars in display.ax_.containers]
    assert widths == [[0.4, 0.0, 0.5, 0.5], [0.8, 0.0, 1.0, 1.0]]
    ticks = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert ticks == ["accuracy", "anger", "fear", "joy"]
    assert [text.get_text() for text in display.ax_.get_legend().texts] == ["before", "after"]


def test_order_of_the_classes_may_be_chosen():
    order = ["joy", "anger", "fear"]
    display = RecallDisplay.from_predictions(TRUTH, {"after": AFTER}, labels=order)
    assert display.labels.tolist() == order
    assert display.recalls["after"].tolist() == [1.0, 0.0, 1.0]


def test_both_draw_into_given_axes_and_can_draw_again(faces):
    figure = Figure()
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    grid = PredictionsDisplay.from_predictions(faces, TRUTH, BEFORE, AFTER, ax=left)
    bars = RecallDisplay.from_predictions(TRUTH, {"after": AFTER}, ax=right)
    assert grid.figure_ is bars.figure_ is figure
    assert (grid.ax_, bars.ax_) == (left, right)
    for display in (grid, bars):
        assert display.plot() is display
        assert display.figure_ is not figure


def test_no_global_figure_is_touched(faces, tmp_path):
    had_pyplot = "matplotlib.pyplot" in sys.modules
    display = PredictionsDisplay.from_predictions(faces, TRUTH, BEFORE, AFTER)
    display.figure_.savefig(tmp_path / "faces.png")
    assert (tmp_path / "faces.png").stat().st_size > 1000
    assert ("matplotlib.pyplot" in sys.modules) == had_pyplot


def test_what_cannot_be_drawn_is_refused(faces):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        PredictionsDisplay.from_predictions(faces, TRUTH[:4], BEFORE, AFTER)
    with pytest.raises(ValueError, match="0 pictures, expected at least 1"):
        PredictionsDisplay.from_predictions([], [], [], [])
    with pytest.raises(ValueError, match=r"shape \(n, H, W\) or .* got a picture of shape"):
        PredictionsDisplay.from_predictions(faces[..., :2], TRUTH, BEFORE, AFTER)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        RecallDisplay.from_predictions(TRUTH, {"after": AFTER[:2]})
    with pytest.raises(ValueError, match="predictions is empty"):
        RecallDisplay.from_predictions(TRUTH, {})
