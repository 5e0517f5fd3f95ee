"""A network with its preprocessing inside, in a form that ONNX can hold."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .backbones import AdaFERNetwork

__all__ = ["FaceClassifier", "FeatureClassifier", "resize"]

# Pillow's 1.0
_ONE = 2.0**22


class FeatureClassifier(nn.Module):
    """Features to class probabilities.

    Parameters
    ----------
    network : AdaFERNetwork
    """

    def __init__(self, network: AdaFERNetwork):
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        """Class probabilities.

        Parameters
        ----------
        features : Tensor of float32 of shape (n, n_inputs)

        Returns
        -------
        probabilities : Tensor of float32 of shape (n, n_classes)
        """
        _, logits = self.network(self.network.normalize(features))
        return torch.softmax(logits, dim=1)


class FaceClassifier(FeatureClassifier):
    """Faces of any size to class probabilities.

    Parameters
    ----------
    network : AdaFERNetwork
    image_size : int
        Pixels that the network sees.
    """

    def __init__(self, network: AdaFERNetwork, image_size: int):
        super().__init__(network)
        self.image_size = image_size

    def forward(self, faces: Tensor) -> Tensor:
        """Class probabilities.

        Parameters
        ----------
        faces : Tensor of uint8 of shape (n, height, width, 3)
            RGB.

        Returns
        -------
        probabilities : Tensor of float32 of shape (n, n_classes)
        """
        pixels = resize(faces.permute(0, 3, 1, 2), self.image_size)
        return super().forward(pixels.float() / 255)


def resize(pixels: Tensor, size: int) -> Tensor:
    """Resize as Pillow's bilinear filter does, by two products of matrices.

    Pillow's weights are whole numbers of 22 bits; it goes along the rows, rounds
    to whole pixels, and goes along the columns. Doubles hold all of that without
    error. What differs: of pictures that are higher than wide Pillow 13 takes
    some by their columns first, which moves values by one in 255 at most; and
    ``adafer.faces.resize_faces`` averages whole pixels first, for speed, of
    pictures more than six times as large.

    Parameters
    ----------
    pixels : Tensor of uint8 of shape (n, 3, height, width)
    size : int
        Height and width to come out.

    Returns
    -------
    resized : Tensor of float64 of shape (n, 3, size, size)
        Whole numbers in [0, 255].
    """
    narrow = _round(torch.matmul(pixels.double(), _filter(pixels.shape[3], size, into=1)))
    return _round(torch.matmul(_filter(pixels.shape[2], size, into=0), narrow))


def _round(sums: Tensor) -> Tensor:
    return torch.clamp(torch.floor(sums / _ONE + 0.5), 0, 255)


def _filter(n_in: int, n_out: int, *, into: int) -> Tensor:
    """Weights of the triangle filter.

    Parameters
    ----------
    n_in, n_out : int
        Pixels before and after.
    into : {0, 1}
        Axis of the pixels after. A matrix is made either way round, since not
        every onnxruntime can multiply by a transposed one of doubles.

    Returns
    -------
    weights : Tensor of float64 of shape (n_out, n_in) or (n_in, n_out)
        Whole numbers that sum to about 2 ** 22 over the pixels before.
    """
    # in the order of Pillow's own sums, so that doubles are rounded alike
    before = torch.arange(n_in, dtype=torch.float64).unsqueeze(into)
    scale = torch.full((), 1.0, dtype=torch.float64) * n_in / n_out
    centres = ((torch.arange(n_out, dtype=torch.float64) + 0.5) * scale).unsqueeze(1 - into)
    # a picture that grows is interpolated between neighbours
    width = torch.clamp(scale, min=1.0)
    distances = (before - centres + 0.5) * (1 / width)
    weights = torch.clamp(1 - distances.abs(), min=0)
    return torch.floor(weights * (1 / weights.sum(dim=1 - into, keepdim=True)) * _ONE + 0.5)
