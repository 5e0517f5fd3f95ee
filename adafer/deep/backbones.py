"""Networks that give features and class scores."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision import models

__all__ = ["SMALL_FACE", "AdaFERNetwork", "backbone_names", "build_network"]

# Below this many pixels the first pooling of a network made for 224 pixels
# would throw the face away.
SMALL_FACE = 96

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ConvNet(nn.Sequential):
    """Four convolutions with batch normalisation: quick on a CPU, for small faces.

    Parameters
    ----------
    widths : sequence of int, default=(32, 64, 128, 256)
        Channels of each block; each block halves the picture, the first by its
        stride, the others by pooling.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 128, 256)):
        layers: list[nn.Module] = []
        n_in = 3
        for n_out in widths:
            kernel, stride = (5, 2) if n_in == 3 else (3, 1)
            layers += [
                nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2, bias=False),
                nn.BatchNorm2d(n_out),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2) if stride == 1 else nn.Identity(),
            ]
            n_in = n_out
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.n_features = n_in


class MLP(nn.Sequential):
    """Two hidden layers, for inputs that are features already.

    Parameters
    ----------
    n_inputs : int
    widths : sequence of int, default=(128, 64)
    """

    def __init__(self, n_inputs: int, widths: Sequence[int] = (128, 64)):
        layers: list[nn.Module] = []
        n_in = n_inputs
        for n_out in widths:
            layers += [nn.Linear(n_in, n_out), nn.ReLU(inplace=True)]
            n_in = n_out
        super().__init__(*layers)
        self.n_features = n_in


class AdaFERNetwork(nn.Module):
    """A backbone and a linear classifier.

    Parameters
    ----------
    backbone : torch.nn.Module
        Maps inputs to features ``(n, n_features)``.
    n_features, n_classes : int
    mean, std : Tensor
        Inputs are normalised by them inside the network, so that a saved
        network carries its preprocessing. Shape (3, 1, 1) for faces with
        values in [0, 1], (n_inputs,) for features.
    """

    # Whether the backbone's output is all that is read of it.
    can_be_compiled = True

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, n_features: int, n_classes: int, mean: Tensor, std: Tensor
    ):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.backbone = backbone
        self.classifier = nn.Linear(n_features, n_classes)

    def normalize(self, inputs: Tensor, *, in_place: bool = False) -> Tensor:
        """Bring raw inputs to the scale the backbone expects."""
        if in_place:
            return inputs.sub_(self.mean).div_(self.std)
        return (inputs - self.mean) / self.std

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Features and class scores of normalised inputs.

        Parameters
        ----------
        inputs : Tensor of shape (n, 3, size, size) or (n, n_inputs)

        Returns
        -------
        features : Tensor of shape (n, n_features)
            Output of the last pooling layer, L2-normalised.
        logits : Tensor of shape (n, n_classes)
        """
        pooled = self.backbone(inputs)
        return nn.functional.normalize(pooled, dim=1), self.classifier(pooled)


def backbone_names() -> list[str]:
    """Names that `build_network` takes for faces, torchvision's and our own."""
    return ["convnet", *sorted(models.list_models(module=models))]


def build_network(
    backbone: str,
    n_classes: int,
    *,
    image_size: int | None = None,
    feature_mean: Tensor | None = None,
    feature_std: Tensor | None = None,
) -> AdaFERNetwork:
    """Make an untrained network.

    Parameters
    ----------
    backbone : str
        A torchvision classification network (``"resnet18"``), ``"convnet"``
        (small, for quick runs on faces of 32 to 64 pixels) or ``"mlp"``.
    n_classes : int
    image_size : int, optional
        Pixels of the faces; needed but for ``"mlp"``. Below 96 pixels the first
        pooling (residual networks) or the first stride (others) is removed.
    feature_mean, feature_std : Tensor of shape (n_inputs,), optional
        Scale of the inputs; ``"mlp"`` only.

    Returns
    -------
    AdaFERNetwork

    Raises
    ------
    ValueError
        If the name is unknown or the network cannot take faces of this size.
    """
    if backbone == "mlp":
        if feature_mean is None or feature_std is None:
            raise ValueError("backbone='mlp' needs feature_mean and feature_std.")
        mlp = MLP(len(feature_mean))
        return AdaFERNetwork(mlp, mlp.n_features, n_classes, feature_mean, feature_std)
    mean = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD).view(3, 1, 1)
    if image_size is None:
        raise ValueError(f"backbone={backbone!r} needs image_size, the faces' side in pixels.")
    if backbone == "convnet":
        small = ConvNet()
        return AdaFERNetwork(small, small.n_features, n_classes, mean, std)
    try:
        body, n_features = _without_head(_torchvision_body(backbone, image_size), backbone)
        if image_size < SMALL_FACE:
            _keep_resolution(body)
        network = AdaFERNetwork(body, n_features, n_classes, mean, std).eval()
        _try(network, image_size)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"backbone={backbone!r} cannot take faces of {image_size} x {image_size} pixels "
            f"({error}). Use a larger image_size or another backbone."
        ) from error
    return network.train()


def _try(network: AdaFERNetwork, image_size: int) -> None:
    """Let a picture of this size through, in shapes alone: without its time and memory."""
    state = {name: tensor.to("meta") for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        picture = torch.zeros(1, 3, image_size, image_size, device="meta")
        torch.func.functional_call(network, state, (picture,))


def _torchvision_body(backbone: str, image_size: int) -> nn.Module:
    known = backbone_names()
    if backbone not in known:
        close = [name for name in known if backbone[:4].lower() in name]
        raise ValueError(
            f"backbone={backbone!r} is not known. Expected 'convnet' or a torchvision "
            f"classification network such as {', '.join(close[:6]) or 'resnet18'}."
        )
    builder = models.get_model_builder(backbone)
    options: dict = {"weights": None}
    accepted = inspect.signature(builder).parameters
    if backbone.startswith("vit_"):
        options["image_size"] = image_size
    if "aux_logits" in accepted or backbone in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": True}
    return builder(**options)


def _without_head(body: nn.Module, backbone: str) -> tuple[nn.Module, int]:
    """Replace the last linear layer, which made ImageNet's classes, by nothing."""
    last = None
    for name, module in body.named_modules():
        if isinstance(module, nn.Linear):
            last = name
    if last is None or not last.split(".")[0].startswith(("fc", "classifier", "head")):
        raise ValueError(
            f"backbone={backbone!r} does not end in a linear layer, so that its features "
            "cannot be read. Use a residual, VGG, MobileNet, EfficientNet, ConvNeXt or ViT network."
        )
    parent_name, _, child = last.rpartition(".")
    parent = body.get_submodule(parent_name)
    n_features = getattr(parent, child).in_features
    setattr(parent, child, nn.Identity())
    return body, n_features


def _keep_resolution(body: nn.Module) -> None:
    if isinstance(getattr(body, "maxpool", None), nn.MaxPool2d):
        body.maxpool = nn.Identity()
        return
    for module in body.modules():
        if isinstance(module, nn.Conv2d) and max(module.stride) == 2:
            module.stride = (1, 1)
            return
