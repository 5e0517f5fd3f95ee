"""Class-adaptive self-training: labels from weak views, learnt on strong ones."""

from __future__ import annotations

from numbers import Real
from types import SimpleNamespace
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

__all__ = ["SelfTrainingClassifier"]


class SelfTrainingClassifier(NetworkClassifier):
    """Self-training with weak-strong consistency and a threshold for each class.

    Before each epoch, the targets that the network is surest of get their most
    probable class as a label: the same portion of each class, so that rare and
    hard expressions take part from the start. The portion grows from epoch to
    epoch. These labels, from views as all methods see them (weakly augmented),
    are learnt on pictures that are turned, scaled, recoloured and partly erased
    (strongly augmented). The source is learnt on both kinds of views.

    Parameters
    ----------
    beta : float, default=1.0
        Weight of the target's consistency loss.
    portion : float, default=0.2
        Share of the targets of each predicted class that is labelled in the
        first epoch.
    portion_step : float, default=0.05
        By how much the share grows with each epoch.
    max_portion : float, default=0.5
        Where it stops to grow.
    strength : float, default=1.0
        Scale of the strong augmentation, see
        `adafer.deep.pseudo.strong_augment`.
    %(shared_parameters)s

    Attributes
    ----------
    thresholds_ : ndarray of float32 of shape (n_classes,)
        Least confidence of each class that was labelled in the last epoch; only
        after a fit with target data and at least one epoch.
    %(shared_attributes)s

    See Also
    --------
    adafer.PseudoLabelClassifier : Labels of the source model, all of them, fixed.

    Notes
    -----
    This is the family's common core. CAST adds domain alignment and matches the
    class representations of both domains; there is none of it here. Thresholds
    and portions are those of class-balanced self-training (CBST), on the running
    average of the network's predictions. Source and target pass the network
    together in both kinds of views, as in AdaMatch, so that batch normalisation
    has the same mix of domains in all passes and in `predict`. 2-D features have
    no weak augmentation; their strong one is noise and dropout.

    References
    ----------
    S. Wang, Q. Liu: Unsupervised Cross-Domain Facial Expression Recognition via
    Class Adaptive Self-Training, IEEE Transactions on Affective Computing
    16(3), 2025. Y. Zou, Z. Yu, B. V. K. V. Kumar, J. Wang: Unsupervised Domain
    Adaptation for Semantic Segmentation via Class-Balanced Self-Training, ECCV
    2018. K. Sohn et al.: FixMatch, NeurIPS 2020. D. Berthelot et al.: AdaMatch,
    ICLR 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.rivals import SelfTrainingClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> X_src = rng.normal(size=(80, 4)) + 3 * y[:, None]
    >>> X_tgt = X_src + 1.0
    >>> clf = SelfTrainingClassifier(epochs=10, batch_size=32, random_state=0, device="cpu")
    >>> clf.fit(X_src, y, X_tgt).score(X_tgt, y) > 0.8
    True
    """

    _parameter_constraints: dict = {
        **NetworkClassifier._parameter_constraints,
        "beta": [Interval(Real, 0, None, closed="left")],
        "portion": [Interval(Real, 0, 1, closed="right")],
        "portion_step": [Interval(Real, 0, 1, closed="both")],
        "max_portion": [Interval(Real, 0, 1, closed="right")],
        "strength": [Interval(Real, 0, 2, closed="both")],
    }

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        beta: float = 1.0,
        portion: float = 0.2,
        portion_step: float = 0.05,
        max_portion: float = 0.5,
        strength: float = 1.0,
        **shared: Unpack[NetworkOptions],
    ):
        super().__init__(backbone, **shared)
        self.beta = beta
        self.portion = portion
        self.portion_step = portion_step
        self.max_portion = max_portion
        self.strength = strength

    thresholds_: NDArray

    def _adapt(self, trainer: Trainer, feed: Feed, labels: NDArray, plan: None) -> None:
        import torch

        from ..deep.joint import mixed_rows
        from ..deep.pseudo import (
            TargetOpinions,
            balanced_labels,
            consistency_loss,
            strong_augment,
        )

        n_source, network = len(labels), trainer.network
        opinions = TargetOpinions(infer_target(self, trainer, feed, n_source)[1], trainer.device)
        generator = torch.Generator().manual_seed(int(trainer.rng.integers(2**63 - 1)))
        course = SimpleNamespace(portion=self.portion, generator=generator)
        trainer.keep(opinions, "average")
        trainer.keep(course, "portion", "generator")
        trainer.keep(self, "thresholds_")
        given: tuple[Tensor, Tensor]

        def draw() -> tuple[NDArray, dict]:
            nonlocal given
            found, chosen, thresholds = balanced_labels(opinions.average, course.portion)
            given = found, chosen
            self.thresholds_ = thresholds.cpu().numpy()
            raised = min(course.portion + self.portion_step, self.max_portion)
            course.portion = max(self.portion, raised)
            rows = mixed_rows(n_source, len(feed) - n_source, trainer.rng)
            return rows, {"labelled_share": float(chosen.float().mean())}

        def objective(batch: JointBatch) -> dict[str, Tensor]:
            at = batch.target_at
            targets = batch.rows[at] - n_source
            inputs = network.normalize(feed.batch(batch.rows.cpu()))
            inputs = strong_augment(inputs, generator, strength=self.strength)
            own = trainer.group.own(len(inputs))
            with trainer.fabric.autocast():
                strong = network(inputs[own])[1]
            strong = trainer.group.gather(strong.float(), len(inputs))
            source = (batch.source_loss() + batch.source_loss(strong)) / 2
            consistency = consistency_loss(strong[at], given[0][targets], given[1][targets])
            opinions.look(targets, batch.logits[at])
            return {
                "loss": source + self.beta * consistency,
                "loss_source": source,
                "loss_consistency": consistency,
            }

        trainer.fit_jointly(feed, labels, objective, self.epochs, draw=draw)
