"""SWD: two classifiers that disagree on the target, and features that end the dispute."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from .._network_classifier import NetworkClassifier, NetworkOptions
from .._sklearn import Interval

if TYPE_CHECKING:
    from torch import Tensor, nn
    from typing_extensions import Unpack

    from ..deep.batches import Feed
    from ..deep.joint import JointBatch
    from ..deep.loop import Trainer

__all__ = ["SWDClassifier"]


class SWDClassifier(NetworkClassifier):
    """Sliced Wasserstein discrepancy: two classifiers, three steps on each batch.

    First the network and both classifiers learn the source. Then the classifiers
    alone keep to the source but are to disagree on the target as much as they
    can, which shows where the target lies outside of what the source has taught.
    Last the backbone alone moves the target to where they agree. Disagreement is
    the sliced Wasserstein distance between the two sets of predictions.

    Parameters
    ----------
    discrepancy_weight : float, default=1.0
        Weight of the discrepancy in the second and third step.
    n_directions : int, default=128
        Random projections that the distance is averaged over.
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s

    See Also
    --------
    DANNClassifier : A discriminator in place of the second classifier.

    Notes
    -----
    The paper's classifiers have hidden layers; here each is one linear layer on
    the pooled features, as for all methods. The second starts from the first, as
    the source stage leaves it, plus the weights of a new layer. Predictions are
    by the mean of both classifiers' logits, which one linear layer gives.

    References
    ----------
    C.-Y. Lee, T. Batra, M. H. Baig, D. Ulbricht: Sliced Wasserstein Discrepancy
    for Unsupervised Domain Adaptation, CVPR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.rivals import SWDClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> X_src = rng.normal(size=(80, 4)) + 3 * y[:, None]
    >>> X_tgt = X_src + 1.0
    >>> clf = SWDClassifier(epochs=10, batch_size=32, random_state=0, device="cpu")
    >>> clf.fit(X_src, y, X_tgt).score(X_tgt, y) > 0.8
    True
    """

    _parameter_constraints: dict = {
        **NetworkClassifier._parameter_constraints,
        "discrepancy_weight": [Interval(Real, 0, None, closed="left")],
        "n_directions": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        discrepancy_weight: float = 1.0,
        n_directions: int = 128,
        **shared: Unpack[NetworkOptions],
    ):
        super().__init__(backbone, **shared)
        self.discrepancy_weight = discrepancy_weight
        self.n_directions = n_directions

    def _adapt(self, trainer: Trainer, feed: Feed, labels: NDArray, plan: None) -> None:
        from ..deep.discrepancy import sliced_wasserstein, unit_directions
        from ..deep.joint import FurtherStep

        if self.epochs == 0:
            return
        network = trainer.network
        first, second = network.classifier, _second_classifier(network.classifier)

        def source_loss(batch: JointBatch, features: Tensor) -> Tensor:
            return batch.source_loss(first(features)) + batch.source_loss(second(features))

        def discrepancy(batch: JointBatch, features: Tensor) -> Tensor:
            rows = features[batch.target_at]
            one, other = first(rows).softmax(dim=1), second(rows).softmax(dim=1)
            directions = unit_directions(one.shape[1], self.n_directions, one)
            return sliced_wasserstein(one, other, directions)

        def learn(batch: JointBatch) -> dict[str, Tensor]:
            loss = source_loss(batch, batch.pooled)
            return {"loss": loss, "loss_source": loss / 2}

        def disagree(batch: JointBatch) -> dict[str, Tensor]:
            features = batch.pooled.detach()
            found = discrepancy(batch, features)
            loss = source_loss(batch, features) - self.discrepancy_weight * found
            return {"loss": loss, "discrepancy_sought": found}

        def agree(batch: JointBatch) -> dict[str, Tensor]:
            found = discrepancy(batch, batch.pooled)
            return {"loss": self.discrepancy_weight * found, "discrepancy_left": found}

        trainer.fit_jointly(
            feed,
            labels,
            learn,
            self.epochs,
            modules=[second],
            further=[
                FurtherStep(disagree, [first, second]),
                FurtherStep(agree, [network.backbone]),
            ],
        )
        _average(first, second)


def _second_classifier(first: nn.Linear) -> nn.Linear:
    """Make one that agrees with the first where the first is sure, not elsewhere."""
    import torch
    from torch import nn

    second = nn.Linear(first.in_features, first.out_features).to(first.weight.device)
    with torch.no_grad():
        for own, other in zip(second.parameters(), first.parameters(), strict=True):
            own.add_(other)
    return second


def _average(first: nn.Linear, second: nn.Linear) -> None:
    """Let the first give the mean of both classifiers' logits."""
    import torch

    with torch.no_grad():
        for own, other in zip(first.parameters(), second.parameters(), strict=True):
            own.add_(other.to(own.device)).div_(2)
