"""AU-guided unsupervised domain adaptive facial expression recognition.

Everything a user needs is importable from here; heavy parts (torch, faiss,
LiteRT) are imported when they are first used, so that ``import adafer`` stays
quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .alignment import FaceAligner
    from .annotation import AUGuidedAnnotator
    from .aus import AUExtractor
    from .baselines import (
        AUInputClassifier,
        AUQueryClassifier,
        PseudoLabelClassifier,
        SourceOnlyClassifier,
    )
    from .classifier import AdaFERClassifier
    from .target import as_target
    from .triplets import TripletMiner

# name -> module that defines it
_EXPORTS = {
    "AUExtractor": "adafer.aus",
    "AUGuidedAnnotator": "adafer.annotation",
    "AUInputClassifier": "adafer.baselines",
    "AUQueryClassifier": "adafer.baselines",
    "AdaFERClassifier": "adafer.classifier",
    "FaceAligner": "adafer.alignment",
    "PseudoLabelClassifier": "adafer.baselines",
    "SourceOnlyClassifier": "adafer.baselines",
    "TripletMiner": "adafer.triplets",
    "as_target": "adafer.target",
}
_MODULES = (
    "aus",
    "datasets",
    "deep",
    "display",
    "faces",
    "matching",
    "model_selection",
    "persistence",
)

__all__ = [
    "AUExtractor",
    "AUGuidedAnnotator",
    "AUInputClassifier",
    "AUQueryClassifier",
    "AdaFERClassifier",
    "FaceAligner",
    "PseudoLabelClassifier",
    "SourceOnlyClassifier",
    "TripletMiner",
    "__version__",
    "as_target",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    if name in _MODULES:
        return import_module(f"adafer.{name}")
    raise AttributeError(f"module 'adafer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS, *_MODULES])
