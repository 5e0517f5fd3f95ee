"""Deep CORAL: class scores that vary alike in both domains."""

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

__all__ = ["DeepCORALClassifier"]


class DeepCORALClassifier(NetworkClassifier):
    """Correlation alignment: source and target get class scores of equal covariance.

    Parameters
    ----------
    coral_weight : float, default=1.0
        Weight of the distance between the covariances beside the source's
        cross-entropy.
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s

    See Also
    --------
    DANNClassifier : Makes whole distributions alike, not their covariances alone.

    Notes
    -----
    As in the paper, the covariances are those of the last layer, the logits.
    The paper chooses the weight such that both losses end at about the same
    size; here it is 1. The joint stage follows a source stage, as for all
    methods.

    A shift that moves all faces alike leaves covariances as they are, and this
    method does not see it.

    References
    ----------
    B. Sun, K. Saenko: Deep CORAL: Correlation Alignment for Deep Domain
    Adaptation, ECCV 2016 workshops.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.rivals import DeepCORALClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> X_src = rng.normal(size=(80, 4)) + 3 * y[:, None]
    >>> X_tgt = 0.5 * X_src + 1.0
    >>> clf = DeepCORALClassifier(epochs=10, batch_size=32, random_state=0, device="cpu")
    >>> clf.fit(X_src, y, X_tgt).score(X_tgt, y) > 0.8
    True
    """

    _parameter_constraints: dict = {
        **NetworkClassifier._parameter_constraints,
        "coral_weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        coral_weight: float = 1.0,
        **shared: Unpack[NetworkOptions],
    ):
        super().__init__(backbone, **shared)
        self.coral_weight = coral_weight

    def _adapt(self, trainer: Trainer, feed: Feed, labels: NDArray, plan: None) -> None:
        from ..deep.discrepancy import coral_loss

        def objective(batch: JointBatch) -> dict[str, Tensor]:
            source = batch.source_loss()
            coral = coral_loss(batch.logits[batch.source_at], batch.logits[batch.target_at])
            return {
                "loss": source + self.coral_weight * coral,
                "loss_source": source,
                "loss_coral": coral,
            }

        trainer.fit_jointly(feed, labels, objective, self.epochs)
