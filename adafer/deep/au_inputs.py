"""A network that sees AU scores beside its pictures: the paper's baseline #5."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .backbones import AdaFERNetwork
from .batches import Feed
from .device import send

__all__ = ["AUFeed", "AUInputNetwork", "with_au_inputs"]


class AUInputNetwork(AdaFERNetwork):
    """A backbone, a small layer for AU scores, and a linear classifier on both.

    Parameters
    ----------
    backbone : torch.nn.Module
        Maps inputs to features ``(n, n_features)``.
    n_features, n_classes : int
    mean, std : Tensor
        As in `AdaFERNetwork`.
    au_mean, au_std : Tensor of shape (n_aus,)
        AU scores are normalised by them inside the network.
    n_au_features : int, default=64
        Units of the layer that AU scores pass.
    """

    au_mean: Tensor
    au_std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        n_features: int,
        n_classes: int,
        mean: Tensor,
        std: Tensor,
        au_mean: Tensor,
        au_std: Tensor,
        n_au_features: int = 64,
    ):
        super().__init__(backbone, n_features + n_au_features, n_classes, mean, std)
        self.register_buffer("au_mean", au_mean)
        self.register_buffer("au_std", au_std)
        self.au_layer = nn.Sequential(nn.Linear(len(au_mean), n_au_features), nn.ReLU())

    def forward(self, inputs: Tensor, au: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Features and class scores of normalised inputs and raw AU scores.

        Parameters
        ----------
        inputs : Tensor of shape (n, 3, size, size) or (n, n_inputs)
        au : Tensor of shape (n, n_aus), values in [0, 1]
            NaN, where no face was found, counts as `au_mean`.

        Returns
        -------
        features : Tensor of shape (n, n_features + n_au_features)
            Pooled features and AU features, L2-normalised together.
        logits : Tensor of shape (n, n_classes)
        """
        scores = ((au - self.au_mean) / self.au_std).nan_to_num(nan=0.0)
        joined = torch.cat([self.backbone(inputs), self.au_layer(scores)], dim=1)
        return nn.functional.normalize(joined, dim=1), self.classifier(joined)


def with_au_inputs(network: AdaFERNetwork, au_mean: Tensor, au_std: Tensor) -> AUInputNetwork:
    """Give a network AU inputs: its backbone is kept, its classifier made anew.

    Parameters
    ----------
    network : AdaFERNetwork
        As `build_network` makes it.
    au_mean, au_std : Tensor of shape (n_aus,)

    Returns
    -------
    AUInputNetwork
    """
    return AUInputNetwork(
        network.backbone,
        network.classifier.in_features,
        network.classifier.out_features,
        network.mean,
        network.std,
        au_mean,
        au_std,
    )


class AUFeed(Feed):
    """A feed with the AU scores of each row.

    Parameters
    ----------
    parts : list of ndarray
        As in `Feed`.
    au_parts : list of ndarray of float of shape (n, n_aus)
        One for each part.
    device : torch.device
    """

    def __init__(self, parts: list[NDArray], au_parts: list[NDArray], device: torch.device):
        super().__init__(parts, device)
        self.scores = torch.from_numpy(np.concatenate(au_parts).astype(np.float32))

    def beside(self, rows: Tensor) -> dict[str, Tensor]:
        """Gather AU scores and send them to the device.

        Parameters
        ----------
        rows : Tensor of int64 of shape (n,)

        Returns
        -------
        beside : dict of str -> Tensor
            "au", float32 of shape (n, n_aus).
        """
        return {"au": send(self.scores[rows], self.device)}
