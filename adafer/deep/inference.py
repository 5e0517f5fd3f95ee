"""Running a network without training it: predictions and the statistics they use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .backbones import AdaFERNetwork
from .batches import Feed, augment, mirror

__all__ = ["estimate_statistics", "forward", "infer", "pooled_features"]

_Found = TypeVar("_Found")

# Rows looked at together, without training: so many, and no more than such inputs.
_MAX_ROWS = 256
_INPUT_BYTES = 160 * 2**20


def forward(
    model: nn.Module,
    network: AdaFERNetwork,
    feed: Feed,
    rows: Tensor,
    generator: torch.Generator | None = None,
    among: tuple[int, int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Features and class scores of some rows.

    Parameters
    ----------
    model : torch.nn.Module
        The network, or what wraps it for a device and precision.
    network : AdaFERNetwork
        Normalises the inputs.
    feed : Feed
        May give the network more than inputs, an `AUFeed` AU scores.
    rows : Tensor of int64 of shape (n,)
    generator : torch.Generator, optional
        Faces are flipped and erased by its draws.
    among : tuple of int, optional
        Place of the rows in a larger batch, as for `augment`.

    Returns
    -------
    features : Tensor of shape (n, n_features)
    logits : Tensor of shape (n, n_classes)
    """
    batch, beside = network.normalize(feed.batch(rows), in_place=True), feed.beside(rows)
    if feed.is_faces and generator is not None:
        batch = augment(batch, generator, points=beside.get("points"), among=among)
    return model(batch, **beside)


@torch.no_grad()
def estimate_statistics(
    network: AdaFERNetwork, feed: Feed, rows: NDArray, *, batch_size: int = 256
) -> None:
    """Set the statistics of batch normalisation to those of the given inputs.

    While the weights still move, the running averages that training leaves
    behind belong to weights of some steps ago, and predictions by them are a
    matter of luck. Here each layer gets the average over all the rows' batches
    under the final weights, without augmentation, as in `predict`.

    Parameters
    ----------
    network : AdaFERNetwork
        On the feed's device; changed in place, left as it is where it has no
        batch normalisation.
    feed : Feed
    rows : ndarray of int64 of shape (n,)
        Mixed, so that each batch looks like all of them.
    batch_size : int, default=256
    """
    layers = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    network.eval()  # dropout stays off
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain average over the batches
        layer.train()
    for batch in np.array_split(rows, max(1, -(-len(rows) // batch_size))):
        forward(network, network, feed, torch.from_numpy(batch))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    network.eval()


@torch.no_grad()
def infer(
    network: AdaFERNetwork, feed: Feed, *, first: int = 0, flipped: bool = False
) -> tuple[NDArray, NDArray]:
    """Features and class probabilities of a feed's rows.

    Parameters
    ----------
    network : AdaFERNetwork
        On the feed's device.
    feed : Feed
    first : int, default=0
        Row to begin with; the number of source rows leaves the target's.
    flipped : bool, default=False
        Look at the mirror image of faces, too.

    Returns
    -------
    features : ndarray of float32 of shape (n, n_features)
        L2-normalised, of faces as they are.
    probabilities : ndarray of float64 of shape (n, n_classes)
        Mean of both views, if there are two.
    """
    network.eval()
    features, probabilities = [], []
    for found, scores, mirrored in _in_batches(
        feed, first, lambda rows: _look(network, feed, rows, flipped and feed.is_faces)
    ):
        features.append(found.float().cpu().numpy())
        shares = torch.softmax(scores.float().cpu().double(), dim=1)
        if mirrored is not None:
            shares = (shares + torch.softmax(mirrored.float().cpu().double(), dim=1)) / 2
        probabilities.append(shares.numpy())
    return np.concatenate(features), np.concatenate(probabilities)


def _look(
    network: AdaFERNetwork, feed: Feed, rows: Tensor, flipped: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Features and scores of faces, and scores of their mirror images."""
    batch, beside = network.normalize(feed.batch(rows), in_place=True), feed.beside(rows)
    features, scores = network(batch, **beside)
    if not flipped:
        return features, scores, None
    if "points" in beside:
        beside["points"] = mirror(beside["points"])
    return features, scores, network(batch.flip(3), **beside)[1]


def _in_batches(feed: Feed, first: int, look: Callable[[Tensor], _Found]) -> Iterator[_Found]:
    """Look at rows, as many at once as memory allows: their number is halved where it does not."""
    n_bytes = 4 * math.prod(feed.parts[0].shape[1:])
    at_once = max(1, min(_MAX_ROWS, _INPUT_BYTES // n_bytes))
    while first < len(feed):
        rows = torch.arange(first, min(first + at_once, len(feed)))
        try:
            found = look(rows)
        except torch.cuda.OutOfMemoryError:
            if len(rows) == 1:
                raise
            at_once = len(rows) // 2
            continue
        yield found
        first += len(rows)


@torch.no_grad()
def pooled_features(network: AdaFERNetwork, feed: Feed, *, first: int = 0) -> Tensor:
    """Features of a feed's rows as the classifier takes them, their length kept.

    Parameters
    ----------
    network : AdaFERNetwork
        On the feed's device.
    feed : Feed
    first : int, default=0
        Row to begin with.

    Returns
    -------
    features : Tensor of float32 of shape (n, n_features)
        On the feed's device.
    """
    network.eval()

    def look(rows: Tensor) -> Tensor:
        return network.backbone(network.normalize(feed.batch(rows), in_place=True))

    return torch.cat(list(_in_batches(feed, first, look)))
