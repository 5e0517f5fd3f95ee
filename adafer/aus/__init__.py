"""Facial action units (AUs): detecting them, and what FACS calls them."""

from .cache import AUScoreCache
from .extractor import AUDetector, AUExtractor
from .facs import ACTION_UNITS, EXPRESSION_PROTOTYPES, ActionUnit, au_name, parse_au_name
from .landmarks import LandmarkDetector
from .network import AUNetwork
from .pyfeat import PyFeatDetector
from .statistics import AUFrequencies, au_frequencies, au_similarity
from .tables import (
    JoinReport,
    au_scores_from_frame,
    join_scores,
    read_libreface,
    read_openface,
    read_pyfeat,
)

__all__ = [
    "ACTION_UNITS",
    "EXPRESSION_PROTOTYPES",
    "AUDetector",
    "AUExtractor",
    "AUFrequencies",
    "AUNetwork",
    "AUScoreCache",
    "ActionUnit",
    "JoinReport",
    "LandmarkDetector",
    "PyFeatDetector",
    "au_frequencies",
    "au_name",
    "au_scores_from_frame",
    "au_similarity",
    "join_scores",
    "parse_au_name",
    "read_libreface",
    "read_openface",
    "read_pyfeat",
]
