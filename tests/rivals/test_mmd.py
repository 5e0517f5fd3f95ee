import numpy as np
import pytest
import torch
from torch.nn import functional

from adafer.deep.locality import locality_preserving_loss
from adafer.deep.mmd import class_ratio, conditional_mmd_loss, gaussian_kernels, mmd_loss


def two_domains(n=14, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    is_source = np.tile([True, False], n // 2)
    labels = np.arange(n) // 2 % n_classes
    features = rng.normal(size=(n, 5)) + 0.8 * (~is_source)[:, None]
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features, is_source, labels


def slow_kernels(features, n_kernels=5, factor=2.0):
    n = len(features)
    distances = np.array([[((a - b) ** 2).sum() for b in features] for a in features])
    middle = distances.sum() / (n * (n - 1))
    kernel = np.zeros((n, n))
    for i in range(n_kernels):
        kernel += np.exp(-distances / (middle * factor ** (i - n_kernels // 2))) / n_kernels
    return kernel


def slow_mmd(kernel, source, target, weights):
    total = sum(weights[i] for i in source)
    found = 0.0
    for i in source:
        for j in source:
            found += weights[i] * weights[j] * kernel[i, j] / total**2
    for i in target:
        for j in target:
            found += kernel[i, j] / len(target) ** 2
    for i in source:
        for j in target:
            found -= 2 * weights[i] * kernel[i, j] / (total * len(target))
    return found


def test_kernels_equal_slow_ones():
    features = two_domains()[0]
    found = gaussian_kernels(torch.from_numpy(features))
    np.testing.assert_allclose(found.numpy(), slow_kernels(features), atol=1e-12)
    np.testing.assert_allclose(found.diagonal(), 1)


@pytest.mark.parametrize("weighted", [False, True])
def test_mmd_equals_the_slow_one(weighted):
    features, is_source, _ = two_domains()
    weights = np.random.default_rng(1).random(len(features)) if weighted else np.ones(14)
    expected = slow_mmd(
        slow_kernels(features), np.flatnonzero(is_source), np.flatnonzero(~is_source), weights
    )
    found = mmd_loss(
        torch.from_numpy(features),
        torch.from_numpy(is_source),
        torch.from_numpy(weights) if weighted else None,
    )
    assert expected > 0.05
    np.testing.assert_allclose(found.item(), expected, rtol=1e-9)


def test_conditional_mmd_is_the_mean_over_the_classes_both_domains_have():
    features, is_source, labels = two_domains()
    labels[~is_source & (labels == 2)] = 1  # the target has no class 2
    kernel = slow_kernels(features)
    expected = [
        slow_mmd(
            kernel,
            np.flatnonzero(is_source & (labels == c)),
            np.flatnonzero(~is_source & (labels == c)),
            np.ones(len(labels)),
        )
        for c in (0, 1)
    ]
    found = conditional_mmd_loss(
        torch.from_numpy(features),
        torch.from_numpy(is_source),
        functional.one_hot(torch.from_numpy(labels), 3),
    )
    np.testing.assert_allclose(found.item(), np.mean(expected), rtol=1e-9)


def test_a_missing_domain_gives_no_loss_and_no_gradient():
    features = torch.from_numpy(two_domains()[0]).requires_grad_()
    classes = functional.one_hot(torch.arange(14) % 2, 2)
    everyone = torch.ones(14, dtype=torch.bool)
    loss = mmd_loss(features, everyone) + mmd_loss(features, ~everyone)
    loss = loss + conditional_mmd_loss(features, everyone, classes)
    # each domain has a class of its own
    loss = loss + conditional_mmd_loss(features, torch.arange(14) % 2 == 0, classes)
    loss.backward()
    assert loss.item() == 0
    assert (features.grad == 0).all()


def test_class_ratios_make_up_for_other_class_shares():
    a, b = torch.eye(4)[:2]
    features = torch.stack([a, a, a, b, a, b])
    is_source = torch.tensor([True] * 4 + [False] * 2)
    labels = torch.tensor([0, 0, 0, 1])
    ratio = class_ratio(torch.tensor([0.5, 0.5]), torch.tensor([3.0, 1.0]))
    torch.testing.assert_close(ratio, torch.tensor([0.5 / 0.75, 0.5 / 0.25]))
    weights = torch.cat([ratio[labels], torch.zeros(2)])
    assert mmd_loss(features, is_source).item() > 0.05
    assert abs(mmd_loss(features, is_source, weights).item()) < 1e-6


@pytest.mark.parametrize("conditional", [False, True])
def test_descent_brings_the_domains_together(conditional):
    features, is_source, labels = (torch.from_numpy(part) for part in two_domains())
    classes = functional.one_hot(labels, 3)
    features.requires_grad_()

    def gap():
        if not conditional:
            return (features[is_source].mean(0) - features[~is_source].mean(0)).norm().item()
        gaps = [
            features[is_source & (labels == c)].mean(0)
            - features[~is_source & (labels == c)].mean(0)
            for c in range(3)
        ]
        return torch.stack(gaps).norm(dim=1).mean().item()

    before = gap()
    loss = (
        conditional_mmd_loss(features, is_source, classes)
        if conditional
        else mmd_loss(features, is_source)
    )
    loss.backward()
    # both domains move, each with a finite step
    assert torch.isfinite(features.grad).all()
    assert min(features.grad[is_source].norm(), features.grad[~is_source].norm()) > 1e-3
    with torch.no_grad():
        features -= 0.5 * features.grad
    assert gap() < 0.98 * before


# ------------------------------------------------------------------- locality


def test_locality_equals_the_slow_one():
    rng = np.random.default_rng(2)
    features, labels = rng.normal(size=(16, 4)), np.array([0] * 8 + [1] * 5 + [2] * 2 + [3])
    rows = []
    for i in range(16):
        others = [j for j in range(16) if j != i and labels[j] == labels[i]]
        others.sort(key=lambda j: ((features[i] - features[j]) ** 2).sum())
        if others:
            mean = np.mean([features[j] for j in others[:3]], axis=0)
            rows.append(((features[i] - mean) ** 2).sum() / 2)
    assert len(rows) == 15  # the only row of class 3 has no neighbour
    found = locality_preserving_loss(torch.from_numpy(features), torch.from_numpy(labels), 3)
    np.testing.assert_allclose(found.item(), np.mean(rows), rtol=1e-9)


def test_locality_moves_each_row_to_its_neighbours():
    features = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 5.0], [9.0, 9.0]], requires_grad=True)
    locality_preserving_loss(features, torch.tensor([0, 0, 0, 1]), 1).backward()
    # each row's nearest of its class; the paper's gradient, row minus neighbour
    expected = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 5.0], [0.0, 0.0]]) / 3
    torch.testing.assert_close(features.grad, expected)


def test_rows_without_neighbours_give_no_loss():
    features = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = locality_preserving_loss(features, torch.arange(3), 20)
    loss.backward()
    assert loss.item() == 0
    assert (features.grad == 0).all()
