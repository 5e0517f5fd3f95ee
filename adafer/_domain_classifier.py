"""What all classifiers of two domains share: reading, judging and encoding their input."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, TransformerMixin, clone
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from ._checks import check_labels, naming
from ._fit_summary import summarise_fit
from ._inherited import complete
from ._portable import move_to_this_machine, warn_of_versions
from ._sklearn import AdaFEREstimator, accuracy, check_sample_weight, fit_context
from ._versions import versions
from .aus import AUExtractor
from .aus.scores import align_au_columns, check_au_scores
from .domains import DomainInputs, check_same_kind, is_features, read_domain
from .faces import Faces, OnError, check_faces, resize_faces
from .target import check_not_cut, check_transformed, unwrap_target

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["DomainClassifier", "TakesAUsAtPredict"]


class DomainClassifier(ClassifierMixin, TransformerMixin, AdaFEREstimator):
    """Base of classifiers that take a labelled source and an unlabelled target.

    A subclass has the parameters `on_error` and `n_jobs`, and `au_extractor` if
    it uses AUs. It says what it needs by the two class attributes below, checks
    what it can in `_prepare`, and learns in `_fit`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class names, sorted.
    skipped_ : dict of str -> list
        Unreadable pictures of "X" and "X_tgt", with ``on_error="skip"``.
    n_features_in_ : int
        Only after a fit on 2-D input.
    fit_summary_ : dict
        Counts of what `fit` was given and of the labels that the target got;
        see `adafer._fit_summary.summarise_fit`. It is saved with the model.
    """

    # Saves users set_fit_request: the target goes wherever X goes.
    __metadata_request__fit: ClassVar = {"X_tgt": True, "au_src": True, "au_tgt": True}

    # When AU scores are needed: never, with target data only, or always, at predict too.
    _au_use: ClassVar[Literal["never", "adapting", "always"]] = "never"

    on_error: OnError
    au_extractor: AUExtractor | None
    n_jobs: int | None
    image_size: int

    classes_: NDArray
    au_names_: list[str] | None

    # ------------------------------------------------------------------- hooks

    def _reads_target(self) -> bool:
        """Whether `fit` looks at the target at all."""
        return True

    def _prepare(self, X: Faces | NDArray, classes: NDArray) -> Any:
        """Find what is wrong with parameters before pictures are read; goes to `_fit`."""

    def _fit(
        self,
        source: DomainInputs,
        labels: NDArray,
        target: DomainInputs | None,
        classes: NDArray,
        prepared: Any,
    ) -> None:
        """Learn from what was read; `labels` are indices into `classes`."""
        raise NotImplementedError

    def _infer(self, X: Any, au: Any = None) -> tuple[NDArray, NDArray]:
        """Features, and class probabilities, of new samples."""
        raise NotImplementedError

    def _arrays(self) -> dict[str, NDArray]:
        """Give what to save; classifiers with a network save that instead."""
        raise NotImplementedError

    def _set_arrays(self, arrays: dict[str, NDArray]) -> None:
        """Undo `_arrays`, with `classes_` set."""
        raise NotImplementedError

    def _decide(self, probabilities: NDArray) -> NDArray:
        return self.classes_[probabilities.argmax(axis=1)]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        base = next(parent for parent in cls.__mro__[1:] if issubclass(parent, DomainClassifier))
        complete(cls, base)

    # ----------------------------------------------------------------- fitting

    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Any,
        y: ArrayLike,
        X_tgt: Any = None,
        *,
        sample_weight: ArrayLike | None = None,
        au_src: ArrayLike | None = None,
        au_tgt: ArrayLike | None = None,
    ) -> Self:
        """Train on the labelled source, and adapt to the target where there is one.

        Parameters
        ----------
        X : array of shape (n, H, W) or (n, H, W, 3), uint8 or float in [0, 1]; \
                sequence of paths; or array-like of shape (n, n_inputs)
            Source faces, or features.
        y : array-like of shape (n,)
            Source labels.
        X_tgt : as X, default=None
            Unlabelled target faces, or as many features as `X` has; a 1-tuple
            as `as_target` makes it serves as well.
        sample_weight : array-like of shape (n,), default=None
            Weights of the source's samples: in their loss, where only shares
            matter, and in the labels that AUs carry across, where a sample of
            weight 2 counts as two. Samples of weight zero are left out. Other
            losses than those of the source's labels know no weights.
        au_src, au_tgt : array-like of shape (n, n_aus), values in [0, 1], default=None
            AU scores, NaN rows where no face was found; computed by
            `au_extractor` where not given. Needed with 2-D input. Methods
            without AUs ignore them.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If lengths or shapes do not fit, if the target is empty, if a class
            has one sample only, if AU scores carry no information or differ in
            their AUs, or if no target gets a label.
        FileNotFoundError, FaceReadError
            If a picture or a weights file cannot be read.
        """
        check_not_cut(len(X) if hasattr(X, "__len__") else -1, X_tgt=X_tgt, au_tgt=au_tgt)
        if unwrap_target(au_src) is not au_src:
            raise ValueError(
                "au_src came as as_target(...), which no cross-validation cuts, but it belongs to "
                "X and must be cut as X is. Pass it as it is."
            )
        X_tgt, au_tgt = unwrap_target(X_tgt), unwrap_target(au_tgt)
        if X_tgt is not None:
            check_transformed(self)
        if X_tgt is None and au_tgt is not None:
            raise ValueError("au_tgt was given without X_tgt. Give the target's pictures too.")

        # what can be wrong is found before pictures are read and scored
        X = self._judge_input(X, "X", reset=True)
        weights = check_sample_weight(sample_weight, X)
        classes, labels = self._encode_labels(y, len(X))
        used = slice(None) if weights is None else weights > 0
        self._check_class_counts(classes, labels[used])
        if X_tgt is not None:
            X_tgt = self._judge_input(X_tgt, "X_tgt", reset=False)
            check_same_kind(X, X_tgt)
        prepared = self._prepare(X if isinstance(X, Faces) else X[used], classes)

        source, target, fitted = self._read(
            X, X_tgt if self._reads_target() else None, au_src, au_tgt, weights
        )
        if len(source.kept) < len(labels):
            labels = labels[source.kept]
            self._check_class_counts(classes, labels)
        self._fit(source, labels, target, classes, prepared)
        self.fit_summary_ = summarise_fit(self, source, labels, target, classes)
        # beside what was learnt, so that a fit that fails leaves them together as they were
        self.classes_ = classes
        if fitted and hasattr(self, "au_extractor_"):
            del self.au_extractor_
        for name, value in fitted.items():
            setattr(self, name, value)
        return self

    def _judge_input(self, X: Any, name: str, *, reset: bool) -> Faces | NDArray:
        """Tell faces from features, without reading a picture."""
        if not is_features(X):
            faces = check_faces(X, name=name)
            if reset:
                for attribute in ("n_features_in_", "feature_names_in_"):
                    if hasattr(self, attribute):
                        delattr(self, attribute)
            return faces
        if reset or hasattr(self, "n_features_in_"):
            with naming(name):
                if name == "X":
                    return validate_data(self, X, reset=reset, dtype=np.float32)
                # scikit-learn calls whatever it judges X
                judged: NDArray = check_array(X, dtype=np.float32, input_name=name, estimator=self)
                validate_data(self, X, reset=reset, skip_check_array=True)
                return judged
        raise ValueError(
            f"{name} holds 2-D features but the network takes faces. Give {name} in the form "
            'X had; if a pipeline skipped it, pass transform_input=["X_tgt"].'
        )

    def _encode_labels(self, y: ArrayLike, n_samples: int) -> tuple[NDArray, NDArray]:
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None: give "
                "the source's labels."
            )
        truth = check_labels(y, n_samples=n_samples)
        classes, labels = np.unique(truth, return_inverse=True)
        return classes, labels.astype(np.int64)

    @staticmethod
    def _check_class_counts(classes: NDArray, labels: NDArray) -> None:
        counts = np.bincount(labels, minlength=len(classes))
        if len(classes) < 2:
            raise ValueError(
                f"y has 1 class ({classes.tolist()[0]!r}); at least two are needed to classify."
            )
        if counts.min() < 2:
            few = {str(c): int(n) for c, n in zip(classes, counts, strict=True) if n < 2}
            raise ValueError(
                f"Each class needs at least 2 readable source samples; got {few}, 1 sample or "
                "none. Add pictures of these classes or leave the classes out."
            )

    def _read(
        self,
        X: Faces | NDArray,
        X_tgt: Faces | NDArray | None,
        au_src: Any,
        au_tgt: Any,
        weights: NDArray | None,
    ) -> tuple[DomainInputs, DomainInputs | None, dict[str, Any]]:
        """Read both domains, each picture once, with AU scores where they are needed."""
        self.skipped_ = {}
        uses_aus = self._au_use == "always" or (self._au_use == "adapting" and X_tgt is not None)
        extractor = self._new_extractor() if uses_aus else None
        scorer = None if extractor is None else self._scorer(extractor)
        domains = []
        for data, name, au_name, au in (
            (X, "X", "au_src", au_src),
            (X_tgt, "X_tgt", "au_tgt", au_tgt),
        ):
            if data is None:
                continue
            domain = read_domain(
                data,
                name,
                self.image_size,
                on_error=self.on_error,
                au=scorer if au is None or scorer is None else au,
                au_name=au_name,
                store=getattr(self, "store", None),
                n_jobs=self.n_jobs,
            )
            self.skipped_[name] = domain.skipped
            domains.append(domain)
        source, target = domains[0], domains[1] if len(domains) > 1 else None
        if weights is not None:
            source = source.weighted(weights)
        if extractor is None:
            return source, target, {}
        assert source.au is not None
        fitted: dict[str, Any] = {"au_names_": source.au_names}
        if au_src is None:
            fitted["au_extractor_"] = extractor.fit_scores(source.au)
        if target is None:
            return source, None, fitted
        assert target.au is not None
        aligned = align_au_columns(
            target.au,
            target.au_names,
            source.au_names,
            source.au.shape[1],
            name="au_tgt",
            reference="au_src",
        )
        return source, target._replace(au=aligned), fitted

    def _new_extractor(self) -> AUExtractor:
        if self.au_extractor is not None:
            return clone(self.au_extractor)
        return AUExtractor(n_jobs=self.n_jobs)

    def _scorer(self, extractor: AUExtractor) -> Any:
        """Give what scores the pictures of `fit` by the extractor."""
        return extractor

    # -------------------------------------------------------------- predicting

    def _read_to_predict(
        self, X: Any, au: Any = None, *, image_size: int, n_aus: int | None = None
    ) -> Iterator[DomainInputs]:
        """Read new samples piece by piece, with AU scores if `n_aus` are needed."""
        check_is_fitted(self, "classes_")
        X = self._judge_input(X, "X", reset=False)
        if isinstance(X, Faces) and hasattr(self, "n_features_in_"):
            raise ValueError(
                "X holds pictures but the network was fitted on features. Give "
                f"{self.n_features_in_} features per sample."
            )
        scores = extractor = None
        if n_aus is not None and au is not None:
            given, names = check_au_scores(au, n_samples=len(X))
            scores = self._align(given, names, n_aus)
        elif n_aus is not None:
            if not isinstance(X, Faces):
                raise ValueError(
                    "AU scores cannot be computed from 2-D features: give au, one row per row of X."
                )
            if self.au_names_ is None:
                raise ValueError(
                    "au_src had no column names in fit, so that AU scores computed now may be of "
                    "other AUs. Give au, scored as au_src was, or fit with named columns."
                )
            extractor = getattr(self, "au_extractor_", None) or self._new_extractor()
        if not isinstance(X, Faces):
            yield DomainInputs(X, np.arange(len(X)), scores, None, [])
            return
        for index, images in X.chunks(n_jobs=self.n_jobs):
            found = None if scores is None else scores[index]
            if extractor is not None:
                computed = extractor.score_faces(images).astype(np.float64)
                found = self._align(computed, list(extractor.detector_.au_names), n_aus)
            small = resize_faces(images, image_size)
            yield DomainInputs(small, index, found, None, [])

    def _align(self, scores: NDArray, names: list[str] | None, n_aus: int | None) -> NDArray:
        assert n_aus is not None
        return align_au_columns(
            scores, names, self.au_names_, n_aus, name="au", reference="au_src in fit"
        )

    def predict_proba(self, X: Any) -> NDArray:
        """Class probabilities, by the network alone.

        Parameters
        ----------
        X : as in `fit`

        Returns
        -------
        probabilities : ndarray of float64 of shape (n, n_classes)
            Columns in the order of `classes_`.
        """
        return self._infer(X)[1]

    def predict(self, X: Any) -> NDArray:
        """Most probable class of each face.

        Parameters
        ----------
        X : as in `fit`

        Returns
        -------
        labels : ndarray of shape (n,)
        """
        return self._decide(self._infer(X)[1])

    def transform(self, X: Any) -> NDArray:
        """Features: the L2-normalised output of the last pooling layer.

        Parameters
        ----------
        X : as in `fit`

        Returns
        -------
        features : ndarray of float32 of shape (n, n_features)
        """
        return self._infer(X)[0]

    def score(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy.

        Parameters
        ----------
        X : as in `fit`
        y : array-like of shape (n,)
        sample_weight : array-like of shape (n,), default=None

        Returns
        -------
        accuracy : float
        """
        return accuracy(y, self.predict(X), sample_weight)

    # ------------------------------------------------------------------ saving

    def __getstate__(self) -> dict[str, Any]:
        """Tell a pickle by which versions it was made."""
        state = dict(super().__getstate__())
        if "classes_" in state:
            state["_adafer_versions"] = versions()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a pickle in, from whichever machine and version."""
        made_by = state.get("_adafer_versions")
        super().__setstate__({k: v for k, v in state.items() if k != "_adafer_versions"})
        if made_by is not None:
            what = f"The pickled {type(self).__name__}"
            warn_of_versions(made_by, what)
            move_to_this_machine(self, what)

    def save(self, path: str | os.PathLike) -> None:
        """Write the model as a folder of safetensors and JSON, with a model card.

        Parameters
        ----------
        path : path of the folder; an earlier model there is replaced.
        """
        from .persistence import save_model

        save_model(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Self:
        """Read a model written by `save`; no pickled code is run.

        Parameters
        ----------
        path : path of the folder

        Returns
        -------
        classifier : estimator
            Ready to predict.

        Raises
        ------
        ValueError
            If the folder holds a model of another class, or is damaged.
        """
        from .persistence import load_model

        found = load_model(path)
        if not isinstance(found, cls):
            raise ValueError(
                f"{os.fspath(path)!r} holds a {type(found).__name__}, expected {cls.__name__}. "
                f"Use {type(found).__name__}.load, or adafer.persistence.load_model."
            )
        return found

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that faces (3-D and 4-D) and features (2-D) are taken."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


class TakesAUsAtPredict:
    """Predictions from pictures and AU scores, given or computed: goes before the base."""

    __metadata_request__predict = {"au": True}
    __metadata_request__predict_proba = {"au": True}
    __metadata_request__transform = {"au": True}
    __metadata_request__score = {"au": True}

    def fit_transform(
        self,
        X: Any,
        y: ArrayLike | None = None,
        X_tgt: Any = None,
        *,
        sample_weight: ArrayLike | None = None,
        au_src: ArrayLike | None = None,
        au_tgt: ArrayLike | None = None,
    ) -> NDArray:
        """Fit, and give the source's features.

        Parameters
        ----------
        X, y, X_tgt, sample_weight, au_src, au_tgt : as in `fit`

        Returns
        -------
        features : ndarray of float32 of shape (n, n_features)
        """
        fitted = self.fit(  # type: ignore[attr-defined]
            X, y, X_tgt, sample_weight=sample_weight, au_src=au_src, au_tgt=au_tgt
        )
        return fitted.transform(X, au=au_src)

    def predict(self, X: Any, *, au: ArrayLike | None = None) -> NDArray:
        """Most probable class of each face.

        Parameters
        ----------
        X : as in `fit`
        au : array-like of shape (n, n_aus), values in [0, 1], default=None
            AU scores of `X`, as `au_src` in `fit`; computed by `au_extractor`
            where not given. Needed with 2-D input.

        Returns
        -------
        labels : ndarray of shape (n,)

        Raises
        ------
        ValueError
            If AU scores do not fit, or cannot be computed.
        """
        return self._decide(self._infer(X, au)[1])  # type: ignore[attr-defined]

    def predict_proba(self, X: Any, *, au: ArrayLike | None = None) -> NDArray:
        """Class probabilities.

        Parameters
        ----------
        X, au : as in `predict`

        Returns
        -------
        probabilities : ndarray of float64 of shape (n, n_classes)
            Columns in the order of `classes_`.
        """
        return self._infer(X, au)[1]  # type: ignore[attr-defined]

    def transform(self, X: Any, *, au: ArrayLike | None = None) -> NDArray:
        """Features that the classes are told by.

        Parameters
        ----------
        X, au : as in `predict`

        Returns
        -------
        features : ndarray of float32 of shape (n, n_features)
            The network's, L2-normalised; or AU codes of 0 and 1 if there is no
            network.
        """
        return self._infer(X, au)[0]  # type: ignore[attr-defined]

    def score(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        au: ArrayLike | None = None,
    ) -> float:
        """Accuracy.

        Parameters
        ----------
        X, au : as in `predict`
        y : array-like of shape (n,)
        sample_weight : array-like of shape (n,), default=None

        Returns
        -------
        accuracy : float
        """
        return accuracy(y, self.predict(X, au=au), sample_weight)
