"""Keyword parameters that all methods with a network share, for type checkers."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import numpy as np

from .faces import OnError

__all__ = ["NetworkOptions"]


class NetworkOptions(TypedDict, total=False):
    """Keyword parameters of `NetworkClassifier`, for the signatures of its subclasses."""

    weights: str | Path | None
    image_size: int
    epochs: int
    source_epochs: int | None
    batch_size: int
    learning_rate: float
    learning_rate_decay: float
    weight_decay: float
    augment: bool
    norm_statistics: str
    on_error: OnError
    warm_start: bool
    device: str
    precision: str
    compile: bool
    test_time_flip: bool
    store: str | Path | None
    checkpoint_dir: str | Path | None
    resume: str
    n_jobs: int | None
    random_state: int | np.random.RandomState | None
    verbose: int
