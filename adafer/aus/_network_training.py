"""How `AUNetwork` makes its network and trains it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from .._fit_identity import array_digest
from .._resumable import open_checkpoints, weights_digest
from ._au_labels import balance_weights

if TYPE_CHECKING:
    from ..deep.mlcr import MLCRNetwork
    from ..deep.trainer_state import SharedCheckpoints
    from .network import AUNetwork

__all__ = ["Begun", "start", "train"]

# Faces that the statistics of batch normalisation are estimated on, at most.
_STATISTICS_ROWS = 10_000


class Begun(NamedTuple):
    """What training starts from.

    Attributes
    ----------
    network : MLCRNetwork
    reports : list of LoadReport or None
        What became of weights files.
    rng : numpy.random.Generator
        For all further draws.
    drawn : int
        What all random numbers come from.
    """

    network: MLCRNetwork
    reports: list
    rng: np.random.Generator
    drawn: int


def start(estimator: AUNetwork, relations: NDArray, drawn: int | None = None) -> Begun:
    """Make the network that training starts from.

    Parameters
    ----------
    estimator : AUNetwork
    relations : ndarray of shape (n_aus, n_aus)
    drawn : int, optional
        What all random numbers come from; by default drawn from `random_state`.

    Returns
    -------
    begun : Begun
    """
    import torch

    from ..deep.device import resolve_device, seeded
    from ..deep.mlcr import build_mlcr_network

    resolve_device(estimator.device)
    if drawn is None:
        drawn = int(check_random_state(estimator.random_state).randint(2**31 - 1))
    rng = np.random.default_rng(drawn)
    backbones, weights = list(estimator.backbones), estimator.weights
    if weights is None or isinstance(weights, (str, os.PathLike)):
        weights = [weights, weights]
    for name, pair in (("backbones", backbones), ("weights", weights)):
        if len(pair) != 2:
            raise ValueError(
                f"{name} must have 2 entries, one for each view; got {len(pair)}: {pair}."
            )
    if not all(isinstance(name, str) for name in backbones) or "mlp" in backbones:
        raise ValueError(
            f"backbones must be names of networks for pictures; got {backbones}. Expected "
            "'convnet' or torchvision networks such as 'resnet18'."
        )
    with seeded(int(rng.integers(2**31)), torch.device("cpu")):
        network, reports = build_mlcr_network(
            backbones,
            relations,
            estimator.relation_weight,
            image_size=estimator.image_size,
            weights=weights,
        )
    return Begun(network, reports, rng, drawn)


def _digests(
    estimator: AUNetwork, inputs: list, labels: NDArray, names: list[str]
) -> dict[str, str | None]:
    """Digests of all that `fit` learns from, by the names of its parameters."""
    found = {"Y_au": array_digest(labels, more=names), "weights": None}
    for name, part in zip(("X", "X_unlabelled"), inputs, strict=False):
        found[name] = array_digest(part, "pictures")
    weights = estimator.weights
    if weights is not None:
        pair = [weights] * 2 if isinstance(weights, (str, os.PathLike)) else weights
        parts = map(weights_digest, pair, estimator.backbones)
        found["weights"] = array_digest(np.empty(0), "content", more=list(parts))
    return found


def train(
    estimator: AUNetwork,
    begun: Begun,
    inputs: list,
    labels: NDArray[np.float32],
    names: list[str],
    relations: NDArray,
) -> tuple[MLCRNetwork, list, list[dict]]:
    """Run all epochs, or those that its checkpoints have not seen.

    Parameters
    ----------
    estimator : AUNetwork
    begun : Begun
    inputs : list of ndarray
        Labelled faces, and unlabelled ones where they are used.
    labels : ndarray of shape (n, n_aus)
    names : list of str
    relations : ndarray of shape (n_aus, n_aus)

    Returns
    -------
    network : MLCRNetwork
        On the CPU.
    reports : list of LoadReport or None
    history : list of dict
    """
    data = {}
    if estimator.checkpoint_dir is not None:
        data = _digests(estimator, inputs, labels, names)
    with open_checkpoints(estimator, data, begun.drawn) as checkpoints:
        if checkpoints is not None and checkpoints.seed != begun.drawn:
            begun = start(estimator, relations, checkpoints.seed)
        history = _run(estimator, begun, inputs, labels, checkpoints)
    return begun.network.cpu().eval(), begun.reports, history


def _run(
    estimator: AUNetwork,
    begun: Begun,
    inputs: list,
    labels: NDArray[np.float32],
    checkpoints: SharedCheckpoints | None,
) -> list[dict]:
    from ..deep.batches import Feed
    from ..deep.device import resolve_device, seeded
    from ..deep.inference import estimate_statistics
    from ..deep.mlcr import MLCRTrainer

    network, _, rng, _ = begun
    device = resolve_device(estimator.device)
    with seeded(int(rng.integers(2**31)), device):
        trainer = MLCRTrainer(
            network,
            device=device,
            precision=estimator.precision,
            batch_size=estimator.batch_size,
            learning_rate=estimator.learning_rate,
            learning_rate_decay=estimator.learning_rate_decay,
            weight_decay=estimator.weight_decay,
            augmented=estimator.augment,
            rng=rng,
            verbose=estimator.verbose,
        )
        trainer.checkpoints = checkpoints
        feed = Feed(inputs, device)
        trainer.fit(
            feed,
            labels,
            balance_weights(labels),
            lambda_orthogonality=estimator.lambda_orthogonality,
            lambda_consistency=estimator.lambda_consistency,
            epochs=estimator.epochs,
        )
        if trainer.history:
            rows = rng.permutation(len(feed))[:_STATISTICS_ROWS]
            estimate_statistics(network, feed, rows)  # type: ignore[arg-type]
    return trainer.history
