"""What a fit was made of, in numbers: no pictures, no names of files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .domains import DomainInputs

__all__ = ["summarize"]


def summarize(
    domains: Sequence[DomainInputs], given: Sequence[bool], extractor: Any
) -> dict[str, Any]:
    """Count the data of a fit, and name where AU scores came from.

    Parameters
    ----------
    domains : sequence of DomainInputs
        Source, and target if there is one.
    given : sequence of bool
        Whether the AU scores of each were given.
    extractor : AUExtractor or None
        What scored the others; None if no AUs were needed.

    Returns
    -------
    summary : dict of str -> dict
        "n_read", "n_unreadable" and "au_scores" ("given", or the detector's
        identity; None if none were needed), each by domain. JSON can hold it.
    """
    names = ("source", "target")[: len(domains)]
    detector = getattr(extractor, "detector_", None)
    identity = str(getattr(detector, "identity", None) or type(detector).__name__)
    return {
        "n_read": {name: len(domain.inputs) for name, domain in zip(names, domains, strict=True)},
        "n_unreadable": {
            name: len(domain.skipped) for name, domain in zip(names, domains, strict=True)
        },
        "au_scores": {
            name: None if extractor is None else "given" if known else identity
            for name, known in zip(names, given, strict=False)
        },
    }
