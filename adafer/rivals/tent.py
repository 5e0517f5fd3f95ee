"""TENT: make predictions for the target sure by its normalisation alone."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._network_classifier import NetworkOptions
from .._sklearn import Interval
from ..faces import Faces
from ._source_model import SourceFreeClassifier
from .batch_statistics import take_target_statistics

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import Unpack

    from ..deep.batches import Feed
    from ..deep.joint import JointBatch
    from ..deep.loop import Trainer

__all__ = ["TENTClassifier"]


class TENTClassifier(SourceFreeClassifier):
    """TENT: minimise the entropy of predictions over scales and shifts.

    After the source stage only the target is looked at. Batch normalisation
    takes its statistics, and the scales and shifts of all normalisation layers
    are trained to make predictions sure: mean entropy, no augmentation, no
    weight decay. All other weights stay. `fit` adapts; `predict` treats each
    picture on its own.

    Parameters
    ----------
    adaptation_epochs : int, default=1
        Passes over the target. More of them make all predictions one class
        sooner or later.
    epochs : int, default=40
        Epochs of training on the source, unless `source_epochs` is given.
    norm_statistics : {"trained", "target", "running"}, default="trained"
        For a fit without target data; with it, the target's are used.
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s

    See Also
    --------
    BatchStatisticsClassifier : Takes the target's statistics and stops there.

    Notes
    -----
    What differs from the paper: it adapts and predicts batch by batch, online;
    here all of the target is passed before `predict`, and the statistics used
    then are those of all its pictures. Steps take `batch_size` pictures. The
    network for 2-D input has no normalisation layers; its input scaling is taken
    from the target and gets scales and shifts, which the first layer absorbs.

    References
    ----------
    D. Wang, E. Shelhamer, S. Liu, B. Olshausen, T. Darrell: Tent: Fully
    Test-Time Adaptation by Entropy Minimization, ICLR 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.rivals import TENTClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> X_src = rng.normal(size=(80, 4)) + 3 * y[:, None]
    >>> X_tgt = 2 * X_src + 5.0
    >>> clf = TENTClassifier(epochs=10, batch_size=32, random_state=0, device="cpu")
    >>> clf.fit(X_src, y, X_tgt).score(X_tgt, y) > 0.9
    True
    """

    _parameter_constraints: dict = {
        **SourceFreeClassifier._parameter_constraints,
        "adaptation_epochs": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        adaptation_epochs: int = 1,
        **shared: Unpack[NetworkOptions],
    ):
        super().__init__(backbone, **shared)
        self.adaptation_epochs = adaptation_epochs

    def _prepare(self, X: Faces | NDArray, classes: NDArray) -> Any:
        from ..deep.normalization import norm_parameters

        prepared = super()._prepare(X, classes)
        if isinstance(X, Faces) and not norm_parameters(prepared[0]):
            raise ValueError(
                f"backbone={self.backbone!r} has no normalisation layers, whose scales and shifts "
                "TENT trains. Use a network that has them, such as 'resnet18', or SHOTClassifier."
            )
        return prepared

    def _adapt(self, trainer: Trainer, feed: Feed, labels: NDArray, plan: None) -> None:
        from ..deep.normalization import norm_parameters, only_trained, with_input_affine
        from ..deep.pseudo import entropy_loss

        n_source, network = len(labels), trainer.network
        targets = np.arange(n_source, len(feed))
        take_target_statistics(trainer, feed, n_source)
        trainer.augmented, trainer.weight_decay = False, 0.0

        def draw() -> tuple[NDArray, dict]:
            return targets[:, None], {}

        def objective(batch: JointBatch) -> dict[str, Tensor]:
            return {"loss": entropy_loss(batch.logits)}

        with with_input_affine(network), only_trained(network, norm_parameters(network)):
            trainer.fit_jointly(feed, labels, objective, self.adaptation_epochs, draw=draw)
        # those of the scales and shifts before belong to other activations
        take_target_statistics(trainer, feed, n_source)
