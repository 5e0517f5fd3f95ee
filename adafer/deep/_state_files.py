"""State dicts from strangers: judged by their directory, then read without pickled code."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["read_state"]

_CONTAINERS = ("state_dict", "model_state_dict", "model", "net")
# torch stores tensors as they are; this much more may unpack from the rest
_SLACK_BYTES = 16 * 2**20
_DTYPES = (
    torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.uint8, torch.bool,
)  # fmt: skip


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict, without its container and prefixes.

    Parameters
    ----------
    path : pathlib.Path
        Written by ``torch.save`` or safetensors; which of them, the content
        tells.

    Returns
    -------
    state : dict of str -> Tensor
        Dense, on the CPU.

    Raises
    ------
    ValueError
        If it is neither, unpacks to more than it holds, is damaged, would run
        code, or holds other than finite dense tensors.
    """
    try:
        content = _read(path)
    except Exception as error:
        # pickles may ask for anything, and torch passes on what comes of it
        raise ValueError(
            f"{path} cannot be read as weights ({type(error).__name__}: {error!s:.500}). Expected "
            "a state dict saved by torch.save or safetensors; whole pickled modules are refused."
        ) from error
    for container in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(container), Mapping):
            content = content[container]
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path} holds no state dict; got {type(content).__name__}.")
    state = {
        str(name).removeprefix("module.").removeprefix("backbone."): value.detach()
        for name, value in content.items()
        if isinstance(value, Tensor)
    }
    if not state:
        raise ValueError(f"{path} holds no tensors.")
    for name, tensor in state.items():
        _check_tensor(path, name, tensor)
    return state


def _read(path: Path) -> object:
    with path.open("rb") as stream:
        start = stream.read(9)
    if start[:4] == b"PK\x03\x04":
        _check_archive(path)
    elif start[8:] == b"{" or path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _check_archive(path: Path) -> None:
    """Look into the zip directory: sizes first, then checksums, which torch does not look at."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        unpacked = sum(entry.file_size for entry in entries)
        held = os.path.getsize(path)
        if unpacked > held + _SLACK_BYTES:
            raise ValueError(
                f"it unpacks to {unpacked} bytes but has {held}: torch.save does not compress, "
                "and this may be a zip bomb"
            )
        names = [entry.filename for entry in entries]
        if len(set(names)) < len(names):
            raise ValueError("its archive holds a name twice")
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(
                f"its part {damaged!r} is damaged: its checksum differs. Copy the file again; if "
                "it was saved without checksums (torch.serialization.set_crc32_options), save it "
                "with them"
            )


def _check_tensor(path: Path, name: str, tensor: Tensor) -> None:
    problem = None
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        problem = "is sparse, nested or quantised"
    elif tensor.dtype not in _DTYPES:
        problem = f"holds {tensor.dtype}"
    elif tensor.device.type != "cpu":
        problem = f"is on the device {tensor.device}, without values"
    elif tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        problem = f"has the shape {tuple(tensor.shape)}, of which the file holds a part"
    elif tensor.is_floating_point() and not torch.isfinite(tensor).all():
        problem = "holds NaN or infinity"
    if problem is not None:
        raise ValueError(
            f"{path}: the tensor {name!r} {problem}; expected dense tensors of finite numbers. "
            "Take the file from where it was made, or save the network's state_dict() again."
        )
