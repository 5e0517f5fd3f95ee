"""Distances between domains, or between two opinions, that adaptation makes small."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["coral_loss", "feature_norm_loss", "sliced_wasserstein", "unit_directions"]


def coral_loss(source: Tensor, target: Tensor) -> Tensor:
    """Squared distance between the covariances of two samples, over ``4 d^2``.

    Parameters
    ----------
    source : Tensor of shape (n_source, d)
    target : Tensor of shape (n_target, d)
        A sample of fewer than two rows has a covariance of 0.

    Returns
    -------
    loss : Tensor, scalar

    References
    ----------
    B. Sun, K. Saenko: Deep CORAL, ECCV 2016 workshops, equation 1.

    Examples
    --------
    >>> import torch
    >>> from adafer.deep.discrepancy import coral_loss
    >>> x = torch.tensor([[0.0], [2.0]])
    >>> coral_loss(x, 2 * x)
    tensor(9.)
    """
    gap = _covariance(source) - _covariance(target)
    return gap.square().sum() / (4 * source.shape[1] ** 2)


def _covariance(rows: Tensor) -> Tensor:
    centred = rows - rows.mean(dim=0)
    return centred.T @ centred / max(len(rows) - 1, 1)


def unit_directions(n_dimensions: int, n_directions: int, like: Tensor) -> Tensor:
    """Draw directions, uniform on the sphere, by torch's generator on the CPU.

    Parameters
    ----------
    n_dimensions, n_directions : int
    like : Tensor
        Gives device and type.

    Returns
    -------
    directions : Tensor of shape (n_dimensions, n_directions)
        Columns of length 1.
    """
    drawn = torch.randn(n_dimensions, n_directions)
    return functional.normalize(drawn, dim=0).to(like)


def sliced_wasserstein(first: Tensor, second: Tensor, directions: Tensor) -> Tensor:
    """Squared 2-Wasserstein distance of two samples, mean over projections to lines.

    Parameters
    ----------
    first, second : Tensor of shape (n, d)
        Of equal size.
    directions : Tensor of shape (d, n_directions)
        Unit columns, see `unit_directions`.

    Returns
    -------
    distance : Tensor, scalar

    Raises
    ------
    ValueError
        If the samples differ in size.

    References
    ----------
    C.-Y. Lee, T. Batra, M. H. Baig, D. Ulbricht: Sliced Wasserstein Discrepancy
    for Unsupervised Domain Adaptation, CVPR 2019, equation 4.

    Examples
    --------
    >>> import torch
    >>> from adafer.deep.discrepancy import sliced_wasserstein
    >>> a, b = torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [2.0]])
    >>> sliced_wasserstein(a, b, torch.ones(1, 1))
    tensor(4.)
    """
    if first.shape != second.shape:
        raise ValueError(
            f"Both samples must have one size; got {tuple(first.shape)} and "
            f"{tuple(second.shape)}. Draw as many rows of either."
        )
    projected = [(sample @ directions).sort(dim=0).values for sample in (first, second)]
    return (projected[0] - projected[1]).square().mean()


def feature_norm_loss(features: Tensor, step: float = 1.0) -> Tensor:
    """Stepwise adaptive feature norm: each norm is to exceed what it is by a step.

    The mean of ``(|f| + step - |f|)^2`` with the first norm held fast: its value
    is always ``step^2``, its gradient makes the features longer.

    Parameters
    ----------
    features : Tensor of shape (n, n_features)
        Not normalised.
    step : float, default=1.0

    Returns
    -------
    loss : Tensor, scalar

    References
    ----------
    R. Xu, G. Li, J. Yang, L. Lin: Larger Norm More Transferable, ICCV 2019,
    equation 7.

    Examples
    --------
    >>> import torch
    >>> from adafer.deep.discrepancy import feature_norm_loss
    >>> f = torch.tensor([[3.0, 4.0]], requires_grad=True)
    >>> feature_norm_loss(f).backward()
    >>> f.grad
    tensor([[-1.2000, -1.6000]])
    """
    norms = features.norm(dim=1)
    return (norms - (norms.detach() + step)).square().mean()
