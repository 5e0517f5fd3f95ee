"""DANN: features that do not tell the domains apart."""

from __future__ import annotations

from numbers import Integral, Real
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

__all__ = ["DANNClassifier"]


class DANNClassifier(NetworkClassifier):
    """Domain-adversarial training: a discriminator learns the domains, the network hides them.

    A discriminator tells source from target by the pooled features. Its gradient
    reaches the network with the other sign, scaled by a coefficient that grows
    from 0 to 1 over the joint stage, so that the features come to look alike in
    both domains.

    Parameters
    ----------
    adversarial_weight : float, default=1.0
        Weight of the discriminator's loss beside the source's cross-entropy.
    hidden_units : int, default=1024
        Units in each of the discriminator's two hidden layers.
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s

    See Also
    --------
    CADAClassifier : Its discriminator sees the predictions, too.

    Notes
    -----
    The paper trains from the start with stochastic gradient descent whose rate
    falls with the progress. Here the joint stage follows a source stage, with
    the optimiser that all methods share; the schedule of the coefficient is the
    paper's, over the joint stage. The discriminator gives one logit.

    References
    ----------
    Y. Ganin et al.: Domain-Adversarial Training of Neural Networks, JMLR 17,
    2016.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.rivals import DANNClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> X_src = rng.normal(size=(80, 4)) + 3 * y[:, None]
    >>> X_tgt = X_src + 1.0
    >>> clf = DANNClassifier(
    ...     hidden_units=32, epochs=10, batch_size=32, random_state=0, device="cpu"
    ... )
    >>> clf.fit(X_src, y, X_tgt).score(X_tgt, y) > 0.8
    True
    """

    _parameter_constraints: dict = {
        **NetworkClassifier._parameter_constraints,
        "adversarial_weight": [Interval(Real, 0, None, closed="left")],
        "hidden_units": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        adversarial_weight: float = 1.0,
        hidden_units: int = 1024,
        **shared: Unpack[NetworkOptions],
    ):
        super().__init__(backbone, **shared)
        self.adversarial_weight = adversarial_weight
        self.hidden_units = hidden_units

    def _adapt(self, trainer: Trainer, feed: Feed, labels: NDArray, plan: None) -> None:
        from ..deep.adversarial import (
            DomainDiscriminator,
            domain_loss,
            reversal_coefficient,
            reverse_gradient,
        )

        discriminator = DomainDiscriminator(
            trainer.network.classifier.in_features, self.hidden_units
        )

        def objective(batch: JointBatch) -> dict[str, Tensor]:
            features = reverse_gradient(batch.pooled, reversal_coefficient(batch.progress))
            source = batch.source_loss()
            domain = domain_loss(discriminator(features), batch.is_source)
            return {
                "loss": source + self.adversarial_weight * domain,
                "loss_source": source,
                "loss_domain": domain,
            }

        trainer.fit_jointly(feed, labels, objective, self.epochs, modules=[discriminator])
