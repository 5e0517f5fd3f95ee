"""AU scores from py-feat, where it is installed."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections import defaultdict
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .._checks import check_images
from .._sklearn import Interval, StrOptions, judged

__all__ = ["PyFeatDetector"]

_AU_NUMBERS = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28, 43)
_BOX = ["FaceRectWidth", "FaceRectHeight"]
_INSTALL = (
    'Run: pip install "py-feat>=2.0" (it fetches its models when it is first used). Or run py-feat '
    "elsewhere, save its result with to_csv, read that with adafer.aus.read_pyfeat and "
    "adafer.aus.join_scores, and pass it as au_src and au_tgt."
)


def _import_pyfeat() -> Any:
    try:
        import feat
    except ImportError as error:
        raise ImportError(f"py-feat cannot be imported ({error}). {_INSTALL}") from error
    if not hasattr(feat, "Detectorv1"):
        found = getattr(feat, "__version__", "of unknown version")
        raise ImportError(f"Found feat {found}, expected py-feat 2.0 or newer. {_INSTALL}")
    return feat


class PyFeatDetector:
    """Score AUs by py-feat's classic models (its ``Detectorv1``).

    py-feat finds faces, places 68 landmarks, and scores 20 AUs from histograms
    of gradients. Of several faces in a picture the largest counts.

    Parameters
    ----------
    au_model : {"xgb", "svm"}, default="xgb"
        "xgb" gives probabilities, "svm" zeros and ones.
    face_model : str, default="retinaface"
    landmark_model : str, default="mobilefacenet"
        Models by py-feat's names.
    min_confidence : float, default=0.5
        How sure the face detector must be of a face, in [0, 1].
    max_side : int, default=1280
        Longer side in pixels to which larger pictures are shrunk.
    batch_size : int, default=16
        Pictures of one size that are scored at once.
    device : str, default="cpu"
        "cpu", "cuda", "mps" or "auto".

    Attributes
    ----------
    au_names : tuple of str
        The 20 AUs in the order of the columns.
    identity : str
        Names py-feat's version, models and settings: equal identities give
        equal scores, up to rounding on another device.

    Raises
    ------
    ImportError
        If py-feat 2.0 or newer is not installed.

    See Also
    --------
    adafer.aus.read_pyfeat : Reads tables that py-feat wrote.

    Notes
    -----
    py-feat fetches its models over the network when they are first used. They
    have licences of their own, which in part exclude commercial use. They are
    loaded at the first `detect`, and left out of pickles.

    References
    ----------
    J. H. Cheong et al., Py-Feat: Python Facial Expression Analysis Toolbox,
    Affective Science 4 (2023).

    Examples
    --------
    >>> from adafer import AUExtractor
    >>> from adafer.aus import PyFeatDetector
    >>> AUExtractor(detector="py-feat").fit(paths)  # doctest: +SKIP
    >>> AUExtractor(PyFeatDetector(device="cuda")).fit(paths)  # doctest: +SKIP
    """

    au_names: tuple[str, ...] = tuple(f"AU{number:02d}" for number in _AU_NUMBERS)

    @judged(
        au_model=[StrOptions({"xgb", "svm"})],
        face_model=[str],
        landmark_model=[str],
        min_confidence=[Interval(Real, 0, 1, closed="both")],
        max_side=[Interval(Integral, 16, None, closed="left")],
        batch_size=[Interval(Integral, 1, None, closed="left")],
        device=[str],
    )
    def __init__(
        self,
        au_model: str = "xgb",
        *,
        face_model: str = "retinaface",
        landmark_model: str = "mobilefacenet",
        min_confidence: float = 0.5,
        max_side: int = 1280,
        batch_size: int = 16,
        device: str = "cpu",
    ) -> None:
        self.au_model = au_model
        self.face_model = face_model
        self.landmark_model = landmark_model
        self.min_confidence = min_confidence
        self.max_side = max_side
        self.batch_size = batch_size
        self.device = device
        _import_pyfeat()  # whether it is there is told now, not at the first picture
        self._models: Any = None

    def __repr__(self) -> str:
        return (
            f"PyFeatDetector({self.au_model!r}, face_model={self.face_model!r}, "
            f"landmark_model={self.landmark_model!r}, min_confidence={self.min_confidence}, "
            f"max_side={self.max_side}, batch_size={self.batch_size}, device={self.device!r})"
        )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_models": None}

    @property
    def identity(self) -> str:
        """Name of py-feat's version and models, with all that changes the scores."""
        return (
            f"py-feat-{_import_pyfeat().__version__}:{self.face_model}:{self.landmark_model}:{self.au_model}:"
            f"confidence>={float(self.min_confidence):g}:side<={self.max_side}"
        )

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Score the AUs of pictures.

        Parameters
        ----------
        images : sequence of n ndarrays of uint8 of shape (H, W, 3)
            RGB pictures of any size.

        Returns
        -------
        scores : ndarray of float32 of shape (n, 20), values in [0, 1]
            NaN rows where no face was found.

        Raises
        ------
        ImportError
            If py-feat is not installed.
        ValueError
            If py-feat gives another table than expected.
        """
        check_images(images)
        scores = np.full((len(images), len(self.au_names)), np.nan, dtype=np.float32)
        views = [self._shrink(image) for image in images]
        # py-feat takes stacks, so pictures of one size go together.
        by_shape = defaultdict(list)
        for row, view in enumerate(views):
            by_shape[view.shape].append(row)
        for rows in by_shape.values():
            scores[rows] = self._detect_stack(np.stack([views[row] for row in rows]))
        return scores

    def _shrink(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        factor = self.max_side / max(height, width)
        if factor >= 1:
            return image
        size = max(1, round(width * factor)), max(1, round(height * factor))
        picture = Image.fromarray(np.ascontiguousarray(image))
        return np.asarray(picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0))

    def _detect_stack(self, stack: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        detector = self._detector()
        # py-feat draws a progress bar, asked or not, and warns of head poses.
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            table = detector.detect(
                torch.from_numpy(np.ascontiguousarray(stack.transpose(0, 3, 1, 2))),
                data_type="tensor",
                batch_size=self.batch_size,
                face_detection_threshold=self.min_confidence,
                progress_bar=False,
            )
        wanted = ["frame", *_BOX, *self.au_names]
        if missing := [name for name in wanted if name not in table.columns]:
            raise ValueError(
                f"py-feat {_import_pyfeat().__version__} gave a table without "
                f"{', '.join(missing)}; expected its 20 AUs and the boxes of faces. {_INSTALL}"
            )
        frames, area, aus = (
            table["frame"].to_numpy(np.intp),
            table[_BOX].to_numpy(np.float64).prod(axis=1),
            table[list(self.au_names)].to_numpy(np.float32),
        )
        scores = np.full((len(stack), len(self.au_names)), np.nan, dtype=np.float32)
        # Pictures without a face have a row without a box.
        faces = np.flatnonzero(np.isfinite(area))
        # Of rows for one picture the last one stays: the largest face.
        faces = faces[np.argsort(area[faces], kind="stable")]
        scores[frames[faces]] = aus[faces]
        return scores

    def _detector(self) -> Any:
        if self._models is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._models = _import_pyfeat().Detectorv1(
                    face_model=self.face_model,
                    landmark_model=self.landmark_model,
                    au_model=self.au_model,
                    emotion_model=None,
                    identity_model=None,
                    gaze_model=None,
                    device=self.device,
                )
        return self._models
