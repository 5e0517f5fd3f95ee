import numpy as np
import pytest
import torch

from adafer.deep.pseudo import (
    TargetOpinions,
    adjusted_templates,
    balanced_labels,
    cluster_labels,
    consistency_loss,
    entropy_loss,
    information_maximization_loss,
    strong_augment,
)

CPU = torch.device("cpu")


def some_logits(n=9, n_classes=4, seed=0):
    return torch.from_numpy(2 * np.random.default_rng(seed).normal(size=(n, n_classes)))


def slow_softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def slow_entropy(probabilities):
    return -sum(p * np.log(p) for p in probabilities)


def descend(loss_of, logits, rate=0.5):
    logits = logits.clone().requires_grad_()
    loss_of(logits).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.norm() > 1e-3
    return (logits - rate * logits.grad).detach()


# ------------------------------------------------------ entropy and diversity


def test_entropy_and_diversity_equal_slow_ones():
    logits = some_logits()
    probabilities = slow_softmax(logits.numpy())
    entropy, negative_diversity = information_maximization_loss(logits)
    expected = np.mean([slow_entropy(row) for row in probabilities])
    np.testing.assert_allclose(entropy.item(), expected)
    np.testing.assert_allclose(entropy_loss(logits).item(), expected)
    np.testing.assert_allclose(negative_diversity.item(), -slow_entropy(probabilities.mean(axis=0)))


def test_information_maximization_makes_sure_and_spreads():
    logits = some_logits(n=40)
    surer = descend(entropy_loss, logits, rate=20.0)
    assert entropy_loss(surer) < entropy_loss(logits) - 0.01
    one_sided = logits + torch.tensor([2.0, 0, 0, 0])
    spread = descend(lambda z: information_maximization_loss(z)[1], one_sided, rate=20.0)
    shares = [z.softmax(dim=1).mean(dim=0) for z in (one_sided, spread)]
    assert shares[1].max() < shares[0].max() - 0.01


def test_entropy_is_finite_where_a_prediction_is_certain():
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    entropy, negative_diversity = information_maximization_loss(logits)
    (entropy + negative_diversity).backward()
    assert torch.isfinite(logits.grad).all()
    np.testing.assert_allclose([entropy.item(), negative_diversity.item()], [0, -np.log(2)])


# ------------------------------------------------------------- pseudo-labels


def slow_clusters(features, probabilities, n_rounds):
    n, n_classes = probabilities.shape
    weights, labels = probabilities, probabilities.argmax(axis=1)
    for _ in range(n_rounds):
        centroids = {}
        for c in set(labels.tolist()):
            centre = sum(weights[i, c] * features[i] for i in range(n)) / weights[:, c].sum()
            centroids[c] = centre / np.linalg.norm(centre)
        labels = np.array([max(centroids, key=lambda c: f @ centroids[c]) for f in features])
        weights = np.array([[float(label == c) for c in range(n_classes)] for label in labels])
    return labels


@pytest.mark.parametrize("n_rounds", [1, 2, 3])
def test_cluster_labels_equal_slow_ones(n_rounds):
    rng = np.random.default_rng(3)
    features = rng.normal(size=(40, 3))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    probabilities = slow_softmax(2 * rng.normal(size=(40, 5)))
    probabilities[:, 4] = 1e-9  # a class that nobody bears
    found = cluster_labels(features, probabilities, n_rounds=n_rounds)
    np.testing.assert_array_equal(found, slow_clusters(features, probabilities, n_rounds))
    assert 4 not in found
    assert (found != probabilities.argmax(axis=1)).any()


def test_cluster_labels_mend_what_the_network_gets_wrong():
    angles = np.concatenate([np.linspace(-0.3, 0.3, 20), np.linspace(1.2, 1.8, 20)])
    features = np.column_stack([np.cos(angles), np.sin(angles)])
    probabilities = np.where(np.arange(40)[:, None] < 26, [0.7, 0.3], [0.3, 0.7])
    np.testing.assert_array_equal(cluster_labels(features, probabilities), np.arange(40) >= 20)


def test_opinions_are_running_averages():
    start = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    opinions = TargetOpinions(start, CPU, momentum=0.75)
    logits = torch.tensor([[0.2, 0.8], [0.0, 1.0]]).clamp_min(1e-9).log().requires_grad_()
    opinions.look(torch.tensor([2, 0]), logits)
    expected = [[0.75 * 0.9, 0.75 * 0.1 + 0.25], [0.2, 0.8], [0.5, 0.5]]
    np.testing.assert_allclose(opinions.average, expected, atol=1e-6)
    assert not opinions.average.requires_grad
    assert opinions.labels(torch.tensor([1, 0])).tolist() == [1, 0]
    np.testing.assert_allclose(opinions.prior(), np.mean(expected, axis=0), atol=1e-6)


# ---------------------------------------------------------------- consistency


