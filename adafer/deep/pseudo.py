"""Learning from targets without labels: what is said of them, and when to believe it."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .batches import Feed, augment
from .joint import JointBatch
from .loop import Trainer
from .losses import classification_loss

__all__ = [
    "TargetOpinions",
    "adjusted_templates",
    "balanced_labels",
    "cluster_labels",
    "consistency_loss",
    "entropy_loss",
    "fit_pseudo_labels",
    "information_maximization_loss",
    "strong_augment",
]


def entropy_loss(logits: Tensor) -> Tensor:
    """Mean entropy of the predictions: how unsure each one is.

    Parameters
    ----------
    logits : Tensor of shape (n, n_classes)

    Returns
    -------
    loss : Tensor, scalar

    References
    ----------
    D. Wang, E. Shelhamer, S. Liu, B. Olshausen, T. Darrell: Tent: Fully
    Test-Time Adaptation by Entropy Minimization, ICLR 2021.
    """
    log_p = functional.log_softmax(logits, dim=1)
    return -(log_p.exp() * log_p).sum(dim=1).mean()


def information_maximization_loss(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Each prediction sure, and all classes predicted.

    Parameters
    ----------
    logits : Tensor of shape (n, n_classes)

    Returns
    -------
    entropy : Tensor, scalar
        Mean entropy of the predictions, to be minimised.
    negative_diversity : Tensor, scalar
        Minus the entropy of the mean prediction, to be minimised.

    References
    ----------
    J. Liang, D. Hu, J. Feng: Do We Really Need to Access the Source Data?
    Source Hypothesis Transfer for Unsupervised Domain Adaptation, ICML 2020,
    equation 3.
    """
    log_mean = functional.log_softmax(logits, dim=1).logsumexp(dim=0) - math.log(len(logits))
    return entropy_loss(logits), (log_mean.exp() * log_mean).sum()


def cluster_labels(features: NDArray, probabilities: NDArray, *, n_rounds: int = 2) -> NDArray:
    """Pseudo-labels from the nearest class centroid, as SHOT makes them.

    Centroids are means of the features, weighted by the network's probabilities
    at first and by the labels found in later rounds; the nearest one by cosine
    similarity gives the label. Classes that no sample bears stay without.

    Parameters
    ----------
    features : ndarray of shape (n, n_features)
        L2-normalised.
    probabilities : ndarray of shape (n, n_classes)
    n_rounds : int, default=2

    Returns
    -------
    labels : ndarray of int64 of shape (n,)

    References
    ----------
    J. Liang, D. Hu, J. Feng, ICML 2020, equations 4 to 6.
    """
    features = np.asarray(features, dtype=np.float64)
    weights = np.asarray(probabilities, dtype=np.float64)
    n_classes = weights.shape[1]
    labels = weights.argmax(axis=1)
    for _ in range(n_rounds):
        present = np.flatnonzero(np.bincount(labels, minlength=n_classes))
        # cosine similarity does not ask how long a centroid is: sums serve as means do
        centroids = weights[:, present].T @ features
        centroids /= np.linalg.norm(centroids, axis=1, keepdims=True).clip(1e-12)
        labels = present[(features @ centroids.T).argmax(axis=1)]
        weights = np.eye(n_classes)[labels]
    return labels


class TargetOpinions:
    """What the network said of each target, as a running average.

    Predictions of training steps are taken in as they come, so that labels and
    class shares follow the network without a forward pass of their own.

    Parameters
    ----------
    probabilities : ndarray of shape (n_targets, n_classes)
        Of the source model.
    device : torch.device
    momentum : float, default=0.7
        Share of the old average that stays at each look.
    """

    def __init__(self, probabilities: NDArray, device: torch.device, momentum: float = 0.7):
        self.momentum = momentum
        self.average = torch.from_numpy(probabilities).float().to(device)

    def look(self, rows: Tensor, logits: Tensor) -> None:
        """Take in what the network says of some targets.

        Parameters
        ----------
        rows : Tensor of int64 of shape (n,)
        logits : Tensor of shape (n, n_classes)
        """
        found = logits.detach().softmax(dim=1)
        self.average[rows] = self.average[rows].lerp(found, 1 - self.momentum)

    def labels(self, rows: Tensor) -> Tensor:
        """Most probable class of some targets, int64 of shape (n,)."""
        return self.average[rows].argmax(dim=1)

    def prior(self) -> Tensor:
        """Estimated share of each class in the target, of shape (n_classes,)."""
        return self.average.mean(dim=0)


