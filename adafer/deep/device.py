"""Which device and precision to compute with, and its random state."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from .._ranks import this_rank

__all__ = ["resolve_device", "resolve_precision", "seeded", "send"]


def resolve_device(device: str) -> torch.device:
    """Turn a device name into a device that is there.

    Parameters
    ----------
    device : str
        "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps".

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If there is no such device on this machine; under torchrun, if there are
        fewer GPUs than processes, or if one GPU is named for all of them.

    Notes
    -----
    Of several processes that torchrun started each takes a GPU of its own.
    """
    if this_rank().count > 1:
        return _own_device(device)
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r} is not known. Expected 'auto', 'cpu', 'cuda', 'cuda:0' or 'mps'."
        ) from error
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (found.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(found.type, False):
        raise ValueError(f"device={device!r} is not on this machine. Use device='auto' or 'cpu'.")
    return torch.device("cuda", 0) if device == "cuda" else found


def _own_device(device: str) -> torch.device:
    """Give each process of a machine another GPU."""
    rank = this_rank()
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if device not in ("auto", "cuda"):
        raise ValueError(
            f"device={device!r} cannot be split over {rank.count} processes. Expected 'auto', "
            "'cuda' (each process takes a GPU of its own) or 'cpu'."
        )
    if torch.cuda.device_count() < rank.local_count:
        raise ValueError(
            f"torchrun started {rank.local_count} processes on a machine with "
            f"{torch.cuda.device_count()} GPUs. Give --nproc-per-node as many as there are GPUs, "
            "or device='cpu'."
        )
    return torch.device("cuda", rank.local_index)


def resolve_precision(precision: str, device: torch.device) -> str:
    """Choose bf16 where the hardware computes it; emulated bf16 is far slower than fp32."""
    if precision != "auto":
        return {"fp32": "32-true", "bf16": "bf16-mixed"}[precision]
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16-mixed"
    if device.type == "cpu" and getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)():
        return "bf16-mixed"
    return "32-true"


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch inside, and leave the caller's random state as it was outside."""
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the CPU to a device, without waiting for either.

    Parameters
    ----------
    tensor : Tensor
        On the CPU.
    device : torch.device

    Returns
    -------
    Tensor
        On the device; the same one if that is the CPU.
    """
    if device.type == "cuda":
        # from other memory the copy would wait for all that was asked for before
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
