"""Two domains on their way in: judged and read."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .aus.scores import check_au_scores
from .faces import Faces, OnError, SkippedFace
from .store import decode_faces, pick_rows

__all__ = [
    "DomainInputs",
    "check_same_kind",
    "is_features",
    "read_domain",
]


class DomainInputs(NamedTuple):
    """One domain, ready for the network.

    Attributes
    ----------
    inputs : ndarray
        (n, size, size, 3) uint8 faces, or (n, n_inputs) float32 features. Many
        faces are a memory map, see `adafer.store`.
    kept : ndarray of int64 of shape (n,)
        Rows of the domain that could be read.
    au : ndarray of float64 of shape (n, n_aus) or None
        AU scores, NaN rows where no face was found.
    au_names : list of str or None
    skipped : list of SkippedFace
    scored_by : str or None
        What the AU scores are from: "given", or the detector's identity.
    weights : ndarray of float64 of shape (n,) or None
        Of the source's samples; None where all count the same.
    """

    inputs: NDArray
    kept: NDArray
    au: NDArray | None
    au_names: list[str] | None
    skipped: list[SkippedFace]
    scored_by: str | None = None
    weights: NDArray | None = None

    def weighted(self, weights: NDArray) -> DomainInputs:
        """Leave out samples of weight zero, and keep the weights of the others.

        Parameters
        ----------
        weights : ndarray of float64 of shape (n_all,)
            One per row of the domain, read or not.
        """
        own = weights[self.kept]
        used = own > 0
        if not used.any():
            raise ValueError("All pictures of X that can be read have a sample_weight of zero.")
        if used.all():
            return self._replace(weights=own)
        return self._replace(
            inputs=pick_rows(self.inputs, np.flatnonzero(used)),
            kept=self.kept[used],
            au=None if self.au is None else self.au[used],
            weights=own[used],
        )


def is_features(X: Any) -> bool:
    """Tell features, two-dimensional numbers, from faces and paths.

    Parameters
    ----------
    X : object

    Returns
    -------
    bool
        True for whatever scikit-learn should judge, wrong 1-D numbers too.
    """
    shape = getattr(X, "shape", None)
    if shape is not None:
        if len(shape) != 1:
            return len(shape) == 2
        return getattr(getattr(X, "dtype", None), "kind", "O") in "fiubc"
    if isinstance(X, (list, tuple)) and len(X):
        return not isinstance(X[0], (str, bytes, os.PathLike)) and np.ndim(X[0]) < 2
    return not hasattr(X, "__len__")


def check_same_kind(source: Faces | NDArray, target: Faces | NDArray) -> None:
    """Refuse a target that cannot go through the source's network.

    Parameters
    ----------
    source, target : Faces or ndarray

    Raises
    ------
    ValueError
        If one holds pictures and the other features, or picture sizes differ.
    """
    kinds = ["pictures" if isinstance(data, Faces) else "features" for data in (source, target)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"X holds {kinds[0]} but X_tgt holds {kinds[1]}. Did the pipeline skip X_tgt? "
            'Pass transform_input=["X_tgt"].'
        )
    wanted, found = (getattr(data, "image_shape", None) for data in (source, target))
    if wanted and found and wanted != found:
        raise ValueError(
            f"X_tgt has images of {found[0]}x{found[1]} but X has {wanted[0]}x{wanted[1]}. Did "
            'the pipeline skip X_tgt? Pass transform_input=["X_tgt"]; else bring both to one size.'
        )


def read_domain(
    data: Faces | NDArray,
    name: str,
    image_size: int,
    *,
    on_error: OnError = "raise",
    au: Any = None,
    au_name: str = "au",
    store: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
) -> DomainInputs:
    """Decode each picture once: small for the network, whole for its AUs.

    Parameters
    ----------
    data : Faces or ndarray of shape (n, n_inputs)
    name : str
        How errors call it.
    image_size : int
        Pixels of the faces that the network sees.
    on_error : {"raise", "skip"}, default="raise"
    au : AUExtractor, array-like of shape (n, n_aus), or None
        What scores AUs, the scores themselves, or nothing.
    au_name : str, default="au"
    store : path, default=None
        A folder that keeps decoded faces, see `adafer.store.decode_faces`.
    n_jobs : int, default=None
        Threads that decode.

    Returns
    -------
    DomainInputs

    Raises
    ------
    FaceReadError
        If a picture cannot be read and `on_error` is "raise".
    ValueError
        If AU scores do not fit, cannot be computed, or no picture can be read.
    """
    extractor = au if hasattr(au, "score_faces") else None
    scores = au_names = scored_by = None
    if au is not None and extractor is None:
        scored_by = "given"
        scores, au_names = check_au_scores(au, name=au_name, n_samples=len(data))
    if not isinstance(data, Faces):
        if extractor is not None:
            raise ValueError(
                f"AU scores cannot be computed from 2-D features: give {au_name}, one row per "
                f"row of {name}."
            )
        return DomainInputs(data, np.arange(len(data)), scores, au_names, [], scored_by)

    decoded = decode_faces(
        data,
        image_size,
        on_error=on_error,
        n_jobs=n_jobs,
        store=store,
        extractor=extractor,
        name=name,
    )
    if extractor is not None:
        detector = extractor.detector_
        scores, au_names = decoded.scores, list(detector.au_names)
        scored_by = str(getattr(detector, "identity", None) or type(detector).__name__)
    elif scores is not None:
        scores = scores[decoded.kept]
    return DomainInputs(decoded.faces, decoded.kept, scores, au_names, decoded.skipped, scored_by)
