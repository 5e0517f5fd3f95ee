"""Every error of a display says which argument is wrong."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression

from adafer.display import (
    AblationDisplay,
    AUDistributionDisplay,
    ConfusionDisplay,
    CoverageDisplay,
    FeaturesDisplay,
    HistoryDisplay,
    ParameterCurveDisplay,
    PredictionsDisplay,
    PseudoLabelsDisplay,
    RecallDisplay,
    new_figure,
)

Y = ["joy", "joy", "fear", "fear"]
FACES = np.zeros((4, 8, 8), dtype=np.uint8)
SCORES = np.array([[0.1, 0.9], [0.2, 0.8], [0.9, 0.1], [0.8, 0.2]])
HISTORY = [{"stage": "joint", "epoch": 1, "loss": 1.0}, {"stage": "joint", "epoch": 2, "loss": 0.5}]


@pytest.fixture
def model(feature_problem):
    return LogisticRegression().fit(feature_problem["X"], feature_problem["y"])


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: AblationDisplay.from_results(["a"], [[0.5]], ax=ax),
        lambda ax: AUDistributionDisplay.from_predictions(
            SCORES, Y, au_names=["AU01", "AU02"], ax=ax
        ),
        lambda ax: ConfusionDisplay.from_predictions(Y, {"a": Y}, ax=ax),
        lambda ax: HistoryDisplay.from_history(HISTORY, ax=ax),
        lambda ax: HistoryDisplay.from_history(HISTORY).plot(ax=ax),
        lambda ax: ParameterCurveDisplay.from_results([1, 2], {"a": [[0.5], [0.6]]}, ax=ax),
        lambda ax: PredictionsDisplay.from_predictions(FACES, Y, Y, Y, ax=ax),
        lambda ax: PseudoLabelsDisplay.from_predictions(FACES, np.ones((4, 1)), ["joy"], ax=ax),
        lambda ax: RecallDisplay.from_predictions(Y, {"a": Y}, ax=ax),
    ],
)
def test_what_is_no_axes_is_told_as_ax(draw):
    draw(Figure().subplots())
    for wrong in (7, "left", {}, Figure()):
        with pytest.raises(TypeError, match=r"\bax must be axes of matplotlib.* got "):
            draw(wrong)


def test_one_of_several_axes_may_be_none_either():
    display = ConfusionDisplay.from_predictions(Y, {"a": Y, "b": Y})
    display.plot(ax=list(Figure().subplots(1, 2)))
    with pytest.raises(TypeError, match=r"ax must be axes of matplotlib.* got int 7"):
        display.plot(ax=[Figure().subplots(), 7])


@pytest.mark.parametrize("size", [0, -1.0, np.nan, np.inf, None, "large"])
def test_a_figure_without_a_size_is_refused(size):
    with pytest.raises(ValueError, match=r"'width' parameter of new_figure"):
        new_figure(size, 2)
    with pytest.raises(ValueError, match=r"'height' parameter of new_figure"):
        new_figure(2, size)


def test_what_cannot_predict_is_named(model, feature_problem):
    X, y = feature_problem["X"], feature_problem["y"]
    for kind in (ConfusionDisplay, RecallDisplay):
        for wrong in (7, None, "model"):
            with pytest.raises(ValueError, match=r"'estimator' parameter"):
                kind.from_estimator(wrong, X, y)
        with pytest.raises(ValueError, match=r"estimators: .* 'a', a int, has no predict"):
            kind.from_estimators({"a": 7}, X, y)
        with pytest.raises(
            TypeError, match=r"estimators is LogisticRegression.*; expected {'name'"
        ):
            kind.from_estimators(model, X, y)
    for kind in (CoverageDisplay, HistoryDisplay):
        with pytest.raises(TypeError, match=r"7 is not an estimator"):
            kind.from_estimator(7)
    with pytest.raises(ValueError, match=r"'before' parameter"):
        PredictionsDisplay.from_estimators(7, model, FACES, Y)


def test_errors_name_arguments_as_the_user_knows_them(model, feature_problem):
    X, y, X_tgt = (feature_problem[name] for name in ("X", "y", "X_tgt"))
    with pytest.raises(ValueError, match=r"X and y: .*inconsistent numbers"):
        ConfusionDisplay.from_estimator(model, X[1:], y)
    with pytest.raises(ValueError, match=r"X and y_true: .*inconsistent numbers"):
        RecallDisplay.from_estimator(model, X[1:], y)
    with pytest.raises(ValueError, match=r"y_true: .*1d array"):
        RecallDisplay.from_predictions(7, {"a": y})
    with pytest.raises(ValueError, match=r"predictions of 'a': .*inconsistent numbers"):
        RecallDisplay.from_predictions(y, {"a": y[1:]})
    with pytest.raises(ValueError, match=r"predictions of 'a': .*Mix of label"):
        ConfusionDisplay.from_predictions(Y, {"a": [0, 0, 1, 1]})
    with pytest.raises(ValueError, match=r"images and after: .*inconsistent numbers"):
        PredictionsDisplay.from_predictions(FACES, Y, Y, Y[1:])
    features = {"a": (X, X_tgt)}
    with pytest.raises(ValueError, match=r"features and y_src: .*inconsistent numbers"):
        FeaturesDisplay.from_features(features, y[1:])
    with pytest.raises(ValueError, match=r"features: .*NaN"):
        FeaturesDisplay.from_features({"a": (X * np.nan, X_tgt)}, y)
    with pytest.raises(ValueError, match=r"domains: AUs of 'lab' must lie in \[0, 1\]"):
        AUDistributionDisplay.from_domains({"lab": (5 * SCORES, Y)}, au_names=["AU01", "AU02"])
    with pytest.raises(ValueError, match=r"au_tgt must lie in \[0, 1\]"):
        AUDistributionDisplay.from_predictions(SCORES, Y, 5 * SCORES, Y, au_names=["AU01", "AU02"])
    with pytest.raises(ValueError, match=r"au_src and y_src have inconsistent lengths"):
        AUDistributionDisplay.from_predictions(SCORES, Y[1:], au_names=["AU01", "AU02"])


def test_faces_of_the_target_are_called_so(adapted, adapted_to_faces, feature_problem):
    classifier, paths = adapted_to_faces
    with pytest.raises(ValueError, match=r"X_tgt is a 2-D array"):
        PseudoLabelsDisplay.from_estimator(adapted, feature_problem["X_tgt"])
    with pytest.raises(TypeError, match=r"X_tgt must be an array.*got int 7"):
        PseudoLabelsDisplay.from_estimator(classifier, 7)
    with pytest.raises(ValueError, match=r"X_tgt and y_tgt: .*inconsistent numbers"):
        PseudoLabelsDisplay.from_estimator(classifier, paths, Y)
    with pytest.raises(ValueError, match=r"X_tgt: .*NaN"):
        CoverageDisplay.from_estimator(adapted, feature_problem["X_tgt"] * np.nan)


@pytest.mark.parametrize("n_columns", [0, -1, 1.5, "two"])
def test_numbers_of_columns_are_whole_and_positive(n_columns):
    with pytest.raises(ValueError, match=r"'n_columns' parameter"):
        PredictionsDisplay.from_predictions(FACES, Y, Y, Y, n_columns=n_columns)
    display = PseudoLabelsDisplay.from_predictions(FACES, np.ones((4, 1)), ["joy"])
    with pytest.raises(ValueError, match=r"'n_columns' parameter"):
        display.plot(n_columns=n_columns)


def test_classes_are_named_once(annotation):
    for draw in (
        lambda labels: ConfusionDisplay.from_predictions(Y, {"a": Y}, labels=labels),
        lambda labels: RecallDisplay.from_predictions(Y, {"a": Y}, labels=labels),
        lambda labels: CoverageDisplay.from_annotation(annotation, Y + Y[:2], labels=labels),
    ):
        with pytest.raises(ValueError, match=r"labels must all differ; got \['joy', 'joy'\]"):
            draw(["joy", "joy"])
        with pytest.raises(ValueError, match=r"labels is empty"):
            draw([])


@pytest.mark.parametrize("threshold", ["median", -1.0, 2.0, [0.5], [0.5, 2.0]])
def test_thresholds_are_judged(threshold):
    with pytest.raises(ValueError, match=r"^threshold "):
        AUDistributionDisplay.from_predictions(
            SCORES, Y, au_names=["AU01", "AU02"], threshold=threshold
        )


def test_other_arguments_are_named():
    refused = [
        (lambda: AblationDisplay.from_results("ab", [[0.5], [0.6]]), "names must be a list"),
        (lambda: AblationDisplay.from_results(["a"], [[0.5], [0.6]]), "a row per setting in names"),
        (lambda: AblationDisplay.from_results(["a"], [[0.5]], reference=[1]), "'reference'"),
        (lambda: AblationDisplay.from_results(["a"], [[0.5]], confidence="all"), "confidence must"),
        (lambda: ParameterCurveDisplay.from_results([np.nan], {"a": [[0.5]]}), "parameter_values"),
        (lambda: ParameterCurveDisplay.from_results([1], 7), "scores must be {'name'.* got int"),
        (lambda: HistoryDisplay.from_history([7]), "history must be a list of dicts"),
        (lambda: HistoryDisplay.from_history([{}]), "history has no numbers"),
        (lambda: ConfusionDisplay.from_predictions(Y, {"a": Y}, normalize=7), "'normalize'"),
        (
            lambda: ConfusionDisplay.from_predictions(Y, {"a": Y}).plot(cmap="joy"),
            "'joy' is not a valid value for cmap",
        ),
        (lambda: CoverageDisplay.from_annotation(7), "'annotation' parameter"),
        (
            lambda: FeaturesDisplay.from_features({"a": (SCORES, SCORES)}, Y, perplexity=0),
            "'perplexity' parameter",
        ),
        (
            lambda: FeaturesDisplay.from_features({"a": (SCORES, SCORES)}, Y, subsample=1.5),
            "subsample must be at least 1, or None for all; got 1.5",
        ),
    ]
    for draw, words in refused:
        with pytest.raises((ValueError, TypeError), match=words):
            draw()
