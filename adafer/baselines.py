"""The paper's five baselines, estimators with the interface of AdaFERClassifier."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ._domain_classifier import DomainClassifier, TakesAUsAtPredict
from ._network_classifier import NetworkClassifier, NetworkOptions, column_scale
from ._sklearn import N_JOBS, HasMethods, Interval, StrOptions
from .annotation import AUGuidedAnnotator
from .aus import AUExtractor
from .aus.scores import has_scores
from .domains import DomainInputs
from .faces import OnError
from .inheritance import one_hot
from .matching import CodeTable, code_keys

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from .deep.au_inputs import AUFeed
    from .deep.backbones import AdaFERNetwork
    from .deep.batches import Feed
    from .deep.loop import Trainer

__all__ = [
    "AUInputClassifier",
    "AUQueryClassifier",
    "PseudoLabelClassifier",
    "SourceOnlyClassifier",
]


class SourceOnlyClassifier(NetworkClassifier):
    """Baseline #1: train on the source, use the model on the target as it is.

    `X_tgt` is taken and judged, so that methods can be exchanged, but used for
    nothing except the statistics of batch normalisation with
    ``norm_statistics="target"``. The model equals that of an AdaFERClassifier
    fitted without target data, to the bit.

    Parameters
    ----------
    epochs : int, default=40
        Epochs of training, unless `source_epochs` is given.
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s

    See Also
    --------
    PseudoLabelClassifier : Goes on from here with the target's pictures.

    References
    ----------
    AdaFER paper, section 4.2, baseline #1.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer import SourceOnlyClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> X = rng.normal(size=(80, 4)) + 3 * y[:, None]
    >>> clf = SourceOnlyClassifier(epochs=10, batch_size=32, random_state=0, device="cpu")
    >>> clf.fit(X, y).score(X, y) > 0.9
    True
    """

    def _reads_target(self) -> bool:
        return self.norm_statistics == "target"


class PseudoLabelClassifier(NetworkClassifier):
    """Baselines #3 and #4: fine-tune on labels that the source model gives the target.

    After the source stage the network predicts the target's pictures, once,
    as `SourceOnlyClassifier` with the same parameters would. These predictions,
    the most probable class (``labels="hard"``, #3) or the probabilities
    (``labels="soft"``, #4), stay fixed while the joint stage fine-tunes on
    source and target: Equation 3 with them as the target's labels, cross-entropy
    for hard and KL(labels || predictions) for soft ones, without triplets. Steps
    and pictures are those of AdaFERClassifier where each anchor has a triplet:
    every sample once per epoch, each with two random ones of the other domain.

    Parameters
    ----------
    labels : {"hard", "soft"}, default="hard"
        Kind of pseudo-labels.
    beta : float, default=1.0
        Weight of the target's label loss in Equation 3.
    %(shared_parameters)s

    Attributes
    ----------
    target_labels_ : ndarray of float64 of shape (n_targets, n_classes)
        The pseudo-labels, rows of 0 and 1 if hard; only after a fit with target
        data.
    %(shared_attributes)s

    See Also
    --------
    AUInputClassifier : Soft pseudo-labels of a network that sees AUs, too.

    Notes
    -----
    The paper fine-tunes on the target alone; here the source stays in, as in
    AdaFER's joint stage, so that the methods differ by the target's labels only.

    The network agrees with its own soft labels from the start. What moves it
    under ``labels="soft"`` is the source's loss, augmentation and the batches'
    statistics; on 2-D features, which have no augmentation, it moves little.

    References
    ----------
    AdaFER paper, section 4.2, baselines #3 and #4.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer import PseudoLabelClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> X_src = rng.normal(size=(80, 4)) + 3 * y[:, None]
    >>> X_tgt = X_src + 1.0
    >>> clf = PseudoLabelClassifier(
    ...     labels="soft", epochs=10, batch_size=32, random_state=0, device="cpu"
    ... )
    >>> clf.fit(X_src, y, X_tgt).score(X_tgt, y) > 0.8
    True
    >>> clf.target_labels_.shape
    (80, 2)
    """

    _parameter_constraints: dict = {
        **NetworkClassifier._parameter_constraints,
        "labels": [StrOptions({"hard", "soft"})],
        "beta": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        labels: Literal["hard", "soft"] = "hard",
        beta: float = 1.0,
        **shared: Unpack[NetworkOptions],
    ):
        super().__init__(backbone, **shared)
        self.labels = labels
        self.beta = beta

    target_labels_: NDArray

    def _adapt(self, trainer: Trainer, feed: Feed, labels: NDArray, plan: None) -> None:
        _fine_tune(self, trainer, feed, labels, soft=self.labels == "soft")


def _fine_tune(
    classifier: PseudoLabelClassifier | AUInputClassifier,
    trainer: Trainer,
    feed: Feed,
    labels: NDArray,
    *,
    soft: bool,
) -> None:
    """Label the target by the source model, then train on both domains."""
    from .deep.inference import infer
    from .deep.pseudo import fit_pseudo_labels

    # as at the end of a source-only fit
    classifier._estimate_statistics(trainer, feed, len(labels), len(labels))
    trainer.network.to(trainer.device)
    found = infer(trainer.network, feed, first=len(labels))[1]
    if not soft:
        found = one_hot(found.argmax(axis=1), found.shape[1])
    classifier.target_labels_ = found
    fit_pseudo_labels(
        trainer, feed, labels, found, classifier.epochs, soft=soft, beta=float(classifier.beta)
    )


class AUInputClassifier(TakesAUsAtPredict, NetworkClassifier):
    """Baseline #5: pictures and AU scores as inputs, then soft pseudo-labels.

    AU scores pass a fully connected layer of 64 units; its output, beside the
    backbone's pooled features, goes to the classifier. Both stages are those of
    ``PseudoLabelClassifier(labels="soft")``. AU scores are needed at `predict`,
    too: computed by `au_extractor`, or given. Where no face was found, the
    source's mean scores are used.

    Parameters
    ----------
    beta : float, default=1.0
        Weight of the target's label loss in Equation 3.
    au_extractor : AUExtractor, default=None
        What scores AUs where they are not given.
    %(shared_parameters)s

    Attributes
    ----------
    target_labels_ : ndarray of float64 of shape (n_targets, n_classes)
        The pseudo-labels; only after a fit with target data.
    au_names_ : list of str or None
        Names of the AUs, where known.
    au_extractor_ : AUExtractor
        Only where it scored the source's AUs.
    %(shared_attributes)s

    References
    ----------
    AdaFER paper, section 4.2, baseline #5.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer import AUInputClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> au = np.where(y[:, None] == [0, 1], 0.9, 0.1)
    >>> X_src, X_tgt = rng.normal(size=(2, 80, 4))
    >>> clf = AUInputClassifier(
    ...     epochs=10, batch_size=32, learning_rate=0.01, random_state=0, device="cpu"
    ... )
    >>> clf = clf.fit(X_src, y, X_tgt, au_src=au, au_tgt=au)
    >>> clf.score(X_tgt, y, au=au) > 0.9
    True
    """

    _parameter_constraints: dict = {
        **NetworkClassifier._parameter_constraints,
        "beta": [Interval(Real, 0, None, closed="left")],
        "au_extractor": [None, HasMethods(["fit_scores", "score_faces"])],
    }

    _au_use = "always"

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        beta: float = 1.0,
        au_extractor: AUExtractor | None = None,
        **shared: Unpack[NetworkOptions],
    ):
        super().__init__(backbone, **shared)
        self.beta = beta
        self.au_extractor = au_extractor

    target_labels_: NDArray

    def _finish_network(
        self, network: AdaFERNetwork, source: DomainInputs, *, is_new: bool
    ) -> AdaFERNetwork:
        from .deep.au_inputs import AUInputNetwork, with_au_inputs

        au = source.au
        assert au is not None
        if is_new:
            return with_au_inputs(network, *column_scale(au[has_scores(au)]))
        assert isinstance(network, AUInputNetwork)
        if len(network.au_mean) != au.shape[1]:
            raise ValueError(
                f"warm_start=True goes on with a network of {len(network.au_mean)} AUs, but "
                f"au_src has {au.shape[1]}. Set warm_start=False or give the same AUs."
            )
        return network

    def _feed(self, domains: list[DomainInputs], device: torch.device) -> AUFeed:
        from .deep.au_inputs import AUFeed

        scores = [domain.au for domain in domains if domain.au is not None]
        return AUFeed([domain.inputs for domain in domains], scores, device)

    def _adapt(self, trainer: Trainer, feed: Feed, labels: NDArray, plan: None) -> None:
        _fine_tune(self, trainer, feed, labels, soft=True)

    def _n_aus_to_predict(self) -> int:
        return len(self.network_.au_mean)  # type: ignore[arg-type]


class AUQueryClassifier(TakesAUsAtPredict, DomainClassifier):
    """Baseline #2: the most frequent label of the source faces with the same AUs.

    There is no network. `fit` scores the source's AUs and counts labels under
    each AU code; `predict` scores the AUs of new faces, or takes them, and looks
    their codes up. `X_tgt` is taken and judged but not used.

    Parameters
    ----------
    backoff : {"prior", "hamming", "near"}, default="prior"
        Who answers for faces with a code that no source face has: the most
        frequent class of the source; sources whose code differs in one AU; or
        the nearest sources by AU scores. See `AUGuidedAnnotator`. What is left,
        and pictures without a face, get the prior.
    threshold : {"quantile"} or float, default="quantile"
        Score above which an AU counts as present: the `quantile` of the source
        per AU, or one fixed number in [0, 1] for all.
    quantile : float, default=0.7
        Used with ``threshold="quantile"``.
    au_extractor : AUExtractor, default=None
        What scores AUs where they are not given.
    on_error : {"raise", "skip"}, default="raise"
        What to do with pictures that cannot be read in `fit`: an error, or leave
        them out and list them in `skipped_`.
    n_jobs : int, default=None
        Threads that decode pictures, workers that score AUs.

    Attributes
    ----------
    annotator_ : AUGuidedAnnotator
        Fitted on the source.
    au_names_ : list of str or None
        Names of the AUs, where known.
    au_extractor_ : AUExtractor
        Only where it scored the source's AUs.
    classes_ : ndarray of shape (n_classes,)
        Class names, sorted.
    skipped_ : dict of str -> list
        Unreadable pictures of "X", with ``on_error="skip"``.
    n_features_in_ : int
        Only after a fit on 2-D input.

    See Also
    --------
    AUGuidedAnnotator : The same on AU scores alone, with more ways to match.

    References
    ----------
    AdaFER paper, section 4.2, baseline #2.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer import AUQueryClassifier
    >>> X, y = np.zeros((6, 1)), ["joy", "joy", "joy", "fear", "fear", "joy"]
    >>> au_src = [[0.9, 0.1], [0.8, 0.2], [0.7, 0.1], [0.1, 0.9], [0.2, 0.8], [0.1, 0.8]]
    >>> clf = AUQueryClassifier(threshold=0.5).fit(X, y, au_src=au_src)
    >>> clf.predict(X[:3], au=[[0.6, 0.3], [0.4, 0.6], [0.9, 0.9]])
    array(['joy', 'fear', 'joy'], dtype='<U4')
    """

    _parameter_constraints: dict = {
        "backoff": [StrOptions({"prior", "hamming", "near"})],
        "threshold": [StrOptions({"quantile"}), Interval(Real, 0, 1, closed="both")],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
        "au_extractor": [None, HasMethods(["fit_scores", "score_faces"])],
        "on_error": [StrOptions({"raise", "skip"})],
        "n_jobs": N_JOBS,
    }

    _au_use = "always"
    # pictures are resized as they are read, though only their AUs are looked at
    image_size = 16

    def __init__(
        self,
        backoff: Literal["prior", "hamming", "near"] = "prior",
        *,
        threshold: Literal["quantile"] | float = "quantile",
        quantile: float = 0.7,
        au_extractor: AUExtractor | None = None,
        on_error: OnError = "raise",
        n_jobs: int | None = None,
    ):
        self.backoff = backoff
        self.threshold = threshold
        self.quantile = quantile
        self.au_extractor = au_extractor
        self.on_error = on_error
        self.n_jobs = n_jobs

    annotator_: AUGuidedAnnotator

    def _reads_target(self) -> bool:
        return False

    def _fit(
        self,
        source: DomainInputs,
        labels: NDArray,
        target: DomainInputs | None,
        classes: NDArray,
        prepared: None,
    ) -> None:
        assert source.au is not None
        # fit would not know of classes whose pictures all lack a face
        self.annotator_ = self._new_annotator().partial_fit(
            source.au, classes[labels], classes=classes, sample_weight=source.weights
        )

    def _new_annotator(self) -> AUGuidedAnnotator:
        return AUGuidedAnnotator(
            ("t-hard",),
            backoff=self.backoff,
            threshold=self.threshold,
            quantile=self.quantile,
        )

    def _infer(self, X: Any, au: Any = None) -> tuple[NDArray, NDArray]:
        """AU codes, and label distributions."""
        check_is_fitted(self, "annotator_")
        annotator = self.annotator_
        domains = self._read_to_predict(
            X, au, image_size=self.image_size, n_aus=annotator.n_features_in_
        )
        scores = np.concatenate([domain.au for domain in domains if domain.au is not None])
        known = has_scores(scores)
        codes = np.zeros(scores.shape, dtype=np.float32)
        probabilities = np.tile(annotator.class_prior_, (len(scores), 1))
        if known.any():
            codes[known] = annotator.codes(scores[known])
            probabilities[known] = annotator.predict_proba(scores[known])
        return codes, probabilities

    def _decide(self, probabilities: NDArray) -> NDArray:
        """Most frequent class; ties: the larger prior, then the lower index."""
        order = np.argsort(-self.annotator_.class_prior_, kind="stable")
        return self.classes_[order[probabilities[:, order].argmax(axis=1)]]

    # ------------------------------------------------------------------ saving

    def _arrays(self) -> dict[str, NDArray]:
        """Give what `fit` learnt: label counts under each AU code, and scores under "near"."""
        annotator = self.annotator_
        table = annotator.code_table_
        arrays = {
            "thresholds": annotator.thresholds_,
            "codes": table.codes,
            "counts": table.counts,
            "last_position": table.last_position,
            "last_label": table.last_label,
        }
        if self.backoff == "near":
            arrays["source_scores"] = annotator.source_scores_
            arrays["source_labels"] = annotator.source_labels_
            if annotator.source_weights_ is not None:
                arrays["source_weights"] = annotator.source_weights_
        return arrays

    def _set_arrays(self, arrays: dict[str, NDArray]) -> None:
        """Undo `_arrays`, with `classes_` set."""
        annotator = self._new_annotator()
        codes, counts = arrays["codes"], arrays["counts"]
        n_aus = len(arrays["thresholds"])
        if codes.shape != (len(counts), n_aus) or counts.shape[1:] != self.classes_.shape:
            raise ValueError(
                f"The saved AU codes have shape {codes.shape} and their label counts "
                f"{counts.shape}; expected one row per code, {n_aus} AUs and "
                f"{len(self.classes_)} classes. Save the model again."
            )
        annotator.classes_ = self.classes_
        annotator.thresholds_ = arrays["thresholds"]
        annotator.n_features_in_ = n_aus
        annotator.code_table_ = CodeTable(
            codes=codes,
            keys=code_keys(codes),
            counts=counts,
            last_position=arrays["last_position"],
            last_label=arrays["last_label"],
            n_samples=int(arrays["last_position"].max()) + 1,
        )
        annotator.class_prior_ = counts.sum(axis=0) / counts.sum()
        if self.backoff == "near":
            annotator._keep_scores(
                arrays["source_scores"],
                arrays["source_labels"],
                arrays.get("source_weights"),
                first=True,
            )
        self.annotator_ = annotator