def balanced_labels(probabilities: Tensor, portion: float) -> tuple[Tensor, Tensor, Tensor]:
    """Pseudo-labels of the surest predictions of each class.

    One confidence for all classes would choose those that are easy. Here each
    class has its own threshold, such that the same portion of each is chosen.

    Parameters
    ----------
    probabilities : Tensor of shape (n, n_classes)
    portion : float in (0, 1]
        Share of the samples of each predicted class that is chosen, at least one.

    Returns
    -------
    labels : Tensor of int64 of shape (n,)
        Most probable classes.
    chosen : Tensor of bool of shape (n,)
    thresholds : Tensor of shape (n_classes,)
        Least confidence that is chosen; 1 for classes that are not predicted.

    References
    ----------
    Y. Zou, Z. Yu, B. V. K. V. Kumar, J. Wang: Unsupervised Domain Adaptation
    for Semantic Segmentation via Class-Balanced Self-Training, ECCV 2018.
    """
    confidence, labels = probabilities.max(dim=1)
    thresholds = torch.ones_like(probabilities[0])
    for c in range(len(thresholds)):
        own = confidence[labels == c]
        if len(own):
            thresholds[c] = own.topk(max(1, round(portion * len(own)))).values[-1]
    return labels, confidence >= thresholds[labels], thresholds


def consistency_loss(logits: Tensor, labels: Tensor, chosen: Tensor) -> Tensor:
    """Cross-entropy of strongly augmented views against labels from weak ones.

    Parameters
    ----------
    logits : Tensor of shape (n, n_classes)
        Of the strongly augmented views.
    labels : Tensor of int64 of shape (n,)
    chosen : Tensor of bool of shape (n,)
        Rows that count.

    Returns
    -------
    loss : Tensor, scalar
        Sum over the rows that count, divided by the number of all.

    References
    ----------
    K. Sohn et al.: FixMatch: Simplifying Semi-Supervised Learning with
    Consistency and Confidence, NeurIPS 2020, equation 4.
    """
    rows = functional.cross_entropy(logits, labels, reduction="none")
    return (rows * chosen.to(logits.dtype)).mean()


def adjusted_templates(
    weight: Tensor, bias: Tensor, features: Tensor, n_supports: int | None = None
) -> Tensor:
    """Templates of the classes from the surest targets, as T3A makes them.

    Each class starts with its row of the classifier as a support. Each target
    becomes a support of the class the classifier predicts; the `n_supports` with
    the least entropy stay. A template is the normalised mean of its class'
    supports, themselves normalised.

    Parameters
    ----------
    weight : Tensor of shape (n_classes, n_features)
    bias : Tensor of shape (n_classes,)
        The source classifier's.
    features : Tensor of shape (n, n_features)
        What the classifier takes.
    n_supports : int, optional
        Supports of each class; by default all.

    Returns
    -------
    templates : Tensor of shape (n_classes, n_features)
        Rows of length 1; a class without a support keeps its row of `weight`.

    References
    ----------
    Y. Iwasawa, Y. Matsuo: Test-Time Classifier Adjustment Module for
    Model-Agnostic Domain Generalization, NeurIPS 2021.
    """
    supports = torch.cat([weight, features])
    log_p = functional.log_softmax(supports @ weight.T + bias, dim=1)
    entropy = -(log_p.exp() * log_p).sum(dim=1)
    members = functional.one_hot(log_p.argmax(dim=1), len(weight)).to(weight.dtype)
    if n_supports is not None:
        # those of other classes come last; stable, so that ties keep their order
        ranked = entropy[:, None].masked_fill(members == 0, math.inf)
        order = ranked.argsort(dim=0, stable=True)
        ranks = torch.empty_like(order)
        places = torch.arange(len(supports), device=weight.device)[:, None].expand_as(order)
        ranks.scatter_(0, order, places)
        members = members * (ranks < n_supports)
    sums = members.T @ functional.normalize(supports, dim=1)
    sums = torch.where(members.sum(dim=0)[:, None] > 0, sums, weight)
    return functional.normalize(sums, dim=1)


