"""Names of classes and methods are text: no formula, no markup, whatever they hold."""

import io

import numpy as np
import pytest

from adafer.display import (
    AblationDisplay,
    AUDistributionDisplay,
    ConfusionDisplay,
    FeaturesDisplay,
    ParameterCurveDisplay,
    PredictionsDisplay,
    PseudoLabelsDisplay,
    RecallDisplay,
)

NAMES = np.array([r"$\bad{$", "a$_$b", r"\$<script>&", "x^$2{$"])
RNG = np.random.default_rng(0)
TRUTH, PREDICTED = NAMES[RNG.integers(0, 4, (2, 40))]
FACES = RNG.integers(0, 256, (8, 16, 16), dtype=np.uint8)
SHARES = np.full((8, 4), 0.25)
FEATURES = RNG.normal(size=(2, 40, 5))
UNITS = RNG.random((2, 40, 3))
MADE = {
    "confusion": lambda: ConfusionDisplay.from_predictions(TRUTH, {NAMES[0]: PREDICTED}),
    "features": lambda: FeaturesDisplay.from_features(
        {NAMES[0]: tuple(FEATURES)}, TRUTH, PREDICTED, perplexity=5
    ),
    "AUs": lambda: AUDistributionDisplay.from_predictions(
        UNITS[0], TRUTH, UNITS[1], PREDICTED, au_names=["AU01", "AU02", "$AU{$"]
    ),
    "recalls": lambda: RecallDisplay.from_predictions(
        TRUTH, {NAMES[0]: PREDICTED, NAMES[1]: TRUTH}
    ),
    "predictions": lambda: PredictionsDisplay.from_predictions(
        FACES, TRUTH[:8], PREDICTED[:8], TRUTH[:8]
    ),
    "pseudo-labels": lambda: PseudoLabelsDisplay.from_predictions(
        FACES, SHARES, NAMES, y_true=TRUTH[:8]
    ),
    "ablation": lambda: AblationDisplay.from_results(
        list(NAMES), RNG.random((4, 3)), reference=NAMES[1], score_name=NAMES[0]
    ),
    "parameter": lambda: ParameterCurveDisplay.from_results(
        [1, 2, 3], {NAMES[0]: RNG.random((3, 2)), NAMES[1]: RNG.random((3, 2))},
        parameter_name=NAMES[2],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", MADE)
def test_names_with_dollar_signs_are_drawn_as_they_are(kind):
    for form in ("png", "svg"):
        MADE[kind]().figure_.savefig(io.BytesIO(), format=form)


def test_marks_of_logarithmic_axes_stay_formulas():
    display = ParameterCurveDisplay.from_results(
        [1, 10, 100], {NAMES[0]: RNG.random((3, 2))}, log_scale=True
    )
    marks = display.ax_.get_xticklabels()
    assert all(mark.get_parse_math() for mark in marks)
    display.figure_.savefig(io.BytesIO())
