"""One cell of a study: a method with a seed on a pair of domains, fitted without target labels."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import platform
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from .. import __version__, rivals
from .._files import new_file
from .._json_files import SEAL, read_json, seal
from .._network_classifier import NetworkClassifier, NetworkOptions
from .._versions import versions
from ..baselines import AUInputClassifier, PseudoLabelClassifier, SourceOnlyClassifier
from ..classifier import AdaFERClassifier
from .data import Part
from .methods import build_estimator, describe_estimator, uses_aus

__all__ = ["Cell", "Failure", "Stage", "fit_cell", "fit_stage", "read_result", "stage_of"]

_FORMAT = 1
# whose source stage is that of SourceOnlyClassifier with the same parameters, to the bit
_PLAIN_STAGE = (
    SourceOnlyClassifier,
    PseudoLabelClassifier,
    AdaFERClassifier,
    *(getattr(rivals, name) for name in rivals.__all__ if name != "AGRAClassifier"),
)
# parameters of the joint stage, and those that say where and how loudly it runs
_NOT_OF_STAGE = frozenset({"epochs", "source_epochs", "warm_start", "verbose"})
_FACTS = ("coverage_", "margin_", "n_skipped_anchors_")
# faces of either domain whose features are kept for pictures
_KEPT_FEATURES = 1000


@dataclass(frozen=True)
class Cell:
    """All that a fit takes. There is no room for labels of the target.

    Attributes
    ----------
    method : str
    parameters : dict
    seed : int
    source : Part
    labels : ndarray of str of shape (n_source,)
        Labels of the source.
    target : Part or None
        Pictures to adapt to.
    scored : dict of str -> Part
        Pictures to predict, by protocol.
    keep : bool
        Keep features and pseudo-labels for pictures.
    """

    method: str
    parameters: Mapping[str, Any]
    seed: int
    source: Part
    labels: NDArray
    target: Part | None
    scored: Mapping[str, Part]
    keep: bool = False

    def estimator(self) -> Any:
        """Make the estimator, not fitted."""
        return build_estimator(self.method, self.parameters, seed=self.seed)

    def key(self) -> str:
        """Hash of all that determines the result."""
        estimator = self.estimator()
        parts = [self.source, self.target, *self.scored.values()]
        return _hash(
            {
                "estimator": describe_estimator(estimator),
                "seed": self.seed,
                "labels": _labels_digest(self.labels),
                "parts": [None if part is None else part.digest for part in parts],
                "protocols": list(self.scored),
                "aus": [part.au_digest for part in parts if part is not None]
                if uses_aus(estimator)
                else None,
            }
        )


@dataclass(frozen=True)
class Stage:
    """A source stage that several cells go on from.

    Attributes
    ----------
    key : str
        Hash of all that determines the network.
    estimator : NetworkClassifier
        Not fitted.
    source : Part
    labels : ndarray of str
    """

    key: str
    estimator: NetworkClassifier
    source: Part
    labels: NDArray


@dataclass(frozen=True)
class Failure:
    """What went wrong in a cell.

    Attributes
    ----------
    error : str
        One line.
    details : str
        The traceback.
    """

    error: str
    details: str = ""


def _hash(value: Any) -> str:
    text = json.dumps({"format": _FORMAT, "adafer": __version__, **value}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _labels_digest(labels: NDArray) -> str:
    return hashlib.sha256("\0".join(str(label) for label in labels).encode()).hexdigest()


# --------------------------------------------------------------- source stage


def stage_of(cell: Cell) -> Stage | None:
    """Find the source stage that a cell begins with, if it may share it.

    Methods that train the same network on the same source with the same seed
    have the same stage. Their joint stages go on from it as from a fit with
    ``warm_start=True, source_epochs=0``: random numbers start anew there, so
    that adapted networks differ in their draws, and in nothing else, from those
    of one single fit.

    Parameters
    ----------
    cell : Cell

    Returns
    -------
    stage : Stage or None
        None for methods without a network, for estimators of other packages,
        and where the target takes part in the source stage
        (``norm_statistics="target"``).
    """
    estimator = cell.estimator()
    if type(estimator) not in (*_PLAIN_STAGE, AUInputClassifier):
        return None
    if estimator.norm_statistics == "target" or estimator.warm_start:
        return None
    shared = get_type_hints(NetworkOptions)
    parameters = {
        name: value
        for name, value in estimator.get_params(deep=False).items()
        if (name in shared or name == "backbone") and name not in _NOT_OF_STAGE
    }
    epochs = estimator.epochs if estimator.source_epochs is None else estimator.source_epochs
    kind = AUInputClassifier if isinstance(estimator, AUInputClassifier) else SourceOnlyClassifier
    stage = kind(**parameters, epochs=epochs)
    key = _hash(
        {
            "stage": describe_estimator(stage),
            "labels": _labels_digest(cell.labels),
            "source": cell.source.digest,
            "aus": cell.source.au_digest if uses_aus(stage) else None,
        }
    )
    return Stage(key, stage, cell.source, cell.labels)


def fit_stage(stage: Stage, folder: Path, threads: int = 1) -> Failure | float:
    """Train a source stage and save its network.

    Parameters
    ----------
    stage : Stage
    folder : pathlib.Path
        Where to save it, whole or not at all.
    threads : int, default=1
        Of torch.

    Returns
    -------
    seconds : float, or Failure
    """
    started = time.perf_counter()
    try:
        _check_shared(folder)
        with _torch_threads(threads), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            au = {"au_src": stage.source.scores()} if uses_aus(stage.estimator) else {}
            stage.estimator.fit(stage.source.inputs(), stage.labels, **au).save(folder)
    except Exception as error:
        return _failure(error)
    return time.perf_counter() - started


def _go_on_from(estimator: NetworkClassifier, folder: Path) -> None:
    """Give an estimator the network of a source stage; its fit will adapt that."""
    trained: Any = NetworkClassifier.load(folder)
    estimator.set_params(warm_start=True, source_epochs=0)
    estimator.network_ = trained.network_
    estimator.classes_ = trained.classes_
    if hasattr(trained, "image_shape_"):
        estimator.image_shape_ = trained.image_shape_


# ------------------------------------------------------------------------ cell


def fit_cell(
    cell: Cell, output: Path, about: Mapping[str, Any], stage: Path | None, threads: int = 1
) -> Failure | dict[str, Any]:
    """Fit a method, predict the target, and write what came out.

    Parameters
    ----------
    cell : Cell
    output : pathlib.Path
        JSON file, written whole or not at all. What pictures need lies beside
        it, in a file ``.npz``.
    about : dict
        Names, written into the file for its readers.
    stage : pathlib.Path or None
        Saved source stage to go on from.
    threads : int, default=1
        Of torch.

    Returns
    -------
    result : dict, or Failure
        What the file holds: predicted class indices by protocol, hashes of the
        probabilities and of the network, and facts about the fit.
    """
    try:
        _check_shared(output)
        with _torch_threads(threads), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = _fit(cell, output, stage)
    except Exception as error:
        return _failure(error)
    messages = dict.fromkeys(" ".join(str(entry.message).split()) for entry in caught)
    result = {
        **about,
        "format": _FORMAT,
        "method": cell.method,
        "seed": cell.seed,
        **result,
        "shared_source_stage": None if stage is None else stage.name,
        "warnings": list(messages),
        "versions": versions(),
    }
    with new_file(output) as path:
        sealed = {**result, SEAL: seal(result)}
        path.write_text(json.dumps(sealed, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def _check_shared(output: Path) -> None:
    """Tell, before a fit, that this machine does not see the study's folder."""
    if not output.parent.is_dir():
        raise FileNotFoundError(
            f"The worker on {platform.node()} does not see {str(output.parent)!r}. Let all "
            "machines share the study's output folder, under one path."
        )


