"""Fusion of what the network and the AUs say of the target."""

import numpy as np
import pytest

from adafer.fusion import AUOpinion, opinion_accuracy, split_aus, temper

N_CLASSES = 5


def opinions(truth, trusts, rng, shares=None):
    """Each names the truth with its probability, else a class by `shares`."""
    named = []
    for trust in trusts:
        guess = rng.choice(N_CLASSES, size=len(truth), p=shares)
        named.append(np.where(rng.random(len(truth)) < trust, truth, guess))
    return named


def probabilities(named, sureness, rng):
    noise = rng.dirichlet(np.ones(N_CLASSES), size=len(named))
    return sureness * np.eye(N_CLASSES)[named] + (1 - sureness) * noise


@pytest.mark.parametrize("trusts", [(0.2, 0.5, 0.7), (0.8, 0.4, 0.3), (0.5, 0.5, 0.5)])
@pytest.mark.parametrize("shares", [None, (0.5, 0.2, 0.1, 0.1, 0.1)])
def test_trust_is_found_without_labels(trusts, shares):
    rng = np.random.default_rng(0)
    truth = rng.choice(N_CLASSES, size=40_000, p=shares)
    named = opinions(truth, trusts, rng, shares)
    for k, trust in enumerate(trusts):
        others = [named[j] for j in range(3) if j != k]
        assert opinion_accuracy(named[k], *others, N_CLASSES) == pytest.approx(trust, abs=0.03)


def test_opinions_that_do_not_agree_tell_nothing():
    rng = np.random.default_rng(0)
    one, two = rng.integers(N_CLASSES, size=(2, 1000))
    assert opinion_accuracy(one, two, (one + 1) % N_CLASSES, N_CLASSES) is None
    constant = np.zeros(1000, dtype=int)
    assert opinion_accuracy(constant, constant, constant, N_CLASSES) is None


@pytest.mark.parametrize("confidence", [0.3, 0.6, 0.9])
def test_tempering_makes_an_opinion_as_sure_as_asked(confidence):
    rng = np.random.default_rng(0)
    before = rng.dirichlet(np.ones(N_CLASSES), size=500)
    after = before ** temper(before, confidence)
    after /= after.sum(axis=1, keepdims=True)
    assert after.max(axis=1).mean() == pytest.approx(confidence, abs=1e-3)
    np.testing.assert_array_equal(after.argmax(axis=1), before.argmax(axis=1))


def test_tempering_stops_where_it_cannot_go_on():
    even = np.full((10, N_CLASSES), 1 / N_CLASSES)
    assert temper(even, 0.9) == 20.0
    assert temper(np.eye(N_CLASSES), 0.1) == pytest.approx(0.02)


def fused(network_trust, part_trusts, n=4000, known=None, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(N_CLASSES, size=n)
    named = opinions(truth, (network_trust, *part_trusts), rng)
    network, first, second = (probabilities(name, 0.6, rng) for name in named)
    au = first * second
    au /= au.sum(axis=1, keepdims=True)
    known = np.ones(n, dtype=bool) if known is None else known
    prior = np.full(N_CLASSES, 1 / N_CLASSES)
    fusion = AUOpinion(au, (first, second), prior, known).fuse_with(network)
    return truth, network, au, fusion


@pytest.mark.parametrize(
    ("network_trust", "part_trusts"), [(0.2, (0.6, 0.6)), (0.7, (0.2, 0.2)), (0.5, (0.4, 0.4))]
)
def test_fused_labels_beat_both_opinions(network_trust, part_trusts):
    truth, network, au, fusion = fused(network_trust, part_trusts)

    def accuracy(values):
        return np.mean(values.argmax(axis=1) == truth)

    found = fusion.labels(network)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert accuracy(found) > max(accuracy(network), accuracy(au)) - 0.01
    assert fusion.network_accuracy == pytest.approx(accuracy(network), abs=0.05)
    # its confidence tells how often it is right
    assert found.max(axis=1).mean() == pytest.approx(accuracy(found), abs=0.1)


def test_targets_without_aus_keep_the_network_s_opinion():
    known = np.arange(4000) % 2 == 0
    _, network, _, fusion = fused(0.5, (0.5, 0.5), known=known)
    found = fusion.labels(network)
    assert not fusion.au_evidence[~known].any()
    np.testing.assert_array_equal(found[~known].argmax(axis=1), network[~known].argmax(axis=1))


def test_few_targets_and_silent_opinions_get_middling_trust():
    _, network, _, fusion = fused(0.9, (0.9, 0.9), n=12)
    chance = 1 / N_CLASSES
    assert 0.5 < fusion.network_accuracy < 0.5 + 0.5 * 0.75 + chance
    nobody = np.zeros(12, dtype=bool)
    nobody[:2] = True
    _, network, _, silent = fused(0.5, (0.5, 0.5), n=12, known=nobody)
    assert np.isfinite(silent.labels(network)).all()


def test_aus_are_split_by_the_muscles_that_make_them():
    first, second = split_aus(["AU01", "AU12", "AU04", "AU25"], 4)
    assert first.tolist() == [0, 2]
    assert second.tolist() == [1, 3]
    for names in (None, ["AU01", "AU02", "AU04"]):
        first, second = split_aus(names, 3)
        assert first.tolist() == [0, 2]
        assert second.tolist() == [1]
