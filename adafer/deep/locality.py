"""The locality-preserving loss of LPL."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["locality_preserving_loss"]


def locality_preserving_loss(features: Tensor, labels: Tensor, n_neighbors: int = 20) -> Tensor:
    """Half the squared distance of each feature to the mean of its neighbours.

    Neighbours are the nearest rows with the same label. They stand still: the
    gradient moves each row to its neighbours' mean, as in the paper.

    Parameters
    ----------
    features : Tensor of shape (n, n_features)
    labels : Tensor of int64 of shape (n,)
    n_neighbors : int, default=20
        Fewer where a label has fewer other rows.

    Returns
    -------
    loss : Tensor, scalar
        Mean over the rows that have a neighbour; 0, with a gradient of 0, where
        none has.

    References
    ----------
    S. Li, W. Deng: Reliable Crowdsourcing and Deep Locality-Preserving Learning
    for Unconstrained Facial Expression Recognition, IEEE Transactions on Image
    Processing 2019, equations 4 to 6.
    """
    fixed = features.detach()
    squares = fixed.square().sum(dim=1)
    distances = squares[:, None] + squares - 2 * fixed @ fixed.T
    apart = labels[:, None] != labels
    apart.fill_diagonal_(True)
    nearest, index = distances.masked_fill(apart, torch.inf).topk(
        min(n_neighbors, len(features)), dim=1, largest=False
    )
    there = torch.isfinite(nearest).to(features.dtype)
    counts = there.sum(dim=1)
    means = (fixed[index] * there[:, :, None]).sum(dim=1) / counts.clamp_min(1)[:, None]
    rows = (features - means).square().sum(dim=1) / 2
    has_some = (counts > 0).to(features.dtype)
    return (rows * has_some).sum() / has_some.sum().clamp_min(1)
