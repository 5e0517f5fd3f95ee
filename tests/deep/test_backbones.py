import numpy as np
import pytest
import torch

from adafer.deep.backbones import backbone_names, build_network
from adafer.deep.batches import Feed
from adafer.deep.inference import estimate_statistics


@pytest.mark.parametrize(
    ("backbone", "image_size", "n_features"),
    [
        ("convnet", 32, 256),
        ("resnet18", 64, 512),
        ("resnet50", 64, 2048),
        ("mobilenet_v3_small", 48, 1024),
        ("efficientnet_b0", 48, 1280),
        ("shufflenet_v2_x0_5", 64, 1024),
        ("convnext_tiny", 64, 768),
        ("vit_b_16", 64, 768),
        ("googlenet", 64, 1024),
        ("densenet121", 48, 1024),
    ],
)
def test_torchvision_networks_give_unit_features_and_class_scores(backbone, image_size, n_features):
    torch.manual_seed(0)
    network = build_network(backbone, 7, image_size=image_size)
    with torch.no_grad():
        features, logits = network(torch.randn(2, 3, image_size, image_size))
    assert features.shape == (2, n_features)
    assert logits.shape == (2, 7)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize(("image_size", "kept"), [(64, True), (224, False)])
def test_the_stem_does_not_pool_small_faces_away(image_size, kept):
    network = build_network("resnet18", 2, image_size=image_size)
    sizes = []
    network.backbone.layer1.register_forward_hook(lambda m, i, o: sizes.append(o.shape[-1]))
    network.eval()(torch.zeros(1, 3, image_size, image_size))
    assert sizes == [image_size // 2 if kept else image_size // 4]


def test_features_of_resnet_come_from_the_last_pooling_layer():
    network = build_network("resnet18", 2, image_size=64).eval()
    pooled = []
    network.backbone.avgpool.register_forward_hook(lambda m, i, o: pooled.append(o.flatten(1)))
    with torch.no_grad():
        features, _ = network(torch.randn(3, 3, 64, 64))
    torch.testing.assert_close(features, torch.nn.functional.normalize(pooled[0], dim=1))


def test_unknown_backbone_is_refused_with_near_names():
    with pytest.raises(ValueError, match=r"'resnet19' is not known.*resnet18"):
        build_network("resnet19", 2, image_size=64)


def test_network_without_a_linear_end_is_refused():
    assert "squeezenet1_0" in backbone_names()
    with pytest.raises(ValueError, match="does not end in a linear layer"):
        build_network("squeezenet1_0", 2, image_size=64)


def test_faces_too_small_for_a_network_are_refused():
    with pytest.raises(ValueError, match="cannot take faces of 16 x 16"):
        build_network("vit_b_32", 2, image_size=16)


def test_estimated_statistics_are_those_of_the_inputs_under_the_final_weights():
    torch.manual_seed(0)
    network = build_network("convnet", 2, image_size=16)
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    feed = Feed([faces], torch.device("cpu"))
    rows = np.arange(10, 40)
    estimate_statistics(network, feed, rows, batch_size=64)
    inputs = network.normalize(feed.batch(torch.arange(10, 40)))
    convolution, normalisation = network.backbone[0], network.backbone[1]
    with torch.no_grad():
        first = convolution(inputs)
    torch.testing.assert_close(normalisation.running_mean, first.mean((0, 2, 3)))
    torch.testing.assert_close(normalisation.running_var, first.var((0, 2, 3)))
    assert normalisation.momentum == 0.1
    # with all rows in one batch, predictions equal those by batch statistics
    with torch.no_grad():
        by_estimate = network(inputs)[1]
        network.train()
        by_batch = network(inputs)[1]
    torch.testing.assert_close(by_estimate, by_batch, rtol=0.05, atol=0.02)
