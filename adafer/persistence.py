"""Models on disk: a folder with tensors (safetensors) and everything else (JSON)."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from . import __version__
from ._files import check_output_folder, new_folder, sha256
from ._versions import versions
from .annotation import AUGuidedAnnotator
from .aus import AUExtractor
from .classifier import AdaFERClassifier

if TYPE_CHECKING:
    from .deep.backbones import AdaFERNetwork

__all__ = ["check_model_path", "load_model", "save_model"]

FORMAT = "adafer-model"
FORMAT_VERSION = 1
TENSORS, DESCRIPTION = "model.safetensors", "model.json"

_PARTS: dict[str, Any] = {"AUGuidedAnnotator": AUGuidedAnnotator, "AUExtractor": AUExtractor}
_RESULTS = ("coverage_", "margin_", "n_skipped_anchors_", "n_iter_")
# a model that is used elsewhere must not write there
_OF_THIS_MACHINE = ("cache",)
# limits that keep a wrong file from asking for all the memory
_MAX_IMAGE_SIZE, _MAX_NAME_LENGTH = 4096, 4096
_AGAIN = "Save the model again, or take the whole folder from where it was made."


def check_model_path(path: str | os.PathLike[str]) -> Path:
    """Make sure that a model may be saved at a place; nothing is changed.

    Parameters
    ----------
    path : path
        May be free, an empty folder, or an earlier model.

    Returns
    -------
    path : pathlib.Path

    Raises
    ------
    FileExistsError
        If something else is there: it will not be deleted.
    OSError
        If the place cannot be written to.
    """
    path = Path(path)
    if path.is_file():
        raise FileExistsError(
            f"The output {str(path)!r} is a file; a model is a folder. Choose another name."
        )
    if path.is_dir():
        names = {entry.name for entry in path.iterdir()}
        foreign = sorted(names - {TENSORS, DESCRIPTION})
        if names and (foreign or not _is_model(path)):
            what = f"it holds {', '.join(foreign[:3])}" if foreign else "it holds no adafer model"
            raise FileExistsError(
                f"The folder {str(path)!r} is not replaced by a model: {what}. Choose another "
                "name, or delete the folder yourself."
            )
    check_output_folder(path.resolve().parent)
    return path


def _is_model(folder: Path) -> bool:
    try:
        found = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("format") == FORMAT


# ---------------------------------------------------------------------- saving


def save_model(classifier: AdaFERClassifier, path: str | os.PathLike[str]) -> None:
    """Write a fitted classifier as a folder of two files.

    ``model.safetensors`` holds the network's tensors, its input scaling
    included; ``model.json`` holds classes, parameters, AU names and thresholds,
    history and versions, to be read by people too. A `random_state` that is no
    number, and an annotator or extractor of a class unknown to adafer, are left
    out. The data of the fit (pictures, AU scores, target labels) are not stored.

    Parameters
    ----------
    classifier : AdaFERClassifier
        Fitted.
    path : path
        The folder; an earlier model there is replaced once the new one is
        complete.

    Raises
    ------
    NotFittedError
        If the classifier is not fitted.
    FileExistsError
        If there is a file, or a folder that is not an adafer model.
    ValueError
        If its class, its classes' type or its backbone cannot be stored.
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from adafer import AdaFERClassifier
    >>> X, y = np.random.default_rng(0).normal(size=(20, 3)), np.repeat(["joy", "sad"], 10)
    >>> clf = AdaFERClassifier(epochs=1, device="cpu").fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     clf.save(folder + "/model")
    ...     same = AdaFERClassifier.load(folder + "/model")
    >>> bool(np.all(same.predict_proba(X) == clf.predict_proba(X)))
    True
    """
    from safetensors.torch import save_file

    if type(classifier) is not AdaFERClassifier:
        raise ValueError(
            f"Only AdaFERClassifier is saved in this way; got {type(classifier).__name__}."
        )
    check_is_fitted(classifier, "network_")
    path = check_model_path(path)
    description = _describe(classifier)
    state = classifier.network_.state_dict()
    _check_tensors(
        {name: (tuple(tensor.shape), _dtype_name(tensor.dtype)) for name, tensor in state.items()},
        _build(description["network"], len(classifier.classes_)),
        "The fitted network",
        "backbone was changed after fit: set it back before saving.",
    )
    with new_folder(path) as folder:
        tensors = {name: tensor.detach().contiguous() for name, tensor in state.items()}
        save_file(tensors, folder / TENSORS, metadata={"format": FORMAT})
        description["sha256"] = sha256(folder / TENSORS)
        text = json.dumps(description, indent=2, ensure_ascii=False, allow_nan=False)
        (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def _describe(classifier: AdaFERClassifier) -> dict[str, Any]:
    parameters, left_out = {}, []
    for name, value in classifier.get_params(deep=False).items():
        try:
            parameters[name] = _to_json(value)
        except TypeError:
            left_out.append(name)
    annotator = getattr(classifier, "annotator_", None)
    names = getattr(classifier, "au_names_", None)
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "class": type(classifier).__name__,
        "versions": versions(),
        "classes": _describe_classes(classifier.classes_),
        "network": _describe_network(classifier),
        "preprocessing": _describe_preprocessing(classifier),
        "action_units": {
            "names": names,
            "thresholds": None if annotator is None else annotator.thresholds_.tolist(),
        },
        "parameters": parameters,
        "parameters_left_out": left_out,
        "results": {
            name: _to_json(getattr(classifier, name))
            for name in _RESULTS
            if hasattr(classifier, name)
        },
        "history": [
            {key: _to_json(value) for key, value in row.items()} for row in classifier.history_
        ],
    }


def _to_json(value: Any) -> Any:
    """Turn a parameter into JSON, or raise TypeError."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    if isinstance(value, BaseEstimator) and _PARTS.get(type(value).__name__) is type(value):
        parameters = value.get_params(deep=False)
        return {
            "class": type(value).__name__,
            "parameters": {
                name: _to_json(item)
                for name, item in parameters.items()
                if name not in _OF_THIS_MACHINE
            },
        }
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")


