"""Options that several commands have, and their values."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "Backoff",
    "CacheOption",
    "DetectorOption",
    "DeviceOption",
    "HeadsOption",
    "JobsOption",
    "Matching",
    "OnError",
    "OnErrorOption",
    "Recipe",
    "Resume",
    "make_extractor",
    "some",
]


class Recipe(str, Enum):
    """Values of ``--recipe``."""

    fused = "fused"
    paper = "paper"


class Resume(str, Enum):
    """Values of ``--resume``."""

    auto = "auto"
    never = "never"


class Matching(str, Enum):
    """Values of ``--matching``."""

    exact = "exact"
    hamming = "hamming"
    near = "near"


class Backoff(str, Enum):
    """Values of ``--backoff``."""

    none = "none"
    hamming = "hamming"
    near = "near"
    prior = "prior"


class OnError(str, Enum):
    """Values of ``--on-error``."""

    fail = "raise"
    skip = "skip"


OnErrorOption = Annotated[
    OnError, typer.Option(help="Stop at pictures that cannot be read, or leave them out.")
]
DeviceOption = Annotated[str, typer.Option(help='"auto", "cpu", "cuda", "cuda:1" or "mps".')]
JobsOption = Annotated[int | None, typer.Option(help="Threads to read and score by; -1: all.")]
DetectorOption = Annotated[
    str,
    typer.Option(help='"landmarks", "py-feat", or the folder of a saved AUNetwork.'),
]
HeadsOption = Annotated[
    str,
    typer.Option(
        help='How landmarks become AUs: "trained", "blendshape-names", or a file of your own heads.'
    ),
]
CacheOption = Annotated[
    Path | None,
    typer.Option(help="File that keeps AU scores, without pictures; each is scored once."),
]


def make_extractor(detector: str, heads: str, cache: Path | None, jobs: int | None) -> Any:
    """Make the extractor that the options ask for, and fail now if it cannot work."""
    from ..aus import AUExtractor, AUNetwork

    found: Any = detector
    if detector not in ("landmarks", "py-feat"):
        if not Path(detector).is_dir():
            raise ValueError(
                f'--detector is {detector!r}; expected "landmarks", "py-feat" or the folder of '
                "a saved AUNetwork."
            )
        found = AUNetwork.load(detector)
    extractor = AUExtractor(found, heads=heads, cache=cache, n_jobs=jobs)
    extractor.score_faces([])
    return extractor


def some(names: Iterable[Any], limit: int = 3) -> str:
    """Name the first few, and how many more there are."""
    names = [str(name) for name in names]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
