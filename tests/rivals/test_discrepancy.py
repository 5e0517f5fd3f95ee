"""CORAL, sliced Wasserstein and feature norm, against slow versions and libraries."""

import numpy as np
import pytest
import torch

from adafer.deep.discrepancy import (
    coral_loss,
    feature_norm_loss,
    sliced_wasserstein,
    unit_directions,
)
from adafer.deep.losses import class_confusion_loss


def samples(seed, n=11, m=11, d=4):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) @ rng.normal(size=(d, d)) + 1


@pytest.mark.parametrize("seed", range(5))
def test_coral_equals_a_slow_version(seed):
    source, target = samples(seed, 11, 7)
    total = 0.0
    for i in range(4):
        for j in range(4):
            parts = []
            for x in (source, target):
                a, b = x[:, i] - x[:, i].mean(), x[:, j] - x[:, j].mean()
                parts.append(sum(a * b) / (len(x) - 1))
            total += (parts[0] - parts[1]) ** 2
    found = coral_loss(torch.tensor(source), torch.tensor(target)).item()
    assert found == pytest.approx(total / (4 * 4**2))


def test_coral_sees_spread_but_no_shift_and_bears_single_rows():
    source, _ = samples(0)
    x = torch.tensor(source, requires_grad=True)
    assert coral_loss(x, x.detach() + 5).item() == pytest.approx(0, abs=1e-12)
    assert coral_loss(x, 2 * x.detach()) > 0.1
    coral_loss(x, x.detach()[:1]).backward()
    assert torch.isfinite(x.grad).all()


def test_descending_coral_brings_the_covariances_together():
    source, target = (torch.tensor(x) for x in samples(1, 60, 60))
    moved = target.clone().requires_grad_()
    optimizer = torch.optim.Adam([moved], lr=0.05)
    before = coral_loss(source, moved).item()
    for _ in range(100):
        loss = coral_loss(source, moved)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert coral_loss(source, moved).item() < 0.05 * before


@pytest.mark.parametrize("seed", range(5))
def test_sliced_wasserstein_equals_a_slow_version(seed):
    first, second = samples(seed)
    directions = np.random.default_rng(seed).normal(size=(4, 6))
    directions /= np.linalg.norm(directions, axis=0)
    total = 0.0
    for k in range(6):
        pairs = zip(sorted(first @ directions[:, k]), sorted(second @ directions[:, k]))  # noqa: B905
        total += np.mean([(a - b) ** 2 for a, b in pairs])
    found = sliced_wasserstein(*map(torch.tensor, (first, second, directions)))
    assert found.item() == pytest.approx(total / 6)


def test_sliced_wasserstein_looks_at_samples_not_at_rows():
    first, second = map(torch.tensor, samples(3))
    directions = unit_directions(4, 20, first)
    turned = first.flip(0)
    assert sliced_wasserstein(first, turned, directions).item() == pytest.approx(0, abs=1e-12)
    shifted = sliced_wasserstein(first, first + torch.tensor([3.0, 0, 0, 0]), directions)
    assert shifted.item() == pytest.approx(9 * directions[0].square().mean().item())
    with pytest.raises(ValueError, match=r"one size; got \(11, 4\) and \(5, 4\)"):
        sliced_wasserstein(first, second[:5], directions)


def test_directions_have_length_1_and_follow_the_seed():
    like = torch.zeros(1, dtype=torch.float64)
    torch.manual_seed(3)
    first = unit_directions(5, 2000, like)
    torch.manual_seed(3)
    assert torch.equal(first, unit_directions(5, 2000, like))
    assert first.dtype == torch.float64
    torch.testing.assert_close(first.norm(dim=0), torch.ones(2000, dtype=torch.float64))
    assert first.mean(dim=1).abs().max() < 0.05  # to all sides


@pytest.mark.parametrize("step", [0.3, 1.0])
def test_feature_norm_equals_a_slow_version_and_its_gradient_lengthens(step):
    rows = np.random.default_rng(0).normal(size=(8, 5)) * 4
    x = torch.tensor(rows, requires_grad=True)
    loss = feature_norm_loss(x, step)
    assert loss.item() == pytest.approx(step**2)
    loss.backward()
    for row, gradient in zip(rows, x.grad.numpy(), strict=True):
        # d/dx (|x| - r)^2 = 2 (|x| - r) x / |x| at r = |x| + step
        np.testing.assert_allclose(gradient, -2 * step * row / np.linalg.norm(row) / 8)
    assert (x - x.grad).norm(dim=1).min() > x.norm(dim=1).min()


def test_a_feature_of_length_0_has_a_finite_gradient():
    x = torch.zeros(3, 4, requires_grad=True)
    feature_norm_loss(x).backward()
    assert torch.isfinite(x.grad).all()


def test_sliced_wasserstein_is_that_of_pot():
    ot = pytest.importorskip("ot")
    first, second = samples(4)
    directions = unit_directions(4, 50, torch.zeros(1, dtype=torch.float64))
    expected = ot.sliced_wasserstein_distance(first, second, projections=directions.numpy())
    found = sliced_wasserstein(torch.tensor(first), torch.tensor(second), directions)
    assert found.item() == pytest.approx(expected**2)


def test_coral_is_that_of_skada():
    losses = pytest.importorskip("skada.deep.losses", exc_type=ImportError)
    source, target = map(torch.tensor, samples(5, 20, 13))
    expected = losses.deepcoral_loss(source, target)
    assert coral_loss(source, target).item() == pytest.approx(expected.item())


def test_class_confusion_is_that_of_skada():
    losses = pytest.importorskip("skada.deep.losses", exc_type=ImportError)
    logits = 3 * torch.tensor(samples(6)[0])
    expected = losses.mcc_loss(logits, T=2.5)
    assert class_confusion_loss(logits).item() == pytest.approx(expected.item(), rel=1e-5)
