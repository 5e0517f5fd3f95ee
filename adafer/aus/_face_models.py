"""The three networks inside MediaPipe's ``face_landmarker.task``, run by LiteRT."""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cache
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["MODEL_SHA256", "FaceModels", "Picture", "Region", "cut_region", "read_model"]

MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
_PARTS = {
    "boxes": "face_detector.tflite",
    "landmarks": "face_landmarks_detector.tflite",
    "blendshapes": "face_blendshapes.tflite",
}
_CROP = 256  # pixels per side of what the landmark network sees
_BOX_CROP = 128  # the same for the face detector
_N_LANDMARKS = 478
_RIGHT_EYE, _LEFT_EYE = 33, 263  # landmarks: outer corners
_MIN_BOX_SCORE = 0.5
_MIN_BOX_OVERLAP = 0.3

# The landmarks that the blendshape network takes, in its order.
# fmt: off
_BLENDSHAPE_LANDMARKS = np.array([
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65,
    66, 67, 70, 78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136,
    144, 145, 146, 148, 149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172,
    173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283,
    284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321, 323, 324,
    332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385,
    386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472,
    473, 474, 475, 476, 477,
])
# fmt: on


class Region(NamedTuple):
    """A square part of a picture, in pixels; `angle` in radians, clockwise on screen."""

    x: float
    y: float
    side: float
    angle: float = 0.0


def read_model(model_path: str | PathLike[str] | None, sha256: str | None) -> tuple[bytes, str]:
    """Read a ``.task`` file and check that it is the one expected.

    Parameters
    ----------
    model_path : str, path or None
        None takes the file that comes with the package.
    sha256 : str or None
        What its SHA-256 must be; None takes any file.

    Returns
    -------
    content : bytes
    digest : str
        Its SHA-256.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is another one.
    """
    if model_path is None:
        where = str(files("adafer.aus").joinpath("models", "face_landmarker.task"))
    else:
        where = str(Path(model_path).expanduser())
    try:
        content = Path(where).read_bytes()
    except OSError as error:
        mend = "Reinstall adafer." if model_path is None else "Check model_path."
        raise FileNotFoundError(f"The face landmark model {where!r} cannot be read. {mend}") from (
            error
        )
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256.lower():
        raise ValueError(
            f"The face landmark model {where!r} has SHA-256 {digest}, expected {sha256}: it is "
            "damaged or another file. To use another model, pass detector=LandmarkDetector("
            "model_path=..., sha256=...) with its SHA-256."
        )
    return content, digest


