"""AdaFERClassifier: how the paper adapts; what it computes is in `adafer.deep`."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from ._network_classifier import NetworkClassifier, NetworkOptions
from ._sklearn import HasMethods, Interval, StrOptions
from .annotation import AUGuidedAnnotator
from .aus import AUExtractor
from .domains import DomainInputs
from .triplets import TripletMiner

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from .deep.backbones import AdaFERNetwork
    from .deep.batches import Feed
    from .deep.fused import FusedAdaptation
    from .deep.loop import Trainer
    from .deep.paper import Adaptation
    from .fusion import AUOpinion

__all__ = ["AdaFERClassifier"]


class AdaFERClassifier(NetworkClassifier):
    """Expression classifier that adapts to an unlabelled target domain by action units.

    `fit` takes labelled source faces and unlabelled target faces. Action units
    (AUs) of both decide which labels target faces inherit (AGA) and which
    faces must come close or part in feature space (AGT). `predict` runs the
    network alone. Without target faces, `fit` trains on the source only.

    Parameters
    ----------
    recipe : {"fused", "paper"}, default="fused"
        "paper": labels by AUs alone, fixed, as in Equations 1 to 4. "fused":
        labels by AUs and the network together, each trusted as far as their
        agreement allows, renewed while the network learns; see the notes.
    annotator : AUGuidedAnnotator, default=None
        How targets get labels (AGA). None is ``AUGuidedAnnotator()`` under
        ``recipe="paper"``, which is the paper's, and
        ``AUGuidedAnnotator(matching="near")`` under "fused", which uses its
        label distributions, not `schemes` and `conflict`.
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
    confusion_weight : float, default=1.0
        Weight of minimum class confusion on the target. Under "fused" only.
    label_momentum : float, default=0.7
        How slowly fused labels follow the network, in [0, 1]; 1 keeps those
        made before the joint stage. Under "fused" only.
    %(shared_parameters)s

    Attributes
    ----------
    annotator_ : AUGuidedAnnotator
        Fitted on the source; only after a fit with target data, as the next six.
    annotation_ : TargetAnnotation
        Labels, weights and match counts of the target.
    target_labels_ : ndarray of float64 of shape (n_targets, n_classes)
        Labels of the target: T-soft, zero rows where there is none, under
        "paper"; fused labels of the last epoch under "fused".
    opinion_accuracies_ : dict of str -> float
        Estimated shares of the target that "network" (before adapting) and
        "aus" name rightly, found without labels. Under "fused" only.
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
    %(shared_attributes)s

    See Also
    --------
    AUGuidedAnnotator : AGA alone, without a network.
    as_target : Wraps `X_tgt` under cross-validation.

    Notes
    -----
    The fused recipe, which is ours: the network after the source stage, AUs of
    the upper face and AUs of the lower face are three opinions of each target
    that err for different reasons; how often any two agree tells how often each
    is right. Network and AUs are tempered until they are as sure as they are
    right, and multiplied: ``label ~ network ** a * (aus / prior) ** b``. While
    the network learns these labels, the running average of its own predictions
    takes the network's place, tempered to the accuracy it had at first, so that
    it cannot talk itself into being sure. Minimum class confusion is added, and
    triplets whose negative bears the anchor's label are left out.

    Under cross-validation and grid search pass ``X_tgt=as_target(X_tgt)``, and
    the same for `au_tgt`: scikit-learn silently slices whatever has as many
    rows as ``X``.

    References
    ----------
    AU-Guided Unsupervised Domain Adaptive Facial Expression Recognition,
    sections 3.3 to 3.5. Minimum class confusion: Y. Jin et al., ECCV 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer import AdaFERClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> au_src = np.where(y[:, None] == [0, 1], 0.9, 0.1)
    >>> X_src = rng.normal(size=(80, 4)) + 3 * y[:, None]
    >>> X_tgt, au_tgt = X_src + 2.0, au_src
    >>> clf = AdaFERClassifier(
    ...     epochs=20, learning_rate=0.003, batch_size=32, random_state=0, device="cpu"
    ... )
    >>> clf.fit(X_src, y, X_tgt, au_src=au_src, au_tgt=au_tgt).score(X_tgt, y) > 0.8
    True
    """

    _parameter_constraints: dict = {
        **NetworkClassifier._parameter_constraints,
        "recipe": [StrOptions({"fused", "paper"})],
        "annotator": [None, HasMethods(["fit", "annotate"])],
        "au_extractor": [None, HasMethods(["fit_scores", "score_faces"])],
        "anchors": [StrOptions({"both", "source", "target"})],
        "tau_n": [Interval(Real, 0, 1, closed="left")],
        "margin": [StrOptions({"learnable"}), Interval(Real, 0, None, closed="left")],
        "margin_regularization": [Interval(Real, 0, None, closed="neither")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="left")],
        "confusion_weight": [Interval(Real, 0, None, closed="left")],
        "label_momentum": [Interval(Real, 0, 1, closed="both")],
    }

    _au_use = "adapting"

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        recipe: Literal["fused", "paper"] = "fused",
        annotator: AUGuidedAnnotator | None = None,
        au_extractor: AUExtractor | None = None,
        anchors: str = "both",
        tau_n: float = 0.5,
        margin: float | str = 0.5,
        margin_regularization: float = 0.2,
        beta: float = 1.0,
        epsilon: float = 1.0,
        confusion_weight: float = 1.0,
        label_momentum: float = 0.7,
        **shared: Unpack[NetworkOptions],
    ):
        super().__init__(backbone, **shared)
        self.recipe = recipe
        self.annotator = annotator
        self.au_extractor = au_extractor
        self.anchors = anchors
        self.tau_n = tau_n
        self.margin = margin
        self.margin_regularization = margin_regularization
        self.beta = beta
        self.epsilon = epsilon
        self.confusion_weight = confusion_weight
        self.label_momentum = label_momentum

    def _plan(
        self, source: DomainInputs, y: NDArray, target: DomainInputs
    ) -> Adaptation | FusedAdaptation:
        """AGA and AGT."""
        from .deep.fused import FusedAdaptation
        from .deep.paper import Adaptation

        annotator = self._annotate(source, y, target)
        miner = self._mine(annotator, source, target)
        beta, epsilon = float(self.beta), float(self.epsilon)
        if self.recipe == "fused":
            return FusedAdaptation(
                opinion=self._au_opinion(source, y, target),
                miner=miner,
                beta=beta,
                epsilon=epsilon,
                confusion_weight=float(self.confusion_weight),
                label_momentum=float(self.label_momentum),
                coverage=self.coverage_,
            )
        return Adaptation(
            annotation=self.annotation_,
            miner=miner,
            schemes=tuple(annotator.schemes),
            conflict=annotator.conflict,
            beta=beta,
            epsilon=epsilon,
        )

    def _annotate(
        self, source: DomainInputs, y: NDArray, target: DomainInputs
    ) -> AUGuidedAnnotator:
        if self.annotator is not None:
            annotator = clone(self.annotator)
        else:
            annotator = AUGuidedAnnotator(matching="near" if self.recipe == "fused" else "exact")
        weights = {} if source.weights is None else {"sample_weight": source.weights}
        self.annotator_ = annotator.fit(source.au, y, **weights)
        without = np.setdiff1d(y, self.annotator_.classes_).tolist()
        if without:
            raise ValueError(
                f"No source picture of the classes {without} has AU scores: no face was found in "
                "any of them. Add pictures that show faces, or leave the classes out."
            )
        self.annotation_ = self.annotator_.annotate(target.au, name="au_tgt")
        self.target_labels_ = self.annotation_.labels
        self.coverage_ = self.annotation_.coverage
        return annotator

    def _mine(
        self, annotator: AUGuidedAnnotator, source: DomainInputs, target: DomainInputs
    ) -> TripletMiner:
        from .deep.joint import pool_triplets

        near = "near" in (annotator.matching, annotator.backoff)
        miner = TripletMiner(
            self.anchors,
            tau_n=self.tau_n,
            near_positives=5 if near else 0,
            thresholds=annotator.thresholds_,
        ).fit(source.au, target.au)
        trial, self.n_skipped_anchors_ = pool_triplets(
            miner.draw(0), self.anchors, len(source.inputs)
        )
        if len(trial) == 0:
            raise ValueError(
                f"No triplet can be formed: all {self.n_skipped_anchors_} anchors lack a sample "
                "with the same AU code, or one with another, in the other domain. Use an "
                "annotator with matching='near' or backoff='near', or anchors='both'."
            )
        return miner

    def _au_opinion(self, source: DomainInputs, y: NDArray, target: DomainInputs) -> AUOpinion:
        """Ask all AUs, and either half of them, for the target's labels."""
        from .fusion import AUOpinion, split_aus

        au_src, au_tgt = source.au, target.au
        assert au_src is not None
        assert au_tgt is not None
        parts = None
        if au_src.shape[1] > 1:
            halves = split_aus(source.au_names, au_src.shape[1])
            first, second = (
                AUGuidedAnnotator(matching="near")
                .fit(au_src[:, columns], y, source.weights)
                .predict_proba(au_tgt[:, columns])
                for columns in halves
            )
            parts = first, second
        annotation = self.annotation_
        prior = self.annotator_.class_prior_
        known = annotation.weights > 0
        return AUOpinion(
            labels=np.where(known[:, None], annotation.labels, prior),
            parts=parts,
            prior=prior,
            known=known,
        )

    def _trainer(
        self, network: AdaFERNetwork, device: torch.device, rng: np.random.Generator
    ) -> Trainer:
        from .deep.losses import Margin

        trainer = super()._trainer(network, device, rng)
        learnable = self.margin == "learnable"
        trainer.margin = Margin(
            0.5 if learnable else float(self.margin), learnable, self.margin_regularization
        )
        return trainer

    def _adapt(
        self, trainer: Trainer, feed: Feed, labels: NDArray, plan: Adaptation | FusedAdaptation
    ) -> None:
        from .deep.fused import FusedAdaptation, fit_fused
        from .deep.paper import fit_paper

        if isinstance(plan, FusedAdaptation):
            # the network says what it would at the end of a source-only fit
            self._estimate_statistics(trainer, feed, len(labels), len(labels))
            fusion, self.target_labels_ = fit_fused(trainer, feed, labels, plan, self.epochs)
            self.opinion_accuracies_ = {
                "network": fusion.network_accuracy,
                "aus": fusion.au_accuracy,
            }
        else:
            fit_paper(trainer, feed, labels, plan, self.epochs)
        assert trainer.margin is not None
        self.margin_ = float(trainer.margin().detach())
        joint = [row for row in trainer.history if row["stage"] == "joint"]
        if joint:
            self.n_skipped_anchors_ = joint[-1]["n_skipped_anchors"]