def _describe_classes(classes: NDArray) -> dict[str, Any]:
    values = classes.tolist()
    is_text = all(isinstance(value, str) for value in values)
    if classes.dtype.kind not in "Uiufb" and not (classes.dtype == object and is_text):
        raise ValueError(
            f"Classes of dtype {classes.dtype} cannot be saved; expected texts, numbers or "
            "booleans. Fit with y.astype(str)."
        )
    return {"dtype": "object" if classes.dtype == object else classes.dtype.str, "values": values}


def _describe_network(classifier: AdaFERClassifier) -> dict[str, Any]:
    network = classifier.network_
    features = hasattr(classifier, "n_features_in_")
    return {
        "inputs": "features" if features else "faces",
        "backbone": "mlp" if features else classifier.backbone,
        "image_size": None if features else classifier.image_shape_[0],
        "n_features_in": int(classifier.n_features_in_) if features else None,
        "feature_names_in": [str(name) for name in classifier.feature_names_in_]
        if hasattr(classifier, "feature_names_in_")
        else None,
        "channels_last": any(_is_channels_last(tensor) for tensor in network.parameters()),
    }


def _is_channels_last(tensor: Any) -> bool:
    import torch

    return (
        tensor.ndim == 4
        and tensor.is_contiguous(memory_format=torch.channels_last)
        and not tensor.is_contiguous()
    )


def _describe_preprocessing(classifier: AdaFERClassifier) -> dict[str, Any]:
    """Tell people and other programs what becomes of an input before the first layer."""
    if hasattr(classifier, "n_features_in_"):
        return {"normalize": "(input - mean) / std, tensors of model.safetensors"}
    network = classifier.network_
    return {
        "channels": "RGB",
        "resize": list(classifier.image_shape_[:2]),
        "resampling": "bilinear, antialiased",
        "scale": "divide by 255",
        "mean": network.mean.flatten().tolist(),
        "std": network.std.flatten().tolist(),
    }


