"""Losses of each epoch."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from adafer import AdaFERClassifier
from adafer.display import HistoryDisplay

HISTORY = [
    {"stage": "source", "epoch": 1, "loss": 2.0, "seconds": 1.5},
    {"stage": "source", "epoch": 2, "loss": 1.0, "seconds": 1.5},
    {"stage": "joint", "epoch": 1, "loss": 3.0, "loss_triplet": 0.5, "coverage": 0.25},
]


def test_each_loss_is_a_line_of_each_stage_over_the_epochs_that_noted_it(check_texts):
    display = HistoryDisplay.from_history(HISTORY)
    assert list(display.values) == ["loss", "loss_triplet"]
    points = [
        (line.get_label(), line.get_xydata().tolist())
        for line in display.ax_.get_lines()
        if line.get_marker() != "None"
    ]
    # the second part of a line is not named again in the legend
    assert points == [
        ("loss", [[1, 2], [2, 1]]),
        ("_", [[3, 3]]),
        ("loss triplet", [[3, 0.5]]),
    ]
    check_texts(display.figure_)


def test_stages_are_named_where_they_begin():
    display = HistoryDisplay.from_history(HISTORY)
    places = {text.get_text(): text.xy[0] for text in display.ax_.texts}
    assert places == {"source": 0.5, "joint": 2.5}


def test_other_entries_and_axes_can_be_chosen():
    ax = Figure().subplots()
    display = HistoryDisplay.from_history(HISTORY, entries=["coverage", "seconds"], ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert list(display.values) == ["coverage", "seconds"]
    assert np.isnan(display.values["coverage"][:2]).all()
    assert display.plot(log_scale=True).ax_.get_yscale() == "log"


def test_a_fitted_classifier_is_drawn_also_inside_a_pipeline(feature_problem, adapted):
    display = HistoryDisplay.from_estimator(adapted)
    assert display.stages == [row["stage"] for row in adapted.history_]
    for name, values in display.values.items():
        noted = [row[name] for row in adapted.history_ if name in row]
        assert values[np.isfinite(values)].tolist() == noted
    pipeline = make_pipeline(AdaFERClassifier(epochs=2, device="cpu"))
    pipeline.fit(feature_problem["X"], feature_problem["y"])
    assert HistoryDisplay.from_estimator(pipeline).stages == ["source", "source"]


def test_what_has_no_history_is_refused(feature_problem):
    X, y = feature_problem["X"], feature_problem["y"]
    with pytest.raises(NotFittedError):
        HistoryDisplay.from_estimator(AdaFERClassifier())
    with pytest.raises(ValueError, match="has no history_; expected a classifier that trains"):
        HistoryDisplay.from_estimator(LogisticRegression().fit(X, y))
    with pytest.raises(ValueError, match="history is empty"):
        HistoryDisplay.from_estimator(AdaFERClassifier(epochs=0, device="cpu").fit(X, y))
    with pytest.raises(ValueError, match=r"\['accuracy'\], which no epoch noted.*'coverage'"):
        HistoryDisplay.from_history(HISTORY, entries=["accuracy"])
