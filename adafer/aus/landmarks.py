"""AU scores from face landmarks: MediaPipe's networks, run by LiteRT."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise
from os import PathLike
from typing import Any, NamedTuple

import joblib
import numpy as np
from numpy.typing import NDArray

from ._face_models import MODEL_SHA256, FaceModels, Region, read_model

__all__ = ["BLENDSHAPE_NAMES", "LandmarkDetector", "scores_from_face"]

_BLENDSHAPES = """
    _neutral browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff
    cheekSquintLeft cheekSquintRight eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight
    eyeLookInLeft eyeLookInRight eyeLookOutLeft eyeLookOutRight eyeLookUpLeft eyeLookUpRight
    eyeSquintLeft eyeSquintRight eyeWideLeft eyeWideRight jawForward jawLeft jawOpen jawRight
    mouthClose mouthDimpleLeft mouthDimpleRight mouthFrownLeft mouthFrownRight mouthFunnel
    mouthLeft mouthLowerDownLeft mouthLowerDownRight mouthPressLeft mouthPressRight mouthPucker
    mouthRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthSmileLeft
    mouthSmileRight mouthStretchLeft mouthStretchRight mouthUpperUpLeft mouthUpperUpRight
    noseSneerLeft noseSneerRight
"""
BLENDSHAPE_NAMES: tuple[str, ...] = tuple(_BLENDSHAPES.split())

# AU -> blendshape of the same movement; where it has a left and a right side,
# their mean. Left out: cheekSquint (AU06), noseSneer (AU09) and cheekPuff
# (AU34), which the network always scores 0, and AU27, which would repeat AU26.
_BLENDSHAPE_OF_AU = {
    "AU01": "browInnerUp",
    "AU02": "browOuterUp",
    "AU04": "browDown",
    "AU05": "eyeWide",
    "AU07": "eyeSquint",
    "AU10": "mouthUpperUp",
    "AU12": "mouthSmile",
    "AU14": "mouthDimple",
    "AU15": "mouthFrown",
    "AU16": "mouthLowerDown",
    "AU17": "mouthShrugLower",
    "AU18": "mouthPucker",
    "AU20": "mouthStretch",
    "AU24": "mouthPress",
    "AU26": "jawOpen",
    "AU43": "eyeBlink",
}
_AU_NAMES = tuple(sorted([*_BLENDSHAPE_OF_AU, "AU06", "AU25"]))


def _blendshape_weights() -> NDArray[np.float32]:
    """Matrix of shape (52, n_aus) that averages the sides of each movement."""
    weights = np.zeros((len(BLENDSHAPE_NAMES), len(_AU_NAMES)), dtype=np.float32)
    for au, shape in _BLENDSHAPE_OF_AU.items():
        sides = [i for i, name in enumerate(BLENDSHAPE_NAMES) if _without_side(name) == shape]
        weights[sides, _AU_NAMES.index(au)] = 1 / len(sides)
    return weights


def _without_side(name: str) -> str:
    return name.removesuffix("Left").removesuffix("Right")


_WEIGHTS = _blendshape_weights()
_AU06, _AU07, _AU12, _AU25 = (_AU_NAMES.index(au) for au in ("AU06", "AU07", "AU12", "AU25"))

_RIGHT_EYE, _LEFT_EYE = 33, 263  # outer corners
_UPPER_LIP, _LOWER_LIP = 13, 14  # inner borders
# Lips apart by this part of the distance between the outer corners of the eyes
# score 1.
_WIDE_LIP_GAP = 1 / 3

_WHOLE_PICTURE = 1.25  # first region of a face crop, in parts of its longer side
_FACE_REGION = 1.5  # region around landmarks, in parts of their extent


class _Face(NamedTuple):
    points: NDArray[np.float64]
    presence: float


def scores_from_face(
    blendshapes: NDArray[np.float32], points: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Turn blendshapes and landmarks of one face into AU scores.

    Parameters
    ----------
    blendshapes : ndarray of float32 of shape (52,), values in [0, 1]
        In the order of `BLENDSHAPE_NAMES`.
    points : ndarray of float64 of shape (478, 2)
        Landmarks in pixels.

    Returns
    -------
    scores : ndarray of float32 of shape (n_aus,), values in [0, 1]
        In the order of `LandmarkDetector.au_names`.
    """
    scores = blendshapes @ _WEIGHTS
    # Cheeks rise in smiles that reach the eyes.
    scores[_AU06] = np.sqrt(max(scores[_AU07] * scores[_AU12], 0))
    gap = float(np.linalg.norm(points[_UPPER_LIP] - points[_LOWER_LIP]))
    eyes = float(np.linalg.norm(points[_RIGHT_EYE] - points[_LEFT_EYE]))
    scores[_AU25] = gap / max(eyes * _WIDE_LIP_GAP, 1e-6)
    return np.clip(scores, 0, 1)


def region_around(points: NDArray[np.float64]) -> Region:
    """Put a square around landmarks, levelled by the line of the eyes.

    Parameters
    ----------
    points : ndarray of float64 of shape (478, 2)

    Returns
    -------
    region : Region
        Its side is 1.5 times the longer extent of the landmarks.
    """
    x, y = points[_LEFT_EYE] - points[_RIGHT_EYE]
    angle = float(np.arctan2(y, x))
    cos, sin = np.cos(angle), np.sin(angle)
    level = np.array([[cos, -sin], [sin, cos]])
    turned = points @ level
    low, high = turned.min(axis=0), turned.max(axis=0)
    centre = level @ ((low + high) / 2)
    side = max(float((high - low).max()) * _FACE_REGION, 1.0)
    return Region(float(centre[0]), float(centre[1]), side, angle)


