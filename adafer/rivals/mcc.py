"""MCC: target predictions that do not waver between classes."""

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

__all__ = ["MCCClassifier"]


class MCCClassifier(NetworkClassifier):
    """Minimum class confusion: no two classes may be probable for one target at once.

    No discriminator and no target labels are needed: the loss is read off the
    predictions of the target's pictures in a batch.

    Parameters
    ----------
    confusion_weight : float, default=1.0
        Weight of the class confusion beside the source's cross-entropy.
    temperature : float, default=2.5
        Logits are divided by it before their confusion is measured.
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s

    See Also
    --------
    AdaFERClassifier : ``recipe="fused"`` has this loss among others.

    Notes
    -----
    Weight and temperature are the paper's. The joint stage follows a source
    stage, as for all methods.

    References
    ----------
    Y. Jin, X. Wang, M. Long, J. Wang: Minimum Class Confusion for Versatile
    Domain Adaptation, ECCV 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.rivals import MCCClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> X_src = rng.normal(size=(80, 4)) + 3 * y[:, None]
    >>> X_tgt = X_src + 1.0
    >>> clf = MCCClassifier(epochs=10, batch_size=32, random_state=0, device="cpu")
    >>> clf.fit(X_src, y, X_tgt).score(X_tgt, y) > 0.8
    True
    """

    _parameter_constraints: dict = {
        **NetworkClassifier._parameter_constraints,
        "confusion_weight": [Interval(Real, 0, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        confusion_weight: float = 1.0,
        temperature: float = 2.5,
        **shared: Unpack[NetworkOptions],
    ):
        super().__init__(backbone, **shared)
        self.confusion_weight = confusion_weight
        self.temperature = temperature

    def _adapt(self, trainer: Trainer, feed: Feed, labels: NDArray, plan: None) -> None:
        from ..deep.losses import class_confusion_loss

        def objective(batch: JointBatch) -> dict[str, Tensor]:
            source = batch.source_loss()
            confusion = class_confusion_loss(batch.logits[batch.target_at], float(self.temperature))
            return {
                "loss": source + self.confusion_weight * confusion,
                "loss_source": source,
                "loss_confusion": confusion,
            }

        trainer.fit_jointly(feed, labels, objective, self.epochs)
