"""Feeding a network: inputs gathered by index, sent ahead, augmented on the device."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._ahead import Ahead, Pages, fits_device, send_in_order
from .device import send

__all__ = ["Feed", "augment", "mirror", "shuffled_batches"]


class Feed:
    """Source and target inputs one after the other; a batch is a list of rows.

    Faces stay uint8 until they are on the device. On a GPU all inputs are held
    in its memory where a quarter of what is free holds them, and a step gathers
    there. Else, and where inputs are mapped from a file, a thread gathers the next
    batch, and sends it, while the device is at work on this one.

    Parameters
    ----------
    parts : list of ndarray
        Each (n, size, size, 3) uint8, or each (n, n_inputs) float32. Not copied;
        `numpy.memmap` will do.
    device : torch.device

    Attributes
    ----------
    parts : list of Tensor
        On the CPU.
    is_faces : bool
    """

    def __init__(self, parts: list[NDArray], device: torch.device):
        self.is_faces = parts[0].ndim == 4
        with warnings.catch_warnings():
            # nothing is written to arrays that must not be written to
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            self.parts = [torch.from_numpy(np.ascontiguousarray(part)) for part in parts]
        self.device = device
        self._pages = Pages(parts)
        self._is_resident = fits_device(sum(part.nbytes for part in self.parts), device)
        self._resident: Tensor | None = None
        worthwhile = bool(self._pages) or device.type == "cuda"
        self._ahead: Ahead | None = None
        if worthwhile and not self._is_resident:
            self._ahead = Ahead(self._collect, device)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def gather(self, rows: Tensor) -> Tensor:
        """Gather rows as they are held.

        Parameters
        ----------
        rows : Tensor of int64 of shape (n,)

        Returns
        -------
        inputs : Tensor of shape (n, size, size, 3), uint8, or (n, n_inputs), float32
            On the CPU.
        """
        inputs, order = self._collect(rows)
        return inputs if order is None else inputs.index_select(0, order)

    def _collect(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Gather rows part by part, and where each row is then.

        Rows are copied once, in one piece for each part. To scatter them among
        those of the other parts takes six times as long on the host, and next to
        nothing on a GPU.
        """
        shape = (len(rows), *self.parts[0].shape[1:])
        pinned = self.device.type == "cuda"
        inputs = torch.empty(shape, dtype=self.parts[0].dtype, pin_memory=pinned)
        self._pages.use(len(rows), inputs.nbytes)
        if len(self.parts) == 1:
            return torch.index_select(self.parts[0], 0, rows, out=inputs), None
        places, first, done = [], 0, 0
        for part in self.parts:
            at = ((rows >= first) & (rows < first + len(part))).nonzero()[:, 0]
            piece = inputs[done : done + len(at)]
            torch.index_select(part, 0, rows[at] - first, out=piece)
            places.append(at)
            first, done = first + len(part), done + len(at)
        return inputs, torch.cat(places).argsort()

    def expect(self, batches: Iterable[Tensor]) -> None:
        """Say which rows `batch` will be asked for, so that it can be ahead.

        Parameters
        ----------
        batches : iterable of Tensor of int64
            In this order. Other rows may be asked for, too: then nothing is
            gained.
        """
        if self._ahead is not None:
            self._ahead.start(batches)

    def batch(self, rows: Tensor) -> Tensor:
        """Gather rows and send them to the device.

        Parameters
        ----------
        rows : Tensor of int64 of shape (n,)

        Returns
        -------
        batch : Tensor of shape (n, 3, size, size), values in [0, 1], channels
            last, or (n, n_inputs)
            A new one, to be changed at will.
        """
        picked = self._sent(rows)
        if not self.is_faces:
            return picked
        return picked.permute(0, 3, 1, 2).float().div_(255.0)

    def _sent(self, rows: Tensor) -> Tensor:
        if self._is_resident:
            if self._resident is None:
                self._resident = torch.cat([part.to(self.device) for part in self.parts])
            return self._resident.index_select(0, send(rows, self.device))
        found = None if self._ahead is None else self._ahead.take(rows)
        return send_in_order(*self._collect(rows), self.device) if found is None else found

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
    among: tuple[int, int] | None = None,
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
    among : tuple of int, optional
        First row and number of rows of a larger batch that these are a part of:
        each face gets the draw that it gets in the whole batch.

    Returns
    -------
    batch : Tensor of shape (n, 3, height, width)
    """
    n, _, height, width = batch.shape
    first, n_all = (0, n) if among is None else among
    draw = torch.rand(6, n_all, generator=generator)[:, first : first + n]
    draw = send(draw.contiguous(), batch.device)
    flipped = draw[0] < flip
    batch = torch.where(flipped.view(n, 1, 1, 1), batch.flip(3), batch)
    if points is not None:
        points.copy_(torch.where(flipped.view(n, 1, 1), mirror(points), points))
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
    return batch.masked_fill_(erased, 0.0)


def mirror(points: Tensor) -> Tensor:
    """Give the points of mirrored faces.

    Parameters
    ----------
    points : Tensor of shape (n, 5, 2)
        As in `augment`.

    Returns
    -------
    mirrored : Tensor of shape (n, 5, 2)
        Left and right have changed places.
    """
    left_eye, right_eye, nose, left_corner, right_corner = points.unbind(1)
    x, y = torch.stack([right_eye, left_eye, nose, right_corner, left_corner], 1).unbind(2)
    return torch.stack([1.0 - x, y], 2)


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
