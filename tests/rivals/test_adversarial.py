"""Reversed gradients, domain discriminators and what CDAN makes of them."""

import numpy as np
import pytest
import torch

from adafer.deep.adversarial import (
    DomainDiscriminator,
    MultilinearMap,
    conditional_domain_loss,
    domain_loss,
    entropy,
    reversal_coefficient,
    reverse_gradient,
)
from adafer.deep.backbones import build_network


def mlp(n_classes=3, n_inputs=4):
    return build_network(
        "mlp", n_classes, feature_mean=torch.zeros(n_inputs), feature_std=torch.ones(n_inputs)
    )


def test_reversal_keeps_values_and_turns_the_gradient():
    x = torch.randn(5, 3, requires_grad=True)
    weights = torch.randn(5, 3)
    turned = reverse_gradient(x, 0.3)
    assert torch.equal(turned, x)
    (turned * weights).sum().backward()
    torch.testing.assert_close(x.grad, -0.3 * weights)


def test_schedule_rises_from_0_to_almost_1():
    found = [reversal_coefficient(p) for p in np.linspace(0, 1, 11)]
    assert found[0] == 0
    assert found[5] == pytest.approx(np.tanh(2.5))  # another form of the same curve
    assert 0.9999 < found[-1] < 1
    assert np.all(np.diff(found) > 0)


def slow_domain_loss(logits, is_source, weights):
    sums, totals = [0.0, 0.0], [0.0, 0.0]
    for logit, own, weight in zip(logits, is_source, weights, strict=True):
        p = 1 / (1 + np.exp(-logit))
        sums[int(own)] -= weight * np.log(p if own else 1 - p)
        totals[int(own)] += weight
    return (sums[0] / totals[0] + sums[1] / totals[1]) / 2


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_domain_loss_equals_a_slow_version(seed, weighted):
    rng = np.random.default_rng(seed)
    logits, is_source = 2 * rng.normal(size=13), np.arange(13) < 4
    weights = rng.random(13) if weighted else np.ones(13)
    found = domain_loss(
        torch.tensor(logits)[:, None],
        torch.tensor(is_source),
        torch.tensor(weights) if weighted else None,
    )
    assert found.item() == pytest.approx(slow_domain_loss(logits, is_source, weights))


def test_a_batch_of_one_domain_has_a_finite_loss():
    logits = torch.randn(4, 1, requires_grad=True)
    domain_loss(logits, torch.ones(4, dtype=torch.bool)).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().min() > 0


def test_the_discriminator_gives_one_logit_and_all_its_layers_learn():
    torch.manual_seed(0)
    discriminator = DomainDiscriminator(6, 16)
    rows, is_source = torch.randn(40, 6), torch.arange(40) < 20
    logits = discriminator(rows)
    assert logits.shape == (40, 1)
    # probabilities of one unit alone would all be 1, and their gradient 0
    assert logits.std() > 0
    domain_loss(logits, is_source).backward()
    for name, weight in discriminator.named_parameters():
        assert weight.grad.abs().max() > 1e-6, name


def test_a_step_betters_the_discriminator_and_worsens_the_features_for_it():
    torch.manual_seed(0)
    network, discriminator = mlp(), DomainDiscriminator(64, 32, dropout=0.0)
    rows, is_source = torch.randn(60, 4), torch.arange(60) < 30
    rows[:30] += 1.0

    def loss(coefficient=1.0):
        features = network.backbone(rows)
        return domain_loss(discriminator(reverse_gradient(features, coefficient)), is_source)

    for parts, sign in ((discriminator, -1), (network.backbone, 1)):
        before = loss()
        gradients = torch.autograd.grad(before, list(parts.parameters()))
        assert all(gradient.abs().max() > 0 for gradient in gradients)
        with torch.no_grad():
            for weight, gradient in zip(parts.parameters(), gradients, strict=True):
                weight -= 0.05 * gradient
        assert sign * (loss() - before).item() > 1e-5
    assert not torch.autograd.grad(loss(0.0), network.backbone[0].weight)[0].any()


