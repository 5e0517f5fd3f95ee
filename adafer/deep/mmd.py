"""Maximum mean discrepancy: how far apart two distributions of features are."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["class_ratio", "conditional_mmd_loss", "gaussian_kernels", "mmd_loss"]

# Below this, the mean distance of a batch is that of equal features.
_FLOOR = 1e-12


def gaussian_kernels(features: Tensor, *, n_kernels: int = 5, factor: float = 2.0) -> Tensor:
    """Mean of Gaussian kernels of several widths between all rows.

    The middle kernel's width is the mean squared distance of the batch, the
    others are powers of `factor` times it. No gradient passes through widths.

    Parameters
    ----------
    features : Tensor of shape (n, n_features)
    n_kernels : int, default=5
    factor : float, default=2.0
        From one kernel's width to the next one's.

    Returns
    -------
    kernel : Tensor of shape (n, n), values in [0, 1]

    References
    ----------
    M. Long, Y. Cao, J. Wang, M. Jordan: Learning Transferable Features with
    Deep Adaptation Networks, ICML 2015.
    """
    squares = features.square().sum(dim=1)
    distances = (squares[:, None] + squares - 2 * features @ features.T).clamp_min(0)
    n = len(features)
    middle = (distances.detach().sum() / max(n * (n - 1), 1)).clamp_min(_FLOOR)
    powers = torch.arange(n_kernels, device=features.device) - n_kernels // 2
    widths = middle * factor ** powers.to(features.dtype)
    return torch.exp(-distances / widths.view(-1, 1, 1)).mean(dim=0)


def mmd_loss(features: Tensor, is_source: Tensor, source_weights: Tensor | None = None) -> Tensor:
    """Squared MMD between source and target rows, each source row with a weight.

    ``MMD^2 = || sum_i w_i phi(x_i) - mean_j phi(x_j) ||^2`` with weights that
    sum to 1 over the source: the biased estimate, which is never negative.

    Parameters
    ----------
    features : Tensor of shape (n, n_features)
        Source and target rows mixed.
    is_source : Tensor of bool of shape (n,)
    source_weights : Tensor of shape (n,), optional
        Not negative, read on source rows only; by default all equal.

    Returns
    -------
    loss : Tensor, scalar
        0, with a gradient of 0, where a domain is missing.

    References
    ----------
    A. Gretton, K. Borgwardt, M. Rasch, B. Schölkopf, A. Smola: A Kernel
    Two-Sample Test, JMLR 2012. With weights: H. Yan, Y. Ding, P. Li, Q. Wang,
    Y. Xu, W. Zuo: Mind the Class Weight Bias, CVPR 2017.
    """
    source = is_source.to(features.dtype)
    if source_weights is not None:
        source = source * source_weights
    return _discrepancies(features, source[None], (~is_source).to(features.dtype)[None]).sum()


def conditional_mmd_loss(features: Tensor, is_source: Tensor, classes: Tensor) -> Tensor:
    """Squared MMD between the domains within each class, mean over the classes.

    Classes that a batch has in one domain only are left out.

    Parameters
    ----------
    features : Tensor of shape (n, n_features)
    is_source : Tensor of bool of shape (n,)
    classes : Tensor of shape (n, n_classes)
        One-hot or soft labels, true ones of the source and pseudo-labels of the
        target.

    Returns
    -------
    loss : Tensor, scalar
        0, with a gradient of 0, where the domains share no class.

    References
    ----------
    S. Li, W. Deng: A Deeper Look at Facial Expression Dataset Bias, IEEE
    Transactions on Affective Computing 2020.
    """
    of_class = classes.to(features.dtype).T
    source = is_source.to(features.dtype)
    weights = of_class * source, of_class * (1 - source)
    shared = (weights[0].sum(dim=1) > 0) & (weights[1].sum(dim=1) > 0)
    return _discrepancies(features, *weights).sum() / shared.sum().clamp_min(1)


def _discrepancies(features: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Squared MMD for each pair of rows of weights (m, n); 0 where one has no weight."""
    sums = source.sum(dim=1, keepdim=True), target.sum(dim=1, keepdim=True)
    there = ((sums[0] > 0) & (sums[1] > 0)).to(features.dtype)
    signed = source / sums[0].clamp_min(_FLOOR) - target / sums[1].clamp_min(_FLOOR)
    signed = signed * there
    return ((signed @ gaussian_kernels(features)) * signed).sum(dim=1)


def class_ratio(target_prior: Tensor, source_prior: Tensor) -> Tensor:
    """How much more frequent each class is in the target than in the source.

    Parameters
    ----------
    target_prior, source_prior : Tensor of shape (n_classes,)
        Shares of the classes; those of the source are not 0.

    Returns
    -------
    ratio : Tensor of shape (n_classes,)
        Weight of a source row of each class.
    """
    return functional.normalize(target_prior, p=1, dim=0) / functional.normalize(
        source_prior, p=1, dim=0
    )
