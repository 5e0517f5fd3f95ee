"""Other methods of domain adaptation, with the interface and loop of AdaFERClassifier."""

from importlib import import_module
from typing import Any

# name -> module that defines it
_EXPORTS = {
    "AGRAClassifier": "agra",
    "BatchStatisticsClassifier": "batch_statistics",
    "CADAClassifier": "cada",
    "DANNClassifier": "dann",
    "DETNClassifier": "detn",
    "DeepCORALClassifier": "deep_coral",
    "ECANClassifier": "ecan",
    "LPLClassifier": "lpl",
    "MCCClassifier": "mcc",
    "SAFNClassifier": "safn",
    "SHOTClassifier": "shot",
    "SWDClassifier": "swd",
    "SelfTrainingClassifier": "self_training",
    "T3AClassifier": "t3a",
    "TENTClassifier": "tent",
}

__all__ = [
    "AGRAClassifier",
    "BatchStatisticsClassifier",
    "CADAClassifier",
    "DANNClassifier",
    "DETNClassifier",
    "DeepCORALClassifier",
    "ECANClassifier",
    "LPLClassifier",
    "MCCClassifier",
    "SAFNClassifier",
    "SHOTClassifier",
    "SWDClassifier",
    "SelfTrainingClassifier",
    "T3AClassifier",
    "TENTClassifier",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(f"adafer.rivals.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'adafer.rivals' has no attribute {name!r}")
