"""Nodes of a face, graphs of two domains, and where their points come from."""

import copy
import pickle

import numpy as np
import pytest
import torch

from adafer.alignment import FIVE_POINTS
from adafer.deep.backbones import build_network
from adafer.deep.batches import augment
from adafer.deep.graphs import (
    FaceGraphNetwork,
    FaceNodes,
    GraphConvolution,
    GraphFeed,
    crop_at_points,
)
from adafer.deep.taps import Tap


def face_graph(backbone="convnet", size=32):
    torch.manual_seed(0)
    return FaceGraphNetwork(build_network(backbone, 3, image_size=size), n_clusters=4, n_units=8)


def test_a_tap_keeps_what_passes_and_leaves_the_layer_alone():
    layers = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
    with Tap(layers[1], "input") as before, Tap(layers[1]) as after:
        out = layers(torch.randn(4, 2))
    assert torch.equal(before.value.relu(), out)
    assert torch.equal(after.value, out)
    kept = after.value
    layers(torch.randn(4, 2))
    assert after.value is kept
    assert not layers[1]._forward_hooks


def slow_bilinear(image, x, y):
    """Value at a place in pixels; pixel i has its centre at i + 0.5."""
    total = 0.0
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            weight = max(0, 1 - abs(y - row - 0.5)) * max(0, 1 - abs(x - column - 0.5))
            total += weight * image[row, column]
    return total


@pytest.mark.parametrize("shape", [(8, 8), (6, 11)])
def test_crops_equal_a_slow_version(shape):
    rng = np.random.default_rng(0)
    maps, points = rng.normal(size=(2, 3, *shape)), rng.uniform(-0.1, 1.1, size=(2, 5, 2))
    found = crop_at_points(torch.tensor(maps), torch.tensor(points)).numpy()
    assert found.shape == (2, 5, 3, 7, 7)
    for n, p, c, i, j in ((0, 0, 0, 0, 0), (1, 4, 2, 6, 3), (0, 2, 1, 3, 3), (1, 3, 0, 0, 6)):
        x = (points[n, p, 0] + 0.25 * ((j + 0.5) / 7 - 0.5)) * shape[1]
        y = (points[n, p, 1] + 0.25 * ((i + 0.5) / 7 - 0.5)) * shape[0]
        assert found[n, p, c, i, j] == pytest.approx(slow_bilinear(maps[n, c], x, y))


def test_graph_convolution_is_a_weighted_mean_of_neighbours():
    torch.manual_seed(0)
    layer, nodes, links = GraphConvolution(4, 3), torch.randn(2, 5, 4), torch.randn(5, 5)
    links[3] = -1.0  # a node that none is linked with gets nothing
    found = layer(nodes, links)
    moved = nodes @ layer.linear.weight.T + layer.linear.bias
    for i in range(5):
        weights = [max(0.0, w) for w in links[i].tolist()]
        slow = sum(w * moved[:, j] for j, w in enumerate(weights)) / max(sum(weights), 1e-12)
        torch.testing.assert_close(found[:, i], torch.as_tensor(slow) * torch.ones(2, 3))


@pytest.mark.parametrize(
    ("backbone", "size", "n_nodes"),
    [("convnet", 32, 6), ("resnet18", 32, 6), ("mobilenet_v3_small", 64, 1)],
)
def test_local_nodes_where_there_is_a_map(backbone, size, n_nodes):
    network = face_graph(backbone, size)
    assert network.nodes.n_nodes == n_nodes
    features, logits = network(torch.randn(4, 3, size, size))
    assert features.shape == (4, 8 * n_nodes)
    assert logits.shape == (4, 3)


def test_points_say_where_to_look_and_those_of_aligned_faces_are_the_default():
    torch.manual_seed(0)
    nodes = FaceNodes(10, 4, 8).eval()
    pooled, maps = torch.randn(2, 10), torch.randn(2, 4, 12, 12)
    template = torch.tensor(FIVE_POINTS).float().expand(2, 5, 2).clone()
    plain = nodes(pooled, maps)
    torch.testing.assert_close(nodes(pooled, maps, template), plain)
    torch.testing.assert_close(nodes(pooled, maps, torch.full((2, 5, 2), torch.nan)), plain)
    template[1, 3] += 0.2
    moved = (nodes(pooled, maps, template) - plain).abs().sum(dim=2) > 1e-4
    assert moved.nonzero().tolist() == [[1, 4]]  # node 0 is the whole face


