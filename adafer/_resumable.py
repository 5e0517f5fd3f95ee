"""Estimators whose fit can be interrupted: `checkpoint_dir` and `resume`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._checkpoints import check_folder, refuse_other_fit
from ._files import sha256
from ._fit_identity import array_digest, fit_name, identify
from ._sklearn import StrOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from .deep.distributed import Group
    from .deep.trainer_state import SharedCheckpoints
    from .domains import DomainInputs

__all__ = [
    "CHECKPOINT_CONSTRAINTS",
    "FIT",
    "check_checkpoints",
    "data_digests",
    "network_digest",
    "open_checkpoints",
    "weights_digest",
]

CHECKPOINT_CONSTRAINTS: dict[str, list] = {
    "checkpoint_dir": [None, str, os.PathLike],
    "resume": [StrOptions({"auto", "never"})],
}
# in braces in `checkpoint_dir`: stands for a name that each fit has of its own
FIT = "fit"
_FIT = f"{{{FIT}}}"


def check_checkpoints(estimator: Any) -> None:
    """Find what is wrong with `checkpoint_dir` before data are read.

    Parameters
    ----------
    estimator : estimator
        With the parameters `checkpoint_dir` and `resume`.

    Raises
    ------
    ValueError
        If the folder holds checkpoints of another method, or with other parameters.
    OSError
        If it cannot be written to.
    """
    folder = estimator.checkpoint_dir
    if folder is None:
        return
    group = _group(estimator)
    if _FIT in os.fspath(folder):
        before = os.fspath(folder).split(_FIT)[0]
        place = Path(before) if before.endswith(("/", os.sep)) else Path(before or ".").parent
        group.by_first(lambda: str(check_folder(place)))
    elif estimator.resume == "never":
        group.by_first(lambda: str(check_folder(Path(folder))))
    else:
        known = identify(estimator, _settings(estimator), {})
        known.pop("data")
        group.by_first(lambda: refuse_other_fit(Path(folder), known))


def data_digests(
    classifier: Any,
    source: DomainInputs,
    labels: NDArray,
    target: DomainInputs | None,
    classes: NDArray,
    started_from: nn.Module | None,
) -> dict[str, str | None]:
    """Digests of all that a classifier's `fit` learns from, by the names of its parameters.

    Parameters
    ----------
    classifier : NetworkClassifier
    source, target : DomainInputs
    labels : ndarray of int64 of shape (n_source,)
    classes : ndarray of shape (n_classes,)
    started_from : torch.nn.Module or None
        The network of a warm start, on the CPU.

    Returns
    -------
    digests : dict of str -> str or None
    """
    found = {"y": array_digest(labels, more=classes.tolist())}
    for name, suffix, domain in (("X", "src", source), ("X_tgt", "tgt", target)):
        if domain is not None:
            kind = "pictures" if domain.inputs.ndim == 4 else "values"
            found[name] = array_digest(domain.inputs, kind)
            au = f"{classifier._au_parameter}_{suffix}"
            found[au] = array_digest(domain.au, more=domain.au_names)
    found["sample_weight"] = array_digest(source.weights)
    if started_from is not None:
        found["the network of warm_start"] = network_digest(started_from)
    else:
        found["weights"] = weights_digest(classifier.weights, classifier.backbone)
    return found


def network_digest(network: nn.Module) -> str | None:
    """Digest of a network's tensors, which must be on the CPU."""
    parts = [(name, array_digest(t.numpy())) for name, t in network.state_dict().items()]
    return array_digest(np.empty(0), "weights", more=parts)


def weights_digest(weights: str | os.PathLike[str] | None, backbone: str) -> str | None:
    """Digest of a file of weights."""
    from .deep.weights import imagenet_file

    if weights is None:
        return None
    path = imagenet_file(backbone) if str(weights) == "imagenet" else Path(weights)
    return f"content:{sha256(path)}"


def open_checkpoints(
    estimator: Any, data: Mapping[str, str | None], seed: int
) -> AbstractContextManager[SharedCheckpoints | None]:
    """Hold the folder of a fit's checkpoints.

    Parameters
    ----------
    estimator : estimator
        With the parameters `checkpoint_dir` and `resume`.
    data : mapping of str -> str or None
        Digests of what is fitted on.
    seed : int
        Where there are no checkpoints, what all random numbers come from.

    Returns
    -------
    context : context manager
        Of `SharedCheckpoints`; of None without a `checkpoint_dir`.
    """
    if estimator.checkpoint_dir is None:
        return nullcontext()
    return _opened(estimator, data, seed)


@contextlib.contextmanager
def _opened(
    estimator: Any, data: Mapping[str, str | None], seed: int
) -> Iterator[SharedCheckpoints]:
    from .deep.trainer_state import SharedCheckpoints

    fit = identify(estimator, _settings(estimator), data)
    folder = Path(os.fspath(estimator.checkpoint_dir).replace(_FIT, fit_name(fit)))
    group = _group(estimator)
    with SharedCheckpoints.opened(folder, fit, seed, estimator.resume, group) as checkpoints:
        yield checkpoints


def _group(estimator: Any) -> Group:
    from .deep.device import resolve_device
    from .deep.distributed import join

    return join(resolve_device(estimator.device))[1]


def _settings(estimator: Any) -> dict[str, Any]:
    """Give what "auto" came to on this machine."""
    from .deep.device import resolve_device, resolve_precision

    device = resolve_device(estimator.device)
    return {
        "device": device.type,
        "precision": resolve_precision(estimator.precision, device),
    }