def _fit(cell: Cell, output: Path, stage: Path | None) -> dict[str, Any]:
    estimator = cell.estimator()
    parameters = describe_estimator(estimator)
    started = time.perf_counter()
    X = cell.source.inputs()
    if stage is not None and isinstance(estimator, SourceOnlyClassifier):
        estimator = SourceOnlyClassifier.load(stage)
    else:
        if stage is not None:
            _go_on_from(estimator, stage)
        takes = inspect.signature(estimator.fit).parameters
        target: dict[str, Any] = {}
        if cell.target is not None and "X_tgt" in takes:
            target["X_tgt"] = cell.target.inputs()
        if uses_aus(estimator):
            target["au_src"] = cell.source.scores()
            if cell.target is not None:
                target["au_tgt"] = cell.target.scores()
        estimator.fit(X, cell.labels, **target)
    fitted = time.perf_counter()
    found = {name: _predict(estimator, part) for name, part in cell.scored.items()}
    if cell.keep:
        _keep(cell, estimator, X, output.with_suffix(".npz"))
    annotation = getattr(estimator, "annotation_", None)
    facts = {
        name.rstrip("_"): float(value)
        for name in _FACTS
        if (value := getattr(estimator, name, None)) is not None
    }
    if annotation is not None:
        facts["labelled_share"] = float(annotation.labelled_share)
    return {
        "estimator": parameters,
        "classes": [str(name) for name in estimator.classes_],
        "predictions": {name: rows.tolist() for name, (rows, _) in found.items()},
        "probabilities_sha256": {name: digest for name, (_, digest) in found.items()},
        "network_sha256": _network_digest(estimator),
        "facts": facts,
        "history": _history(estimator),
        "seconds": {
            "fit": round(fitted - started, 3),
            "predict": round(time.perf_counter() - fitted, 3),
        },
    }


