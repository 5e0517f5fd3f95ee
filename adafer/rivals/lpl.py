"""LPL: features near those of their neighbours of the same class."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING

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

__all__ = ["LPLClassifier"]


class LPLClassifier(NetworkClassifier):
    """LPL: pull each feature to the mean of its neighbours of the same class.

    In the joint stage the locality-preserving loss joins the cross-entropy of
    the source: half the squared distance of each picture's feature to the mean
    feature of its `n_neighbors` nearest of the same class in the batch. Target
    pictures take part with pseudo-labels, the most probable classes by the
    running average of the network's predictions, and so come close to source
    pictures of the class they are taken for.

    Parameters
    ----------
    locality_weight : float, default=1.0
        Weight of the locality-preserving loss.
    n_neighbors : int, default=20
        Neighbours of each picture; fewer where the batch has fewer of its class.
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s

    See Also
    --------
    ECANClassifier : Brings the classes of both domains together by their kernel means.

    Notes
    -----
    What differs from the paper: it trains on one domain only and has no
    pseudo-labels; without `X_tgt` this is source-only training. Its weight of
    0.003 is for features whose length is not bounded; here they have length 1,
    and the weight is 1, as in the public benchmark of cross-domain FER.

    References
    ----------
    S. Li, W. Deng: Reliable Crowdsourcing and Deep Locality-Preserving Learning
    for Unconstrained Facial Expression Recognition, IEEE Transactions on Image
    Processing 28(1), 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.rivals import LPLClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> X_src = rng.normal(size=(80, 4)) + 3 * y[:, None]
    >>> X_tgt = X_src + 1.0
    >>> clf = LPLClassifier(epochs=10, batch_size=32, random_state=0, device="cpu")
    >>> clf.fit(X_src, y, X_tgt).score(X_tgt, y) > 0.8
    True
    """

    _parameter_constraints: dict = {
        **NetworkClassifier._parameter_constraints,
        "locality_weight": [Interval(Real, 0, None, closed="left")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        locality_weight: float = 1.0,
        n_neighbors: int = 20,
        **shared: Unpack[NetworkOptions],
    ):
        super().__init__(backbone, **shared)
        self.locality_weight = locality_weight
        self.n_neighbors = n_neighbors

    def _adapt(self, trainer: Trainer, feed: Feed, labels: NDArray, plan: None) -> None:
        from ..deep.locality import locality_preserving_loss
        from ..deep.pseudo import TargetOpinions

        n_source = len(labels)
        opinions = TargetOpinions(infer_target(self, trainer, feed, n_source)[1], trainer.device)

        trainer.keep(opinions, "average")

        def objective(batch: JointBatch) -> dict[str, Tensor]:
            at = batch.target_at
            targets = batch.rows[at] - n_source
            named = batch.labels.clone()
            named[at] = opinions.labels(targets)
            source = batch.source_loss()
            locality = locality_preserving_loss(batch.features, named, self.n_neighbors)
            opinions.look(targets, batch.logits[at])
            return {
                "loss": source + self.locality_weight * locality,
                "loss_source": source,
                "loss_locality": locality,
            }

        trainer.fit_jointly(feed, labels, objective, self.epochs)
