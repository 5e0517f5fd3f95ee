"""SHOT: adapt to the target without the source's data."""

from __future__ import annotations

from numbers import Real
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .._network_classifier import NetworkOptions
from .._sklearn import Interval
from ..inheritance import one_hot
from ._source_model import SourceFreeClassifier, infer_target

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import Unpack

    from ..deep.batches import Feed
    from ..deep.joint import JointBatch
    from ..deep.loop import Trainer

__all__ = ["SHOTClassifier"]


class SHOTClassifier(SourceFreeClassifier):
    """SHOT: keep the source's classifier, move the target's features to it.

    After the source stage no source picture is looked at. The last layer is
    frozen; the backbone learns to make each prediction sure and all classes
    predicted (information maximisation), and to agree with pseudo-labels, the
    nearest class centroids among the target's features, found anew before each
    epoch.

    Parameters
    ----------
    beta : float, default=0.3
        Weight of the cross-entropy against the pseudo-labels.
    %(shared_parameters)s

    Attributes
    ----------
    target_labels_ : ndarray of float64 of shape (n_targets, n_classes)
        The last pseudo-labels, rows of 0 and 1; only after a fit with target
        data and at least one epoch.
    %(shared_attributes)s

    See Also
    --------
    TENTClassifier : Trains the parameters of normalisation only.

    Notes
    -----
    What differs from the paper: the source stage is the one all methods here
    share, without label smoothing, bottleneck and weight normalisation; Adam
    and its schedule are shared, too, and the backbone has the full learning
    rate. An epoch takes each target picture three times, as often as the other
    methods see it where the domains are of equal size. Balanced predictions are
    asked for in every batch: a target in which some classes are rare is bent.

    References
    ----------
    J. Liang, D. Hu, J. Feng: Do We Really Need to Access the Source Data?
    Source Hypothesis Transfer for Unsupervised Domain Adaptation, ICML 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.rivals import SHOTClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> X_src = rng.normal(size=(80, 4)) + 3 * y[:, None]
    >>> X_tgt = X_src + 1.0
    >>> clf = SHOTClassifier(epochs=10, batch_size=32, random_state=0, device="cpu")
    >>> clf.fit(X_src, y, X_tgt).score(X_tgt, y) > 0.8
    True
    """

    _parameter_constraints: dict = {
        **SourceFreeClassifier._parameter_constraints,
        "beta": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        beta: float = 0.3,
        **shared: Unpack[NetworkOptions],
    ):
        super().__init__(backbone, **shared)
        self.beta = beta

    target_labels_: NDArray

    def _adapt(self, trainer: Trainer, feed: Feed, labels: NDArray, plan: None) -> None:
        import torch
        from torch.nn import functional

        from ..deep.inference import estimate_statistics, infer
        from ..deep.normalization import only_trained
        from ..deep.pseudo import cluster_labels, information_maximization_loss

        n_source, network = len(labels), trainer.network
        targets = np.arange(n_source, len(feed))
        found: tuple[NDArray, NDArray] | None = infer_target(self, trainer, feed, n_source)
        pseudo = torch.zeros(len(targets), dtype=torch.int64, device=trainer.device)

        course = SimpleNamespace(n_epochs=0)
        trainer.keep(course, "n_epochs")
        trainer.keep(self, "target_labels_")

        def draw() -> tuple[NDArray, dict]:
            nonlocal found
            # what was found before the first epoch is of no use in later ones
            known, found = (None if course.n_epochs else found), None
            features, probabilities = known or infer(network, feed, first=n_source)
            course.n_epochs += 1
            network.train()
            clusters = cluster_labels(features, probabilities)
            self.target_labels_ = one_hot(clusters, probabilities.shape[1])
            pseudo.copy_(torch.from_numpy(clusters))
            rows = np.column_stack([trainer.rng.permutation(targets) for _ in range(3)])
            agreement = float((clusters == probabilities.argmax(axis=1)).mean())
            return rows, {"cluster_agreement": agreement}

        def objective(batch: JointBatch) -> dict[str, Tensor]:
            entropy, negative_diversity = information_maximization_loss(batch.logits)
            clusters = functional.cross_entropy(batch.logits, pseudo[batch.rows - n_source])
            return {
                "loss": entropy + negative_diversity + self.beta * clusters,
                "loss_entropy": entropy,
                "loss_diversity": negative_diversity,
                "loss_clusters": clusters,
            }

        with only_trained(network, network.backbone.parameters()):
            trainer.fit_jointly(feed, labels, objective, self.epochs, draw=draw)
        if trainer.history and self.norm_statistics != "running":
            estimate_statistics(network, feed, trainer.rng.permutation(targets))
