"""AdaFERClassifier: the scikit-learn shell; what it computes is in `adafer.deep`."""

from __future__ import annotations

import os
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from ._sklearn import HasMethods, Interval, StrOptions, fit_context
from .annotation import AUGuidedAnnotator
from .aus import AUExtractor
from .aus.scores import align_au_columns
from .domains import DomainInputs, check_same_kind, is_features, read_domain, unwrap_target
from .faces import Faces, OnError, check_faces, resize_faces
from .triplets import TripletMiner

if TYPE_CHECKING:
    from .deep.backbones import AdaFERNetwork
    from .deep.loop import Adaptation

__all__ = ["AdaFERClassifier"]

# Pictures that the statistics of batch normalisation are estimated on, at most.
_STATISTICS_ROWS = 10_000


class AdaFERClassifier(ClassifierMixin, TransformerMixin, BaseEstimator):
    """Expression classifier that adapts to an unlabelled target domain by action units.

    `fit` takes labelled source faces and unlabelled target faces. Action units
    (AUs) of both decide which labels target faces inherit (AGA) and which
    faces must come close or part in feature space (AGT). `predict` runs the
    network alone. Without target faces, `fit` trains on the source only.

    Parameters
    ----------
    backbone : str, default="resnet18"
        Any torchvision classification network, or "convnet" (small and quick,
        for faces of 32 to 64 pixels). 2-D input always uses a small MLP.
    weights : {None, "imagenet"} or path, default=None
        Where the backbone starts: at random, from ImageNet weights downloaded
        before, or from a state dict (plain, under ``state_dict``, or with
        ``module.`` prefixes).
    image_size : int, default=224
        Faces are resized to this many pixels. Below 96 the network's first
        pooling is removed.
    annotator : AUGuidedAnnotator, default=None
        How targets get labels (AGA); None uses its defaults, the paper's.
    au_extractor : AUExtractor, default=None
        What scores AUs where `au_src` or `au_tgt` is not given.
    anchors : {"both", "source", "target"}, default="both"
        Domains whose samples anchor triplets (AGT).
    tau_n : float, default=0.5
        AU similarity above which a triplet's negative is hard; 0 turns hard
        mining off.
    margin : float or "learnable", default=0.5
        Margin gamma of Equation 4.
    margin_regularization : float, default=0.2
        Keeps a learnable margin from collapsing: the penalty is
        ``-margin_regularization * log(gamma)``.
    beta : float, default=1.0
        Weight of the target's label loss in Equation 3.
    epsilon : float, default=1.0
        Weight of the triplet loss.
    epochs : int, default=40
        Epochs of the joint stage.
    source_epochs : int or None, default=None
        Epochs of the source stage; None means `epochs`.
    batch_size : int, default=128
        Triplets per step of the joint stage (384 pictures), pictures per step
        of the source stage.
    learning_rate : float, default=1e-3
    learning_rate_decay : float, default=0.9
        The rate is multiplied by it after each epoch; each stage starts anew.
    weight_decay : float, default=1e-4
    augment : bool, default=True
        Flip faces and erase parts of them at random while training.
    norm_statistics : {"trained", "target", "running"}, default="trained"
        What batch normalisation uses in `predict`: statistics estimated after
        the last epoch, over the pictures of the last stage ("trained": the
        source, or both domains) or over the target's alone ("target"); or the
        running averages that training leaves behind ("running"), which lag
        behind the weights and make short trainings a matter of luck.
    on_error : {"raise", "skip"}, default="raise"
        What to do with pictures that cannot be read in `fit`: an error before
        training starts, or leave them out and list them in `skipped_`.
    warm_start : bool, default=False
        Start from the network of the last `fit`. With ``source_epochs=0``, a
        source-only model is adapted without training it again.
    device : str, default="auto"
        "auto" takes a GPU if there is one; else "cpu", "cuda", "cuda:1", "mps".
    precision : {"auto", "fp32", "bf16"}, default="auto"
        "auto" uses bf16 where the hardware computes it.
    n_jobs : int, default=None
        Workers that score AUs.
    random_state : int, RandomState instance or None, default=None
        Two fits with the same number give the same network, to the bit, on the
        same CPU with the same number of threads.
    verbose : int, default=0
        1 shows a progress bar and one line per epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class names, sorted.
    network_ : torch.nn.Module
        The trained network, on the CPU.
    annotator_ : AUGuidedAnnotator
        Fitted on the source; only after a fit with target data, as the next six.
    annotation_ : TargetAnnotation
        Labels, weights and match counts of the target.
    target_labels_ : ndarray of float64 of shape (n_targets, n_classes)
        T-soft labels of the target, zero rows where there is none.
    coverage_ : float
        Share of targets whose AU code at least one source sample shares.
    margin_ : float
        Margin at the end of training.
    au_names_ : list of str or None
        Names of the AUs, where known.
    n_skipped_anchors_ : int
        Anchors without a triplet in the last epoch.
    history_ : list of dict
        One row per epoch: stage, losses, coverage, speed.
    n_iter_ : int
        Epochs run, both stages.
    n_features_in_ : int
        Only after a fit on 2-D input.
    image_shape_ : tuple of int
        Height, width and channels of the network's input; only after a fit on
        faces.
    weights_report_ : LoadReport or None
        What became of a weights file.
    skipped_ : dict of str -> list
        Unreadable pictures of "X" and "X_tgt", with ``on_error="skip"``.

    See Also
    --------
    AUGuidedAnnotator : AGA alone, without a network.
    as_target : Wraps `X_tgt` under cross-validation.

    Notes
    -----
    Under cross-validation and grid search pass ``X_tgt=as_target(X_tgt)``, and
    the same for `au_tgt`: scikit-learn silently slices whatever has as many
    rows as ``X``.

    References
    ----------
    AU-Guided Unsupervised Domain Adaptive Facial Expression Recognition,
    sections 3.3 to 3.5.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer import AdaFERClassifier, AUGuidedAnnotator
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> au_src = np.where(y[:, None] == [0, 1], 0.9, 0.1)
    >>> X_src = rng.normal(size=(80, 4)) + 3 * y[:, None]
    >>> X_tgt, au_tgt = X_src + 2.0, au_src
    >>> clf = AdaFERClassifier(
    ...     annotator=AUGuidedAnnotator(threshold=0.5), epochs=20, learning_rate=0.003,
    ...     batch_size=32, random_state=0, device="cpu",
    ... )
    >>> clf.fit(X_src, y, X_tgt, au_src=au_src, au_tgt=au_tgt).score(X_tgt, y) > 0.9
    True
    """

    _parameter_constraints: dict = {
        "backbone": [str],
        "weights": [None, str, os.PathLike],
        "image_size": [Interval(Integral, 16, None, closed="left")],
        "annotator": [None, HasMethods(["fit", "annotate"])],
        "au_extractor": [None, HasMethods(["fit_scores", "score_faces"])],
        "anchors": [StrOptions({"both", "source", "target"})],
        "tau_n": [Interval(Real, 0, 1, closed="left")],
        "margin": [StrOptions({"learnable"}), Interval(Real, 0, None, closed="left")],
        "margin_regularization": [Interval(Real, 0, None, closed="neither")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="left")],
        "epochs": [Interval(Integral, 0, None, closed="left")],
        "source_epochs": [None, Interval(Integral, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "learning_rate_decay": [Interval(Real, 0, 1, closed="right")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "augment": ["boolean"],
        "norm_statistics": [StrOptions({"trained", "target", "running"})],
        "on_error": [StrOptions({"raise", "skip"})],
        "warm_start": ["boolean"],
        "device": [str],
        "precision": [StrOptions({"auto", "fp32", "bf16"})],
        "n_jobs": [None, Integral],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # Saves users set_fit_request: the target goes wherever X goes.
    __metadata_request__fit = {"X_tgt": True, "au_src": True, "au_tgt": True}

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        weights: str | Path | None = None,
        image_size: int = 224,
        annotator: AUGuidedAnnotator | None = None,
        au_extractor: AUExtractor | None = None,
        anchors: str = "both",
        tau_n: float = 0.5,
        margin: float | str = 0.5,
        margin_regularization: float = 0.2,
        beta: float = 1.0,
        epsilon: float = 1.0,
        epochs: int = 40,
        source_epochs: int | None = None,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        learning_rate_decay: float = 0.9,
        weight_decay: float = 1e-4,
        augment: bool = True,
        norm_statistics: str = "trained",
        on_error: OnError = "raise",
        warm_start: bool = False,
        device: str = "auto",
        precision: str = "auto",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ):
        self.backbone = backbone
        self.weights = weights
        self.image_size = image_size
        self.annotator = annotator
        self.au_extractor = au_extractor
        self.anchors = anchors
        self.tau_n = tau_n
        self.margin = margin
        self.margin_regularization = margin_regularization
        self.beta = beta
        self.epsilon = epsilon
        self.epochs = epochs
        self.source_epochs = source_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_decay = learning_rate_decay
        self.weight_decay = weight_decay
        self.augment = augment
        self.norm_statistics = norm_statistics
        self.on_error = on_error
        self.warm_start = warm_start
        self.device = device
        self.precision = precision
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    classes_: NDArray
    network_: AdaFERNetwork

    # ------------------------------------------------------------------ fitting

    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Any,
        y: ArrayLike,
        X_tgt: Any = None,
        *,
        au_src: ArrayLike | None = None,
        au_tgt: ArrayLike | None = None,
    ) -> AdaFERClassifier:
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
        au_src, au_tgt : array-like of shape (n, n_aus), values in [0, 1], default=None
            AU scores, NaN rows where no face was found; computed by
            `au_extractor` where not given. Needed with 2-D input.

        Returns
        -------
        self : AdaFERClassifier

        Raises
        ------
        ValueError
            If lengths or shapes do not fit, if the target is empty, if a class
            has one sample only, if AU scores carry no information or differ in
            their AUs, or if no target gets a label.
        FileNotFoundError, FaceReadError
            If a picture or a weights file cannot be read.
        """
        X_tgt, au_tgt = unwrap_target(X_tgt), unwrap_target(au_tgt)
        if X_tgt is None and au_tgt is not None:
            raise ValueError("au_tgt was given without X_tgt. Give the target's pictures too.")
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
        previous = self.classes_ if self.warm_start and hasattr(self, "network_") else None

        # what can be wrong is found before pictures are read and scored
        X = self._judge_input(X, "X", reset=True)
        classes, labels = self._encode_labels(y, len(X))
        self._check_class_counts(classes, labels)
        if X_tgt is not None:
            X_tgt = self._judge_input(X_tgt, "X_tgt", reset=False)
            check_same_kind(X, X_tgt)
        network = self._network(X, classes, previous, int(rng.integers(2**31)))

        source, target = self._read(X, X_tgt, au_src, au_tgt)
        if len(source.kept) < len(labels):
            labels = labels[source.kept]
            self._check_class_counts(classes, labels)
        adaptation = None
        if target is not None:
            adaptation = self._adaptation(source, classes[labels], target)
        self._train(network, source, labels, target, adaptation, rng)
        # beside network_, so that a fit that fails leaves them together as they were
        self.classes_ = classes
        if isinstance(X, Faces):
            self.image_shape_ = (self.image_size, self.image_size, 3)
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
            return validate_data(self, X, reset=reset, dtype=np.float32)
        raise ValueError(
            f"{name} holds 2-D features but the network takes faces. Give {name} in the form "
            'X had; if a pipeline skipped it, pass transform_input=["X_tgt"].'
        )

    def _read(
        self, X: Faces | NDArray, X_tgt: Faces | NDArray | None, au_src: Any, au_tgt: Any
    ) -> tuple[DomainInputs, DomainInputs | None]:
        """Read both domains, with AU scores only where there is a target to match."""
        self.skipped_ = {}
        if X_tgt is None:
            source = read_domain(X, "X", self.image_size, on_error=self.on_error)
            self.skipped_["X"] = source.skipped
            return source, None
        extractor = AUExtractor(n_jobs=self.n_jobs)
        if self.au_extractor is not None:
            extractor = clone(self.au_extractor)
        found = []
        for data, name, au in ((X, "X", au_src), (X_tgt, "X_tgt", au_tgt)):
            domain = read_domain(
                data,
                name,
                self.image_size,
                on_error=self.on_error,
                au=extractor if au is None else au,
                au_name={"X": "au_src", "X_tgt": "au_tgt"}[name],
            )
            self.skipped_[name] = domain.skipped
            found.append(domain)
        source, target = found
        assert source.au is not None
        assert target.au is not None
        self.au_names_ = source.au_names
        if au_src is None:
            self.au_extractor_ = extractor.fit_scores(source.au)
        aligned = align_au_columns(
            target.au,
            target.au_names,
            source.au_names,
            source.au.shape[1],
            name="au_tgt",
            reference="au_src",
        )
        return source, target._replace(au=aligned)

    @staticmethod
    def _encode_labels(y: ArrayLike, n_samples: int) -> tuple[NDArray, NDArray]:
        if y is None:
            raise ValueError(
                "AdaFERClassifier requires y to be passed, but the target y is None: give the "
                "source's labels."
            )
        truth: NDArray = column_or_1d(y, warn=True)
        if len(truth) != n_samples:
            raise ValueError(
                f"X and y have inconsistent lengths: {n_samples} samples but {len(truth)} labels. "
                "Give one label per source sample."
            )
        assert_all_finite(truth, input_name="y")
        check_classification_targets(truth)
        classes, labels = np.unique(truth, return_inverse=True)
        return classes, labels.astype(np.int64)

    @staticmethod
    def _check_class_counts(classes: NDArray, labels: NDArray) -> None:
        counts = np.bincount(labels, minlength=len(classes))
        if len(classes) < 2:
            raise ValueError(
                f"y has 1 class ({classes[0]!r}); at least two are needed to classify."
            )
        if counts.min() < 2:
            few = {str(c): int(n) for c, n in zip(classes, counts, strict=True) if n < 2}
            raise ValueError(
                f"Each class needs at least 2 readable source samples; got {few}, 1 sample or "
                "none. Add pictures of these classes or leave the classes out."
            )

    def _adaptation(self, source: DomainInputs, y: NDArray, target: DomainInputs) -> Adaptation:
        """AGA and AGT, before any training: what cannot work fails here."""
        from .deep.loop import Adaptation, pool_triplets

        annotator = AUGuidedAnnotator() if self.annotator is None else clone(self.annotator)
        self.annotator_ = annotator.fit(source.au, y)
        self.annotation_ = self.annotator_.annotate(target.au)
        self.target_labels_ = self.annotation_.labels
        self.coverage_ = self.annotation_.coverage
        near = "near" in (annotator.matching, annotator.backoff)
        miner = TripletMiner(
            self.anchors,
            tau_n=self.tau_n,
            near_positives=5 if near else 0,
            thresholds=annotator.thresholds_,
        ).fit(source.au, target.au)
        trial, self.n_skipped_anchors_ = pool_triplets(miner.draw(0), self.anchors, len(y))
        if len(trial) == 0:
            raise ValueError(
                f"No triplet can be formed: all {self.n_skipped_anchors_} anchors lack a sample "
                "with the same AU code, or one with another, in the other domain. Use an "
                "annotator with matching='near' or backoff='near', or anchors='both'."
            )
        return Adaptation(
            annotation=self.annotation_,
            miner=miner,
            schemes=tuple(annotator.schemes),
            conflict=annotator.conflict,
            beta=float(self.beta),
            epsilon=float(self.epsilon),
        )

    def _network(
        self,
        X: Faces | NDArray,
        classes: NDArray,
        previous_classes: NDArray | None,
        seed: int,
    ) -> AdaFERNetwork:
        """Make the network, or take that of the last fit."""
        import torch

        from .deep.backbones import build_network
        from .deep.loop import resolve_device, seeded
        from .deep.weights import load_weights

        resolve_device(self.device)
        if previous_classes is not None:
            if not np.array_equal(previous_classes, classes):
                raise ValueError(
                    "warm_start=True goes on with a network of the classes "
                    f"{previous_classes.tolist()}, but y has {classes.tolist()}. Set "
                    "warm_start=False or give the same classes."
                )
            return self.network_
        self.weights_report_ = None
        with seeded(seed, torch.device("cpu")):
            if not isinstance(X, Faces):
                mean = X.mean(axis=0, dtype=np.float64)
                std = X.std(axis=0, dtype=np.float64)
                std[std < 1e-12] = 1.0
                return build_network(
                    "mlp",
                    len(classes),
                    feature_mean=torch.from_numpy(mean.astype(np.float32)),
                    feature_std=torch.from_numpy(std.astype(np.float32)),
                )
            network = build_network(self.backbone, len(classes), image_size=self.image_size)
            if self.weights is not None:
                self.weights_report_ = load_weights(network, self.weights, self.backbone)
            return network

    def _train(
        self,
        network: AdaFERNetwork,
        source: DomainInputs,
        labels: NDArray,
        target: DomainInputs | None,
        adaptation: Adaptation | None,
        rng: np.random.Generator,
    ) -> None:
        from .deep.batches import Feed
        from .deep.loop import Trainer, estimate_statistics, resolve_device, seeded
        from .deep.losses import Margin

        device = resolve_device(self.device)
        with seeded(int(rng.integers(2**31)), device):
            learnable = self.margin == "learnable"
            margin = Margin(
                0.5 if learnable else float(self.margin), learnable, self.margin_regularization
            )
            trainer = Trainer(
                network,
                margin,
                device=device,
                precision=self.precision,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                learning_rate_decay=self.learning_rate_decay,
                weight_decay=self.weight_decay,
                augmented=self.augment,
                rng=rng,
                verbose=self.verbose,
            )
            parts = [source.inputs] if target is None else [source.inputs, target.inputs]
            feed = Feed(parts, device)
            source_epochs = self.epochs if self.source_epochs is None else self.source_epochs
            trainer.fit_source(feed, labels, source_epochs)
            if adaptation is not None:
                trainer.fit_joint(feed, labels, adaptation, self.epochs)
            if trainer.history and self.norm_statistics != "running":
                only_target = self.norm_statistics == "target" and target is not None
                rows = np.arange(len(labels) if only_target else 0, len(feed))
                estimate_statistics(network, feed, rng.permutation(rows)[:_STATISTICS_ROWS])
        self.network_ = network.cpu().eval()
        self.history_ = trainer.history
        self.n_iter_ = len(trainer.history)
        if adaptation is not None:
            self.margin_ = float(margin().detach())
            joint = [row for row in trainer.history if row["stage"] == "joint"]
            if joint:
                self.n_skipped_anchors_ = joint[-1]["n_skipped_anchors"]

    # --------------------------------------------------------------- predicting

    def _infer(self, X: Any) -> tuple[NDArray, NDArray]:
        from .deep.batches import Feed
        from .deep.loop import infer, resolve_device

        check_is_fitted(self, "network_")
        X = self._judge_input(X, "X", reset=False)
        if isinstance(X, Faces) and hasattr(self, "n_features_in_"):
            raise ValueError(
                "X holds pictures but the network was fitted on features. Give "
                f"{self.n_features_in_} features per sample."
            )
        device = resolve_device(self.device)
        self.network_.to(device)
        try:
            if not isinstance(X, Faces):
                return infer(self.network_, Feed([X], device))
            size = self.image_shape_[0]
            parts = [
                infer(self.network_, Feed([resize_faces(images, size)], device))
                for _, images in X.chunks()
            ]
        finally:
            self.network_.cpu()
        features, probabilities = zip(*parts, strict=True)
        return np.concatenate(features), np.concatenate(probabilities)

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
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

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

    def save(self, path: str | os.PathLike) -> None:
        """Write the model as a folder of safetensors and JSON.

        Parameters
        ----------
        path : path of the folder; an earlier model there is replaced.
        """
        from .persistence import save_model

        save_model(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> AdaFERClassifier:
        """Read a model written by `save`; no pickled code is run.

        Parameters
        ----------
        path : path of the folder

        Returns
        -------
        classifier : AdaFERClassifier
            Ready to predict.
        """
        from .persistence import load_model

        return load_model(path)

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that faces (3-D and 4-D) and features (2-D) are taken."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.non_deterministic = self.random_state is None
        return tags
