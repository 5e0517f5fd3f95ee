"""CADA: features that, given the predictions, do not tell the domains apart."""

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

__all__ = ["CADAClassifier"]


class CADAClassifier(NetworkClassifier):
    """Conditional adversarial adaptation (CDAN+E): the discriminator sees predictions, too.

    Features are combined with class probabilities by their outer product, so
    that the discriminator compares the domains class by class. Rows with sure
    predictions count more (entropy conditioning). As in DANN, the gradient
    reaches the network with the other sign, scaled by a coefficient that grows
    from 0 to 1.

    Parameters
    ----------
    adversarial_weight : float, default=1.0
        Weight of the discriminator's loss beside the source's cross-entropy.
    entropy_conditioning : bool, default=True
        Weigh rows by ``1 + exp(-entropy)`` of their predictions.
    hidden_units : int, default=1024
        Units in each of the discriminator's two hidden layers.
    max_units : int, default=4096
        Outer products with more entries are replaced by a random sketch of this
        many.
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s

    See Also
    --------
    DANNClassifier : Its discriminator sees features alone.

    Notes
    -----
    Known as CADA in comparisons of facial expression recognition. As in the
    authors' program, predictions are held fast in the outer product and reach
    the network through the entropy weights alone. The authors give new layers
    ten times the backbone's rate; here all layers share one, and the joint stage
    follows a source stage, as for all methods.

    References
    ----------
    M. Long, Z. Cao, J. Wang, M. I. Jordan: Conditional Adversarial Domain
    Adaptation, NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.rivals import CADAClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> X_src = rng.normal(size=(80, 4)) + 3 * y[:, None]
    >>> X_tgt = X_src + 1.0
    >>> clf = CADAClassifier(
    ...     hidden_units=32, epochs=10, batch_size=32, random_state=0, device="cpu"
    ... )
    >>> clf.fit(X_src, y, X_tgt).score(X_tgt, y) > 0.8
    True
    """

    _parameter_constraints: dict = {
        **NetworkClassifier._parameter_constraints,
        "adversarial_weight": [Interval(Real, 0, None, closed="left")],
        "entropy_conditioning": ["boolean"],
        "hidden_units": [Interval(Integral, 1, None, closed="left")],
        "max_units": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        adversarial_weight: float = 1.0,
        entropy_conditioning: bool = True,
        hidden_units: int = 1024,
        max_units: int = 4096,
        **shared: Unpack[NetworkOptions],
    ):
        super().__init__(backbone, **shared)
        self.adversarial_weight = adversarial_weight
        self.entropy_conditioning = entropy_conditioning
        self.hidden_units = hidden_units
        self.max_units = max_units

    def _adapt(self, trainer: Trainer, feed: Feed, labels: NDArray, plan: None) -> None:
        from ..deep.adversarial import (
            DomainDiscriminator,
            MultilinearMap,
            conditional_domain_loss,
            reversal_coefficient,
        )

        last = trainer.network.classifier
        multilinear = MultilinearMap(last.in_features, last.out_features, self.max_units)
        discriminator = DomainDiscriminator(multilinear.n_units, self.hidden_units)

        def objective(batch: JointBatch) -> dict[str, Tensor]:
            source = batch.source_loss()
            domain = conditional_domain_loss(
                batch.pooled,
                batch.logits,
                batch.is_source,
                multilinear,
                discriminator,
                reversal_coefficient(batch.progress),
                entropy_conditioning=self.entropy_conditioning,
            )
            return {
                "loss": source + self.adversarial_weight * domain,
                "loss_source": source,
                "loss_domain": domain,
            }

        trainer.fit_jointly(
            feed, labels, objective, self.epochs, modules=[discriminator, multilinear]
        )
