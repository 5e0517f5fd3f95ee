"""Starting from weights that somebody else has trained."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torchvision import models

from .._download import download
from ._state_files import read_state
from .backbones import AdaFERNetwork

__all__ = ["LoadReport", "download", "download_imagenet", "imagenet_file", "load_weights"]


@dataclass(frozen=True)
class LoadReport:
    """What became of a weights file.

    Attributes
    ----------
    loaded : list of str
        Tensors of the backbone that were set.
    head : list of str
        Tensors of the file's own classifier, which is left out on purpose.
    missing : list of str
        Tensors of the backbone that the file does not hold.
    mismatched : list of str
        Tensors whose shape is another one.
    unexpected : list of str
        Other tensors of the file.
    """

    loaded: list[str] = field(default_factory=list)
    head: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} tensors loaded"]
        for what in ("missing", "mismatched", "unexpected", "head"):
            names = getattr(self, what)
            if names:
                more = f" and {len(names) - 4} more" if len(names) > 4 else ""
                parts.append(f"{len(names)} {what} ({', '.join(names[:4])}{more})")
        return "; ".join(parts)


def load_weights(network: AdaFERNetwork, weights: str | Path, backbone: str) -> LoadReport:
    """Set a network's backbone from ImageNet weights or a file.

    Parameters
    ----------
    network : AdaFERNetwork
        Changed in place.
    weights : "imagenet" or path
        A plain state dict, one under a ``state_dict`` key, or one with
        ``module.`` prefixes, saved by torch or safetensors. Pickled code is
        never run.
    backbone : str
        Name of the torchvision network; needed for "imagenet".

    Returns
    -------
    LoadReport

    Raises
    ------
    FileNotFoundError
        If there is no such file, or ImageNet weights were not downloaded.
    ValueError
        If it is no weights file, is damaged, unpacks to more than it holds, has
        other than finite numbers, or is one of another network.

    Warns
    -----
    UserWarning
        If some tensors of the backbone were not set.
    """
    path = imagenet_file(backbone) if str(weights) == "imagenet" else Path(weights)
    if not path.is_file():
        if str(weights) == "imagenet":
            raise FileNotFoundError(
                f"ImageNet weights of {backbone!r} are not on this machine. Run "
                f"`adafer download-weights {backbone}` once, or put the file "
                f"{path.name} into {path.parent}. Nothing is downloaded during fit."
            )
        raise FileNotFoundError(
            f"weights={str(weights)!r} is no file. Expected None, 'imagenet' or the path of a "
            "state dict (.pth, .pt or .safetensors)."
        )
    tensors = read_state(path)
    body = network.backbone
    own = body.state_dict()
    chosen: dict[str, Tensor] = {}
    report = LoadReport()
    for name, tensor in tensors.items():
        if name in own:
            if own[name].shape == tensor.shape:
                chosen[name] = tensor
                report.loaded.append(name)
            else:
                report.mismatched.append(name)
        elif name.split(".")[0] in ("fc", "classifier", "head", "heads"):
            report.head.append(name)
        else:
            report.unexpected.append(name)
    report.missing.extend(
        name for name in own if name not in tensors and not name.endswith("num_batches_tracked")
    )
    learned = [name for name, _ in body.named_parameters()]
    if sum(name in chosen for name in learned) < 0.5 * len(learned):
        raise ValueError(
            f"{path.name} does not hold weights of {backbone!r}: {report}. Expected tensors such "
            f"as {', '.join(learned[:3])}. Choose the backbone that the file was made for."
        )
    body.load_state_dict(chosen, strict=False)
    if report.missing or report.mismatched or report.unexpected:
        warnings.warn(f"Not all of {path.name} was used: {report}.", UserWarning, stacklevel=2)
    return report


def imagenet_file(backbone: str) -> Path:
    """Where torchvision keeps the ImageNet weights of a network.

    Parameters
    ----------
    backbone : str

    Returns
    -------
    path : pathlib.Path
        In torch's hub folder (``TORCH_HOME``); the file need not exist.
    """
    name = _imagenet_url(backbone).rsplit("/", 1)[-1]
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def _imagenet_url(backbone: str) -> str:
    try:
        return models.get_model_weights(backbone).DEFAULT.url
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"There are no ImageNet weights for backbone={backbone!r}. Use weights=None or a path."
        ) from error


def download_imagenet(backbone: str) -> Path:
    """Fetch the ImageNet weights of a network, once; an interrupted download is gone on with.

    Parameters
    ----------
    backbone : str

    Returns
    -------
    path : pathlib.Path
    """
    path = imagenet_file(backbone)
    # torchvision's file names end in the first digits of their SHA-256
    return download(_imagenet_url(backbone), path, path.stem.rsplit("-", 1)[-1])
