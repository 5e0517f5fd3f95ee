"""Feeding a network: inputs in memory, gathered by index, augmented on the device."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Feed", "augment", "shuffled_batches"]

# order of five points in the mirror: left and right change places
_MIRRORED = [1, 0, 2, 4, 3]


class Feed:
    """Source and target inputs one after the other; a batch is a list of rows.

    Faces stay uint8 until they are on the device.

    Parameters
    ----------
    parts : list of ndarray
        Each (n, size, size, 3) uint8, or each (n, n_inputs) float32.
    device : torch.device
    """

    def __init__(self, parts: list[NDArray], device: torch.device):
        self.is_faces = parts[0].ndim == 4
        data = parts[0] if len(parts) == 1 else np.concatenate(parts)
        self.inputs = torch.from_numpy(np.ascontiguousarray(data))
        self.device = device

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, rows: Tensor) -> Tensor:
        """Gather rows and send them to the device.

        Parameters
        ----------
        rows : Tensor of int64 of shape (n,)

        Returns
        -------
        batch : Tensor of shape (n, 3, size, size), values in [0, 1], channels
            last, or (n, n_inputs)
        """
        picked = self.inputs[rows].to(self.device, non_blocking=True)
        if not self.is_faces:
            return picked
        return picked.permute(0, 3, 1, 2).float().div_(255.0)

    def beside(self, rows: Tensor) -> dict[str, Tensor]:
        """Gather what the network gets beside the inputs, by the names of its parameters.

        Parameters
        ----------
        rows : Tensor of int64 of shape (n,)

        Returns
        -------
        beside : dict of str -> Tensor
            Empty here. "points", where a subclass gives them, are flipped with
            their faces.
        """
        return {}


def augment(
    batch: Tensor,
    generator: torch.Generator,
    *,
    flip: float = 0.5,
    erase: float = 0.5,
    points: Tensor | None = None,
) -> Tensor:
    """Flip and erase at random, each picture by its own draw, without a loop.

    Parameters
    ----------
    batch : Tensor of shape (n, 3, height, width)
        Normalised faces; the erased part becomes 0, the mean.
    generator : torch.Generator
        On the CPU: the draws do not depend on the device.
    flip : float, default=0.5
        Probability of a horizontal flip.
    erase : float, default=0.5
        Probability of erasing a rectangle of 2 % to 20 % of the area, with
        sides in a ratio of 0.3 to 3.3.
    points : Tensor of shape (n, 5, 2), optional
        Both eyes, nose and corners of the mouth, in parts of the side; changed in
        place where their face is flipped.

    Returns
    -------
    batch : Tensor of shape (n, 3, height, width)
    """
    n, _, height, width = batch.shape
    draw = torch.rand(6, n, generator=generator).to(batch.device)
    flipped = draw[0] < flip
    batch = torch.where(flipped.view(n, 1, 1, 1), batch.flip(3), batch)
    if points is not None:
        mirrored = points[:, _MIRRORED] * points.new_tensor([-1.0, 1.0])
        mirrored += points.new_tensor([1.0, 0.0])
        points.copy_(torch.where(flipped.view(n, 1, 1), mirrored, points))
    area = (0.02 + 0.18 * draw[1]) * height * width
    ratio = torch.exp((2 * draw[2] - 1) * 1.2)
    tall = (area * ratio).sqrt().clamp(max=height)
    wide = (area / ratio).sqrt().clamp(max=width)
    top, left = draw[3] * (height - tall), draw[4] * (width - wide)
    y = torch.arange(height, device=batch.device)
    x = torch.arange(width, device=batch.device)
    in_y = (y >= top[:, None]) & (y < (top + tall)[:, None])
    in_x = (x >= left[:, None]) & (x < (left + wide)[:, None])
    erased = in_y[:, None, :, None] & in_x[:, None, None, :] & (draw[5] < erase).view(n, 1, 1, 1)
    return batch.masked_fill(erased, 0.0)


def shuffled_batches(n_rows: int, batch_size: int, rng: np.random.Generator) -> Iterator[NDArray]:
    """Rows in random order, in batches of nearly equal size.

    A last batch of one or two rows, which batch normalisation cannot use, does
    not occur unless there are that few rows at all.

    Parameters
    ----------
    n_rows, batch_size : int
    rng : numpy.random.Generator

    Yields
    ------
    rows : ndarray of int64
    """
    order = rng.permutation(n_rows)
    yield from np.array_split(order, max(1, -(-n_rows // batch_size)))