def test_points_are_flipped_with_their_faces():
    torch.manual_seed(0)
    points = torch.rand(40, 5, 2)
    points[7] = torch.nan
    faces = torch.zeros(40, 3, 50, 50)
    for face, (left, *_) in zip(faces, points.nan_to_num(), strict=True):
        face[:, int(left[1] * 50), int(left[0] * 50)] = 1.0
    given = points.clone()
    out = augment(faces, torch.Generator().manual_seed(0), erase=0.0, points=given)
    flipped = torch.tensor([not torch.equal(a, b) for a, b in zip(out, faces, strict=True)])
    assert 10 < flipped.sum() < 30
    for i in range(40):
        if i == 7:
            assert given[i].isnan().all()
        elif flipped[i]:
            expected = [[1 - x, y] for x, y in points[i, [1, 0, 2, 4, 3]].tolist()]
            torch.testing.assert_close(given[i], torch.tensor(expected))
            # the left eye has become the one on the right
            row, column = (out[i, 0] == 1).nonzero()[0].tolist()
            assert abs(given[i, 1, 0] * 50 - column - 0.5) < 1.01
            assert abs(given[i, 1, 1] * 50 - row - 0.5) < 0.51
        else:
            assert torch.equal(given[i], points[i])


def test_a_face_gets_the_nearest_means_of_the_other_domain():
    network = face_graph()
    nodes = torch.randn(6, 6, 8)
    of_source = torch.tensor([True, False] * 3)
    torch.testing.assert_close(network._nearest_means(nodes, of_source), nodes)  # none as yet
    means = np.random.default_rng(0).normal(size=(2, 4, 48)).astype(np.float32)
    network.set_means(means)
    found = network._nearest_means(nodes, of_source).flatten(1).numpy()
    for i, row in enumerate(nodes.flatten(1).numpy()):
        own = means[0 if of_source[i] else 1]
        np.testing.assert_allclose(found[i], own[((own - row) ** 2).sum(axis=1).argmin()])


def test_means_follow_the_rows_near_them():
    network = face_graph()
    means = np.random.default_rng(0).normal(size=(2, 4, 48)).astype(np.float32)
    network.set_means(means)
    nodes = torch.randn(9, 6, 8)
    is_source = torch.arange(9) < 5
    network.update_means(nodes, is_source, 0.1)
    expected = means.copy()
    flat = nodes.flatten(1).numpy()
    for side, rows in ((0, flat[:5]), (1, flat[5:])):
        near = [((means[side] - row) ** 2).sum(axis=1).argmin() for row in rows]
        for k in set(near):
            mean = np.mean([r for r, n in zip(rows, near, strict=True) if n == k], axis=0)
            expected[side, k] = 0.9 * means[side, k] + 0.1 * mean
    np.testing.assert_allclose(network.means.numpy(), expected, atol=1e-6)
    assert (network.means.numpy() == means).all(axis=2).any()  # a mean without rows stays


def test_every_part_learns_and_both_domains_take_their_own_side():
    network = face_graph()
    network.set_means(np.random.default_rng(0).normal(size=(2, 4, 48)))
    pictures, is_source = torch.rand(12, 3, 32, 32), torch.arange(12) < 6
    _, logits = network(pictures, None, is_source)
    torch.nn.functional.cross_entropy(logits, torch.arange(12) % 3).backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name
    linked = network.links_across.grad != 0
    assert not linked[:6, :6][~torch.eye(6, dtype=torch.bool)].any()
    network.eval()
    as_target = network(pictures)[1]
    torch.testing.assert_close(
        network(pictures, None, torch.zeros(12, dtype=torch.bool))[1], as_target
    )
    assert (
        network(pictures, None, torch.ones(12, dtype=torch.bool))[1] - as_target
    ).abs().max() > 0


@pytest.mark.parametrize("side", [0, 1])
def test_only_faces_of_the_other_domain_look_at_a_domain_s_means(side):
    network = face_graph().eval()
    pictures, is_source = torch.rand(8, 3, 32, 32), torch.arange(8) < 4
    means = np.random.default_rng(0).random((2, 4, 48))
    logits = []
    for shift in (0.0, 1.0):
        means[side] += shift
        network.set_means(means)
        logits.append(network(pictures, None, is_source)[1].detach())
    moved = (logits[0] - logits[1]).abs().amax(dim=1) > 1e-5
    assert torch.equal(moved, ~is_source if side == 0 else is_source)


def test_a_face_graph_is_copied_and_pickled():
    network = face_graph().eval()
    pictures = torch.rand(3, 3, 32, 32)
    for same in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(same(pictures)[1], network(pictures)[1])


def test_a_feed_of_graphs_knows_domains_and_points():
    parts = [np.zeros((n, 8, 8, 3), dtype=np.uint8) for n in (3, 2)]
    points = np.random.default_rng(0).random((2, 5, 2))
    feed = GraphFeed(parts, [None, points], 3, torch.device("cpu"))
    beside = feed.beside(torch.tensor([4, 0]))
    assert beside["is_source"].tolist() == [False, True]
    np.testing.assert_allclose(beside["points"][0].numpy(), points[1], rtol=1e-6)
    assert beside["points"][1].isnan().all()
    assert set(GraphFeed(parts, [None, None], 3, torch.device("cpu")).beside(torch.arange(2))) == {
        "is_source"
    }
