"""The fused recipe: labels of network and AUs together, renewed while the network learns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..fusion import AUOpinion, OpinionFusion, temper
from ..triplets import TripletMiner
from .batches import Feed
from .inference import infer
from .joint import JointBatch, pool_triplets
from .loop import Trainer
from .losses import class_confusion_loss, soft_divergence, triplet_loss

__all__ = ["FusedAdaptation", "RenewedLabels", "fit_fused"]

# Keeps the logarithm of a probability finite.
_FLOOR = 1e-6


@dataclass(frozen=True)
class FusedAdaptation:
    """What the fused recipe needs beyond the inputs.

    Attributes
    ----------
    opinion : AUOpinion
        What AUs say of the target.
    miner : TripletMiner
        Fitted on both domains.
    beta, epsilon, confusion_weight : float
        Weights of the target's labels, of triplets and of class confusion.
    label_momentum : float
        How slowly the labels follow the network, see `RenewedLabels`.
    coverage : float
        Share of targets whose AU code some source shares, for the history.
    """

    opinion: AUOpinion
    miner: TripletMiner
    beta: float
    epsilon: float
    confusion_weight: float
    label_momentum: float
    coverage: float


class RenewedLabels:
    """Fused labels that follow the network, batch by batch.

    The network's opinion of a target is the running average of what it said of
    that target in training, so that it costs no forward pass of its own. Before
    each epoch it is tempered to the accuracy that was estimated before the joint
    stage: while it learns the labels it agrees with them ever more, which is no
    sign of being right, and must not make it surer. The evidence of the AUs
    stays.

    Parameters
    ----------
    fusion : OpinionFusion
    network : ndarray of shape (n_targets, n_classes)
        Probabilities before the joint stage.
    momentum : float
        Share of the old average that stays at each look; 1 keeps the first
        labels.
    device : torch.device
    """

    def __init__(
        self, fusion: OpinionFusion, network: NDArray, momentum: float, device: torch.device
    ):
        self.fusion = fusion
        self.momentum = momentum
        self.evidence = torch.from_numpy(fusion.au_evidence).float().to(device)
        self.average = torch.from_numpy(network).float().to(device)
        self.exponent = 1.0
        self.renew()

    def renew(self) -> None:
        """Make the network's opinion as sure as it was found to be right."""
        average = self.average.double().cpu().numpy()
        self.exponent = temper(average, self.fusion.network_accuracy)

    def labels(self, rows: Tensor) -> Tensor:
        """Fused labels of some targets.

        Parameters
        ----------
        rows : Tensor of int64 of shape (n,)

        Returns
        -------
        labels : Tensor of float32 of shape (n, n_classes)
            Rows sum to 1.
        """
        logs = self.average[rows].clamp_min(_FLOOR).log()
        return functional.softmax(self.exponent * logs + self.evidence[rows], dim=1)

    def all_labels(self) -> NDArray:
        """Fused labels of all targets, float64 of shape (n_targets, n_classes)."""
        everyone = torch.arange(len(self.average), device=self.average.device)
        return self.labels(everyone).double().cpu().numpy()

    def look(self, rows: Tensor, probabilities: Tensor) -> None:
        """Take what the network says of some targets into the average.

        Parameters
        ----------
        rows : Tensor of int64 of shape (n,)
        probabilities : Tensor of float32 of shape (n, n_classes)
        """
        self.average[rows] = self.average[rows].lerp(probabilities, 1 - self.momentum)


def fit_fused(
    trainer: Trainer, feed: Feed, labels: NDArray, adaptation: FusedAdaptation, epochs: int
) -> tuple[OpinionFusion, NDArray]:
    """Joint stage of the fused recipe.

    Source cross-entropy, KL(fused labels || predictions) on the target, minimum
    class confusion on the target, and AdaFER's triplets without those whose
    anchor and negative bear the same label by now.

    Parameters
    ----------
    trainer : Trainer
    feed : Feed
        Source rows first, then target rows.
    labels : ndarray of int64 of shape (n_source,)
    adaptation : FusedAdaptation
    epochs : int

    Returns
    -------
    fusion : OpinionFusion
    target_labels : ndarray of float64 of shape (n_targets, n_classes)
        Fused labels at the end.
    """
    assert trainer.margin is not None
    margin, miner, rng = trainer.margin, adaptation.miner, trainer.rng
    n_source = len(labels)
    trainer.network.to(trainer.device)
    # each process looks at all targets; a rounding must not part their ways
    network = trainer.group.shared(infer(trainer.network, feed, first=n_source)[1])
    fusion = adaptation.opinion.fuse_with(network)
    renewed = RenewedLabels(fusion, network, adaptation.label_momentum, trainer.device)
    trainer.keep(renewed, "average", "exponent")

    def draw() -> tuple[NDArray, dict]:
        trainer.group.align(renewed.average)
        renewed.renew()
        triplets, n_skipped = pool_triplets(miner.draw(rng), miner.anchors, n_source)
        named = np.concatenate([labels, renewed.all_labels().argmax(axis=1)])
        apart = named[triplets[:, 0]] != named[triplets[:, 2]]
        # where all negatives share their anchor's label there would be no batch
        kept = triplets[apart] if apart.any() else triplets
        return kept, {
            "coverage": adaptation.coverage,
            "n_triplets": len(kept),
            "n_skipped_anchors": n_skipped + len(triplets) - len(kept),
        }

    def objective(batch: JointBatch) -> dict[str, Tensor]:
        at = batch.target_at
        rows, logits = batch.rows[at] - n_source, batch.logits[at]
        found = {
            "loss_source": batch.source_loss(),
            "loss_fused": soft_divergence(
                logits, renewed.labels(rows), torch.ones_like(logits[:, 0])
            ),
        }
        loss = found["loss_source"] + adaptation.beta * found["loss_fused"]
        if adaptation.confusion_weight > 0:
            found["loss_confusion"] = class_confusion_loss(logits)
            loss = loss + adaptation.confusion_weight * found["loss_confusion"]
        if adaptation.epsilon > 0:
            anchor, positive, negative = batch.features.chunk(3)
            found["loss_triplet"], found["triplets_active"] = triplet_loss(
                anchor, positive, negative, margin()
            )
            loss = loss + adaptation.epsilon * found["loss_triplet"] + margin.penalty()
        renewed.look(rows, logits.detach().softmax(dim=1))
        return {"loss": loss, **found}

    modules = [margin] if margin.learnable else []
    trainer.fit_jointly(feed, labels, objective, epochs, draw=draw, modules=modules, decayed=False)
    return fusion, renewed.all_labels()
