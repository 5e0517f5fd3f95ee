"""A folder of faces as a model sees it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._folders import AUTable, each_chunk, labelled_pictures, unlabelled_pictures
from ..aus.scores import has_scores
from ..datasets import canonical_label
from ..faces import OnError, check_faces
from .pictures import data_address

__all__ = ["SeenFaces", "extractor_of", "folder_with_labels", "look_at", "predict_with_aus"]

_THUMBNAIL = 96  # pixels


@dataclass(frozen=True)
class SeenFaces:
    """Faces, what a model says of them, and what is true where it is known.

    Attributes
    ----------
    names : list of str of length n
        Names of the files, without folders.
    truth : ndarray of str of shape (n,) or None
    predicted : ndarray of str of shape (n,)
    probabilities : ndarray of float64 of shape (n, n_classes)
    features : ndarray of float32 of shape (n, n_features)
    au : ndarray of float32 of shape (n, n_aus)
        NaN rows where no face was found.
    au_names : list of str
    thumbnails : list of str
        As ``data:`` addresses; empty texts where no pictures are wanted.
    paths : list of str of length n
    unreadable : list of str
        Names of files that were left out.
    """

    names: list[str]
    truth: NDArray | None
    predicted: NDArray
    probabilities: NDArray[np.float64]
    features: NDArray[np.float32]
    au: NDArray[np.float32]
    au_names: list[str]
    thumbnails: list[str]
    paths: list[str]
    unreadable: list[str]

    def __len__(self) -> int:
        return len(self.names)


def folder_with_labels(folder: Path, classes: NDArray) -> tuple[list[str], NDArray | None]:
    """List the pictures of a folder, with labels if its folders bear names of classes.

    Parameters
    ----------
    folder : pathlib.Path
    classes : ndarray of shape (n_classes,)
        Those of the model. Folders may bear usual synonyms of them ("happy").

    Returns
    -------
    paths : list of str
    labels : ndarray of str of shape (n,) or None
        None if no folder in it is named like a class.
    """
    known = {str(name) for name in classes}
    if folder.is_dir():
        inner = [entry.name for entry in folder.iterdir() if entry.is_dir()]
        if any(_as_class(name, known) in known for name in inner):
            paths, names = labelled_pictures(folder)
            return paths, np.array([_as_class(str(name), known) for name in names])
    return unlabelled_pictures(folder), None


def _as_class(name: str, known: set[str]) -> str:
    return name if name in known else canonical_label(name, unknown="keep")


def extractor_of(classifier: Any, n_jobs: int | None = None) -> Any:
    """Make what scores AUs for a model: its own extractor where it has one.

    Parameters
    ----------
    classifier : DomainClassifier
    n_jobs : int, optional
        Threads, of the default extractor.

    Returns
    -------
    extractor : AUExtractor
    """
    from ..aus import AUExtractor

    if getattr(classifier, "au_extractor", None) is not None:
        return classifier._new_extractor()
    return AUExtractor(n_jobs=n_jobs)


def predict_with_aus(
    classifier: Any, images: list[NDArray[np.uint8]], scores: NDArray, au_names: list[str]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Ask a classifier, with AU scores computed before where it takes any.

    Parameters
    ----------
    classifier : DomainClassifier
    images : list of n ndarrays of uint8 of shape (H, W, 3)
    scores : ndarray of shape (n, n_aus)
    au_names : list of str

    Returns
    -------
    features, probabilities : ndarray of shape (n, n_features), (n, n_classes)

    Raises
    ------
    ValueError
        If it takes AUs but other ones, or their names are unknown.
    """
    au = None
    named = classifier._au_use == "always" and classifier.au_names_ is not None
    if named and has_scores(scores).any():
        au = AUTable(scores.astype(np.float64), au_names)
    return classifier._infer(images, au)


def look_at(
    classifier: Any,
    folder: Path,
    *,
    on_error: OnError = "raise",
    n_jobs: int | None = None,
    pictures: bool = True,
) -> SeenFaces:
    """Read a folder of faces and ask a model about each.

    Parameters
    ----------
    classifier : DomainClassifier
        Fitted on faces, or loaded.
    folder : pathlib.Path
    on_error : {"raise", "skip"}, default="raise"
    n_jobs : int, optional
        Threads that score AUs.
    pictures : bool, default=True
        Keep thumbnails.

    Returns
    -------
    seen : SeenFaces

    Raises
    ------
    ValueError
        If the model takes features, or no picture can be read.
    FaceReadError
        If a picture cannot be read and ``on_error="raise"``.
    """
    if hasattr(classifier, "n_features_in_"):
        raise ValueError(
            "The model was fitted on features, not on pictures, and can say nothing about faces."
        )
    paths, labels = folder_with_labels(folder, classifier.classes_)
    check_faces(paths, name="pictures")
    extractor = extractor_of(classifier, n_jobs)
    rows, thumbnails = [], []
    features, probabilities, scores = [], [], []
    for index, images in each_chunk(paths, on_error, "looking"):
        au = extractor.score_faces(images)
        found = predict_with_aus(classifier, images, au, list(extractor.detector_.au_names))
        rows += index.tolist()
        features.append(found[0])
        probabilities.append(found[1])
        scores.append(au)
        thumbnails += [data_address(image, _THUMBNAIL) if pictures else "" for image in images]
    if not rows:
        raise ValueError(f"None of the {len(paths)} pictures in {str(folder)!r} can be read.")
    shares = np.concatenate(probabilities)
    left_out = sorted(set(range(len(paths))) - set(rows))
    return SeenFaces(
        names=[Path(paths[row]).name for row in rows],
        truth=None if labels is None else labels[rows],
        predicted=classifier._decide(shares).astype(str),
        probabilities=shares,
        features=np.concatenate(features),
        au=np.concatenate(scores),
        au_names=list(extractor.detector_.au_names),
        thumbnails=thumbnails,
        paths=[paths[row] for row in rows],
        unreadable=[Path(paths[row]).name for row in left_out],
    )
