"""AU scores from face landmarks: MediaPipe's networks, run by LiteRT."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from os import PathLike
from typing import TypeVar

import joblib
import numpy as np
from numpy.typing import NDArray

from .._checks import check_images
from .._sklearn import N_JOBS, Interval, judged
from ._face_models import MODEL_SHA256, FaceModels, read_model
from ._face_search import find_face
from .appearance import CROP, cut_face
from .heads import load_heads
from .measurements import BLENDSHAPE_NAMES, N_LANDMARKS, Measurements

__all__ = ["LandmarkDetector"]

_Result = TypeVar("_Result")

# Pictures that a worker takes at once, whatever the number of workers: so few that
# none waits long for the last one. Equal parts give equal sums, to the last bit.
_PART = 4

# Interpreters that nobody uses at the moment, by model file. They belong to the
# process, so that a worker keeps them from one task to the next. Appending to and
# popping from a list need no lock.
_idle: defaultdict[tuple[str, str], list[FaceModels]] = defaultdict(list)


class LandmarkDetector:
    """Score AUs by face landmarks.

    MediaPipe's Face Landmarker finds 478 landmarks and from them scores 52
    facial movements ("blendshapes"). Heads turn both into AU scores.

    Pictures may be face crops or photographs. Each is first taken for a face
    crop; only where no face is found that way, a face detector searches it and
    the largest face counts, which must fill a sixth of the longer side at least.
    Faces of 48 x 48 pixels, grey too, are enough.

    Parameters
    ----------
    model_path : str or path, optional
        A ``face_landmarker.task`` file; by default the one that comes with the
        package.
    heads : {"trained", "blendshape-names"} or path, default="trained"
        "trained" gives probabilities that AUs are visible, by heads trained on
        rendered faces, see `adafer.aus.heads.TrainedHeads`; "blendshape-names"
        takes the blendshape of the same name, see `adafer.aus.heads.NameHeads`;
        a path is that of heads you trained with `adafer.aus.training`.
    sha256 : str or None
        What the SHA-256 of the file must be, by default that of the file in
        the package. None takes any file: only for files you trust.
    min_presence : float, default=0.5
        Scores of a face whose presence, in [0, 1], is lower are NaN.
    n_jobs : int, optional
        Workers; None means 1 unless in a `joblib.parallel_config` context, -1
        all cores. They are threads, unless the context names another backend
        ("loky" for processes, or "dask"). The scores do not depend on it.

    Attributes
    ----------
    au_names : tuple of str
        AUs in the order of the columns.
    identity : str
        Names detector and model: equal identities give equal scores.

    Notes
    -----
    Interpreters are built when first needed, one set for each thread, and are
    kept by the process for all detectors of the same model file; pickles and
    copies hold none. A set takes about 22 MiB.

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

    @judged(
        model_path=[None, str, PathLike],
        heads=[str, PathLike],
        sha256=[None, str],
        min_presence=[Interval(Real, 0, 1, closed="both")],
        n_jobs=N_JOBS,
    )
    def __init__(
        self,
        model_path: str | PathLike[str] | None = None,
        *,
        heads: str | PathLike[str] = "trained",
        sha256: str | None = MODEL_SHA256,
        min_presence: float = 0.5,
        n_jobs: int | None = None,
    ) -> None:
        self.model_path = model_path
        self.heads = heads
        self.sha256 = sha256
        self.min_presence = min_presence
        self.n_jobs = n_jobs
        self._heads = load_heads(heads)
        self.au_names: tuple[str, ...] = self._heads.au_names
        _, self._digest = read_model(model_path, sha256)

    def __repr__(self) -> str:
        path = "" if self.model_path is None else f"model_path={str(self.model_path)!r}, "
        return (
            f"LandmarkDetector({path}heads={str(self.heads)!r}, min_presence={self.min_presence}, "
            f"n_jobs={self.n_jobs})"
        )

    @property
    def identity(self) -> str:
        """Name of detector and model, with all that changes the scores."""
        model = f"landmarks-2:{self._digest[:16]}:presence>={float(self.min_presence):g}"
        return f"{model}:{self._heads.identity}"

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
        check_images(images)
        return np.concatenate(self._in_parts(self._score_part, images))

    def measure(self, images: Sequence[NDArray[np.uint8]]) -> Measurements:
        """Find landmarks, blendshapes and aligned faces, from which heads score AUs.

        Parameters
        ----------
        images : sequence of n ndarrays of uint8 of shape (H, W, 3)
            RGB pictures of any size.

        Returns
        -------
        measurements : Measurements
            Of the n pictures; points and blendshapes are NaN where no face was
            found.

        Raises
        ------
        ImportError, FileNotFoundError, ValueError
            As `detect`.
        """
        check_images(images)
        return Measurements.join(self._in_parts(self._measure_part, images))

    def _in_parts(
        self,
        work: Callable[[Sequence[NDArray[np.uint8]]], _Result],
        images: Sequence[NDArray[np.uint8]],
    ) -> list[_Result]:
        """Do something with some pictures after the other, by all workers."""
        parts = [images[start : start + _PART] for start in range(0, len(images), _PART)]
        n_jobs = min(joblib.effective_n_jobs(self.n_jobs), len(parts))
        if n_jobs <= 1:
            return [work(part) for part in parts or [images]]
        # Threads, unless the context says otherwise: the networks release the
        # interpreter lock while they compute.
        parallel = joblib.Parallel(n_jobs=n_jobs, prefer="threads")
        return list(parallel(joblib.delayed(work)(part) for part in parts))

    def _score_part(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        measured = self._measure_part(images)
        found = measured.found
        scores = np.full((len(images), len(self.au_names)), np.nan, dtype=np.float32)
        if found.any():
            scores[found] = self._heads.scores(measured.rows(found))
        return scores

    def _measure_part(self, images: Sequence[NDArray[np.uint8]]) -> Measurements:
        measured = Measurements(
            np.full((len(images), N_LANDMARKS, 3), np.nan),
            np.full((len(images), len(BLENDSHAPE_NAMES)), np.nan, dtype=np.float32),
            np.zeros((len(images), CROP, CROP), dtype=np.uint8),
            np.zeros(len(images)),
        )
        if len(images) == 0:
            return measured
        with self._models() as models:
            for row, image in enumerate(images):
                face = find_face(models, image, self.min_presence)
                if face is not None:
                    measured.points[row] = face.points
                    measured.blendshapes[row] = models.blendshapes(face.points)
                    measured.faces[row] = cut_face(image, face.points)
                    measured.presence[row] = face.presence
        return measured

    @contextmanager
    def _models(self) -> Iterator[FaceModels]:
        """Lend a set of interpreters that no other thread uses."""
        idle = _idle[str(self.model_path), self._digest]
        try:
            models = idle.pop()
        except IndexError:
            models = FaceModels(read_model(self.model_path, self._digest)[0])
        try:
            yield models
        finally:
            idle.append(models)
