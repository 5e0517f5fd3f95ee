"""AdaFERClassifier: how the paper adapts; what it computes is in `adafer.deep`."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING

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
    from .deep.loop import Adaptation, Trainer

__all__ = ["AdaFERClassifier"]


class AdaFERClassifier(NetworkClassifier):
    """Expression classifier that adapts to an unlabelled target domain by action units.

    `fit` takes labelled source faces and unlabelled target faces. Action units
    (AUs) of both decide which labels target faces inherit (AGA) and which
    faces must come close or part in feature space (AGT). `predict` runs the
    network alone. Without target faces, `fit` trains on the source only.

    Parameters
    ----------
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
    n_jobs : int, default=None
        Workers that score AUs.
    %(shared_parameters)s

    Attributes
    ----------
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
    %(shared_attributes)s

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
        **NetworkClassifier._parameter_constraints,
        "annotator": [None, HasMethods(["fit", "annotate"])],
        "au_extractor": [None, HasMethods(["fit_scores", "score_faces"])],
        "anchors": [StrOptions({"both", "source", "target"})],
        "tau_n": [Interval(Real, 0, 1, closed="left")],
        "margin": [StrOptions({"learnable"}), Interval(Real, 0, None, closed="left")],
        "margin_regularization": [Interval(Real, 0, None, closed="neither")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="left")],
        "n_jobs": [None, Integral],
    }

    _au_use = "adapting"

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        annotator: AUGuidedAnnotator | None = None,
        au_extractor: AUExtractor | None = None,
        anchors: str = "both",
        tau_n: float = 0.5,
        margin: float | str = 0.5,
        margin_regularization: float = 0.2,
        beta: float = 1.0,
        epsilon: float = 1.0,
        n_jobs: int | None = None,
        **shared: Unpack[NetworkOptions],
    ):
        super().__init__(backbone, **shared)
        self.annotator = annotator
        self.au_extractor = au_extractor
        self.anchors = anchors
        self.tau_n = tau_n
        self.margin = margin
        self.margin_regularization = margin_regularization
        self.beta = beta
        self.epsilon = epsilon
        self.n_jobs = n_jobs

    def _plan(self, source: DomainInputs, y: NDArray, target: DomainInputs) -> Adaptation:
        """AGA and AGT."""
        from .deep.loop import Adaptation, pool_triplets

        annotator = AUGuidedAnnotator() if self.annotator is None else clone(self.annotator)
        self.annotator_ = annotator.fit(source.au, y)
        without = np.setdiff1d(y, self.annotator_.classes_).tolist()
        if without:
            raise ValueError(
                f"No source picture of the classes {without} has AU scores: no face was found in "
                "any of them. Add pictures that show faces, or leave the classes out."
            )
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

    def _adapt(self, trainer: Trainer, feed: Feed, labels: NDArray, plan: Adaptation) -> None:
        trainer.fit_joint(feed, labels, plan, self.epochs)
        assert trainer.margin is not None
        self.margin_ = float(trainer.margin().detach())
        joint = [row for row in trainer.history if row["stage"] == "joint"]
        if joint:
            self.n_skipped_anchors_ = joint[-1]["n_skipped_anchors"]
