"""Parts of adversarial adaptation: reversed gradients, their schedule, discriminators."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "DomainDiscriminator",
    "MultilinearMap",
    "conditional_domain_loss",
    "domain_loss",
    "entropy",
    "reversal_coefficient",
    "reverse_gradient",
]


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, coefficient: float) -> Tensor:
        ctx.coefficient = coefficient
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return -ctx.coefficient * gradient, None


def reverse_gradient(values: Tensor, coefficient: float = 1.0) -> Tensor:
    """Give the values as they are, and their gradient with the other sign.

    Parameters
    ----------
    values : Tensor
    coefficient : float, default=1.0
        The gradient is multiplied by its negative.

    Returns
    -------
    values : Tensor

    References
    ----------
    Y. Ganin, V. Lempitsky: Unsupervised Domain Adaptation by Backpropagation,
    ICML 2015.

    Examples
    --------
    >>> import torch
    >>> from adafer.deep.adversarial import reverse_gradient
    >>> x = torch.ones(2, requires_grad=True)
    >>> (3 * reverse_gradient(x, 0.5)).sum().backward()
    >>> x.grad
    tensor([-1.5000, -1.5000])
    """
    return _Reversal.apply(values, coefficient)


def reversal_coefficient(progress: float, steepness: float = 10.0) -> float:
    """Schedule of DANN: 0 at the start, so that a raw discriminator does no harm, then 1.

    ``2 / (1 + exp(-steepness * progress)) - 1``.

    Parameters
    ----------
    progress : float
        Share of the training that is done, in [0, 1].
    steepness : float, default=10.0

    Returns
    -------
    coefficient : float
        In [0, 1).
    """
    return 2 / (1 + math.exp(-steepness * progress)) - 1


class DomainDiscriminator(nn.Sequential):
    """Two hidden layers and one logit: how likely a row is of the source.

    Parameters
    ----------
    n_features : int
    hidden_units : int, default=1024
        Units of either hidden layer.
    dropout : float, default=0.5
    """

    def __init__(self, n_features: int, hidden_units: int = 1024, dropout: float = 0.5):
        super().__init__(
            nn.Linear(n_features, hidden_units),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_units, hidden_units),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_units, 1),
        )


def domain_loss(logits: Tensor, is_source: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of a domain discriminator, both domains with equal weight.

    Parameters
    ----------
    logits : Tensor of shape (n, 1) or (n,)
        Of being of the source.
    is_source : Tensor of bool of shape (n,)
    weights : Tensor of shape (n,), optional
        Of the rows; they are made to sum to 1 within each domain.

    Returns
    -------
    loss : Tensor, scalar
    """
    scores, from_source = logits.reshape(-1), is_source.to(logits.dtype)
    rows = functional.binary_cross_entropy_with_logits(scores, from_source, reduction="none")
    if weights is None:
        weights = torch.ones_like(rows)
    shares = [weights * member for member in (from_source, 1 - from_source)]
    # what the weights sum to is a scale, not something to be learnt
    means = [(rows * share).sum() / share.sum().detach().clamp_min(1e-12) for share in shares]
    return (means[0] + means[1]) / 2


def entropy(logits: Tensor) -> Tensor:
    """Entropy of each row's class probabilities, in nats.

    Parameters
    ----------
    logits : Tensor of shape (n, n_classes)

    Returns
    -------
    entropy : Tensor of shape (n,)
    """
    log_p = functional.log_softmax(logits, dim=1)
    return -(log_p.exp() * log_p).sum(dim=1)


class MultilinearMap(nn.Module):
    """Features combined with class probabilities: their outer product, or a sketch of it.

    Where the outer product has more than `max_units` entries, each side is
    projected to as many by a fixed random matrix, and the projections are
    multiplied; inner products are kept in expectation.

    Parameters
    ----------
    n_features, n_classes : int
    max_units : int, default=4096

    Attributes
    ----------
    n_units : int
        Entries of the output.

    References
    ----------
    M. Long, Z. Cao, J. Wang, M. I. Jordan: Conditional Adversarial Domain
    Adaptation, NeurIPS 2018, section 3.2.
    """

    def __init__(self, n_features: int, n_classes: int, max_units: int = 4096):
        super().__init__()
        self.is_random = n_features * n_classes > max_units
        self.n_units = max_units if self.is_random else n_features * n_classes
        if self.is_random:
            self.register_buffer("of_features", torch.randn(n_features, max_units))
            self.register_buffer("of_classes", torch.randn(n_classes, max_units))

    of_features: Tensor
    of_classes: Tensor

    def forward(self, features: Tensor, probabilities: Tensor) -> Tensor:
        """Combine.

        Parameters
        ----------
        features : Tensor of shape (n, n_features)
        probabilities : Tensor of shape (n, n_classes)

        Returns
        -------
        combined : Tensor of shape (n, n_units)
        """
        if not self.is_random:
            return (probabilities[:, :, None] * features[:, None, :]).flatten(1)
        sketch = (features @ self.of_features) * (probabilities @ self.of_classes)
        return sketch / math.sqrt(self.n_units)


def conditional_domain_loss(
    features: Tensor,
    logits: Tensor,
    is_source: Tensor,
    multilinear: MultilinearMap,
    discriminator: nn.Module,
    coefficient: float,
    *,
    entropy_conditioning: bool = True,
) -> Tensor:
    """Loss of a discriminator that sees features and predictions together (CDAN, CDAN+E).

    Everything that reaches the network from it has its gradient reversed.

    Parameters
    ----------
    features : Tensor of shape (n, n_features)
    logits : Tensor of shape (n, n_classes)
        Of the classes. The combination holds their probabilities fast, as the
        authors' program does.
    is_source : Tensor of bool of shape (n,)
    multilinear : MultilinearMap
    discriminator : torch.nn.Module
        Gives one logit per row.
    coefficient : float
        Of the reversed gradient.
    entropy_conditioning : bool, default=True
        Weigh rows by ``1 + exp(-entropy)``: sure predictions count more.

    Returns
    -------
    loss : Tensor, scalar
    """
    probabilities = logits.softmax(dim=1).detach()
    combined = multilinear(features, probabilities)
    weights = None
    if entropy_conditioning:
        weights = 1 + torch.exp(-reverse_gradient(entropy(logits), coefficient))
    return domain_loss(discriminator(reverse_gradient(combined, coefficient)), is_source, weights)