def _predict(estimator: Any, part: Part) -> tuple[NDArray, str]:
    """Class indices, and a hash of the probabilities."""
    X = part.inputs()
    kwargs: dict[str, Any] = {}
    if "au" in inspect.signature(estimator.predict).parameters:
        kwargs["au"] = part.scores()
    labels = np.asarray(estimator.predict(X, **kwargs))
    if hasattr(estimator, "predict_proba"):
        certain = np.ascontiguousarray(estimator.predict_proba(X, **kwargs), dtype=np.float64)
    else:
        certain = np.searchsorted(estimator.classes_, labels).astype(np.float64)
    digest = hashlib.sha256(certain.tobytes()).hexdigest()
    return np.searchsorted(estimator.classes_, labels), digest


def _keep(cell: Cell, estimator: Any, X: Any, path: Path) -> None:
    """Write features and pseudo-labels, of the rows that pictures show."""
    arrays: dict[str, NDArray] = {}
    rng = np.random.default_rng(0)
    takes_au = "au" in inspect.signature(estimator.predict).parameters
    if hasattr(estimator, "transform"):
        for name, part in {"source": cell.source, **cell.scored}.items():
            rows = np.sort(rng.permutation(len(part))[:_KEPT_FEATURES])
            some = Part(part.X, part.rows[rows], "", part.au, part.au_names)
            au = {"au": some.scores()} if takes_au else {}
            arrays[f"{name}_rows"] = rows
            arrays[f"{name}_features"] = estimator.transform(some.inputs(), **au)
    if hasattr(estimator, "target_labels_"):
        arrays["target_labels"] = np.asarray(estimator.target_labels_, dtype=np.float32)
    annotation = getattr(estimator, "annotation_", None)
    if annotation is not None:
        arrays["match_counts"] = np.asarray(annotation.match_counts)
    with new_file(path) as temporary:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]


def _network_digest(estimator: Any) -> str | None:
    network = getattr(estimator, "network_", None)
    if network is None:
        return None
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _history(estimator: Any) -> list[dict[str, Any]]:
    """Losses of each epoch, what JSON can hold of them."""
    return [
        {key: value for key, value in row.items() if isinstance(value, (str, int, float))}
        for row in getattr(estimator, "history_", [])
    ]


def read_result(path: Path, *, keep: bool = False) -> dict[str, Any] | None:
    """Read what a cell wrote.

    Parameters
    ----------
    path : pathlib.Path
    keep : bool, default=False
        Whether the file for pictures must be there, too.

    Returns
    -------
    result : dict or None
        None where there is none, or a damaged one.
    """
    try:
        result = read_json(path, allow_nan=True)
    except (OSError, ValueError):
        return None
    if not isinstance(result, dict) or result.get("format") != _FORMAT:
        return None
    # earlier versions wrote no seal
    if result.pop(SEAL, None) not in (None, seal(result)):
        return None
    if keep and not path.with_suffix(".npz").is_file():
        return None
    return result


def _failure(error: Exception) -> Failure:
    text = " ".join(str(error).split())
    return Failure(f"{type(error).__name__}: {text}", traceback.format_exc())


@contextlib.contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    """Let torch use so many threads, and afterwards as many as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
