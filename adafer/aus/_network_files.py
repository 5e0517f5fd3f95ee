"""An `AUNetwork` on disk: a folder with tensors (safetensors) and everything else (JSON)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .. import __version__
from .._files import new_folder, sha256, write_tensors
from .._json_files import SEAL, check_seal, read_json, seal
from .._paths import check_path
from .._saved_network import (
    AGAIN,
    DESCRIPTION,
    MAX_IMAGE_SIZE,
    check_digest,
    check_tensors,
    dtype_name,
    is_channels_last,
    with_memory,
    without_memory,
)
from .._versions import versions
from ..persistence import (
    FORMAT,
    FORMAT_VERSION,
    OF_THIS_MACHINE,
    TENSORS,
    _entries_of,
    _from_json,
    _make,
    _to_json,
    check_model_path,
)
from ._au_labels import check_au_names
from .network import AUNetwork

__all__ = ["load_network", "save_network"]


def save_network(network: AUNetwork, path: str | os.PathLike[str]) -> None:
    """Write a fitted network; see `AUNetwork.save`."""
    check_is_fitted(network, "network_")
    path = check_model_path(path)
    description = _describe(network)
    state = network.network_.state_dict()
    check_tensors(
        {name: (tuple(tensor.shape), dtype_name(tensor.dtype)) for name, tensor in state.items()},
        _build(description["network"], len(network.au_names_)),
        "The fitted network",
        "backbones was changed after fit: set it back before saving.",
    )
    with new_folder(path) as folder:
        tensors = {name: tensor.detach().contiguous() for name, tensor in state.items()}
        write_tensors(tensors, folder / TENSORS, {"format": FORMAT})
        description["sha256"] = sha256(folder / TENSORS)
        description[SEAL] = seal(description)
        text = json.dumps(description, indent=2, ensure_ascii=False, allow_nan=False)
        (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def _describe(network: AUNetwork) -> dict[str, Any]:
    parameters, left_out = {}, []
    for name, value in network.get_params(deep=False).items():
        if name in OF_THIS_MACHINE:
            continue
        try:
            parameters[name] = _to_json(value.tolist() if isinstance(value, np.ndarray) else value)
        except TypeError:
            left_out.append(name)
    module = network.network_
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "class": AUNetwork.__name__,
        "versions": versions(),
        "action_units": list(network.au_names_),
        "network": {
            "backbones": list(network.backbones),
            "image_size": network.image_shape_[0],
            "channels_last": any(is_channels_last(tensor) for tensor in module.parameters()),
        },
        "preprocessing": {
            "channels": "RGB",
            "resize": list(network.image_shape_[:2]),
            "resampling": "bilinear, antialiased",
            "scale": "divide by 255",
            "normalize": "(input - mean) / std, tensors of model.safetensors",
        },
        "relations": network.relations_.tolist(),
        "parameters": parameters,
        "parameters_left_out": left_out,
        "history": [
            {key: _to_json(value) for key, value in row.items()} for row in network.history_
        ],
    }


def load_network(path: str | os.PathLike[str]) -> AUNetwork:
    """Read a network; see `AUNetwork.load`."""
    folder = Path(check_path(path))
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no model {str(folder)!r}: expected a folder that AUNetwork.save wrote."
        )
    missing = [name for name in (DESCRIPTION, TENSORS) if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{str(folder)!r} is no complete model: {' and '.join(missing)} is missing. {AGAIN}"
        )
    description = _read_description(folder / DESCRIPTION)
    with _entries_of(folder):
        network = _restore(folder / TENSORS, description)
    check_seal(description, folder / DESCRIPTION, AGAIN)
    return network


def _read_description(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}). {AGAIN}") from error
    kind = found if isinstance(found, dict) else {}
    if kind.get("format") != FORMAT or kind.get("class") != AUNetwork.__name__:
        raise ValueError(
            f"{path} describes no AUNetwork: got format {kind.get('format')!r} and class "
            f"{kind.get('class')!r}, expected {FORMAT!r} and {AUNetwork.__name__!r}."
        )
    if kind.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {kind.get('format_version')!r}; adafer {__version__} "
            f"reads version {FORMAT_VERSION}. Use the adafer that saved it."
        )
    return kind


def _restore(tensors: Path, description: Mapping[str, Any]) -> AUNetwork:
    from ..deep.device import resolve_device

    parameters = {key: _from_json(item, key) for key, item in description["parameters"].items()}
    network: AUNetwork = _make(AUNetwork, parameters)
    try:
        resolve_device(network.device)
    except ValueError:
        network.device = "auto"
    names = check_au_names(description["action_units"])
    relations = np.array(description["relations"], dtype=np.float64)
    if relations.shape != (len(names), len(names)):
        raise ValueError(
            f"{DESCRIPTION} has relations of shape {relations.shape} for {len(names)} AUs. {AGAIN}"
        )
    stored = description["network"]
    network.network_ = _restore_module(tensors, stored, len(names), description["sha256"])
    network.au_names_ = names
    network.relations_ = relations
    network.history_ = [dict(row) for row in description["history"]]
    network.n_iter_ = len(network.history_)
    network.image_shape_ = (stored["image_size"], stored["image_size"], 3)
    return network


def _restore_module(path: Path, stored: Mapping[str, Any], n_aus: int, digest: str) -> Any:
    """Judge shapes by the file's header, build the network, and only then read tensors."""
    import torch
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found = {
                name: (tuple(part.get_shape()), part.get_dtype()) for name, part in parts.items()
            }
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is no complete safetensors file ({error}). {AGAIN}") from error
    size = stored["image_size"]
    if not (isinstance(size, int) and 16 <= size <= MAX_IMAGE_SIZE):
        raise ValueError(
            f"{DESCRIPTION} has image_size {size!r}; expected 16 to {MAX_IMAGE_SIZE}. {AGAIN}"
        )
    # before memory is asked for what the file does not back
    for name, shape in (("graph.adjacency", (n_aus, n_aus)), ("views.1.mean", (3, 1, 1))):
        if name not in found or found[name][0] != shape:
            got = f"shape {found[name][0]}" if name in found else "none"
            raise ValueError(f"{path}: tensor {name!r}: got {got}, expected {shape}. {AGAIN}")
    module = without_memory(lambda: _build(stored, n_aus))
    check_tensors(found, module, str(path), AGAIN)
    check_digest(path, digest)
    module = with_memory(module, lambda: _build(stored, n_aus))
    module.load_state_dict(load_file(path))
    if stored["channels_last"]:
        # another memory layout would sum in another order
        module = module.to(memory_format=torch.channels_last)
    return module.eval()


def _build(stored: Mapping[str, Any], n_aus: int) -> Any:
    """Make the network without touching the caller's random state."""
    import torch

    from ..deep.mlcr import build_mlcr_network

    with torch.random.fork_rng(devices=[]):
        first, second = stored["backbones"]
        network, _ = build_mlcr_network(
            [first, second], np.eye(n_aus), image_size=stored["image_size"]
        )
    return network
