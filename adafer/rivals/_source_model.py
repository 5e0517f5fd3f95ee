"""What methods need of the source model once the source stage is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.typing import NDArray

from .._network_classifier import NetworkClassifier

if TYPE_CHECKING:
    from ..deep.batches import Feed
    from ..deep.loop import Trainer

__all__ = ["SourceFreeClassifier", "infer_target"]


def infer_target(
    classifier: NetworkClassifier, trainer: Trainer, feed: Feed, n_source: int
) -> tuple[NDArray, NDArray]:
    """Features and probabilities of the target, as after a source-only fit.

    Parameters
    ----------
    classifier : NetworkClassifier
        Says by its `norm_statistics` how batch normalisation is estimated.
    trainer : Trainer
        After the source stage.
    feed : Feed
        Source rows first, then target rows.
    n_source : int

    Returns
    -------
    features : ndarray of float32 of shape (n_targets, n_features)
        L2-normalised.
    probabilities : ndarray of float64 of shape (n_targets, n_classes)
    """
    from ..deep.inference import infer

    classifier._estimate_statistics(trainer, feed, n_source, n_source)
    trainer.network.to(trainer.device)
    return infer(trainer.network, feed, first=n_source)


class SourceFreeClassifier(NetworkClassifier):
    """Base of methods that look at the target alone after the source stage.

    The statistics of batch normalisation that such a method leaves behind stay:
    none are estimated on both domains at the end.

    Parameters
    ----------
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s
    """

    def _estimate_statistics(
        self, trainer: Trainer, feed: Feed, n_source: int, n_trained: int
    ) -> None:
        if n_trained == n_source:
            super()._estimate_statistics(trainer, feed, n_source, n_source)