# --------------------------------------------------------------------- loading


def load_model(path: str | os.PathLike[str]) -> AdaFERClassifier:
    """Read a classifier written by `save_model`; no pickled code is run.

    Parameters
    ----------
    path : path
        The folder.

    Returns
    -------
    classifier : AdaFERClassifier
        Predicts as the saved one does, on the CPU to the bit. Of the fitted
        attributes it has `classes_`, `network_`, `history_`, `n_iter_`,
        `n_features_in_` or `image_shape_`, and after a fit with target data
        `coverage_`, `margin_`, `n_skipped_anchors_`, `au_names_` and
        `au_thresholds_`. A `device` that is not on this machine becomes "auto".

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If a file is missing, damaged, of another format version, or if tensors
        are missing or have other shapes than the network has.

    Examples
    --------
    >>> from adafer.persistence import load_model
    >>> load_model("no-such-folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    FileNotFoundError: There is no model 'no-such-folder': expected a folder that ...
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no model {str(folder)!r}: expected a folder that AdaFERClassifier.save or "
            "`adafer fit` wrote."
        )
    missing = [name for name in (DESCRIPTION, TENSORS) if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{str(folder)!r} is no complete model: {' and '.join(missing)} is missing. {_AGAIN}"
        )
    description = _read_description(folder / DESCRIPTION)
    try:
        return _restore(folder / TENSORS, description)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"{folder / DESCRIPTION} has a wrong or missing entry "
            f"({type(error).__name__}: {error}). {_AGAIN}"
        ) from error


def _read_description(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}). {_AGAIN}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        got = repr(found.get("format")) if isinstance(found, dict) else type(found).__name__
        raise ValueError(
            f"{path} describes no adafer model: got format {got}, expected {FORMAT!r}."
        )
    if found.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {found.get('format_version')!r}; adafer {__version__} "
            f"reads version {FORMAT_VERSION}. Use the adafer that saved it "
            f"({dict(found.get('versions') or {}).get('adafer', 'unknown')}), or a newer one."
        )
    if found.get("class") != AdaFERClassifier.__name__:
        raise ValueError(
            f"{path} describes a {found.get('class')!r}; expected {AdaFERClassifier.__name__!r}."
        )
    return found


def _restore(tensors: Path, description: Mapping[str, Any]) -> AdaFERClassifier:
    classes = _restore_classes(description["classes"])
    classifier = _restore_parameters(description["parameters"])
    network = description["network"]
    classifier.network_ = _restore_network(tensors, network, len(classes), description["sha256"])
    classifier.classes_ = classes
    if network["inputs"] == "features":
        classifier.n_features_in_ = network["n_features_in"]
        if network["feature_names_in"] is not None:
            classifier.feature_names_in_ = np.array(network["feature_names_in"], dtype=object)
    else:
        classifier.image_shape_ = (network["image_size"], network["image_size"], 3)
    classifier.history_ = [dict(row) for row in description["history"]]
    for name in _RESULTS:
        if name in description["results"]:
            setattr(classifier, name, description["results"][name])
    units = description["action_units"]
    if units["thresholds"] is not None:
        classifier.au_names_ = units["names"]
        classifier.au_thresholds_ = np.array(units["thresholds"], dtype=np.float64)
    return classifier


def _restore_classes(stored: Mapping[str, Any]) -> NDArray:
    dtype, values = np.dtype(stored["dtype"]), stored["values"]
    kinds: dict[str, Any] = {"U": str, "O": str, "i": int, "u": int, "b": bool, "f": (int, float)}
    wanted = kinds.get(dtype.kind)
    length = dtype.itemsize // 4 if dtype.kind == "U" else 0
    if (
        wanted is None
        or not isinstance(values, list)
        or not all(isinstance(value, wanted) for value in values)
        or length > _MAX_NAME_LENGTH
    ):
        raise ValueError(
            f"{DESCRIPTION} has classes of dtype {dtype} that cannot be read. {_AGAIN}"
        )
    classes = np.array(values, dtype=dtype)
    if len(values) < 2 or classes.tolist() != values or len(np.unique(classes)) != len(values):
        raise ValueError(
            f"{DESCRIPTION} has the classes {values}; expected at least 2, all different, that "
            f"fit into {dtype}. {_AGAIN}"
        )
    return classes


def _restore_parameters(stored: Mapping[str, Any]) -> AdaFERClassifier:
    parameters = {name: _from_json(value, name) for name, value in stored.items()}
    classifier = _make(AdaFERClassifier, parameters)
    try:
        from .deep.loop import resolve_device

        resolve_device(classifier.device)
    except ValueError:
        classifier.device = "auto"
    return classifier


def _from_json(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return tuple(_from_json(item, name) for item in value)
    if isinstance(value, dict):
        if value["class"] not in _PARTS:
            raise ValueError(
                f"{DESCRIPTION} has {name}={value['class']!r}; expected one of {sorted(_PARTS)}. "
                f"{_AGAIN}"
            )
        parameters = {key: _from_json(item, key) for key, item in value["parameters"].items()}
        return _make(_PARTS[value["class"]], parameters)
    return value


def _make(kind: Any, parameters: dict[str, Any]) -> Any:
    unknown = sorted(set(parameters) - set(kind().get_params(deep=False)))
    if unknown:
        raise ValueError(
            f"{DESCRIPTION} has parameters that {kind.__name__} of adafer {__version__} does not "
            f"know: {', '.join(unknown)}. Use the adafer version named in {DESCRIPTION}."
        )
    return kind(**parameters)


def _restore_network(
    path: Path, stored: Mapping[str, Any], n_classes: int, digest: str
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
        raise ValueError(f"{path} is no complete safetensors file ({error}). {_AGAIN}") from error
    _check_before_building(path, stored, n_classes, found)
    network = _build(stored, n_classes)
    _check_tensors(found, network, str(path), _AGAIN)
    if sha256(path) != digest:
        raise ValueError(
            f"{path} is damaged or belongs to another model: its SHA-256 is not the one in "
            f"{DESCRIPTION}. {_AGAIN}"
        )
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
    if faces and not (isinstance(size, int) and 16 <= size <= _MAX_IMAGE_SIZE):
        raise ValueError(
            f"{DESCRIPTION} has image_size {size!r}; expected 16 to {_MAX_IMAGE_SIZE}. {_AGAIN}"
        )
    expected = {"mean": (3, 1, 1) if faces else (n_inputs,), "classifier.bias": (n_classes,)}
    for name, shape in expected.items():
        if name not in found or found[name][0] != shape:
            got = f"shape {found[name][0]}" if name in found else "none"
            raise ValueError(f"{path}: tensor {name!r}: got {got}, expected {shape}. {_AGAIN}")


def _build(stored: Mapping[str, Any], n_classes: int) -> AdaFERNetwork:
    """Make the network without touching the caller's random state."""
    import torch

    from .deep.backbones import build_network

    with torch.random.fork_rng(devices=[]):
        if stored["inputs"] == "features":
            n_inputs = stored["n_features_in"]
            return build_network(
                "mlp",
                n_classes,
                feature_mean=torch.zeros(n_inputs),
                feature_std=torch.ones(n_inputs),
            )
        return build_network(stored["backbone"], n_classes, image_size=stored["image_size"])


def _check_tensors(
    found: Mapping[str, tuple], network: AdaFERNetwork, where: str, advice: str
) -> None:
    expected = {
        name: (tuple(tensor.shape), _dtype_name(tensor.dtype))
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


def _dtype_name(dtype: Any) -> str:
    """Name of a torch type as safetensors writes it."""
    names = {"torch.float32": "F32", "torch.int64": "I64", "torch.float64": "F64"}
    return names.get(str(dtype), str(dtype))