@pytest.mark.parametrize("portion", [0.01, 0.3, 1.0])
def test_the_surest_of_each_class_are_labelled(portion):
    rng = np.random.default_rng(5)
    probabilities = slow_softmax(2 * rng.normal(size=(60, 4)) + [2, 0, 0, 0])
    probabilities[:, 3] = 1e-9  # a class that nobody bears
    expected, least = np.zeros(60, dtype=bool), np.ones(4)
    for c in range(3):
        own = [i for i in range(60) if probabilities[i].argmax() == c]
        own.sort(key=lambda i: -probabilities[i, c])
        own = own[: max(1, round(portion * len(own)))]
        expected[own] = True
        least[c] = probabilities[own[-1], c]
    labels, chosen, thresholds = balanced_labels(torch.from_numpy(probabilities), portion)
    np.testing.assert_array_equal(labels, probabilities.argmax(axis=1))
    np.testing.assert_array_equal(chosen, expected)
    np.testing.assert_array_equal(thresholds, least)


def test_consistency_equals_the_slow_one():
    strong = some_logits(seed=1)
    labels = np.array([0, 1, 2, 3, 0, 1, 2, 3, 0])
    chosen = np.arange(9) % 3 == 1
    rows = [-np.log(slow_softmax(strong.numpy())[i, labels[i]]) for i in range(9) if chosen[i]]
    loss = consistency_loss(strong, torch.from_numpy(labels), torch.from_numpy(chosen))
    np.testing.assert_allclose(loss.item(), sum(rows) / 9)


def test_chosen_rows_are_pulled_to_their_labels_and_others_left():
    strong = torch.zeros(2, 3, requires_grad=True)
    consistency_loss(strong, torch.tensor([0, 1]), torch.tensor([True, False])).backward()
    assert strong.grad[0, 0] < 0 < strong.grad[0, 1]
    assert (strong.grad[1] == 0).all()


# ------------------------------------------------------------------ templates


def slow_templates(weight, bias, features, n_supports):
    supports = np.concatenate([weight, features])
    probabilities = slow_softmax(supports @ weight.T + bias)
    templates = []
    for c in range(len(weight)):
        members = [i for i in range(len(supports)) if probabilities[i].argmax() == c]
        members.sort(key=lambda i: slow_entropy(probabilities[i]))
        chosen = members if n_supports is None else members[:n_supports]
        total = sum((supports[i] / np.linalg.norm(supports[i]) for i in chosen), np.zeros(3))
        if not chosen:
            total = weight[c]
        templates.append(total / np.linalg.norm(total))
    return np.array(templates)


@pytest.mark.parametrize("n_supports", [1, 4, 1000, None])
def test_templates_equal_slow_ones(n_supports):
    rng = np.random.default_rng(4)
    weight, bias, features = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=(30, 3))
    bias[3] = -50  # nobody is taken for class 3, its own weights included
    found = adjusted_templates(
        *(torch.from_numpy(part) for part in (weight, bias, features)), n_supports
    )
    expected = slow_templates(weight, bias, features, n_supports)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found[3], weight[3] / np.linalg.norm(weight[3]))


# --------------------------------------------------------- strong augmentation


def test_strong_views_of_faces_differ_and_are_repeatable():
    rng = torch.Generator().manual_seed(0)
    faces = torch.rand(6, 3, 20, 24, generator=rng)
    views = [strong_augment(faces, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*views)
    assert views[0].shape == faces.shape
    assert torch.isfinite(views[0]).all()
    assert ((views[0] - faces).abs().mean(dim=(1, 2, 3)) > 0.05).all()
    # one face, six draws: each is changed in its own way
    same = strong_augment(faces[:1].expand(6, -1, -1, -1), torch.Generator().manual_seed(1))
    assert len({round(view.sum().item(), 3) for view in same}) == 6


def test_a_strong_view_is_still_the_same_picture():
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    face = ((y - 15.5) ** 2 + (x - 15.5) ** 2 < 64).float().expand(40, 3, 32, 32)
    views = strong_augment(face, torch.Generator().manual_seed(2))
    inside = (views * face).sum(dim=(1, 2, 3)) / face.sum(dim=(1, 2, 3))
    outside = (views * (1 - face)).sum(dim=(1, 2, 3)) / (1 - face).sum(dim=(1, 2, 3))
    assert (inside > outside + 0.2).float().mean() > 0.9


def test_features_are_dropped_and_get_noise():
    features = torch.full((2000, 4), 3.0)
    views = strong_augment(features, torch.Generator().manual_seed(0), strength=1.0)
    kept = views > 1.5
    np.testing.assert_allclose(kept.float().mean(), 0.9, atol=0.01)
    np.testing.assert_allclose((views[kept] - 3).std(), 0.5, atol=0.02)
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(strong_augment(features, generator, strength=0.0), features)