class LandmarkDetector:
    """Score AUs by face landmarks.

    MediaPipe's Face Landmarker finds 478 landmarks and from them scores 52
    facial movements ("blendshapes"), most of which are FACS action units
    by another name. Two are made up here: AU06 (cheeks raised) is the
    geometric mean of AU07 and AU12, and AU25 (lips apart) the distance
    between the inner lips, for which there is no blendshape.

    Pictures may be face crops or photographs. Each is first taken for a face
    crop; only where no face is found that way, a face detector searches it and
    the largest face counts, which must fill a sixth of the longer side at least.
    Faces of 48 x 48 pixels, grey too, are enough.

    Parameters
    ----------
    model_path : str or path, optional
        A ``face_landmarker.task`` file; by default the one that comes with the
        package.
    sha256 : str or None
        What the SHA-256 of the file must be, by default that of the file in
        the package. None takes any file: only for files you trust.
    min_presence : float, default=0.5
        Scores of a face whose presence, in [0, 1], is lower are NaN.
    n_jobs : int, optional
        Threads; None means 1 unless in a `joblib.parallel_config` context, -1
        all cores. The scores do not depend on it.

    Attributes
    ----------
    au_names : tuple of str
        AUs in the order of the columns.
    identity : str
        Names detector and model: equal identities give equal scores.

    Notes
    -----
    The interpreters are built when first needed, one set per thread, and are
    left out of pickles and copies.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.aus import LandmarkDetector
    >>> detector = LandmarkDetector()
    >>> len(detector.au_names)
    18
    >>> no_face = np.zeros((64, 64, 3), dtype=np.uint8)
    >>> bool(np.isnan(detector.detect([no_face])).all())
    True
    """

    au_names: tuple[str, ...] = _AU_NAMES

    def __init__(
        self,
        model_path: str | PathLike[str] | None = None,
        *,
        sha256: str | None = MODEL_SHA256,
        min_presence: float = 0.5,
        n_jobs: int | None = None,
    ) -> None:
        self.model_path = model_path
        self.sha256 = sha256
        self.min_presence = min_presence
        self.n_jobs = n_jobs
        _, self._digest = read_model(model_path, sha256)
        self._forget()

    def _forget(self) -> None:
        self._content: bytes | None = None
        self._idle: list[FaceModels] = []
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        path = "" if self.model_path is None else f"model_path={str(self.model_path)!r}, "
        return f"LandmarkDetector({path}min_presence={self.min_presence}, n_jobs={self.n_jobs})"

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for part in ("_content", "_idle", "_lock"):
            del state[part]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    @property
    def identity(self) -> str:
        """Name of detector and model, with all that changes the scores."""
        return f"landmarks-1:{self._digest[:16]}:presence>={float(self.min_presence):g}"

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Score the AUs of pictures.

        Parameters
        ----------
        images : sequence of n ndarrays of uint8 of shape (H, W, 3)
            RGB pictures of any size.

        Returns
        -------
        scores : ndarray of float32 of shape (n, n_aus), values in [0, 1]
            NaN rows where no face was found.

        Raises
        ------
        ImportError
            If LiteRT is not installed.
        FileNotFoundError, ValueError
            If the model file was removed or changed.
        """
        n_jobs = min(joblib.effective_n_jobs(self.n_jobs), len(images))
        if n_jobs <= 1:
            return self._detect_some(images)
        # Small parts, so that no thread waits long for the last one. LiteRT
        # releases the interpreter lock while it computes.
        edges = np.linspace(0, len(images), min(4 * n_jobs, len(images)) + 1).astype(int)
        parts = joblib.Parallel(n_jobs=n_jobs, require="sharedmem")(
            joblib.delayed(self._detect_some)(images[low:high]) for low, high in pairwise(edges)
        )
        return np.concatenate(list(parts))

    def _detect_some(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        scores = np.full((len(images), len(self.au_names)), np.nan, dtype=np.float32)
        if len(images) == 0:
            return scores
        models = self._borrow()
        try:
            for row, image in zip(scores, images, strict=True):
                face = self._find_face(models, image)
                if face is not None:
                    row[:] = scores_from_face(models.blendshapes(face.points), face.points)
        finally:
            with self._lock:
                self._idle.append(models)
        return scores

    def _borrow(self) -> FaceModels:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            if self._content is None:
                self._content, _ = read_model(self.model_path, self._digest)
            content = self._content
        return FaceModels(content)

    def _find_face(self, models: FaceModels, image: NDArray[np.uint8]) -> _Face | None:
        """Try the picture as a face crop, as a photograph, and as a poor crop.

        Black borders find faces that touch the picture's edge, where repeated
        borders smear them; where both find one, repeated borders score better.
        """
        height, width = image.shape[:2]
        whole = Region(width / 2, height / 2, _WHOLE_PICTURE * max(height, width))
        face = self._look_twice(models, image, whole, replicate=True)
        if face.presence >= self.min_presence:
            return face
        for region in (models.largest_face(image), whole):
            if region is not None:
                face = self._look_twice(models, image, region, replicate=False)
                if face.presence >= self.min_presence:
                    return face
        return None

    @staticmethod
    def _look_twice(
        models: FaceModels, image: NDArray[np.uint8], region: Region, *, replicate: bool
    ) -> _Face:
        points, _ = models.landmarks(image, region, replicate=replicate)
        return _Face(*models.landmarks(image, region_around(points), replicate=replicate))
