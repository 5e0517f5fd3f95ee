import numpy as np
import pytest
import torch

from adafer.deep.backbones import build_network
from adafer.deep.joint import JointBatch
from adafer.deep.losses import (
    Margin,
    class_confusion_loss,
    classification_loss,
    soft_cross_entropy,
    soft_divergence,
    triplet_loss,
)


def slow_softmax(row):
    shifted = np.exp(row - row.max())
    return shifted / shifted.sum()


def random_batch(seed, n=12, n_classes=4):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, n_classes))
    source = rng.random(n) < 0.5
    source[:2] = [True, False]
    truth = np.where(source, rng.integers(0, n_classes, n), -1)
    weights = np.where(source, 0.0, rng.random(n) < 0.6)
    weights[1] = 1.0
    soft = rng.dirichlet(np.ones(n_classes), n) * weights[:, None]
    soft[1] = np.eye(n_classes)[2]  # zeros in the label must not give NaN
    hard = np.eye(n_classes)[rng.integers(0, n_classes, n)] * weights[:, None]
    return logits, source, truth, weights, soft, hard


def slow_equation_3(logits, source, truth, weights, soft, hard, beta):
    cross_source, cross_hard, divergence = [], [], []
    for i, row in enumerate(logits):
        p = slow_softmax(row)
        if source[i]:
            cross_source.append(-np.log(p[truth[i]]))
        elif weights[i] > 0:
            cross_hard.append(-sum(hard[i, c] * np.log(p[c]) for c in range(len(p))))
            divergence.append(
                sum(q * (np.log(q) - np.log(p[c])) for c, q in enumerate(soft[i]) if q > 0)
            )
    return np.mean(cross_source) + beta * (np.mean(cross_hard) + np.mean(divergence))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("beta", [0.0, 1.0, 1.75])
def test_equation_3_equals_a_slow_version(seed, beta):
    logits, source, truth, weights, soft, hard = random_batch(seed)
    loss, terms = classification_loss(
        torch.tensor(logits),
        torch.tensor(source),
        torch.tensor(truth),
        {"t-soft": torch.tensor(soft), "s-hard": torch.tensor(hard)},
        torch.tensor(weights),
        beta,
    )
    assert loss.item() == pytest.approx(
        slow_equation_3(logits, source, truth, weights, soft, hard, beta)
    )
    assert set(terms) == {"source", "t-soft", "s-hard"}


def test_masked_targets_do_not_move_the_loss():
    logits, source, truth, weights, soft, hard = random_batch(3)
    masked = (weights == 0) & ~source
    assert masked.any()
    tensors = [torch.tensor(v) for v in (source, truth)]

    def loss(values):
        labels = {"t-soft": torch.tensor(soft), "s-hard": torch.tensor(hard)}
        return classification_loss(
            torch.tensor(values), *tensors, labels, torch.tensor(weights), 1.0
        )[0].item()

    moved = logits.copy()
    moved[masked] += np.random.default_rng(0).normal(size=moved[masked].shape)
    assert loss(moved) == loss(logits)
    moved[~masked] *= 1.1
    assert loss(moved) != loss(logits)


def test_divergence_has_the_label_as_reference():
    logits = torch.zeros(1, 2)
    certain = soft_divergence(logits, torch.tensor([[1.0, 0.0]]), torch.ones(1))
    assert certain.item() == pytest.approx(np.log(2))
    equal = soft_divergence(logits, torch.tensor([[0.5, 0.5]]), torch.ones(1))
    assert equal.item() == pytest.approx(0, abs=1e-7)


def test_s_hard_over_all_matches_differs_from_t_soft_by_the_labels_entropy_only():
    logits, _, _, _, _, _ = random_batch(4)
    labels = np.random.default_rng(0).dirichlet(np.ones(4), len(logits))
    ones = torch.ones(len(logits), dtype=torch.float64)
    scores = torch.tensor(logits, requires_grad=True)
    cross = soft_cross_entropy(scores, torch.tensor(labels), ones)
    divergence = soft_divergence(scores, torch.tensor(labels), ones)
    entropy = -(labels * np.log(labels)).sum(axis=1).mean()
    assert cross.item() - divergence.item() == pytest.approx(entropy)
    first, second = (
        torch.autograd.grad(v, scores, retain_graph=True)[0] for v in (cross, divergence)
    )
    torch.testing.assert_close(first, second)


def test_a_batch_without_labelled_target_has_a_finite_loss():
    logits = torch.randn(4, 3, requires_grad=True)
    loss, _ = classification_loss(
        logits,
        torch.tensor([True, True, False, False]),
        torch.tensor([0, 1, -1, -1]),
        {"t-soft": torch.zeros(4, 3)},
        torch.zeros(4),
        1.0,
    )
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad[2:].any()


@pytest.mark.parametrize("seed", range(20))
def test_equation_4_equals_a_slow_version(seed):
    rng = np.random.default_rng(seed)
    triple = rng.normal(size=(3, 15, 6))
    triple /= np.linalg.norm(triple, axis=2, keepdims=True)
    margin = rng.uniform(0.1, 1.5)
    loss, active = triplet_loss(*map(torch.tensor, triple), margin)
    slow = []
    for a, p, n in zip(*triple, strict=True):
        slow.append(
            max(0.0, margin + np.sqrt(((a - p) ** 2).sum()) - np.sqrt(((a - n) ** 2).sum()))
        )
    assert loss.item() == pytest.approx(np.mean(slow))
    assert active.item() == pytest.approx(np.mean(np.array(slow) > 0))


