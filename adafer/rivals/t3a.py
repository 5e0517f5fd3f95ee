"""T3A: templates of the classes from the target's surest pictures."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from .._network_classifier import NetworkOptions
from .._sklearn import Interval
from ._source_model import SourceFreeClassifier

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..deep.batches import Feed
    from ..deep.loop import Trainer

__all__ = ["T3AClassifier"]


class T3AClassifier(SourceFreeClassifier):
    """T3A: replace the source's classifier by class templates of the target.

    After the source stage the network passes the target once. The pictures it
    is surest of become supports of the class it predicts, beside the source
    classifier's own weights; the mean direction of a class' supports is its
    template, and a picture gets the class whose template its feature points to
    most. Nothing is trained on the target. `fit` adapts; `predict` treats each
    picture on its own.

    Parameters
    ----------
    n_supports : int or None, default=100
        Supports of each class, the ones with the least entropy; None for all.
    epochs : int, default=40
        Epochs of training, unless `source_epochs` is given.
    norm_statistics : {"trained", "target", "running"}, default="trained"
        As for `adafer.SourceOnlyClassifier`: "trained" are the source's.
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s

    See Also
    --------
    SHOTClassifier : Keeps the classifier and moves the features.

    Notes
    -----
    What differs from the paper: it adapts online; here the templates are those
    after all of `X_tgt`, whatever its order. It chooses the number of supports
    among 1, 5, 20, 50, 100 and all by labelled source data; here it is given.
    Templates have length 1 and no bias, as there, so that probabilities are less
    extreme than the source classifier's.

    References
    ----------
    Y. Iwasawa, Y. Matsuo: Test-Time Classifier Adjustment Module for
    Model-Agnostic Domain Generalization, NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.rivals import T3AClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> X_src = rng.normal(size=(80, 4)) + 3 * y[:, None]
    >>> X_tgt = X_src + 1.0
    >>> clf = T3AClassifier(epochs=10, batch_size=32, random_state=0, device="cpu")
    >>> clf.fit(X_src, y, X_tgt).score(X_tgt, y) > 0.8
    True
    """

    _parameter_constraints: dict = {
        **SourceFreeClassifier._parameter_constraints,
        "n_supports": [None, Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        n_supports: int | None = 100,
        **shared: Unpack[NetworkOptions],
    ):
        super().__init__(backbone, **shared)
        self.n_supports = n_supports

    def _adapt(self, trainer: Trainer, feed: Feed, labels: NDArray, plan: None) -> None:
        import torch

        from ..deep.inference import pooled_features
        from ..deep.pseudo import adjusted_templates

        n_source = len(labels)
        self._estimate_statistics(trainer, feed, n_source, n_source)
        network = trainer.network.to(trainer.device)
        features = pooled_features(network, feed, first=n_source)
        classifier = network.classifier
        with torch.no_grad():
            templates = adjusted_templates(
                classifier.weight, classifier.bias, features, self.n_supports
            )
            classifier.weight.copy_(templates)
            classifier.bias.zero_()
