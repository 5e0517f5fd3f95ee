"""Models on disk: a folder with tensors (safetensors) and everything else (JSON)."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from . import __version__
from ._domain_classifier import DomainClassifier
from ._files import check_output_folder, new_folder, sha256, write_tensors
from ._json_files import SEAL, check_seal, read_json, seal
from ._network_classifier import NetworkClassifier
from ._paths import check_path
from ._portable import move_to_this_machine, warn_of_versions
from ._ranks import is_writer
from ._saved_classes import describe_classes, restore_classes
from ._saved_network import (
    AGAIN,
    DESCRIPTION,
    check_fitted_network,
    describe_network,
    describe_preprocessing,
    restore_arrays,
    restore_network,
)
from ._saved_results import check_description
from ._versions import versions
from .annotation import AUGuidedAnnotator
from .aus import AUExtractor
from .model_card import make_card
from .rivals import _EXPORTS as _RIVALS

__all__ = ["check_model_path", "load_model", "read_description", "save_model"]

FORMAT = "adafer-model"
FORMAT_VERSION = 1
TENSORS = "model.safetensors"
CARD = "README.md"

# classifiers that can be saved -> module that defines them
_CLASSIFIERS = {
    "AUInputClassifier": "adafer.baselines",
    "AUQueryClassifier": "adafer.baselines",
    "AdaFERClassifier": "adafer.classifier",
    "PseudoLabelClassifier": "adafer.baselines",
    "SourceOnlyClassifier": "adafer.baselines",
    **{name: f"adafer.rivals.{module}" for name, module in _RIVALS.items()},
}
_PARTS: dict[str, Any] = {"AUGuidedAnnotator": AUGuidedAnnotator, "AUExtractor": AUExtractor}
_RESULTS = (
    "coverage_",
    "fit_summary_",
    "margin_",
    "n_iter_",
    "n_skipped_anchors_",
    "opinion_accuracies_",
)
# a model that is used elsewhere must not write there
OF_THIS_MACHINE = ("cache", "store", "checkpoint_dir", "resume")


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
    path = Path(check_path(path))
    if path.is_file():
        raise FileExistsError(
            f"The output {str(path)!r} is a file; a model is a folder. Choose another name."
        )
    if path.is_dir():
        names = {entry.name for entry in path.iterdir()}
        foreign = sorted(names - {TENSORS, DESCRIPTION, CARD})
        if names and (foreign or not _is_model(path)):
            what = f"it holds {', '.join(foreign[:3])}" if foreign else "it holds no adafer model"
            if not foreign and _found_model(path):
                what = f"its {CARD} was changed since"
            raise FileExistsError(
                f"The folder {str(path)!r} is not replaced by a model: {what}. Choose another "
                "name, or delete the folder yourself."
            )
    check_output_folder(path.resolve().parent, of=path)
    return path


def _is_model(folder: Path) -> bool:
    """Tell whether nothing would be lost but a model."""
    found = _found_model(folder)
    card = folder / CARD
    return bool(found) and (not card.is_file() or sha256(card) == found.get("card_sha256"))


def _found_model(folder: Path) -> dict[str, Any]:
    """Read the description of a model; empty if there is none."""
    try:
        found = read_json(folder / DESCRIPTION)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("format") == FORMAT else {}


# ---------------------------------------------------------------------- saving


def save_model(classifier: DomainClassifier, path: str | os.PathLike[str]) -> None:
    """Write a fitted classifier as a folder of three files.

    ``model.safetensors`` holds the network's tensors, its input scaling
    included (of an AUQueryClassifier: the source's AU codes with their label
    counts, and with ``backoff="near"`` its AU scores and labels);
    ``model.json`` holds classes, parameters, AU names and thresholds, history
    and versions; ``README.md``, the model card, says the same for people, with
    limits and responsible use. A `random_state` that is no number,
    and an annotator or extractor of a class unknown to adafer, are left out.
    The data of the fit (pictures, their names, AU scores, target labels) are not
    stored, only counts of them, ``fit_summary_``. A card that was changed by hand
    is not replaced. Of several processes that torchrun started only the first one
    writes.

    Parameters
    ----------
    classifier : AdaFERClassifier, or one of `adafer.baselines`
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
    name = type(classifier).__name__
    if name not in _CLASSIFIERS or _class(name) is not type(classifier):
        raise ValueError(
            f"classifier must be one of adafer's, {', '.join(_CLASSIFIERS)}; got {name}."
        )
    check_is_fitted(classifier, "classes_")
    if not is_writer():
        return
    path = check_model_path(path)
    description = _describe(classifier)
    if isinstance(classifier, NetworkClassifier):
        check_fitted_network(classifier, description["network"])
        state = classifier.network_.state_dict()
    else:
        import torch

        state = {name: torch.from_numpy(array) for name, array in classifier._arrays().items()}
    with new_folder(path) as folder:
        tensors = {name: tensor.detach().contiguous() for name, tensor in state.items()}
        write_tensors(tensors, folder / TENSORS, {"format": FORMAT})
        description["sha256"] = sha256(folder / TENSORS)
        (folder / CARD).write_text(make_card(description), encoding="utf-8", newline="\n")
        description["card_sha256"] = sha256(folder / CARD)
        description[SEAL] = seal(description)
        text = json.dumps(description, indent=2, ensure_ascii=False, allow_nan=False)
        (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def _class(name: str) -> type[DomainClassifier]:
    return getattr(import_module(_CLASSIFIERS[name]), name)


def _describe(classifier: DomainClassifier) -> dict[str, Any]:
    parameters, left_out = {}, []
    for name, value in classifier.get_params(deep=False).items():
        if name in OF_THIS_MACHINE:
            continue
        try:
            parameters[name] = _to_json(value)
        except TypeError:
            left_out.append(name)
    # a loaded model has no annotator
    thresholds = getattr(classifier, "au_thresholds_", None)
    if hasattr(classifier, "annotator_"):
        thresholds = classifier.annotator_.thresholds_
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "class": type(classifier).__name__,
        "versions": versions(),
        "classes": describe_classes(classifier.classes_),
        "network": describe_network(classifier),
        "preprocessing": describe_preprocessing(classifier),
        "action_units": {
            "used": hasattr(classifier, "au_names_"),
            "names": getattr(classifier, "au_names_", None),
            "thresholds": None if thresholds is None else thresholds.tolist(),
        },
        "parameters": parameters,
        "parameters_left_out": left_out,
        "results": {
            name: _to_json(getattr(classifier, name))
            for name in _RESULTS
            if hasattr(classifier, name)
        },
        "history": [
            {key: _to_json(value) for key, value in row.items()}
            for row in getattr(classifier, "history_", [])
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
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, BaseEstimator) and _PARTS.get(type(value).__name__) is type(value):
        parameters = value.get_params(deep=False)
        return {
            "class": type(value).__name__,
            "parameters": {
                name: _to_json(item)
                for name, item in parameters.items()
                if name not in OF_THIS_MACHINE
            },
        }
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")


# --------------------------------------------------------------------- loading


def load_model(path: str | os.PathLike[str]) -> DomainClassifier:
    """Read a classifier written by `save_model`; no pickled code is run.

    Parameters
    ----------
    path : path
        The folder.

    Returns
    -------
    classifier : AdaFERClassifier, or one of `adafer.baselines`
        Of the class that was saved. Predicts as the saved one does, on the CPU
        to the bit. Of the fitted
        attributes it has `classes_`, `network_`, `history_`, `n_iter_`,
        `n_features_in_` or `image_shape_`, and after a fit with target data
        `coverage_`, `margin_`, `n_skipped_anchors_`, `opinion_accuracies_`,
        `fit_summary_`, `au_names_` and `au_thresholds_`.

    Warns
    -----
    UserWarning
        If it was saved with a `device` that is not on this machine, which becomes
        "auto"; by a newer adafer, or with another major version of a library.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    OSError
        If a file cannot be read.
    ValueError
        If a file is missing, damaged, changed since it was saved, of another format
        version, or if tensors are missing or have other shapes than the network has.
        Sizes are judged before memory is taken for them.

    Examples
    --------
    >>> from adafer.persistence import load_model
    >>> load_model("no-such-folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    FileNotFoundError: There is no model 'no-such-folder': expected a folder that ...
    """
    folder = Path(check_path(path))
    description = _read_description(_existing(folder))
    with _entries_of(folder):
        classifier = _restore(folder / TENSORS, description)
        check_description(description)
    check_seal(description, folder / DESCRIPTION, AGAIN)
    warn_of_versions(description["versions"], f"The model {str(folder)!r}")
    move_to_this_machine(classifier, f"The model {str(folder)!r}")
    return classifier


def read_description(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what ``model.json`` says of a saved model, without its tensors.

    Parameters
    ----------
    path : path
        The folder.

    Returns
    -------
    description : dict
        As `save_model` wrote it: class, classes, network, parameters, AU names
        and thresholds, results, history, versions.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    OSError
        If a file cannot be read.
    ValueError
        If a file is missing, is no JSON, of another format version, or was changed
        since it was saved.
    """
    folder = Path(check_path(path))
    description = _read_description(_existing(folder))
    with _entries_of(folder):
        check_description(description)
    check_seal(description, folder / DESCRIPTION, AGAIN)
    return description


@contextlib.contextmanager
def _entries_of(folder: Path) -> Iterator[None]:
    """Tell what an entry that nobody expected breaks as what it is."""
    try:
        yield
    except (
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
        ValueError,
    ) as error:
        if isinstance(error, ValueError) and any(n in str(error) for n in (DESCRIPTION, TENSORS)):
            raise
        raise ValueError(
            f"{folder / DESCRIPTION} has a wrong or missing entry "
            f"({type(error).__name__}: {error!s:.300}). {AGAIN}"
        ) from error


def _existing(folder: Path) -> Path:
    """Find the description of a complete model."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no model {str(folder)!r}: expected a folder that AdaFERClassifier.save or "
            "`adafer fit` wrote."
        )
    missing = [name for name in (DESCRIPTION, TENSORS) if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{str(folder)!r} is no complete model: {' and '.join(missing)} is missing. {AGAIN}"
        )
    return folder / DESCRIPTION


def _read_description(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}). {AGAIN}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        got = repr(found.get("format")) if isinstance(found, dict) else type(found).__name__
        raise ValueError(
            f"{path} describes no adafer model: got format {got}, expected {FORMAT!r}."
        )
    version = found.get("format_version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        saved = found.get("versions")
        by = saved.get("adafer") if isinstance(saved, dict) else None
        raise ValueError(
            f"{path} has format version {version!r:.40}; adafer {__version__} "
            f"reads version {FORMAT_VERSION}. Use the adafer that saved it "
            f"({by or 'unknown'!r:.40}), or a newer one."
        )
    kind = found.get("class")
    if not isinstance(kind, str) or kind not in _CLASSIFIERS:
        raise ValueError(
            f"{path} describes a {kind!r:.80}; expected one of {sorted(_CLASSIFIERS)}."
        )
    return found


def _restore(tensors: Path, description: Mapping[str, Any]) -> DomainClassifier:
    classes = restore_classes(description["classes"])
    classifier = _restore_parameters(_class(description["class"]), description["parameters"])
    network, digest = description["network"], description["sha256"]
    if isinstance(classifier, NetworkClassifier):
        classifier.network_ = restore_network(tensors, network, len(classes), digest, classifier)
        classifier.history_ = [dict(row) for row in description["history"]]
        if network["inputs"] == "faces":
            classifier.image_shape_ = (network["image_size"], network["image_size"], 3)
    classifier.classes_ = classes
    if network["inputs"] == "features":
        classifier.n_features_in_ = network["n_features_in"]
        if network["feature_names_in"] is not None:
            classifier.feature_names_in_ = np.array(network["feature_names_in"], dtype=object)
    for name in _RESULTS:
        if name in description["results"]:
            setattr(classifier, name, description["results"][name])
    units = description["action_units"]
    if units.get("used", units["thresholds"] is not None):
        classifier.au_names_ = units["names"]
    if not isinstance(classifier, NetworkClassifier):
        classifier._set_arrays(restore_arrays(tensors, digest))
    elif units["thresholds"] is not None:
        classifier.au_thresholds_ = np.array(units["thresholds"], dtype=np.float64)
    return classifier


def _restore_parameters(
    kind: type[DomainClassifier], stored: Mapping[str, Any]
) -> DomainClassifier:
    parameters = {name: _from_json(value, name) for name, value in stored.items()}
    return _make(kind, parameters)


def _from_json(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return tuple(_from_json(item, name) for item in value)
    if isinstance(value, dict):
        if not isinstance(value["class"], str) or value["class"] not in _PARTS:
            raise ValueError(
                f"{DESCRIPTION} has {name}={value['class']!r}; expected one of {sorted(_PARTS)}. "
                f"{AGAIN}"
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
