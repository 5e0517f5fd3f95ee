"""Pictures of results, in the manner of scikit-learn's displays."""

from ._style import new_figure
from .aus import AUDistributionDisplay
from .confusion import ConfusionDisplay
from .coverage import CoverageDisplay
from .features import FeaturesDisplay
from .history import HistoryDisplay
from .predictions import PredictionsDisplay, RecallDisplay
from .pseudo_labels import PseudoLabelsDisplay
from .results import AblationDisplay, ParameterCurveDisplay

__all__ = [
    "AUDistributionDisplay",
    "AblationDisplay",
    "ConfusionDisplay",
    "CoverageDisplay",
    "FeaturesDisplay",
    "HistoryDisplay",
    "ParameterCurveDisplay",
    "PredictionsDisplay",
    "PseudoLabelsDisplay",
    "RecallDisplay",
    "new_figure",
]
