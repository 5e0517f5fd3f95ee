"""SAFN: features that grow longer, step by step."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from .._network_classifier import NetworkClassifier, NetworkOptions
from .._sklearn import Interval

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import Unpack

    from ..deep.batches import Feed
    from ..deep.joint import JointBatch
    from ..deep.loop import Trainer

__all__ = ["SAFNClassifier"]


class SAFNClassifier(NetworkClassifier):
    """Stepwise adaptive feature norm: longer features transfer better.

    Features of the target are shorter than those of the source, and the short
    ones are those that are misjudged. In each step the norm of each picture's
    pooled features, of either domain, is to exceed its present value by a
    little.

    Parameters
    ----------
    norm_weight : float, default=0.05
        Weight of the norm's loss beside the source's cross-entropy.
    norm_step : float, default=1.0
        By how much each norm is to grow in a step; the paper's delta r.
    entropy_weight : float, default=0.0
        Weight of the entropy of the target's predictions; the paper's variant
        with it uses 0.1.
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s

    See Also
    --------
    DeepCORALClassifier : Compares the domains' statistics instead.

    Notes
    -----
    The paper puts a layer of 1000 units with dropout before the classifier and
    lengthens that layer's output. Here it is the output of the last pooling
    layer, so that the network is the one that all methods share. The joint stage
    follows a source stage.

    References
    ----------
    R. Xu, G. Li, J. Yang, L. Lin: Larger Norm More Transferable: An Adaptive
    Feature Norm Approach for Unsupervised Domain Adaptation, ICCV 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.rivals import SAFNClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> X_src = rng.normal(size=(80, 4)) + 3 * y[:, None]
    >>> X_tgt = X_src + 1.0
    >>> clf = SAFNClassifier(epochs=10, batch_size=32, random_state=0, device="cpu")
    >>> clf.fit(X_src, y, X_tgt).score(X_tgt, y) > 0.8
    True
    """

    _parameter_constraints: dict = {
        **NetworkClassifier._parameter_constraints,
        "norm_weight": [Interval(Real, 0, None, closed="left")],
        "norm_step": [Interval(Real, 0, None, closed="neither")],
        "entropy_weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        norm_weight: float = 0.05,
        norm_step: float = 1.0,
        entropy_weight: float = 0.0,
        **shared: Unpack[NetworkOptions],
    ):
        super().__init__(backbone, **shared)
        self.norm_weight = norm_weight
        self.norm_step = norm_step
        self.entropy_weight = entropy_weight

    def _adapt(self, trainer: Trainer, feed: Feed, labels: NDArray, plan: None) -> None:
        from ..deep.adversarial import entropy
        from ..deep.discrepancy import feature_norm_loss

        def objective(batch: JointBatch) -> dict[str, Tensor]:
            source = batch.source_loss()
            of_target = batch.target_at
            norms = batch.pooled.detach().norm(dim=1)
            loss = source + self.norm_weight * feature_norm_loss(batch.pooled, self.norm_step)
            found = {
                "loss_source": source,
                # the loss of the norms has one value for ever, what they are tells more
                "norm_source": norms[batch.source_at].mean(),
                "norm_target": norms[of_target].mean(),
            }
            if self.entropy_weight > 0:
                found["loss_entropy"] = entropy(batch.logits[of_target]).mean()
                loss = loss + self.entropy_weight * found["loss_entropy"]
            return {"loss": loss, **found}

        trainer.fit_jointly(feed, labels, objective, self.epochs)
