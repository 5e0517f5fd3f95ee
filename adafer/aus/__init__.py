"""Facial action units (AUs): detecting them, and what FACS calls them."""

from .extractor import AUDetector, AUExtractor
from .facs import ACTION_UNITS, EXPRESSION_PROTOTYPES, ActionUnit, au_name, parse_au_name
from .landmarks import LandmarkDetector

__all__ = [
    "ACTION_UNITS",
    "EXPRESSION_PROTOTYPES",
    "AUDetector",
    "AUExtractor",
    "ActionUnit",
    "LandmarkDetector",
    "au_name",
    "parse_au_name",
]
