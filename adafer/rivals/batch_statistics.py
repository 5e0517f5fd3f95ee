"""Batch statistics: the source model, normalised by the target's statistics."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._network_classifier import NetworkOptions, column_scale
from .._sklearn import Interval
from ..faces import Faces
from ._source_model import SourceFreeClassifier

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..deep.batches import Feed
    from ..deep.loop import Trainer

__all__ = ["BatchStatisticsClassifier", "take_target_statistics"]


class BatchStatisticsClassifier(SourceFreeClassifier):
    """The source model with batch normalisation by the target's statistics.

    Nothing is trained on the target. After the source stage, mean and variance
    of each batch normalisation are taken anew from the target's pictures, which
    undoes shifts and scalings of whole channels, such as another exposure. `fit`
    adapts; `predict` treats each picture on its own.

    Parameters
    ----------
    prior_size : float, default=0.0
        How many target pictures the source's statistics weigh as much as: they
        keep the share ``prior_size / (prior_size + n_targets)``. Above 0 it
        steadies small targets.
    epochs : int, default=40
        Epochs of training, unless `source_epochs` is given.
    norm_statistics : {"trained", "target", "running"}, default="trained"
        How the source's statistics are found that `prior_size` keeps a share of,
        and that a fit without target data leaves.
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s

    See Also
    --------
    TENTClassifier : Goes on from here and trains scales and shifts.

    Notes
    -----
    What differs from the papers: statistics are those of all the target's
    pictures together, not of each test batch, so that a prediction does not
    depend on what else is in the batch. The network for 2-D input has no batch
    normalisation; its input scaling is taken from the target instead.

    References
    ----------
    Z. Nado et al.: Evaluating Prediction-Time Batch Normalization for
    Robustness under Covariate Shift, 2020, arXiv:2006.10963. S. Schneider et
    al.: Improving Robustness against Common Corruptions by Covariate Shift
    Adaptation, NeurIPS 2020, for `prior_size` (N there).

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.rivals import BatchStatisticsClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> X_src = rng.normal(size=(80, 4)) + 3 * y[:, None]
    >>> X_tgt = 2 * X_src + 5.0
    >>> clf = BatchStatisticsClassifier(epochs=10, batch_size=32, random_state=0, device="cpu")
    >>> clf.fit(X_src, y, X_tgt).score(X_tgt, y) > 0.9
    True
    """

    _parameter_constraints: dict = {
        **SourceFreeClassifier._parameter_constraints,
        "prior_size": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        prior_size: float = 0.0,
        **shared: Unpack[NetworkOptions],
    ):
        super().__init__(backbone, **shared)
        self.prior_size = prior_size

    def _prepare(self, X: Faces | NDArray, classes: NDArray) -> Any:
        from ..deep.normalization import batch_norm_layers

        prepared = super()._prepare(X, classes)
        if isinstance(X, Faces) and not batch_norm_layers(prepared[0]):
            raise ValueError(
                f"backbone={self.backbone!r} has no batch normalisation whose statistics could be "
                "taken from the target. Use a network that has it, such as 'resnet18' or "
                "'vgg16_bn', or TENTClassifier, which takes other normalisations, too."
            )
        return prepared

    def _adapt(self, trainer: Trainer, feed: Feed, labels: NDArray, plan: None) -> None:
        n_source = len(labels)
        self._estimate_statistics(trainer, feed, n_source, n_source)
        n_targets = len(feed) - n_source
        share = self.prior_size / (self.prior_size + n_targets)
        take_target_statistics(trainer, feed, n_source, source_share=share)


def take_target_statistics(
    trainer: Trainer, feed: Feed, n_source: int, *, source_share: float = 0.0
) -> None:
    """Normalise by the target's statistics from now on.

    Parameters
    ----------
    trainer : Trainer
        Its network is changed: its batch normalisation, or the scaling of its
        inputs if those are features.
    feed : Feed
        Source rows first, then target rows.
    n_source : int
    source_share : float in [0, 1], default=0.0
        How much of the old statistics stays.
    """
    import torch

    from ..deep.inference import estimate_statistics
    from ..deep.normalization import batch_norm_layers, blend_statistics

    network = trainer.network.to(trainer.device)
    if not feed.is_faces:
        mean, std = column_scale(feed.gather(torch.arange(n_source, len(feed))).numpy())
        mean, std = mean.to(trainer.device), std.to(trainer.device)
        variance = std.square().lerp(network.std.square(), source_share)
        network.mean, network.std = mean.lerp(network.mean, source_share), variance.sqrt()
        return
    layers = batch_norm_layers(network)
    before = [
        (layer.running_mean.clone(), layer.running_var.clone())  # type: ignore[operator, union-attr]
        for layer in layers
    ]
    rows = trainer.rng.permutation(np.arange(n_source, len(feed)))
    estimate_statistics(network, feed, rows)
    blend_statistics(layers, before, source_share)