class Picture:
    """A picture whose parts are averaged down once, however often they are looked at.

    Parameters
    ----------
    pixels : ndarray of uint8 of shape (H, W, 3)
        Not to be changed.
    """

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self._pixels = pixels
        self._reduced: dict[tuple[int, ...], NDArray[np.uint8]] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and 3."""
        return self._pixels.shape

    def part(self, x: slice, y: slice, factor: int) -> NDArray[np.uint8]:
        """Cut out a rectangle and average blocks of ``factor x factor`` pixels."""
        pixels = self._pixels[y, x]
        if factor == 1:
            return pixels
        key = (x.start, x.stop, y.start, y.stop, factor)
        if key not in self._reduced:
            image = Image.fromarray(np.ascontiguousarray(pixels))
            self._reduced[key] = np.asarray(image.reduce(factor))
        return self._reduced[key]


def cut_region(
    image: NDArray[np.uint8] | Picture, region: Region, size: int, *, replicate: bool = True
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Cut a rotated square out of a picture and resample it.

    Parameters
    ----------
    image : ndarray of uint8 of shape (H, W, 3) or Picture
    region : Region
        It may reach beyond the picture.
    size : int
        Pixels per side of the result.
    replicate : bool, default=True
        Beyond the picture, repeat its border; else black.

    Returns
    -------
    crop : ndarray of uint8 of shape (size, size, 3)
    to_image : ndarray of float64 of shape (2, 3)
        Maps a point (x, y, 1) of the crop to the picture.
    """
    scale = region.side / size
    cos, sin = np.cos(region.angle) * scale, np.sin(region.angle) * scale
    to_image = np.array(
        [
            [cos, -sin, region.x - (cos - sin) * size / 2],
            [sin, cos, region.y - (sin + cos) * size / 2],
        ]
    )
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]])
    corners = corners @ to_image[:, :2].T + to_image[:, 2]
    low = np.floor(corners.min(axis=0)).astype(int) - 2
    high = np.ceil(corners.max(axis=0)).astype(int) + 2
    limit = np.array(image.shape[1::-1])
    inside = np.clip(low, 0, limit - 1)
    outside = np.clip(high, inside + 1, limit)
    picture = image if isinstance(image, Picture) else Picture(image)
    # Resampling far down by single bilinear samples would skip pixels.
    factor = max(1, int(scale))
    columns, rows = (slice(*ends) for ends in zip(inside.tolist(), outside.tolist(), strict=True))
    part = picture.part(columns, rows, factor)
    if replicate:
        before = np.maximum(0, -(-(inside - low) // factor))
        after = np.maximum(0, -(-(high - outside) // factor))
        part = np.pad(part, ((before[1], after[1]), (before[0], after[0]), (0, 0)), mode="edge")
    else:
        before = np.zeros(2, dtype=int)
    to_part = to_image.copy()
    to_part[:, 2] -= inside
    to_part /= factor
    to_part[:, 2] += before
    crop = Image.fromarray(np.ascontiguousarray(part)).transform(
        (size, size),
        Image.Transform.AFFINE,
        tuple(to_part.ravel()),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(crop), to_image


@cache
def _box_anchors() -> NDArray[np.float32]:
    """Centres of the 896 anchors of the face detector, in [0, 1]."""
    anchors = []
    for cells, per_cell in ((16, 2), (8, 6)):
        centres = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        x, y = np.meshgrid(centres, centres)
        anchors.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), per_cell, axis=0))
    return np.concatenate(anchors)


def decode_boxes(
    regressors: NDArray[np.float32], logits: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Turn the face detector's output into faces, the largest first.

    Overlapping boxes are averaged, weighted by their scores.

    Parameters
    ----------
    regressors : ndarray of float32 of shape (896, 16)
        Offsets from the anchors in pixels of 128: centre, size, six key points.
    logits : ndarray of float32 of shape (896,)

    Returns
    -------
    faces : ndarray of float64 of shape (n_faces, 16)
        Centre x and y, width, height, then x and y of the key points (the
        first two are the eyes), all in parts of the crop's side.
    """
    scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -80, 80)))
    keep = np.flatnonzero(scores >= _MIN_BOX_SCORE)
    keep = keep[np.argsort(-scores[keep], kind="stable")]
    scores = scores[keep]
    boxes = regressors[keep].astype(np.float64) / _BOX_CROP
    anchors = _box_anchors()[keep]
    boxes[:, :2] += anchors
    boxes[:, 4:] += np.tile(anchors, 6)
    low, high = boxes[:, :2] - boxes[:, 2:4] / 2, boxes[:, :2] + boxes[:, 2:4] / 2
    area = np.prod(np.maximum(high - low, 0), axis=1)
    left = np.ones(len(boxes), dtype=bool)
    faces = []
    for i in range(len(boxes)):
        if not left[i]:
            continue
        sides = np.minimum(high, high[i]) - np.maximum(low, low[i])
        overlap = np.prod(np.maximum(sides, 0), axis=1)
        union = np.maximum(area + area[i] - overlap, 1e-12)
        same = left & (overlap / union > _MIN_BOX_OVERLAP)
        same[i] = True
        faces.append(np.average(boxes[same], axis=0, weights=scores[same]))
        left &= ~same
    faces.sort(key=lambda face: -face[2] * face[3])
    return np.array(faces).reshape(-1, 16)


class FaceModels:
    """One set of interpreters; not to be used by two threads at once.

    Parameters
    ----------
    content : bytes
        A ``.task`` file.

    Raises
    ------
    ImportError
        If LiteRT is not installed.
    ValueError
        If the file does not hold the three networks.
    """

    def __init__(self, content: bytes) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ImportError(
                "Scoring AUs by face landmarks needs LiteRT, which is not installed. Run "
                '"pip install ai-edge-litert", or give AU scores of your own (au_src, au_tgt).'
            ) from error
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                parts = {what: archive.read(part) for what, part in _PARTS.items()}
            self._networks = {
                what: Interpreter(model_content=part, num_threads=1) for what, part in parts.items()
            }
            for network in self._networks.values():
                network.allocate_tensors()
        except (zipfile.BadZipFile, KeyError, RuntimeError) as error:
            raise ValueError(
                f"The face landmark model cannot be used: {error}. Expected a zip file with "
                f"{', '.join(_PARTS.values())}, as face_landmarker.task is."
            ) from error
        # Outputs are told apart by their shapes; names say nothing here.
        self._inputs = {k: n.get_input_details()[0]["index"] for k, n in self._networks.items()}
        self._outputs = {
            what: {tuple(d["shape"]): d["index"] for d in network.get_output_details()}
            for what, network in self._networks.items()
        }

    def _run(self, what: str, values: NDArray) -> Any:
        network = self._networks[what]
        network.set_tensor(self._inputs[what], values[None])
        network.invoke()
        return lambda *shape: network.get_tensor(self._outputs[what][shape])

    def landmarks(
        self, image: NDArray[np.uint8] | Picture, region: Region, *, replicate: bool = True
    ) -> tuple[NDArray[np.float64], float]:
        """Find the landmarks of the face in a region.

        Parameters
        ----------
        image : ndarray of uint8 of shape (H, W, 3) or Picture
        region : Region
            Square, levelled by the eye line, 1.5 times as large as the face.
        replicate : bool, default=True
            See `cut_region`.

        Returns
        -------
        points : ndarray of float64 of shape (478, 3)
            x and y in pixels of the picture, z away from the camera in the same
            scale.
        presence : float
            How sure the network is that a face is there, in [0, 1].
        """
        crop, to_image = cut_region(image, region, _CROP, replicate=replicate)
        output = self._run("landmarks", crop * np.float32(1 / 255))
        in_crop = output(1, 1, 1, 3 * _N_LANDMARKS).reshape(_N_LANDMARKS, 3)
        flat = in_crop[:, :2] @ to_image[:, :2].T + to_image[:, 2]
        depth = in_crop[:, 2] * (region.side / _CROP)
        logit = float(output(1, 1, 1, 1).item())
        presence = 1 / (1 + np.exp(-np.clip(logit, -80, 80)))
        return np.column_stack([flat, depth]), float(presence)

    def blendshapes(self, points: NDArray[np.float64]) -> NDArray[np.float32]:
        """Score 52 facial movements.

        Parameters
        ----------
        points : ndarray of shape (478, 2) or (478, 3)
            Landmarks in pixels, whichever way up the face is.

        Returns
        -------
        scores : ndarray of float32 of shape (52,), values in [0, 1]
        """
        flat = points[_BLENDSHAPE_LANDMARKS, :2].astype(np.float32)
        # The network knows faces the right way up: undo whole quarter turns.
        x, y = points[_LEFT_EYE, :2] - points[_RIGHT_EYE, :2]
        for _ in range(round(np.arctan2(y, x) / (np.pi / 2)) % 4):
            flat = np.column_stack([flat[:, 1], -flat[:, 0]])
        return self._run("blendshapes", flat)(52)

    def largest_face(self, image: NDArray[np.uint8] | Picture, angle: float = 0.0) -> Region | None:
        """Search a whole photograph for its largest face.

        Parameters
        ----------
        image : ndarray of uint8 of shape (H, W, 3) or Picture
        angle : float, default=0.0
            How far the photograph is turned, in radians, clockwise on screen.

        Returns
        -------
        region : Region or None
            1.5 times the face's box, levelled by the eyes.
        """
        height, width = image.shape[:2]
        whole = Region(width / 2, height / 2, max(height, width), angle)
        crop, to_image = cut_region(image, whole, _BOX_CROP, replicate=False)
        output = self._run("boxes", crop * np.float32(1 / 127.5) - np.float32(1))
        faces = decode_boxes(output(1, 896, 16)[0], output(1, 896, 1)[0, :, 0])
        if not len(faces):
            return None
        places = (faces[0, :8] * _BOX_CROP).reshape(4, 2)  # centre, size, right and left eye
        centre, right, left = places[[0, 2, 3]] @ to_image[:, :2].T + to_image[:, 2]
        return Region(
            x=float(centre[0]),
            y=float(centre[1]),
            side=1.5 * float(faces[0, 2:4].max()) * whole.side,
            angle=float(np.arctan2(left[1] - right[1], left[0] - right[0])),
        )
