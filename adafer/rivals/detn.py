"""DETN: MMD between the domains, with the source's classes weighted as in the target."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .._network_classifier import NetworkClassifier, NetworkOptions
from .._sklearn import Interval
from ._source_model import infer_target

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import Unpack

    from ..deep.batches import Feed
    from ..deep.joint import JointBatch
    from ..deep.loop import Trainer

__all__ = ["DETNClassifier"]


class DETNClassifier(NetworkClassifier):
    """DETN: bring the features of both domains together, classes weighted.

    The joint stage adds the squared maximum mean discrepancy (MMD) between the
    features of source and target to the source's cross-entropy. Were the
    domains matched as they are, the source's many happy faces would be laid on
    whatever the target has most of. So each source picture counts by how much
    more frequent its class is in the target than in the source; the target's
    class shares are learnt from the network's predictions while it trains.

    Parameters
    ----------
    mmd_weight : float, default=1.0
        Weight of the MMD.
    %(shared_parameters)s

    Attributes
    ----------
    class_weights_ : ndarray of float32 of shape (n_classes,)
        Weights of the source's classes in the end; only after a fit with target
        data.
    %(shared_attributes)s

    See Also
    --------
    ECANClassifier : Matches the domains within each class, too.

    Notes
    -----
    What differs from the paper: MMD is computed on the L2-normalised features of
    the last pooling layer with five Gaussian kernels around the batch's mean
    distance, and the class shares are the mean probabilities of the running
    average of predictions, not counts of labels. The weight is that of the
    public benchmark of cross-domain FER.

    References
    ----------
    S. Li, W. Deng: Deep Emotion Transfer Network for Cross-database Facial
    Expression Recognition, ICPR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.rivals import DETNClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> X_src = rng.normal(size=(80, 4)) + 3 * y[:, None]
    >>> X_tgt = X_src + 1.0
    >>> clf = DETNClassifier(epochs=10, batch_size=32, random_state=0, device="cpu")
    >>> clf.fit(X_src, y, X_tgt).score(X_tgt, y) > 0.8
    True
    >>> clf.class_weights_.shape
    (2,)
    """

    _parameter_constraints: dict = {
        **NetworkClassifier._parameter_constraints,
        "mmd_weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        mmd_weight: float = 1.0,
        **shared: Unpack[NetworkOptions],
    ):
        super().__init__(backbone, **shared)
        self.mmd_weight = mmd_weight

    class_weights_: NDArray

    def _adapt(self, trainer: Trainer, feed: Feed, labels: NDArray, plan: None) -> None:
        self.class_weights_ = match_domains(
            self, trainer, feed, labels, mmd_weight=self.mmd_weight, conditional_weight=0.0
        )


def match_domains(
    classifier: NetworkClassifier,
    trainer: Trainer,
    feed: Feed,
    labels: NDArray,
    *,
    mmd_weight: float,
    conditional_weight: float,
) -> NDArray:
    """Joint stage with class-weighted MMD and, if it has a weight, conditional MMD.

    Parameters
    ----------
    classifier : NetworkClassifier
    trainer : Trainer
        After the source stage.
    feed : Feed
        Source rows first, then target rows.
    labels : ndarray of int64 of shape (n_source,)
    mmd_weight, conditional_weight : float

    Returns
    -------
    class_weights : ndarray of float32 of shape (n_classes,)
    """
    import torch
    from torch.nn import functional

    from ..deep.mmd import class_ratio, conditional_mmd_loss, mmd_loss
    from ..deep.pseudo import TargetOpinions

    n_source = len(labels)
    found = infer_target(classifier, trainer, feed, n_source)[1]
    n_classes = found.shape[1]
    opinions = TargetOpinions(found, trainer.device)
    trainer.keep(opinions, "average")
    counts = np.bincount(labels, minlength=n_classes)
    source_prior = torch.from_numpy(counts).float().to(trainer.device)

    def objective(batch: JointBatch) -> dict[str, Tensor]:
        at = batch.target_at
        targets = batch.rows[at] - n_source
        weights = class_ratio(opinions.prior(), source_prior)[batch.labels.clamp_min(0)]
        terms = {
            "loss_source": batch.source_loss(),
            "loss_mmd": mmd_loss(batch.features, batch.is_source, weights),
        }
        loss = terms["loss_source"] + mmd_weight * terms["loss_mmd"]
        if conditional_weight > 0:
            named = batch.labels.clone()
            named[at] = opinions.labels(targets)
            terms["loss_conditional_mmd"] = conditional_mmd_loss(
                batch.features, batch.is_source, functional.one_hot(named, n_classes)
            )
            loss = loss + conditional_weight * terms["loss_conditional_mmd"]
        opinions.look(targets, batch.logits[at])
        return {"loss": loss, **terms}

    trainer.fit_jointly(feed, labels, objective, classifier.epochs)
    return class_ratio(opinions.prior(), source_prior).cpu().numpy()
