"""Being ahead of the device: gather and send the next batch, hold no more than needed."""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .device import send

__all__ = ["Ahead", "Pages", "fits_device", "send_in_order"]

# Inputs that take no more than this share of a GPU's free memory are held there.
_RESIDENT_SHARE = 0.25
# Mapped pages count as memory of the process until they are given back. Where the system
# keeps a file in huge pages, one look at a row maps one or two of them.
_MAPPED_BYTES = 512 * 2**20
_PAGE_BYTES = 2 * 2**20
# One batch on its way while another is on the device.
_BATCHES_AHEAD = 2


def fits_device(n_bytes: int, device: torch.device) -> bool:
    """Whether inputs are few enough to be held in the memory of a GPU.

    Parameters
    ----------
    n_bytes : int
    device : torch.device
    """
    if device.type != "cuda":
        return False
    return n_bytes <= _RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]


def send_in_order(inputs: Tensor, order: Tensor | None, device: torch.device) -> Tensor:
    """Send inputs, and bring them into order on the device.

    Parameters
    ----------
    inputs : Tensor of shape (n, ...)
        On the CPU, in pinned memory if the device is a GPU.
    order : Tensor of int64 of shape (n,) or None
        Where each row is in `inputs`.
    device : torch.device

    Returns
    -------
    Tensor of shape (n, ...)
    """
    sent = send(inputs, device)
    return sent if order is None else sent.index_select(0, send(order, device))


class Pages:
    """Gives back pages of mapped files, which stay in the system's cache.

    Parameters
    ----------
    arrays : list of ndarray
        Of them those that are whole `numpy.memmap` arrays; not those in
        copy-on-write mode, which would lose what was written to them.
    """

    def __init__(self, arrays: list[NDArray]):
        maps = [a for a in arrays if isinstance(a, np.memmap) and a.mode != "c"]
        bases: list[Any] = [array.base for array in maps]
        self._mappings = [base for base in bases if isinstance(base, mmap.mmap)]
        self._n_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._mappings)

    def use(self, n_rows: int, n_bytes: int) -> None:
        """Make room for pages with so many rows, of so many bytes together."""
        coming = n_rows * _PAGE_BYTES + n_bytes
        self._n_bytes += coming
        if self._n_bytes < _MAPPED_BYTES or not self._mappings:
            return
        self._n_bytes = coming
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapping in self._mappings:
                mapping.madvise(mmap.MADV_DONTNEED)


class Ahead:
    """Gathers and sends expected batches in a thread of its own.

    Parameters
    ----------
    collect : callable
        Rows to inputs on the CPU and their order, as `send_in_order` takes them.
    device : torch.device
    """

    def __init__(
        self, collect: Callable[[Tensor], tuple[Tensor, Tensor | None]], device: torch.device
    ):
        self._collect = collect
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._thread = ThreadPoolExecutor(1)
        self._coming: Iterator[Tensor] = iter(())
        self._begun: deque[tuple[Tensor, Future[tuple[Tensor, Any]]]] = deque()

    def start(self, batches: Iterable[Tensor]) -> None:
        """Begin with the first batches; what is left of former ones is dropped."""
        self._begun.clear()
        self._coming = iter(batches)
        for _ in range(_BATCHES_AHEAD):
            self._begin_next()

    def _begin_next(self) -> None:
        rows = next(self._coming, None)
        if rows is not None:
            self._begun.append((rows, self._thread.submit(self._send, rows)))

    def _send(self, rows: Tensor) -> tuple[Tensor, Any]:
        inputs, order = self._collect(rows)
        if self._stream is None:
            return send_in_order(inputs, order, self._device), None
        with torch.cuda.stream(self._stream):
            sent = send_in_order(inputs, order, self._device)
            return sent, self._stream.record_event()

    def take(self, rows: Tensor) -> Tensor | None:
        """Give what was sent of these rows, if they are the next that were expected."""
        if not self._begun or not torch.equal(self._begun[0][0], rows):
            return None
        _, future = self._begun.popleft()
        self._begin_next()
        sent, event = future.result()
        if event is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(event)
            # its memory must not be used anew before this stream is done with it
            sent.record_stream(current)
        return sent
