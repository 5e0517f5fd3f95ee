"""Facial action units (AUs): detecting them, and what FACS calls them."""

from .cache import AUScoreCache
from .extractor import AUDetector, AUExtractor
from .facs import ACTION_UNITS, EXPRESSION_PROTOTYPES, ActionUnit, au_name, parse_au_name
from .landmarks import LandmarkDetector
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
    "AUScoreCache",
    "ActionUnit",
    "JoinReport",
    "LandmarkDetector",
    "au_name",
    "au_scores_from_frame",
    "join_scores",
    "parse_au_name",
    "read_libreface",
    "read_openface",
    "read_pyfeat",
]
