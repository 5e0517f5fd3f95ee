"""What a joint step sees: rows of both domains, and what the network makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..triplets import Triplets

__all__ = ["FurtherStep", "JointBatch", "mixed_rows", "pool_triplets"]


def pool_triplets(drawn: tuple[Triplets, ...], anchors: str, n_source: int) -> tuple[NDArray, int]:
    """Rows of all triplets in the pooled order, source first and then target.

    Parameters
    ----------
    drawn : tuple of Triplets
        As `TripletMiner.draw` gives them.
    anchors : {"both", "source", "target"}
    n_source : int

    Returns
    -------
    rows : ndarray of int64 of shape (n_triplets, 3)
        Anchor, positive, negative.
    n_skipped : int
    """
    kinds = ("source", "target") if anchors == "both" else (anchors,)
    parts = []
    for kind, triplets in zip(kinds, drawn, strict=True):
        near, far = (0, n_source) if kind == "source" else (n_source, 0)
        parts.append(
            np.stack(
                [triplets.anchor + near, triplets.positive + far, triplets.negative + far], axis=1
            )
        )
    return np.concatenate(parts), sum(triplets.n_skipped for triplets in drawn)


def mixed_rows(n_source: int, n_target: int, rng: np.random.Generator) -> NDArray:
    """Each row with two rows of the other domain, drawn uniformly.

    Batches of them have as many pictures, and the same mix of domains, as those
    of AdaFER's triplets, but look at no AU.

    Parameters
    ----------
    n_source, n_target : int
    rng : numpy.random.Generator

    Returns
    -------
    rows : ndarray of int64 of shape (n_source + n_target, 3)
        In the pooled order, source first and then target.
    """
    others_of_source = n_source + rng.integers(n_target, size=(n_source, 2))
    others_of_target = rng.integers(n_source, size=(n_target, 2))
    others = np.concatenate([others_of_source, others_of_target])
    return np.column_stack([np.arange(n_source + n_target), others])


@dataclass(frozen=True)
class JointBatch:
    """What an objective sees of one joint step: both domains after the forward pass.

    Attributes
    ----------
    rows : Tensor of int64 of shape (n,)
        Rows of the feed, source first in it; a row may occur more than once.
    is_source : Tensor of bool of shape (n,)
    source_at, target_at : Tensor of int64
        Where `is_source` is true, and where it is not. Indexing by them does not
        make the device wait, as a mask would.
    labels : Tensor of int64 of shape (n,)
        Class indices of source rows, -1 on target rows.
    features : Tensor of float32 of shape (n, n_features)
        L2-normalised.
    logits : Tensor of float32 of shape (n, n_classes)
    progress : float
        Share of the stage that is done, in [0, 1).
    pooled : Tensor of float32 of shape (n, n_features)
        What `features` were before their norms were made 1: the classifier's input.
    weights : Tensor of float32 of shape (n,) or None
        Sample weights of source rows, with a mean of 1 over the source; 1 on
        target rows. None where all count the same.
    """

    rows: Tensor
    is_source: Tensor
    source_at: Tensor
    target_at: Tensor
    labels: Tensor
    features: Tensor
    logits: Tensor
    progress: float
    pooled: Tensor
    weights: Tensor | None = None

    def source_loss(self, logits: Tensor | None = None) -> Tensor:
        """Cross-entropy, mean over the source rows, times their weights if there are any.

        Parameters
        ----------
        logits : Tensor of shape (n, n_classes), optional
            Of another classifier; by default `logits` of the batch.
        """
        logits = self.logits if logits is None else logits
        how = "sum" if self.weights is None else "none"
        total = nn.functional.cross_entropy(logits, self.labels, ignore_index=-1, reduction=how)
        if self.weights is not None:
            total = (total * self.weights).sum()
        return total / self.is_source.sum().clamp_min(1)


@dataclass(frozen=True)
class FurtherStep:
    """One more step of the optimiser on the pictures of a joint step.

    Attributes
    ----------
    objective : callable
        As in `Trainer.fit_jointly`; it sees the pictures after a forward pass of
        its own, with the weights that the step before left. Of its terms all
        but "loss" are noted in the history.
    trained : sequence of torch.nn.Module
        Parts of the network, or modules beside it, that this step changes; all
        else stays as it is.
    """

    objective: Callable[[JointBatch], dict[str, Tensor]]
    trained: Sequence[nn.Module]
