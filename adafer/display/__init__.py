"""Pictures of results, in the manner of scikit-learn's displays."""

from ._style import new_figure
from .aus import AUDistributionDisplay
from .predictions import PredictionsDisplay, RecallDisplay

__all__ = ["AUDistributionDisplay", "PredictionsDisplay", "RecallDisplay", "new_figure"]
