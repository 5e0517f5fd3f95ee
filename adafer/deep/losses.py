"""The losses of the paper, each a pure function of tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "Margin",
    "class_confusion_loss",
    "classification_loss",
    "soft_cross_entropy",
    "soft_divergence",
    "triplet_loss",
]


def _masked_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean over the rows with weight; 0, with a gradient of 0, where there are none."""
    return (values * weights).sum() / weights.sum().clamp_min(1e-12)


def soft_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy against hard or soft labels, masked mean.

    Parameters
    ----------
    logits : Tensor of shape (n, n_classes)
    labels : Tensor of shape (n, n_classes)
        Rows sum to 1 where the weight is not 0.
    weights : Tensor of shape (n,)
        0 leaves a row out.

    Returns
    -------
    loss : Tensor, scalar
    """
    rows = -(labels * functional.log_softmax(logits, dim=1)).sum(dim=1)
    return _masked_mean(rows, weights)


def soft_divergence(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """KL(labels || predictions), masked mean: the label is the reference.

    Parameters
    ----------
    logits : Tensor of shape (n, n_classes)
    labels : Tensor of shape (n, n_classes)
    weights : Tensor of shape (n,)

    Returns
    -------
    loss : Tensor, scalar
    """
    rows = functional.kl_div(functional.log_softmax(logits, dim=1), labels, reduction="none").sum(
        dim=1
    )
    return _masked_mean(rows, weights)


def classification_loss(
    logits: Tensor,
    source: Tensor,
    source_labels: Tensor,
    target_labels: dict[str, Tensor],
    weights: Tensor,
    beta: float,
    *,
    source_weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Equation 3: source cross-entropy plus beta times the terms of the target.

    ``L_c = CE(P_s, Y_s) + beta * (CE(P_t, Y_S-hard) + KL(Y_T-soft || P_t))``,
    with the terms of the chosen schemes only.

    Parameters
    ----------
    logits : Tensor of shape (n, n_classes)
        Source and target rows mixed.
    source : Tensor of bool of shape (n,)
        Which rows are the source's.
    source_labels : Tensor of int64 of shape (n,)
        Read on source rows only.
    target_labels : dict of scheme -> Tensor of shape (n, n_classes)
        Read on target rows only; "t-soft" by KL divergence, "s-hard" and
        "t-hard" by cross-entropy.
    weights : Tensor of shape (n,)
        0 leaves a target row out; read on target rows only.
    beta : float
    source_weights : Tensor of shape (n,), optional
        Sample weights with a mean of 1; read on source rows only.

    Returns
    -------
    loss : Tensor, scalar
    terms : dict of str -> Tensor, scalar
        "source" and one per scheme.

    References
    ----------
    AdaFER paper, section 3.3, equation 3.
    """
    from_source = source.to(logits.dtype)
    log_p = functional.log_softmax(logits, dim=1)
    picked = -log_p.gather(1, source_labels.clamp_min(0)[:, None])[:, 0]
    if source_weights is not None:
        picked = picked * source_weights
    terms = {"source": _masked_mean(picked, from_source)}
    loss = terms["source"]
    target_weights = weights * (1 - from_source)
    for scheme, labels in target_labels.items():
        term = soft_divergence if scheme == "t-soft" else soft_cross_entropy
        terms[scheme] = term(logits, labels, target_weights)
        loss = loss + beta * terms[scheme]
    return loss, terms


def class_confusion_loss(logits: Tensor, temperature: float = 2.5) -> Tensor:
    """Minimum class confusion: no two classes may be probable at once.

    Rows are weighted by how sure they are, each class' weighted co-occurrence
    with the others is made to sum to 1, and what lies off the diagonal is the
    loss.

    Parameters
    ----------
    logits : Tensor of shape (n, n_classes)
        Of unlabelled rows.
    temperature : float, default=2.5
        Logits are divided by it.

    Returns
    -------
    loss : Tensor, scalar

    References
    ----------
    Y. Jin, X. Wang, M. Long, J. Wang: Minimum Class Confusion for Versatile
    Domain Adaptation, ECCV 2020.
    """
    shares = functional.softmax(logits / temperature, dim=1)
    entropy = -(shares * functional.log_softmax(logits / temperature, dim=1)).sum(dim=1)
    sureness = 1 + torch.exp(-entropy)
    weights = sureness * len(logits) / sureness.sum()
    confusion = (shares * weights[:, None]).T @ shares
    confusion = confusion / confusion.sum(dim=1, keepdim=True)
    return (confusion.sum() - confusion.trace()) / logits.shape[1]


def triplet_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Equation 4: the negative must be farther than the positive by the margin.

    ``L_tri = max(0, margin + ||F_a - F_p|| - ||F_a - F_n||)``, Euclidean norms,
    not squared, mean over the triplets.

    Parameters
    ----------
    anchor, positive, negative : Tensor of shape (n, n_features)
        L2-normalised features.
    margin : Tensor or float

    Returns
    -------
    loss : Tensor, scalar
    active : Tensor, scalar
        Share of triplets that violate the margin.

    References
    ----------
    AdaFER paper, section 3.4, equation 4.
    """
    violation = margin + _distance(anchor, positive) - _distance(anchor, negative)
    return functional.relu(violation).mean(), (violation > 0).float().mean()


def _distance(a: Tensor, b: Tensor) -> Tensor:
    # the small constant keeps the gradient finite where two features coincide
    return ((a - b).square().sum(dim=1) + 1e-12).sqrt()


class Margin(nn.Module):
    """The margin gamma of Equation 4, fixed or learnable.

    Minimising Equation 4 alone would drive a free margin to minus infinity. A
    learnable one is ``softplus(g)``, kept up by the penalty
    ``-regularization * log(gamma)``. At rest gamma equals `regularization`
    divided by the share of triplets that violate it: the margin grows as the
    features come apart.

    Parameters
    ----------
    initial : float, default=0.5
    learnable : bool, default=False
    regularization : float, default=0.2
    """

    def __init__(self, initial: float = 0.5, learnable: bool = False, regularization: float = 0.2):
        super().__init__()
        raw = torch.tensor(math.log(math.expm1(initial)) if learnable else float(initial))
        self.learnable = learnable
        self.regularization = regularization
        if learnable:
            self.raw = nn.Parameter(raw)
        else:
            self.register_buffer("raw", raw)

    def forward(self) -> Tensor:
        """Give the margin, a scalar tensor."""
        return functional.softplus(self.raw) if self.learnable else self.raw

    def penalty(self) -> Tensor:
        """Term of the loss that keeps a learnable margin above zero."""
        if not self.learnable:
            return torch.zeros((), device=self.raw.device)
        return -self.regularization * torch.log(self())
