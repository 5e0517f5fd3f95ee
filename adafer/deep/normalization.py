"""What a network normalises by: statistics taken from a domain, parameters trained alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from .backbones import MLP, AdaFERNetwork

__all__ = [
    "InputAffine",
    "batch_norm_layers",
    "blend_statistics",
    "norm_parameters",
    "only_trained",
    "with_input_affine",
]

_AFFINE = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def batch_norm_layers(network: nn.Module) -> list[nn.Module]:
    """Layers of batch normalisation.

    Parameters
    ----------
    network : torch.nn.Module

    Returns
    -------
    layers : list of torch.nn.Module
    """
    return [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def norm_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Scales and shifts of all normalisation layers.

    Parameters
    ----------
    network : torch.nn.Module
        May hold an `InputAffine`.

    Returns
    -------
    parameters : list of torch.nn.Parameter
    """
    layers = [m for m in network.modules() if isinstance(m, (*_AFFINE, InputAffine))]
    return [parameter for layer in layers for parameter in layer.parameters(recurse=False)]


def blend_statistics(
    layers: list[nn.Module], before: list[tuple[Tensor, Tensor]], share: float
) -> None:
    """Move the statistics of batch normalisation part of the way back.

    Parameters
    ----------
    layers : list of torch.nn.Module
        With the new statistics; changed in place.
    before : list of (Tensor, Tensor)
        Mean and variance of each layer, as they were.
    share : float in [0, 1]
        How much of `before` there is in the result.
    """
    for layer, (mean, variance) in zip(layers, before, strict=True):
        layer.running_mean.lerp_(mean, share)  # type: ignore[operator, union-attr]
        layer.running_var.lerp_(variance, share)  # type: ignore[operator, union-attr]


@contextlib.contextmanager
def only_trained(network: nn.Module, parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Freeze all parameters of a network but some, and let all go afterwards.

    Parameters
    ----------
    network : torch.nn.Module
    parameters : iterable of torch.nn.Parameter
        What still gets a gradient.
    """
    free = {id(parameter) for parameter in parameters}
    before = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    try:
        for parameter, _ in before:
            parameter.requires_grad_(id(parameter) in free)
        yield
    finally:
        for parameter, required in before:
            parameter.requires_grad_(required)


class InputAffine(nn.Module):
    """Scale and shift of each input, after it was normalised.

    Parameters
    ----------
    n_inputs : int
    """

    def __init__(self, n_inputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_inputs))
        self.bias = nn.Parameter(torch.zeros(n_inputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """Scale and shift inputs of shape (n, n_inputs)."""
        return inputs * self.weight + self.bias


@contextlib.contextmanager
def with_input_affine(network: AdaFERNetwork) -> Iterator[None]:
    """Give a network for features a trainable normalisation, folded into it afterwards.

    Its layers have none, but its inputs are normalised: that gets the scale and
    shift that batch normalisation has. At the end both are taken into the
    first linear layer, so that the network has the form it had.

    Parameters
    ----------
    network : AdaFERNetwork
        Changed in place; left as it is if it takes faces.
    """
    body = network.backbone
    if not isinstance(body, MLP):
        yield
        return
    first = body[0]
    assert isinstance(first, nn.Linear)
    affine = InputAffine(first.in_features).to(first.weight.device)
    network.backbone = nn.Sequential(affine, body)
    try:
        yield
    finally:
        with torch.no_grad():
            first.bias.add_(first.weight @ affine.bias)
            first.weight.mul_(affine.weight)
        network.backbone = body
