"""AUExtractor: face pictures in, AU scores or AU codes out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from numbers import Real
from os import PathLike
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import joblib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from .._checks import check_images
from .._sklearn import N_JOBS, AdaFEREstimator, HasMethods, Interval, StrOptions, fit_context
from ..faces import Faces, check_faces
from .cache import AUScoreCache
from .facs import binarize, fit_thresholds
from .landmarks import LandmarkDetector
from .pyfeat import PyFeatDetector
from .scores import check_au_scores

__all__ = ["AUDetector", "AUExtractor"]

_Item = TypeVar("_Item")

_CHUNK = 128  # pictures that are read and scored together, at least
_CHUNK_PER_WORKER = 32


def _read_ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """Iterate while a thread is at work on the next item."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming = reader.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = reader.submit(next, items, None)
            yield item


@runtime_checkable
class AUDetector(Protocol):
    """What can stand behind an `AUExtractor`.

    Attributes
    ----------
    au_names : tuple of str
        AUs in the order of the columns, ``"AU01"``.
    identity : str
        Name of detector, model and settings: equal identities give equal
        scores for equal pictures.
    """

    au_names: tuple[str, ...]

    @property
    def identity(self) -> str:
        """Name of detector, model and settings."""

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Score the AUs of RGB pictures of shape (H, W, 3).

        Returns an array of shape (n, n_aus), values in [0, 1], NaN rows where
        no face was found.
        """
        ...


class AUExtractor(TransformerMixin, AdaFEREstimator):
    """Score the facial action units of pictures.

    Parameters
    ----------
    detector : {"landmarks", "py-feat"} or AUDetector, default="landmarks"
        "landmarks" is `LandmarkDetector`; "py-feat" is `PyFeatDetector`, which
        runs the toolbox of that name where it is installed. Else any object with
        a method ``detect`` and an attribute ``au_names``, see `AUDetector`.
    model_path : str or path, optional
        Where "landmarks" takes its model file from; by default it comes with
        the package. It must be the same file; for another one pass a
        `LandmarkDetector` of your own.
    heads : {"trained", "blendshape-names"} or path, default="trained"
        How "landmarks" turns landmarks and blendshapes into AU scores, see
        `LandmarkDetector`.
    threshold : {"quantile"} or float, default="quantile"
        Score above which an AU counts as shown, for the codes; see
        `adafer.aus.facs.fit_thresholds`.
    quantile : float, default=0.7
        Used with ``threshold="quantile"``.
    output : {"scores", "codes"}, default="scores"
        Whether `transform` gives scores in [0, 1] or codes of 0 and 1.
    min_presence : float, default=0.5
        How sure "landmarks" or "py-feat" must be, in [0, 1], that there is a
        face.
    cache : str or path, optional
        A file that keeps scores, so that no picture is scored twice, in this
        process or another; made when first needed. It holds hashes and scores,
        no pictures; see `adafer.aus.AUScoreCache`. The detector must have an
        ``identity``.
    n_jobs : int, default=None
        Workers of "landmarks": threads, unless a `joblib.parallel_config`
        context names another backend. None means 1 unless in such a context,
        -1 all cores.
    verbose : int, default=0
        1 prints how far scoring has come.

    Attributes
    ----------
    detector_ : AUDetector
    au_names_ : list of str
        AUs in the order of the columns.
    thresholds_ : ndarray of float64 of shape (n_aus,)
    n_faces_missing_ : int
        Pictures without a face in `fit`.
    n_features_out_ : int
        Number of AUs.

    See Also
    --------
    adafer.AUGuidedAnnotator : Labels target faces by AU scores.

    Notes
    -----
    Rows of pictures without a face are NaN, in scores and in codes. Estimators
    that take no NaN need an imputer or these rows left out.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer import AUExtractor
    >>> class Brightness:
    ...     au_names = ("AU01",)
    ...     identity = "brightness"
    ...     def detect(self, images):
    ...         return np.array([[image.mean() / 255] for image in images], dtype=np.float32)
    >>> faces = np.array([np.full((8, 8), 51), np.full((8, 8), 204)], dtype=np.uint8)
    >>> extractor = AUExtractor(detector=Brightness(), output="codes").fit(faces)
    >>> extractor.transform(faces)
    array([[0.],
           [1.]], dtype=float32)
    """

    _parameter_constraints: dict = {
        "detector": [StrOptions({"landmarks", "py-feat"}), HasMethods(["detect"])],
        "model_path": [None, str, PathLike],
        "heads": [str, PathLike],
        "threshold": [StrOptions({"quantile"}), Interval(Real, 0, 1, closed="both")],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
        "output": [StrOptions({"scores", "codes"})],
        "min_presence": [Interval(Real, 0, 1, closed="both")],
        "cache": [None, str, PathLike],
        "n_jobs": N_JOBS,
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        detector: Literal["landmarks", "py-feat"] | AUDetector = "landmarks",
        *,
        model_path: str | PathLike[str] | None = None,
        heads: str | PathLike[str] = "trained",
        threshold: Literal["quantile"] | float = "quantile",
        quantile: float = 0.7,
        output: Literal["scores", "codes"] = "scores",
        min_presence: float = 0.5,
        cache: str | PathLike[str] | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.detector = detector
        self.model_path = model_path
        self.heads = heads
        self.threshold = threshold
        self.quantile = quantile
        self.output = output
        self.min_presence = min_presence
        self.cache = cache
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> AUExtractor:
        """Score the pictures and fit the thresholds of the codes.

        Parameters
        ----------
        X : array-like or sequence of paths
            Pictures in any form `adafer.faces.check_faces` takes.
        y : ignored

        Returns
        -------
        self : AUExtractor

        Raises
        ------
        ValueError
            If `X` holds no pictures, none shows a face, or all have equal AUs.
        FileNotFoundError, FaceReadError
            If a picture cannot be read.

        Warns
        -----
        UserWarning
            If more than half of the pictures show no face.
        """
        self._fit(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> NDArray[np.float32]:
        """Fit and transform with one pass over the pictures.

        Parameters
        ----------
        X : array-like or sequence of paths
        y : ignored

        Returns
        -------
        aus : ndarray of float32 of shape (n_samples, n_aus)
            As `transform`.
        """
        return self._output(self._fit(X))

    @fit_context(prefer_skip_nested_validation=True)
    def _fit(self, X: Any) -> NDArray[np.float32]:
        scores = self._score(check_faces(X))
        self._set_fitted(scores)
        return scores

    @fit_context(prefer_skip_nested_validation=True)
    def fit_scores(self, scores: ArrayLike) -> AUExtractor:
        """Fit the thresholds to scores that `score_faces` gave before.

        Parameters
        ----------
        scores : array-like of shape (n_samples, n_aus), values in [0, 1]
            Columns in the order of the detector; NaN rows where no face was
            found.

        Returns
        -------
        self : AUExtractor

        Raises
        ------
        ValueError
            If the columns are not the detector's, or as in `fit`.
        """
        judged, _ = check_au_scores(scores, name="scores", keep_dtype=True)
        self._set_fitted(judged.astype(np.float32, copy=False))
        return self

    def _set_fitted(self, scores: NDArray[np.float32]) -> None:
        au_names = list(self._current_detector().au_names)
        if scores.ndim != 2 or scores.shape[1] != len(au_names):
            raise ValueError(
                f"scores must have one column per AU of the detector, {len(au_names)}: "
                f"{au_names}; got shape {scores.shape}."
            )
        thresholds = fit_thresholds(
            scores, threshold=self.threshold, quantile=self.quantile, au_names=au_names
        )
        missing = int(np.isnan(scores).any(axis=1).sum())
        if missing > len(scores) / 2:
            warnings.warn(
                f"No face was found in {missing} of {len(scores)} pictures; their AU scores are "
                "NaN. Check that the pictures show faces, upright and not too small.",
                stacklevel=4,
            )
        self.au_names_ = au_names
        self.thresholds_ = thresholds
        self.n_faces_missing_ = missing
        self.n_features_out_ = len(au_names)

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Score pictures.

        Parameters
        ----------
        X : array-like or sequence of paths
            Pictures in any form `adafer.faces.check_faces` takes.

        Returns
        -------
        aus : ndarray of float32 of shape (n_samples, n_aus)
            Scores in [0, 1], or codes of 0 and 1; NaN rows where no face was
            found.

        Raises
        ------
        ValueError
            If `X` holds no pictures.
        FileNotFoundError, FaceReadError
            If a picture cannot be read.
        """
        check_is_fitted(self)
        return self._output(self._score(check_faces(X)))

    def _output(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.output == "scores":
            return scores
        codes = binarize(scores, self.thresholds_).astype(np.float32)
        codes[np.isnan(scores).any(axis=1)] = np.nan
        return codes

    def _score(self, faces: Faces) -> NDArray[np.float32]:
        self._current_detector()  # what it lacks is told before pictures are read
        # enough at a time for all workers to be busy nearly all the time
        at_once = max(_CHUNK, _CHUNK_PER_WORKER * joblib.effective_n_jobs(self.n_jobs))
        pieces = []
        for indices, images in _read_ahead(faces.chunks(at_once)):
            pieces.append(self.score_faces(images))
            if self.verbose:
                print(f"[AUExtractor] {indices[-1] + 1} of {len(faces)} pictures scored")
        return np.concatenate(pieces)

    def score_faces(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Score pictures that were read already; works before `fit`, too.

        Parameters
        ----------
        images : sequence of n ndarrays of uint8 of shape (H, W, 3)

        Returns
        -------
        scores : ndarray of float32 of shape (n, n_aus), values in [0, 1]
            NaN rows where no face was found.

        Raises
        ------
        ValueError
            If the detector gives something else, or has no ``identity`` and
            `cache` is given.
        OSError
            If the cache cannot be opened.

        Warns
        -----
        UserWarning
            If the cache takes no more scores, as on a full disk: they are given
            and not kept.
        """
        check_images(images)
        detector = self._current_detector()
        if self.cache is None:
            return self._detect(detector, images)
        cache, identity = AUScoreCache(self.cache), self._identity(detector)
        scores, missing = cache.get_many(images, identity, n_aus=len(detector.au_names))
        if len(missing):
            unknown = [images[i] for i in missing]
            scores[missing] = found = self._detect(detector, unknown)
            try:
                cache.put_many(unknown, identity, found)
            except OSError as error:
                # hours may have gone into the scores: they are worth more than their copy
                warnings.warn(
                    f"New AU scores are not kept, the work goes on without. {error}", stacklevel=3
                )
        return scores

    def scores_identity(self) -> str | None:
        """Name what the scores depend on beside the picture.

        Returns
        -------
        identity : str or None
            Detector and columns; None where the detector has no ``identity``, so
            that its scores should not be kept.
        """
        detector = self._current_detector()
        identity = getattr(detector, "identity", None)
        if not isinstance(identity, str) or not identity:
            return None
        return f"{identity}|{','.join(detector.au_names)}"

    def _identity(self, detector: AUDetector) -> str:
        """Name the detector and its columns, for the cache."""
        identity = self.scores_identity()
        if identity is None:
            raise ValueError(
                f"The detector {detector!r} has identity={getattr(detector, 'identity', None)!r}; "
                "with cache, expected a text that names model and settings, so that no other "
                "detector gets its scores. Give it an attribute identity, or pass cache=None."
            )
        return identity

    @staticmethod
    def _detect(detector: AUDetector, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Run the detector and judge what it gives."""
        scores = np.asarray(detector.detect(images), dtype=np.float32)
        if scores.shape != (len(images), len(detector.au_names)):
            raise ValueError(
                f"The detector {detector!r} gave scores of shape {scores.shape} for "
                f"{len(images)} pictures and {len(detector.au_names)} AUs. Its detect() must "
                "return one row per picture, one column per AU."
            )
        missing: NDArray[np.bool_] = np.asarray(np.isnan(scores).any(axis=1))
        if (scores[~missing] < 0).any() or (scores[~missing] > 1).any():
            raise ValueError(
                f"The detector {detector!r} gave scores from {np.nanmin(scores):.4g} to "
                f"{np.nanmax(scores):.4g}; AU scores lie in [0, 1]. Intensities in 0..5 must be "
                "divided by 5."
            )
        if missing.any():
            scores = np.where(missing[:, None], np.float32(np.nan), scores)
        return scores

    def _current_detector(self) -> AUDetector:
        """Build the detector, or keep the one built for the same parameters."""
        if self.detector not in ("landmarks", "py-feat"):
            self.detector_: AUDetector = self.detector  # type: ignore[assignment]
            if not hasattr(self.detector_, "au_names"):
                raise ValueError(
                    f"The detector {self.detector!r} has no attribute au_names, the names of the "
                    "AUs that its columns hold."
                )
            return self.detector_
        built_from = (
            self.detector, str(self.model_path), str(self.heads), self.min_presence, self.n_jobs,
        )  # fmt: skip
        if getattr(self, "_built_from", None) != built_from:
            if self.detector == "py-feat":
                self.detector_ = PyFeatDetector(min_confidence=self.min_presence)
            else:
                self.detector_ = LandmarkDetector(
                    self.model_path,
                    heads=self.heads,
                    min_presence=self.min_presence,
                    n_jobs=self.n_jobs,
                )
            self._built_from = built_from
        return self.detector_

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name the columns of the output.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        names : ndarray of str of shape (n_aus,), dtype object
            ``"AU01"`` and so on.
        """
        check_is_fitted(self)
        return np.asarray(self.au_names_, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "thresholds_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags
