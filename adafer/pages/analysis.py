"""One picture as a model sees it: faces, action units, expressions."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..alignment import FaceAligner, FaceDetection
from ..aus import LandmarkDetector
from .model_blocks import au_meaning
from .pictures import data_address
from .seen import extractor_of, predict_with_aus

__all__ = ["MODES", "NoFaceError", "PictureAnalyst", "installed_aligner"]

Picture = NDArray[np.uint8]
Mode = Literal["auto", "crop", "photograph"]
MODES: tuple[Mode, ...] = ("auto", "crop", "photograph")

_CROP_SHARE = 0.6  # faces of crops fill more of the longer side; those of the rendered ones 0.75
_AU_REGION = 1.3  # of the square in which AUs are looked for, in parts of the box's longer side
_MAX_FACES = 5
_PREVIEW, _CROP_PREVIEW = 720, 160  # pixels
_INSTALL = 'pip install "adafer[align]"'


class NoFaceError(ValueError):
    """A picture shows no face; the message says what to do."""


class _Seen(NamedTuple):
    """A face to ask the model about."""

    box: NDArray[np.float64] | None
    crop: Picture
    region: Picture


def installed_aligner(margin: float = 0.0) -> FaceAligner | None:
    """Make an aligner, if what it needs is installed.

    Parameters
    ----------
    margin : float, default=0.0
        As in `FaceAligner`.

    Returns
    -------
    aligner : FaceAligner or None
    """
    aligner = FaceAligner(margin=margin)
    try:
        aligner.detect(np.zeros((1, 64, 64, 3), dtype=np.uint8))
    except ImportError:
        return None
    return aligner


class PictureAnalyst:
    """Tells faces, AUs and expressions of pictures; not to be used by two threads at once.

    Parameters
    ----------
    classifier : DomainClassifier
        Fitted on faces, or loaded.
    aligner : FaceAligner or None
        Finds faces in photographs. Without one, pictures count as crops.

    Raises
    ------
    ValueError
        If the model was fitted on features, or takes AUs that cannot be scored.
    """

    def __init__(self, classifier: Any, aligner: FaceAligner | None) -> None:
        if hasattr(classifier, "n_features_in_"):
            raise ValueError(
                "The model was fitted on features, not on pictures, and can say nothing about "
                "pictures."
            )
        self.classifier = classifier
        self.aligner = aligner
        self._extractor = extractor_of(classifier)
        self._landmarks = LandmarkDetector()
        # loads what is loaded when first needed, and fails now if something is missing
        self.analyse(np.zeros((64, 64, 3), dtype=np.uint8), "crop")

    def analyse(self, image: Picture, mode: Mode = "auto") -> dict[str, Any]:
        """Look at one picture.

        Parameters
        ----------
        image : ndarray of uint8 of shape (H, W, 3)
        mode : {"auto", "crop", "photograph"}, default="auto"
            "crop" gives the whole picture to the network, as in training;
            "photograph" aligns each face first; "auto" takes pictures that a
            face fills for crops.

        Returns
        -------
        found : dict
            For JSON: ``width`` and ``height``; ``preview``, a ``data:`` address;
            ``notes``, sentences; ``faces``, dicts of ``box`` (left, top, width,
            height in parts of the picture, or None), ``crop`` (an address),
            ``label``, ``expressions`` (dicts of ``name`` and ``probability``) and
            ``aus`` (dicts of ``name``, ``meaning`` and ``score``; None where no
            AUs were found).

        Raises
        ------
        NoFaceError
            If there is no face, unless `mode` is "crop".
        ValueError
            If photographs are asked for and there is no aligner.
        """
        height, width = image.shape[:2]
        seen, notes = self._faces(image, mode)
        scores = self._extractor.score_faces([face.region for face in seen])
        names = list(self._extractor.detector_.au_names)
        crops = [face.crop for face in seen]
        _, probabilities = predict_with_aus(self.classifier, crops, scores, names)
        labels = self.classifier._decide(probabilities)
        if np.isnan(scores).any():
            notes.append("Action units are missing where no landmarks of a face were found.")
        return {
            "width": width,
            "height": height,
            "preview": data_address(image, _PREVIEW),
            "notes": notes,
            "faces": [
                {
                    "box": _parts(face.box, width, height),
                    "crop": data_address(face.crop, _CROP_PREVIEW),
                    "label": str(label),
                    "expressions": [
                        {"name": str(name), "probability": float(share)}
                        for name, share in zip(self.classifier.classes_, shares, strict=True)
                    ],
                    "aus": None
                    if np.isnan(row).any()
                    else [
                        {"name": name, "meaning": au_meaning(name), "score": float(score)}
                        for name, score in zip(names, row, strict=True)
                    ],
                }
                for face, label, shares, row in zip(
                    seen, labels, probabilities, scores, strict=True
                )
            ],
        }

    def _faces(self, image: Picture, mode: Mode) -> tuple[list[_Seen], list[str]]:
        """Find what to ask about, and say how it was chosen."""
        if mode == "photograph" and self.aligner is None:
            raise ValueError(
                f"Faces in photographs are found with the extra align: {_INSTALL}, then start "
                'again. Or choose "face crop".'
            )
        boxes, detections = self._boxes(image)
        if not boxes and mode != "crop":
            raise NoFaceError(
                "No face was found in this picture. Faces must be upright or nearly so and not "
                'too small; if it is a close crop of a face, choose "face crop".'
            )
        whole = _Seen(boxes[0] if boxes else None, image, image)
        share = max(boxes[0][2:] - boxes[0][:2]) / max(image.shape[:2]) if boxes else 0.0
        fills = share >= _CROP_SHARE
        if mode == "crop" or self.aligner is None or (mode == "auto" and fills):
            return [whole], self._notes_of_crop(len(boxes), share, fills)
        shown = boxes[:_MAX_FACES]
        notes = ["Taken as a photograph: each face was aligned before the network saw it."]
        if len(boxes) > 1:
            which = "all are" if len(boxes) <= _MAX_FACES else f"the {_MAX_FACES} largest are"
            notes.append(f"There are {len(boxes)} faces; {which} shown, the largest first.")
        return [
            _Seen(box, self.aligner.cut_out(image, face), _square(image, box))
            for box, face in zip(shown, detections, strict=False)
        ], notes

    def _notes_of_crop(self, n_faces: int, share: float, fills: bool) -> list[str]:
        notes = ["Taken as a face crop: the network saw the whole picture."]
        if n_faces == 0:
            notes.append("No face was found in it: do not rely on the label.")
        elif not fills:
            text = f"The face fills {100 * share:.0f} % of it only: do not rely on the label."
            if self.aligner is None:
                text += f" To have faces cut out of photographs: {_INSTALL}, then start again."
            notes.append(text)
        if n_faces > 1:
            notes.append(f"There are {n_faces} faces; the box is that of the largest.")
        return notes

    def _boxes(self, image: Picture) -> tuple[list[NDArray[np.float64]], list[FaceDetection]]:
        """Find boxes (left, top, right, bottom), the largest face first."""
        if self.aligner is not None:
            found = self.aligner.detect([image])[0]
            return [face.box for face in found], found
        measured = self._landmarks.measure([image])
        if not measured.found[0]:
            return [], []
        points = measured.points[0][:, :2]
        return [np.concatenate([points.min(axis=0), points.max(axis=0)])], []


def _parts(box: NDArray[np.float64] | None, width: int, height: int) -> list[float] | None:
    """Left, top, width and height of what of a box is inside, in parts of the picture."""
    if box is None:
        return None
    limits = np.array([width, height])
    low, high = np.clip(box[:2], 0, limits), np.clip(box[2:], 0, limits)
    return [round(float(part), 4) for part in (*(low / limits), *((high - low) / limits))]


def _square(image: Picture, box: NDArray[np.float64]) -> Picture:
    """Cut the surroundings of a face out, so that no neighbour is taken for it."""
    half = _AU_REGION * float((box[2:] - box[:2]).max()) / 2
    centre = (box[:2] + box[2:]) / 2
    limits = np.array(image.shape[1::-1])
    low = np.clip(np.floor(centre - half).astype(int), 0, limits - 1)
    high = np.clip(np.ceil(centre + half).astype(int), low + 1, limits)
    return np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
