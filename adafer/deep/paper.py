"""The paper's recipe: labels by AUs alone, fixed, and triplets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..inheritance import TargetAnnotation
from ..triplets import TripletMiner
from .batches import Feed
from .joint import JointBatch, pool_triplets
from .loop import Trainer
from .losses import classification_loss, triplet_loss

__all__ = ["Adaptation", "fit_paper"]


@dataclass(frozen=True)
class Adaptation:
    """What the joint stage needs beyond the inputs.

    Attributes
    ----------
    annotation : TargetAnnotation
    miner : TripletMiner
        Fitted on both domains.
    schemes : tuple of str
    conflict : str
    beta, epsilon : float
        Weights of the target terms and of the triplet loss.
    """

    annotation: TargetAnnotation
    miner: TripletMiner
    schemes: tuple[str, ...]
    conflict: str
    beta: float
    epsilon: float


def fit_paper(
    trainer: Trainer, feed: Feed, labels: NDArray, adaptation: Adaptation, epochs: int
) -> None:
    """Joint stage of AdaFER: Equation 3 on all pictures, Equation 4 on the triplets.

    Parameters
    ----------
    trainer : Trainer
    feed : Feed
        Source rows first, then target rows.
    labels : ndarray of int64 of shape (n_source,)
    adaptation : Adaptation
    epochs : int
    """
    assert trainer.margin is not None
    margin = trainer.margin
    n_source, n_all = len(labels), len(feed)
    annotation, n_classes = adaptation.annotation, len(adaptation.annotation.classes)
    weights = torch.zeros(n_all)
    weights[n_source:] = torch.from_numpy(annotation.weights)
    weights = weights.to(trainer.device)
    pseudo: dict[str, Tensor] = {}

    def draw() -> tuple[NDArray, dict]:
        for scheme in adaptation.schemes if adaptation.beta > 0 else ():
            table = torch.zeros(n_all, n_classes)
            table[n_source:] = torch.from_numpy(
                annotation.scheme_labels(scheme, adaptation.conflict, trainer.rng)
            ).float()
            pseudo[scheme] = table.to(trainer.device)
        triplets, n_skipped = pool_triplets(
            adaptation.miner.draw(trainer.rng), adaptation.miner.anchors, n_source
        )
        return triplets, {
            "coverage": annotation.coverage,
            "labelled_share": annotation.labelled_share,
            "n_triplets": len(triplets),
            "n_skipped_anchors": n_skipped,
        }

    def objective(batch: JointBatch) -> dict[str, Tensor]:
        loss, terms = classification_loss(
            batch.logits,
            batch.is_source,
            batch.labels,
            {scheme: table[batch.rows] for scheme, table in pseudo.items()},
            weights[batch.rows],
            adaptation.beta,
            source_weights=batch.weights,
        )
        found = {f"loss_{name}": term for name, term in terms.items()}
        if adaptation.epsilon > 0:
            anchor, positive, negative = batch.features.chunk(3)
            found["loss_triplet"], found["triplets_active"] = triplet_loss(
                anchor, positive, negative, margin()
            )
            loss = loss + adaptation.epsilon * found["loss_triplet"] + margin.penalty()
        return {"loss": loss, **found}

    modules = [margin] if margin.learnable else []
    trainer.fit_jointly(feed, labels, objective, epochs, draw=draw, modules=modules, decayed=False)
