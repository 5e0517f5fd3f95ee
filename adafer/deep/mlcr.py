"""Multi-label co-regularisation (MLCR): two networks that learn AUs and agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from .backbones import AdaFERNetwork, build_network
from .batches import Feed, augment
from .device import send
from .loop import Trainer
from .weights import LoadReport, load_weights

__all__ = [
    "MLCRNetwork",
    "MLCRTrainer",
    "build_mlcr_network",
    "consistency_loss",
    "infer_aus",
    "labelled_loss",
    "mixed_batches",
    "orthogonality_loss",
]


def labelled_loss(logits: Tensor, labels: Tensor, balance: Tensor) -> Tensor:
    """Binary cross-entropy of the known labels, balanced, mean over labels and views.

    Parameters
    ----------
    logits : Tensor of shape (n_views, n, n_aus)
    labels : Tensor of shape (n, n_aus)
        0, 1, or NaN where unknown: these have neither loss nor gradient.
    balance : Tensor of shape (2, n_aus)
        Weights of absent and of present AUs.

    Returns
    -------
    loss : Tensor, scalar
        0, with a gradient of 0, where no label is known.
    """
    known = ~labels.isnan()
    truth = torch.where(known, labels, 0.0).expand_as(logits)
    weights = torch.where(truth > 0.5, balance[1], balance[0]) * known
    total = functional.binary_cross_entropy_with_logits(logits, truth, weights, reduction="sum")
    return total / (len(logits) * known.sum().clamp_min(1))


def orthogonality_loss(classifiers: Tensor) -> Tensor:
    """Absolute cosine of the two views' classifiers, mean over the AUs.

    It keeps the views from becoming the same, the multi-view loss of the paper.
    The absolute value, as in the authors' code, makes right angles the optimum
    rather than opposite ones.

    Parameters
    ----------
    classifiers : Tensor of shape (2, n_aus, n_features + 1)
        [weight; bias] of each AU.

    Returns
    -------
    loss : Tensor, scalar
    """
    return functional.cosine_similarity(classifiers[0], classifiers[1], dim=1).abs().mean()


def consistency_loss(logits: Tensor) -> Tensor:
    """Jensen-Shannon divergence of the two views' predictions, mean over faces and AUs.

    ``JS = H((p1 + p2) / 2) - (H(p1) + H(p2)) / 2`` with the entropy H of "shown
    or not" in nats: the co-regularisation loss of the paper. It needs no labels.

    Parameters
    ----------
    logits : Tensor of shape (2, n, n_aus)

    Returns
    -------
    loss : Tensor, scalar, in [0, log 2]
    """
    divergence = torch.zeros((), dtype=logits.dtype, device=logits.device)
    # "shown", then "not shown"; logarithms stay finite where a sigmoid is 0 or 1
    for signed in (logits, -logits):
        log_p = functional.logsigmoid(signed)
        log_mean = torch.logaddexp(log_p[0], log_p[1]) - math.log(2)
        divergence = divergence + (log_p.exp() * (log_p - log_mean)).sum(dim=0).mean() / 2
    return divergence


class AUGraph(nn.Module):
    """Two graph convolutions that pass classifiers on between related AUs.

    Parameters
    ----------
    relations : ndarray of shape (n_aus, n_aus), values in [0, 1]
        How much each AU (row) has to do with each other.
    weight : float in [0, 1]
        Share of the related AUs in the sums of each layer, in proportion to the
        relations; the rest is the AU's own.
    width : int
        Length of a classifier, its bias included.
    """

    adjacency: Tensor

    def __init__(self, relations: NDArray, weight: float, width: int):
        super().__init__()
        others = relations * (1 - np.eye(len(relations)))
        total = others.sum(axis=1, keepdims=True)
        adjacency = weight * others / np.where(total > 0, total, 1)
        adjacency += np.diag(1 - adjacency.sum(axis=1))
        self.register_buffer("adjacency", torch.from_numpy(adjacency.astype(np.float32)))
        # orthogonal matrices keep the classifiers' length
        self.first = nn.Parameter(nn.init.orthogonal_(torch.empty(width, width)))
        self.second = nn.Parameter(nn.init.orthogonal_(torch.empty(width, width)))

    def forward(self, classifiers: Tensor) -> Tensor:
        """Turn initial classifiers (..., n_aus, width) into those that are used."""
        hidden = functional.leaky_relu(self.adjacency @ classifiers @ self.first, 0.2)
        return self.adjacency @ hidden @ self.second


class MLCRNetwork(nn.Module):
    """Two views of a face, each with a backbone and one classifier per AU.

    Parameters
    ----------
    views : sequence of 2 AdaFERNetwork
        With equally many features; their classifiers are the initial ones.
    relations : ndarray of shape (n_aus, n_aus)
    relation_weight : float
        See `AUGraph`, which both views share.
    """

    views: Sequence[AdaFERNetwork]

    def __init__(self, views: Sequence[AdaFERNetwork], relations: NDArray, relation_weight: float):
        super().__init__()
        self.views = nn.ModuleList(views)  # type: ignore[assignment]
        self.graph = AUGraph(relations, relation_weight, views[0].classifier.in_features + 1)

    @property
    def mean(self) -> Tensor:
        """Mean of the faces' colours, as both views expect it."""
        return self.views[0].mean

    def normalize(self, inputs: Tensor, *, in_place: bool = False) -> Tensor:
        """Bring faces with values in [0, 1] to the scale the backbones expect."""
        return self.views[0].normalize(inputs, in_place=in_place)

    def classifiers(self) -> Tensor:
        """Classifiers [weight; bias] of shape (2, n_aus, n_features + 1)."""
        initial = [
            torch.cat([view.classifier.weight, view.classifier.bias[:, None]], dim=1)
            for view in self.views
        ]
        return self.graph(torch.stack(initial))

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of normalised faces by both views.

        Parameters
        ----------
        inputs : Tensor of shape (n, 3, size, size)

        Returns
        -------
        logits : Tensor of shape (2, n, n_aus)
        classifiers : Tensor of shape (2, n_aus, n_features + 1)
        """
        classifiers = self.classifiers()
        features = torch.stack([view.backbone(inputs) for view in self.views])
        logits = features @ classifiers[:, :, :-1].mT + classifiers[:, None, :, -1]
        return logits, classifiers


def build_mlcr_network(
    backbones: Sequence[str],
    relations: NDArray,
    relation_weight: float = 0.0,
    *,
    image_size: int,
    weights: Sequence[str | Path | None] = (None, None),
) -> tuple[MLCRNetwork, list[LoadReport | None]]:
    """Make an untrained network.

    Parameters
    ----------
    backbones : sequence of 2 str
        See `adafer.deep.backbones.build_network`. Where one gives more features
        than the other, a linear layer brings them to the smaller number.
    relations : ndarray of shape (n_aus, n_aus)
    relation_weight : float, default=0.0
        See `AUGraph`.
    image_size : int
        Pixels of the faces.
    weights : sequence of 2, default=(None, None)
        See `adafer.deep.weights.load_weights`; None leaves a backbone at random.

    Returns
    -------
    network : MLCRNetwork
    reports : list of LoadReport or None
        What became of `weights`.

    Raises
    ------
    FileNotFoundError, ValueError
        As `build_network` and `load_weights`.
    """
    views = [build_network(name, len(relations), image_size=image_size) for name in backbones]
    reports = [
        None if path is None else load_weights(view, path, name)
        for view, path, name in zip(views, weights, backbones, strict=True)
    ]
    width = min(view.classifier.in_features for view in views)
    for view in views:
        found = view.classifier.in_features
        if found > width:
            view.backbone = nn.Sequential(view.backbone, nn.Linear(found, width, bias=False))
            view.classifier = nn.Linear(width, len(relations))
    return MLCRNetwork(views, relations, relation_weight), reports


def mixed_batches(
    n_labelled: int, n_unlabelled: int, batch_size: int, rng: np.random.Generator
) -> list[NDArray]:
    """All faces once in random order, each batch with its share of the labelled ones.

    Parameters
    ----------
    n_labelled, n_unlabelled : int
        Labelled rows come first.
    batch_size : int
        At most so many rows in a batch.
    rng : numpy.random.Generator

    Returns
    -------
    batches : list of ndarray of int64
    """
    n_steps = max(1, math.ceil((n_labelled + n_unlabelled) / batch_size))
    labelled = np.array_split(rng.permutation(n_labelled), n_steps)
    # the first parts of array_split are the larger ones: turned round, they even out
    unlabelled = np.array_split(n_labelled + rng.permutation(n_unlabelled), n_steps)[::-1]
    return [np.concatenate(parts) for parts in zip(labelled, unlabelled, strict=True)]


class MLCRTrainer(Trainer):
    """Trains an `MLCRNetwork` on labelled and unlabelled faces.

    Parameters
    ----------
    network : MLCRNetwork
        Trained in place.
    **options
        As `adafer.deep.loop.Trainer`.
    """

    def __init__(self, network: MLCRNetwork, **options: Any):
        super().__init__(network, **options)  # type: ignore[arg-type]

    def fit(
        self,
        feed: Feed,
        labels: NDArray,
        balance: NDArray,
        *,
        lambda_orthogonality: float,
        lambda_consistency: float,
        epochs: int,
    ) -> None:
        """Run all epochs; each is one pass over all faces.

        Parameters
        ----------
        feed : Feed
            Labelled faces first, then unlabelled ones.
        labels : ndarray of shape (n_labelled, n_aus)
            0, 1 or NaN.
        balance : ndarray of shape (2, n_aus)
            See `labelled_loss`.
        lambda_orthogonality, lambda_consistency : float
            Weights of the two losses.
        epochs : int
        """
        n_labelled, n_aus = labels.shape
        table = torch.full((len(feed), n_aus), torch.nan)
        table[:n_labelled] = torch.from_numpy(labels)
        truth = table.to(self.device)
        weights = torch.from_numpy(balance).float().to(self.device)

        def step(model: nn.Module, rows: NDArray) -> dict[str, Tensor]:
            logits, classifiers = model(self._inputs(feed, rows))
            logits = logits.float()
            at = send(torch.from_numpy(rows), self.device)
            terms = {
                "loss_labelled": labelled_loss(logits, truth[at], weights),
                "loss_orthogonality": orthogonality_loss(classifiers.float()),
                "loss_consistency": consistency_loss(logits),
            }
            loss = (
                terms["loss_labelled"]
                + lambda_orthogonality * terms["loss_orthogonality"]
                + lambda_consistency * terms["loss_consistency"]
            )
            return {"loss": loss, **terms}

        for epoch, model, optimizer in self._epochs("mlcr", epochs):
            batches = mixed_batches(n_labelled, len(feed) - n_labelled, self.batch_size, self.rng)
            feed.expect(torch.from_numpy(rows) for rows in batches)
            self._epoch("mlcr", epoch, model, optimizer, batches, step, 1, {})

    def _inputs(self, feed: Feed, rows: NDArray) -> Tensor:
        batch = self.network.normalize(feed.batch(torch.from_numpy(rows)))
        # nothing is erased: the erased part may hold the very AU that the label names
        return augment(batch, self.generator, erase=0.0) if self.augmented else batch


@torch.no_grad()
def infer_aus(network: MLCRNetwork, feed: Feed, *, batch_size: int = 256) -> NDArray[np.float32]:
    """Probabilities of all faces' AUs, the mean of both views.

    Parameters
    ----------
    network : MLCRNetwork
        On the feed's device.
    feed : Feed
    batch_size : int, default=256

    Returns
    -------
    probabilities : ndarray of float32 of shape (n, n_aus)
    """
    network.eval()
    parts = []
    for rows in torch.arange(len(feed)).split(batch_size):
        logits, _ = network(network.normalize(feed.batch(rows)))
        parts.append(torch.sigmoid(logits.float()).mean(dim=0).cpu().numpy())
    return np.concatenate(parts)