def test_equal_features_have_a_finite_gradient():
    feature = torch.nn.functional.normalize(torch.ones(2, 3), dim=1).requires_grad_()
    loss, _ = triplet_loss(feature, feature, feature, 0.5)
    loss.backward()
    assert torch.isfinite(feature.grad).all()


@pytest.mark.parametrize("term", ["source", "t-soft", "s-hard", "triplet"])
def test_each_loss_reaches_every_layer_of_the_backbone(term):
    torch.manual_seed(0)
    network = build_network("convnet", 3, image_size=32)
    network.train()
    features, logits = network(torch.randn(12, 3, 32, 32))
    labels = torch.eye(3)[torch.arange(12) % 3]
    if term == "triplet":
        loss, _ = triplet_loss(*features.chunk(3), 0.5)
    else:
        _, terms = classification_loss(
            logits,
            torch.arange(12) < 6,
            torch.arange(12) % 3,
            {"t-soft": labels * 0.8 + 0.2 / 3, "s-hard": labels},
            torch.ones(12),
            1.0,
        )
        loss = terms[term]
    loss.backward()
    for name, parameter in network.backbone.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name
    reaches_classifier = network.classifier.weight.grad is not None
    assert reaches_classifier == (term != "triplet")


def test_minimising_equation_4_brings_positives_near_and_parts_negatives():
    torch.manual_seed(0)
    network = build_network("mlp", 2, feature_mean=torch.zeros(5), feature_std=torch.ones(5))
    inputs = torch.randn(60, 5)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)

    def gap():
        a, p, n = network(inputs)[0].chunk(3)
        return ((a - n).norm(dim=1) - (a - p).norm(dim=1)).mean().item()

    before = gap()
    for _ in range(60):
        loss, _ = triplet_loss(*network(inputs)[0].chunk(3), 0.5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert gap() > before + 0.3


def test_fixed_margin_stays_and_learnable_margin_starts_at_its_value():
    fixed = Margin(0.7)
    assert fixed().item() == pytest.approx(0.7)
    assert list(fixed.parameters()) == []
    assert fixed.penalty().item() == 0
    assert Margin(0.5, learnable=True)().item() == pytest.approx(0.5)


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_learnable_margin_rests_at_regularization_over_the_violating_share(share):
    margin = Margin(0.5, learnable=True, regularization=0.2)
    optimizer = torch.optim.Adam(margin.parameters(), lr=0.02)
    for _ in range(1500):
        # the derivative of Equation 4 by the margin is the violating share
        loss = share * margin() + margin.penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert margin().item() == pytest.approx(0.2 / share, rel=0.02)
    assert margin().item() > 0


@pytest.mark.parametrize("seed", range(5))
def test_class_confusion_equals_a_slow_version(seed):
    logits = np.random.default_rng(seed).normal(size=(12, 4)) * 3
    shares = np.array([slow_softmax(row / 2.5) for row in logits])
    sureness = [1 + np.exp(sum(p * np.log(p) for p in row)) for row in shares]
    total = 0.0
    for a in range(4):
        together = [
            sum(
                12 * w / sum(sureness) * row[a] * row[b]
                for w, row in zip(sureness, shares, strict=True)
            )
            for b in range(4)
        ]
        total += sum(together[b] for b in range(4) if b != a) / sum(together)
    assert class_confusion_loss(torch.tensor(logits)).item() == pytest.approx(total / 4, rel=1e-9)


def test_class_confusion_reaches_the_backbone_and_makes_predictions_distinct():
    torch.manual_seed(0)
    network = build_network("convnet", 3, image_size=32)
    pictures = torch.rand(12, 3, 32, 32)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    losses = []
    for _ in range(5):
        loss = class_confusion_loss(network(network.normalize(pictures))[1])
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad.abs().sum() > 0 for p in list(network.parameters())[:1])
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_sample_weights_scale_the_rows_of_the_sources_loss():
    logits, source, truth, weights, soft, _ = random_batch(3)
    of_rows = np.random.default_rng(3).random(len(logits)) + 0.5
    table = {"t-soft": torch.tensor(soft)}
    given = torch.tensor(logits), torch.tensor(source), torch.tensor(truth), table
    _, plain = classification_loss(*given, torch.tensor(weights), 1.0)
    _, terms = classification_loss(
        *given, torch.tensor(weights), 1.0, source_weights=torch.tensor(of_rows)
    )
    slow = [-of_rows[i] * np.log(slow_softmax(logits[i])[truth[i]]) for i in np.flatnonzero(source)]
    assert float(terms["source"]) == pytest.approx(np.mean(slow))
    assert terms["t-soft"] == plain["t-soft"]
    no = torch.empty(0)
    batch = JointBatch(
        rows=no,
        is_source=given[1],
        source_at=no,
        target_at=no,
        labels=given[2],
        features=no,
        logits=given[0],
        progress=0.0,
        pooled=no,
        weights=torch.tensor(of_rows),
    )
    assert float(batch.source_loss()) == pytest.approx(np.mean(slow))
    assert float(batch.source_loss(2 * given[0])) != pytest.approx(np.mean(slow))
