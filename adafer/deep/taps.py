"""Looking at what passes a layer on the way through a network."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from torch import Tensor, nn

__all__ = ["Tap"]


class Tap:
    """Keeps what a layer got or gave in the last forward pass, with its gradient.

    Used in a ``with`` statement; afterwards the layer is as it was.

    Parameters
    ----------
    layer : torch.nn.Module
    at : {"input", "output"}, default="output"
        The layer's first input, or its output.

    Attributes
    ----------
    value : Tensor or None
        None before the first pass.

    Examples
    --------
    >>> import torch
    >>> from adafer.deep.taps import Tap
    >>> layers = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
    >>> with Tap(layers[0]) as tap:
    ...     given = layers(torch.ones(5, 2))
    >>> tap.value.shape
    torch.Size([5, 3])
    """

    def __init__(self, layer: nn.Module, at: str = "output"):
        self.layer = layer
        self.at = at
        self.value: Tensor | None = None

    def __enter__(self) -> Tap:
        self._handle = self.layer.register_forward_hook(self._keep)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._handle.remove()

    def _keep(self, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self.value = inputs[0] if self.at == "input" else output
