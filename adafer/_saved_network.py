"""What a saved model holds in tensors: described, checked against its file, built again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ._domain_classifier import DomainClassifier
from ._files import sha256
from ._network_classifier import NetworkClassifier

if TYPE_CHECKING:
    from .deep.backbones import AdaFERNetwork

__all__ = [
    "AGAIN",
    "DESCRIPTION",
    "MAX_IMAGE_SIZE",
    "check_digest",
    "check_fitted_network",
    "check_tensors",
    "describe_network",
    "describe_preprocessing",
    "dtype_name",
    "is_channels_last",
    "restore_arrays",
    "restore_network",
    "with_memory",
    "without_memory",
]

DESCRIPTION = "model.json"
AGAIN = "Save the model again, or take the whole folder from where it was made."
# a limit that keeps a wrong file from asking for all the memory
MAX_IMAGE_SIZE = 4096


def describe_network(classifier: DomainClassifier) -> dict[str, Any]:
    """Describe inputs and network, so that both can be made again."""
    features = hasattr(classifier, "n_features_in_")
    found: dict[str, Any] = {
        "inputs": "features" if features else "faces",
        "n_features_in": int(classifier.n_features_in_) if features else None,
        "feature_names_in": [str(name) for name in classifier.feature_names_in_]
        if hasattr(classifier, "feature_names_in_")
        else None,
    }
    if not isinstance(classifier, NetworkClassifier):
        return found
    tensors = list(classifier.network_.parameters())
    return found | {
        "backbone": "mlp" if features else classifier.backbone,
        "image_size": None if features else classifier.image_shape_[0],
        "n_aus": classifier._n_aus_to_predict(),
        "channels_last": any(is_channels_last(tensor) for tensor in tensors),
    }


def is_channels_last(tensor: Any) -> bool:
    """Tell the memory layout that networks are trained in."""
    import torch

    return (
        tensor.ndim == 4
        and tensor.is_contiguous(memory_format=torch.channels_last)
        and not tensor.is_contiguous()
    )


def describe_preprocessing(classifier: DomainClassifier) -> dict[str, Any]:
    """Tell people and other programs what becomes of an input before the first layer."""
    if not isinstance(classifier, NetworkClassifier):
        return {"action_units": "score above thresholds, a tensor of model.safetensors"}
    aus = {}
    if classifier._n_aus_to_predict() is not None:
        scale = "(score - au_mean) / au_std, tensors of model.safetensors"
        aus = {"action_units": f"{scale}; 0 where no face was found"}
    if hasattr(classifier, "n_features_in_"):
        return {"normalize": "(input - mean) / std, tensors of model.safetensors", **aus}
    network = classifier.network_
    return {
        "channels": "RGB",
        "resize": list(classifier.image_shape_[:2]),
        "resampling": "bilinear, antialiased",
        "scale": "divide by 255",
        "mean": network.mean.flatten().tolist(),
        "std": network.std.flatten().tolist(),
        **aus,
    }


def check_fitted_network(classifier: NetworkClassifier, stored: Mapping[str, Any]) -> None:
    """Make sure that the description gives the network that was fitted."""
    state = classifier.network_.state_dict()
    check_tensors(
        {name: (tuple(tensor.shape), dtype_name(tensor.dtype)) for name, tensor in state.items()},
        _build(stored, len(classifier.classes_), classifier),
        "The fitted network",
        "backbone was changed after fit: set it back before saving.",
    )


def restore_arrays(path: Path, digest: str) -> dict[str, NDArray]:
    """Read the arrays of a model without a network."""
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import load_file

    try:
        with safe_open(path, framework="numpy"):
            pass  # its header fits its size: no more is read for the digest than tensors take
        check_digest(path, digest)
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is no complete safetensors file ({error}). {AGAIN}") from error


def check_digest(path: Path, digest: str) -> None:
    """Make sure that a file is the one that its description names."""
    if sha256(path) != digest:
        raise ValueError(
            f"{path} is damaged or belongs to another model: its SHA-256 is not the one in "
            f"{DESCRIPTION}. {AGAIN}"
        )


def restore_network(
    path: Path,
    stored: Mapping[str, Any],
    n_classes: int,
    digest: str,
    classifier: NetworkClassifier | None = None,
) -> AdaFERNetwork:
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
    _check_before_building(path, stored, n_classes, found)
    network = without_memory(lambda: _build(stored, n_classes, classifier))
    check_tensors(found, network, str(path), AGAIN)
    check_digest(path, digest)
    network = with_memory(network, lambda: _build(stored, n_classes, classifier))
    network.load_state_dict(load_file(path))
    if stored["channels_last"]:
        # another memory layout would sum in another order
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval()


def _check_before_building(
    path: Path, stored: Mapping[str, Any], n_classes: int, found: Mapping[str, tuple]
) -> None:
    """Refuse sizes that the file does not back, before memory is asked for them."""
    n_inputs, size = stored["n_features_in"], stored["image_size"]
    faces = stored["inputs"] == "faces"
    if faces and not (isinstance(size, int) and 16 <= size <= MAX_IMAGE_SIZE):
        raise ValueError(
            f"{DESCRIPTION} has image_size {size!r}; expected 16 to {MAX_IMAGE_SIZE}. {AGAIN}"
        )
    expected = {"mean": (3, 1, 1) if faces else (n_inputs,), "classifier.bias": (n_classes,)}
    if stored.get("n_aus") is not None:
        expected["au_mean"] = (stored["n_aus"],)
    for name, shape in expected.items():
        if name not in found or found[name][0] != shape:
            got = f"shape {found[name][0]}" if name in found else "none"
            raise ValueError(f"{path}: tensor {name!r}: got {got}, expected {shape}. {AGAIN}")


def without_memory(build: Callable[[], Any]) -> Any:
    """Make a network whose tensors have shapes but no memory, where it can be made so.

    Networks of a description cost nothing until their shapes were found in the
    file: neither their weights, which may be gigabytes, nor the trial run on a
    picture of the size that the description names.

    Parameters
    ----------
    build : callable

    Returns
    -------
    network : torch.nn.Module
        On the device "meta", but for the few of torchvision (RegNet) that read their
        own tensors while they are made.
    """
    import torch

    try:
        with torch.device("meta"):
            return build()
    except (ValueError, NotImplementedError, RuntimeError) as error:
        if "meta" not in f"{error} {error.__cause__}":
            raise
    return build()


def with_memory(network: Any, build: Callable[[], Any]) -> Any:
    """Give a network of `without_memory` its memory, once its shapes are known to be right.

    Parameters
    ----------
    network : torch.nn.Module
    build : callable
        As for `without_memory`.

    Returns
    -------
    network : torch.nn.Module
        On the CPU. Its tensors hold anything.
    """
    if any(module._non_persistent_buffers_set for module in network.modules()):
        return build()  # what is in no file is there only if it is computed
    return network.to_empty(device="cpu")


def _build(
    stored: Mapping[str, Any], n_classes: int, classifier: NetworkClassifier | None = None
) -> AdaFERNetwork:
    """Make the network without touching the caller's random state."""
    import torch

    from .deep.au_inputs import with_au_inputs
    from .deep.backbones import build_network

    with torch.random.fork_rng(devices=[]):
        if stored["inputs"] == "features":
            n_inputs = stored["n_features_in"]
            network = build_network(
                "mlp",
                n_classes,
                feature_mean=torch.zeros(n_inputs),
                feature_std=torch.ones(n_inputs),
            )
        else:
            network = build_network(stored["backbone"], n_classes, image_size=stored["image_size"])
        n_aus = stored.get("n_aus")
        if n_aus is None:
            return network if classifier is None else classifier._extend_network(network)
        return with_au_inputs(network, torch.zeros(n_aus), torch.ones(n_aus))


def check_tensors(
    found: Mapping[str, tuple], network: AdaFERNetwork, where: str, advice: str
) -> None:
    """Refuse tensors that are missing, too many, or of other shapes than the network's."""
    expected = {
        name: (tuple(tensor.shape), dtype_name(tensor.dtype))
        for name, tensor in network.state_dict().items()
    }
    missing = sorted(set(expected) - set(found))
    extra = sorted(set(found) - set(expected))
    if missing or extra:
        raise ValueError(
            f"{where} does not fit the network: it lacks {missing[:3] or 'no tensor'} and adds "
            f"{extra[:3] or 'none'} ({len(missing)} and {len(extra)} in all). {advice}"
        )
    for name, (shape, dtype) in expected.items():
        if found[name] != (shape, dtype):
            raise ValueError(
                f"{where} does not fit the network: tensor {name!r} has shape {found[name][0]} of "
                f"{found[name][1]}, expected {shape} of {dtype}. {advice}"
            )


def dtype_name(dtype: Any) -> str:
    """Name of a torch type as safetensors writes it."""
    names = {"torch.float32": "F32", "torch.int64": "I64", "torch.float64": "F64"}
    return names.get(str(dtype), str(dtype))