def strong_augment(batch: Tensor, generator: torch.Generator, *, strength: float = 1.0) -> Tensor:
    """Change samples so much that only what matters for the class is left.

    Faces are turned, scaled and moved, their contrast and brightness changed;
    then each is flipped with probability 1/2 and a part of each is erased. Of
    features, some are set to 0, the mean, and noise is added.

    Parameters
    ----------
    batch : Tensor of shape (n, 3, height, width), or (n, n_inputs)
        Normalised faces or features.
    generator : torch.Generator
        On the CPU: the draws do not depend on the device.
    strength : float, default=1.0
        At 1, faces are turned by up to 20 degrees, scaled by up to 15 %, moved
        by up to 10 % of their side, and changed in contrast by up to 40 % and
        in brightness by up to 0.4 standard deviations; a tenth of the features
        is dropped and the noise has half a standard deviation.

    Returns
    -------
    batch : Tensor of the same shape
    """
    n = len(batch)
    if batch.ndim == 2:
        noise = torch.randn(batch.shape, generator=generator).to(batch.device)
        kept = torch.rand(batch.shape, generator=generator).to(batch.device) >= 0.1 * strength
        return batch * kept + 0.5 * strength * noise
    draw = (2 * torch.rand(6, n, generator=generator) - 1).to(batch.device) * strength
    angle = math.radians(20) * draw[0]
    scale = 1 + 0.15 * draw[1]
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    # the picture's side has length 2 in the coordinates of the grid
    moved = torch.stack([cosine, -sine, 0.2 * draw[2], sine, cosine, 0.2 * draw[3]], dim=1).view(
        n, 2, 3
    )
    grid = functional.affine_grid(moved, list(batch.shape), align_corners=False)
    turned = functional.grid_sample(
        batch, grid.to(batch.dtype), padding_mode="border", align_corners=False
    )
    contrast = (1 + 0.4 * draw[4]).view(n, 1, 1, 1)
    means = turned.mean(dim=(1, 2, 3), keepdim=True)
    coloured = (turned - means) * contrast + means + (0.4 * draw[5]).view(n, 1, 1, 1)
    return augment(coloured, generator, erase=1.0)


def fit_pseudo_labels(
    trainer: Trainer,
    feed: Feed,
    labels: NDArray,
    target_labels: NDArray,
    epochs: int,
    *,
    soft: bool,
    beta: float,
) -> None:
    """Joint stage on given target labels: Equation 3 with them, no triplets.

    Parameters
    ----------
    trainer : Trainer
    feed : Feed
        Source rows first, then target rows.
    labels : ndarray of int64 of shape (n_source,)
    target_labels : ndarray of float of shape (n_targets, n_classes)
        Rows sum to 1.
    epochs : int
    soft : bool
        KL(labels || predictions) if true, else cross-entropy.
    beta : float
        Weight of the target's term.
    """
    n_source = len(labels)
    scheme = "t-soft" if soft else "t-hard"
    table = torch.from_numpy(target_labels).float().to(trainer.device)

    def objective(batch: JointBatch) -> dict[str, Tensor]:
        loss, terms = classification_loss(
            batch.logits,
            batch.is_source,
            batch.labels,
            {scheme: table[(batch.rows - n_source).clamp_min(0)]},
            torch.ones_like(batch.rows, dtype=torch.float32),
            beta,
            source_weights=batch.weights,
        )
        return {"loss": loss, "loss_source": terms["source"], "loss_target": terms[scheme]}

    trainer.fit_jointly(feed, labels, objective, epochs)
