"""How far to trust each opinion about the target, and one label made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

__all__ = ["AUOpinion", "OpinionFusion", "opinion_accuracy", "split_aus", "temper"]

# AUs of brows, eyes, cheeks and nose; the others move the mouth and chin
_UPPER_FACE = frozenset(
    f"AU{number:02d}" for number in (1, 2, 4, 5, 6, 7, 9, 41, 42, 43, 44, 45, 46)
)
# Agreement on few samples says little: as many samples with middling trust are added.
_PSEUDO_SAMPLES = 50
_MIDDLING = 0.5
_LEAST, _MOST = 0.05, 0.95
_FLOOR = 1e-6


def split_aus(au_names: Sequence[str] | None, n_aus: int) -> tuple[NDArray, NDArray]:
    """Two sets of AUs that different muscles and parts of the picture give.

    Parameters
    ----------
    au_names : sequence of str or None
        Upper face against lower face where names are known; else every other
        column.
    n_aus : int

    Returns
    -------
    first, second : ndarrays of int64
        Columns. Both hold at least one if there are two AUs.
    """
    columns = np.arange(n_aus)
    if au_names is not None:
        upper = np.array([name in _UPPER_FACE for name in au_names])
        if upper.any() and not upper.all():
            return columns[upper], columns[~upper]
    return columns[::2], columns[1::2]


def opinion_accuracy(
    judged: ArrayLike, first: ArrayLike, second: ArrayLike, n_classes: int
) -> float | None:
    """Estimate how often an opinion is right by two others, without labels.

    Each opinion names the truth with a probability of its own, and else a class
    drawn from all it names, whatever the truth. Where the three err
    independently, any two agree above chance by the product of their two
    probabilities (times a factor of the classes), and three agreements give
    three probabilities.

    Parameters
    ----------
    judged, first, second : array-like of int of shape (n_samples,)
        Class indices that each opinion names.
    n_classes : int

    Returns
    -------
    trust : float or None
        Probability that `judged` names the truth for a reason, in [0.05, 0.95];
        None where the opinions do not agree above chance, so that nothing can
        be told.
    """
    opinions = [np.asarray(opinion) for opinion in (judged, first, second)]
    with_first, with_second, between = (
        _agreement(opinions[i], opinions[j], n_classes) for i, j in ((0, 1), (0, 2), (1, 2))
    )
    variety = _variety(opinions, n_classes)
    if min(with_first, with_second, between) <= 0 or variety <= 0:
        return None
    trust = np.sqrt(with_first * with_second / (between * variety))
    return float(np.clip(trust, _LEAST, _MOST))


def temper(probabilities: NDArray, confidence: float) -> float:
    """Find the exponent that makes an opinion as sure as it is right.

    Parameters
    ----------
    probabilities : ndarray of shape (n_samples, n_classes)
        Rows sum to 1.
    confidence : float
        What the mean of the rows' largest probabilities shall be.

    Returns
    -------
    exponent : float
        Of the probabilities, before rows are made to sum to 1 again; in
        [0.02, 20].
    """
    logs = np.log(np.maximum(probabilities, _FLOOR))

    def excess(log_exponent: float) -> float:
        return float(_softmax(np.exp(log_exponent) * logs).max(axis=1).mean() - confidence)

    low, high = np.log(0.02), np.log(20.0)
    if excess(low) >= 0:
        return 0.02
    if excess(high) <= 0:
        return 20.0
    return float(np.exp(brentq(excess, low, high, xtol=1e-3)))


def _softmax(logs: NDArray) -> NDArray:
    shifted = np.exp(logs - logs.max(axis=1, keepdims=True))
    result: NDArray = shifted / shifted.sum(axis=1, keepdims=True)
    return result


def _shares(named: NDArray, n_classes: int) -> NDArray:
    counts: NDArray = np.bincount(named, minlength=n_classes)
    return counts / len(named)


def _agreement(first: NDArray, second: NDArray, n_classes: int) -> float:
    """Share of samples that both name alike, beyond what chance would give."""
    by_chance = _shares(first, n_classes) @ _shares(second, n_classes)
    return float(np.mean(first == second) - by_chance)


def _variety(opinions: list[NDArray], n_classes: int) -> float:
    """Probability that two samples are of different classes."""
    mean = np.mean([_shares(named, n_classes) for named in opinions], axis=0)
    return 1.0 - float(np.square(mean).sum())


@dataclass(frozen=True)
class AUOpinion:
    """What AUs say of the target's classes.

    Attributes
    ----------
    labels : ndarray of shape (n_targets, n_classes)
        Class probabilities by all AUs.
    parts : pair of ndarray of shape (n_targets, n_classes), or None
        The same by either half of the AUs, see `split_aus`; None with one AU.
    prior : ndarray of shape (n_classes,)
        Class shares of the source, which all of these contain.
    known : ndarray of bool of shape (n_targets,)
        Targets that AUs say something of.
    """

    labels: NDArray
    parts: tuple[NDArray, NDArray] | None
    prior: NDArray
    known: NDArray

    def fuse_with(self, network: NDArray) -> OpinionFusion:
        """Judge network and AUs by their agreement, and temper the AUs.

        Parameters
        ----------
        network : ndarray of shape (n_targets, n_classes)
            Class probabilities by the network.

        Returns
        -------
        fusion : OpinionFusion
        """
        known, n_classes = self.known, len(self.prior)
        by_network, by_aus = (o[known].argmax(axis=1) for o in (network, self.labels))
        trusts: list[float | None] = [None, None]
        if self.parts is not None:
            first, second = (part[known].argmax(axis=1) for part in self.parts)
            trusts[0] = opinion_accuracy(by_network, first, second, n_classes)
        if trusts[0] is not None:
            variety = _variety([by_network, by_aus], n_classes)
            if variety > 0:
                agreement = _agreement(by_network, by_aus, n_classes)
                trusts[1] = float(np.clip(agreement / (trusts[0] * variety), _LEAST, _MOST))
        chance = float(np.square(_shares(by_aus, n_classes)).sum())
        accuracies = []
        for trust in trusts:
            n_told = 0 if trust is None else len(by_aus)
            told = n_told * (trust or 0.0) + _PSEUDO_SAMPLES * _MIDDLING
            told /= n_told + _PSEUDO_SAMPLES
            accuracies.append(told + (1 - told) * chance)
        evidence = np.zeros(self.labels.shape)
        logs = np.log(np.maximum(self.labels[known], _FLOOR))
        evidence[known] = temper(self.labels[known], accuracies[1]) * (
            logs - np.log(np.maximum(self.prior, _FLOOR))
        )
        return OpinionFusion(evidence, *accuracies)


@dataclass(frozen=True)
class OpinionFusion:
    """What the network and the AUs say of the target, to be made one.

    Attributes
    ----------
    au_evidence : ndarray of float64 of shape (n_targets, n_classes)
        Logarithm of the AUs' class probabilities over the source's class
        shares, tempered; 0 where AUs say nothing.
    network_accuracy, au_accuracy : float
        Estimated shares of targets that either names rightly.
    """

    au_evidence: NDArray
    network_accuracy: float
    au_accuracy: float

    def labels(self, network: NDArray) -> NDArray:
        """Multiply the network's opinion, tempered, with the evidence of the AUs.

        Parameters
        ----------
        network : ndarray of shape (n_targets, n_classes)
            Class probabilities.

        Returns
        -------
        labels : ndarray of float64 of shape (n_targets, n_classes)
            Rows sum to 1.
        """
        logs = np.log(np.maximum(network, _FLOOR))
        return _softmax(temper(network, self.network_accuracy) * logs + self.au_evidence)