def test_entropy_equals_a_slow_version():
    logits = np.random.default_rng(0).normal(size=(7, 4)) * 3
    slow = []
    for row in logits:
        p = np.exp(row) / np.exp(row).sum()
        slow.append(-sum(q * np.log(q) for q in p))
    np.testing.assert_allclose(entropy(torch.tensor(logits)), slow)
    assert torch.isfinite(entropy(torch.tensor([[1e4, 0.0]]))).all()


def test_multilinear_map_is_the_outer_product():
    features, shares = np.random.default_rng(0).random((2, 5, 3))
    multilinear = MultilinearMap(3, 3)
    assert (multilinear.n_units, multilinear.is_random) == (9, False)
    found = multilinear(torch.tensor(features), torch.tensor(shares)).numpy()
    for i in range(5):
        np.testing.assert_allclose(found[i], np.outer(shares[i], features[i]).ravel())


def test_large_maps_are_sketched_and_keep_inner_products():
    torch.manual_seed(0)
    features, shares = torch.randn(6, 50), torch.rand(6, 7).softmax(dim=1)
    exact = MultilinearMap(50, 7, max_units=350)
    sketch = MultilinearMap(50, 7, max_units=349)
    assert not exact.is_random
    assert sketch.is_random
    assert sketch(features, shares).shape == (6, 349)
    assert not list(sketch.parameters())
    whole = exact(features, shares)
    products = []
    for _ in range(300):
        found = MultilinearMap(50, 7, max_units=300)(features, shares)
        products.append(found @ found.T)
    near = torch.stack(products).mean(dim=0)
    scale = (whole @ whole.T).diagonal().mean()
    assert ((near - whole @ whole.T) / scale).abs().max() < 0.05


@pytest.mark.parametrize("conditioned", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_conditional_loss_equals_a_slow_version(seed, conditioned):
    rng = np.random.default_rng(seed)
    features, logits = rng.normal(size=(9, 5)), rng.normal(size=(9, 3))
    is_source, direction = np.arange(9) < 5, rng.normal(size=15)
    discriminator = torch.nn.Linear(15, 1, bias=False).double()
    discriminator.weight.data = torch.tensor(direction)[None]
    scores, weights = [], []
    for f, z in zip(features, logits, strict=True):
        p = np.exp(z) / np.exp(z).sum()
        scores.append(float(np.outer(p, f).ravel() @ direction))
        weights.append(1 + np.exp((p * np.log(p)).sum()) if conditioned else 1.0)
    found = conditional_domain_loss(
        torch.tensor(features),
        torch.tensor(logits),
        torch.tensor(is_source),
        MultilinearMap(5, 3),
        discriminator,
        1.0,
        entropy_conditioning=conditioned,
    )
    assert found.item() == pytest.approx(slow_domain_loss(scores, is_source, weights))


def test_conditional_loss_reaches_network_and_discriminator_with_opposite_signs():
    torch.manual_seed(0)
    network, multilinear = mlp(), MultilinearMap(64, 3)
    discriminator = DomainDiscriminator(multilinear.n_units, 16, dropout=0.0)
    rows, is_source = torch.randn(30, 4), torch.arange(30) < 15
    weights = [network.backbone[0].weight, network.classifier.weight, discriminator[0].weight]

    def gradients(coefficient, conditioned=True):
        pooled = network.backbone(rows)
        loss = conditional_domain_loss(
            pooled,
            network.classifier(pooled),
            is_source,
            multilinear,
            discriminator,
            coefficient,
            entropy_conditioning=conditioned,
        )
        return torch.autograd.grad(loss, weights, allow_unused=True)

    turned, plain = gradients(0.5), gradients(-1.0)
    for i, factor in ((0, -0.5), (1, -0.5), (2, 1.0)):
        assert plain[i].abs().max() > 0
        torch.testing.assert_close(turned[i], factor * plain[i])
    assert gradients(1.0, conditioned=False)[1] is None  # predictions are held fast
