"""What of a fit's data is kept with the classifier: counts, no pictures and no names of files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .aus.scores import has_scores
from .aus.statistics import au_frequencies
from .inheritance import match_count_bins

if TYPE_CHECKING:
    from .domains import DomainInputs

__all__ = ["summarise_fit"]


def summarise_fit(
    classifier: Any,
    source: DomainInputs,
    labels: NDArray,
    target: DomainInputs | None,
    classes: NDArray,
) -> dict[str, Any]:
    """Count what a classifier was fitted on, and what labels the target got.

    Parameters
    ----------
    classifier : DomainClassifier
        Fitted; its ``annotator_``, ``annotation_`` and ``target_labels_`` are
        used where there are any.
    source, target : DomainInputs
    labels : ndarray of int64 of shape (n_source,)
        Indices into `classes`.
    classes : ndarray of shape (n_classes,)

    Returns
    -------
    summary : dict
        Numbers, texts and lists that JSON can hold. ``"source"`` and
        ``"target"`` (None without one) hold ``n``, ``n_unreadable``,
        ``n_without_face`` (None where no AUs were scored), ``scored_by`` ("given"
        or the detector's identity, None without AUs), ``per_class`` (of the
        target: by the labels that it got, None where it got none; lists in the
        order of `classes`) and ``au_frequencies`` (share of the faces of each
        class that show each AU, None where unknown). ``"target"`` holds
        ``n_unlabelled`` and ``mean_labels``, too. ``"matches"`` holds ``bins``
        and ``faces``, the histogram of match counts, and ``matched_by``, how
        many targets got their label in which way; it is None without AU
        matching.
    """
    thresholds = getattr(getattr(classifier, "annotator_", None), "thresholds_", None)
    skipped = classifier.skipped_
    summary: dict[str, Any] = {
        "source": _domain(source, labels, classes, thresholds, len(skipped["X"])),
        "target": None,
        "matches": None,
    }
    if target is None:
        return summary
    shares = getattr(classifier, "target_labels_", None)
    given = None
    if shares is not None and len(shares) == len(target.inputs):
        given = np.where(shares.sum(axis=1) > 0, shares.argmax(axis=1), -1)
    summary["target"] = _domain(target, given, classes, thresholds, len(skipped["X_tgt"]))
    summary["target"] |= {"n_unlabelled": None, "mean_labels": None}
    if shares is not None and given is not None:
        summary["target"]["n_unlabelled"] = int((given < 0).sum())
        if (given >= 0).any():
            summary["target"]["mean_labels"] = shares[given >= 0].mean(axis=0).tolist()
    annotation = getattr(classifier, "annotation_", None)
    if annotation is not None and len(annotation) == len(target.inputs):
        edges, bins = match_count_bins(annotation.match_counts)
        ways, counts = np.unique(annotation.matched_by, return_counts=True)
        summary["matches"] = {
            "bins": bins,
            "faces": np.histogram(annotation.match_counts, edges)[0].tolist(),
            "matched_by": dict(zip(ways.tolist(), counts.tolist(), strict=True)),
        }
    return summary


def _domain(
    domain: DomainInputs,
    labels: NDArray | None,
    classes: NDArray,
    thresholds: NDArray | None,
    n_unreadable: int,
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "n": len(domain.inputs),
        "n_unreadable": n_unreadable,
        "n_without_face": None if domain.au is None else int((~has_scores(domain.au)).sum()),
        "scored_by": domain.scored_by,
        "per_class": None,
        "au_frequencies": None,
    }
    if labels is None:
        return found
    found["per_class"] = np.bincount(labels[labels >= 0], minlength=len(classes)).tolist()
    if domain.au is None or thresholds is None:
        return found
    if (has_scores(domain.au) & (labels >= 0)).any():
        counted = au_frequencies(
            domain.au, labels, threshold=thresholds, labels=np.arange(len(classes))
        )
        found["au_frequencies"] = [
            [None if np.isnan(share) else round(float(share), 4) for share in row]
            for row in counted.frequencies
        ]
    return found
