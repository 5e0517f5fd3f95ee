"""Faces as graphs: the whole face and five places of it, within and across two domains."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..alignment import FIVE_POINTS
from .backbones import AdaFERNetwork, ConvNet
from .batches import Feed
from .device import send
from .taps import Tap

__all__ = ["FaceGraphNetwork", "FaceNodes", "GraphConvolution", "GraphFeed", "crop_at_points"]

# Weights that the links start from: with itself, with the same node of the
# other domain, and between whole and part, part and part, in the same and in
# the other domain.
_SELF, _SAME_NODE = 1.0, 0.9
_WHOLE_PART, _PART_PART = 0.8, 0.5
_WHOLE_PART_ACROSS, _PART_PART_ACROSS = 0.4, 0.25
# Side of a crop in parts of the face's side, and values sampled along it: 7 of
# the 28 of a residual network's second layer on faces of 112 pixels.
_CROP, _CROP_SIZE = 0.25, 7


def crop_at_points(maps: Tensor, points: Tensor) -> Tensor:
    """Cut squares of a quarter of the side out of feature maps, bilinearly.

    Parameters
    ----------
    maps : Tensor of shape (n, n_channels, height, width)
    points : Tensor of shape (n, n_points, 2)
        x and y of the centres, in parts of the side. What lies beyond the border
        is 0.

    Returns
    -------
    crops : Tensor of shape (n, n_points, n_channels, 7, 7)
    """
    offsets = _CROP * ((torch.arange(_CROP_SIZE, device=maps.device) + 0.5) / _CROP_SIZE - 0.5)
    along = []
    for axis, size in ((0, maps.shape[3]), (1, maps.shape[2])):
        at = (points[:, :, axis, None] + offsets) * size - 0.5
        cells = torch.arange(size, device=maps.device)
        # as products of matrices: what gathers single cells adds up in any order on a GPU
        along.append((1 - (at[..., None] - cells).abs()).clamp_min(0).to(maps.dtype))
    return torch.einsum("npyh,nchw,npxw->npcyx", along[1], maps, along[0])


class FaceNodes(nn.Module):
    """Vectors of the whole face and, given a feature map, of five places.

    Parameters
    ----------
    n_features : int
        Of the pooled features.
    n_channels : int or None
        Of the feature map; None where there is none, which leaves one node.
    n_units : int, default=64
        Of each node.
    """

    template: Tensor

    def __init__(self, n_features: int, n_channels: int | None, n_units: int = 64):
        super().__init__()
        self.n_units = n_units
        self.whole = nn.Sequential(nn.Linear(n_features, n_units), nn.ReLU())
        self.parts = nn.ModuleList()
        if n_channels is not None:
            self.parts.extend(
                nn.Sequential(
                    nn.Conv2d(n_channels, n_units, 3, padding=1, bias=False),
                    nn.BatchNorm2d(n_units),
                    nn.ReLU(),
                    nn.AdaptiveAvgPool2d(1),
                    nn.Flatten(),
                )
                for _ in FIVE_POINTS
            )
        template = torch.from_numpy(FIVE_POINTS.copy()).float()
        self.register_buffer("template", template, persistent=False)

    @property
    def n_nodes(self) -> int:
        """1 for the whole face, and 5 if there is a feature map."""
        return 1 + len(self.parts)

    def forward(
        self, pooled: Tensor, maps: Tensor | None = None, points: Tensor | None = None
    ) -> Tensor:
        """Vectors of the nodes.

        Parameters
        ----------
        pooled : Tensor of shape (n, n_features)
        maps : Tensor of shape (n, n_channels, height, width), optional
        points : Tensor of shape (n, 5, 2), optional
            In parts of the side; where missing or NaN, those of an aligned face.

        Returns
        -------
        nodes : Tensor of shape (n, n_nodes, n_units)
        """
        nodes = [self.whole(pooled)]
        if len(self.parts):
            assert maps is not None
            places = self.template.expand(len(pooled), -1, -1)
            if points is not None:
                places = torch.where(points.isnan(), places, points)
            crops = crop_at_points(maps, places)
            nodes += [part(crops[:, i]) for i, part in enumerate(self.parts)]
        return torch.stack(nodes, dim=1)


class GraphConvolution(nn.Module):
    """A linear layer, then a mean over neighbours with learnt weights.

    Parameters
    ----------
    n_inputs, n_outputs : int
    """

    def __init__(self, n_inputs: int, n_outputs: int):
        super().__init__()
        self.linear = nn.Linear(n_inputs, n_outputs)

    def forward(self, nodes: Tensor, links: Tensor) -> Tensor:
        """Convolve.

        Parameters
        ----------
        nodes : Tensor of shape (n, n_nodes, n_inputs)
        links : Tensor of shape (n_nodes, n_nodes)
            Negative ones count as 0; rows are made to sum to 1.

        Returns
        -------
        nodes : Tensor of shape (n, n_nodes, n_outputs)
        """
        weights = links.clamp_min(0)
        weights = weights / weights.sum(dim=1, keepdim=True).clamp_min(1e-12)
        return weights @ self.linear(nodes)


def _links(n_nodes: int) -> tuple[Tensor, Tensor]:
    """Weights to start from, within a domain and across both."""
    within = torch.full((n_nodes, n_nodes), _PART_PART)
    between = torch.full((n_nodes, n_nodes), _PART_PART_ACROSS)
    for links, weight in ((within, _WHOLE_PART), (between, _WHOLE_PART_ACROSS)):
        links[0] = links[:, 0] = weight
    within.fill_diagonal_(_SELF)
    between.fill_diagonal_(_SAME_NODE)
    own = _SELF * torch.eye(n_nodes)
    across = torch.cat([torch.cat([own, between], 1), torch.cat([between, own], 1)])
    return within, across


class FaceGraphNetwork(AdaFERNetwork):
    """A backbone, nodes of a face, graph convolutions, and a linear classifier.

    A face comes with nodes of its own domain, and what it lacks, nodes of the
    other domain, are means of that domain: of the cluster whose mean is nearest.
    As long as there are no such means the face's own nodes stand in.

    Parameters
    ----------
    network : AdaFERNetwork
        As `build_network` makes it; its backbone is kept.
    n_clusters : int
        Means of each domain.
    n_units : int, default=64
        Of each node.

    Attributes
    ----------
    means : Tensor of shape (2, n_clusters, n_nodes * n_units)
        Of the source, and of the target.
    has_means : Tensor of int64, scalar
        1 once they are set.
    """

    # compiled code would not tell the map that the nodes are read from
    can_be_compiled = False

    means: Tensor
    has_means: Tensor
    is_linked: Tensor

    def __init__(self, network: AdaFERNetwork, n_clusters: int, n_units: int = 64):
        n_channels = _n_map_channels(network)
        nodes = FaceNodes(network.classifier.in_features, n_channels, n_units)
        n_joined = nodes.n_nodes * n_units
        super().__init__(
            network.backbone,
            n_joined,
            network.classifier.out_features,
            network.mean,
            network.std,
        )
        self.nodes = nodes
        self.within = nn.ModuleList(
            [GraphConvolution(n_units, 2 * n_units), GraphConvolution(2 * n_units, n_units)]
        )
        self.across = GraphConvolution(n_units, n_units)
        self.dropout = nn.Dropout()
        within, across = _links(nodes.n_nodes)
        self.links_within, self.links_across = nn.Parameter(within), nn.Parameter(across)
        self.register_buffer("is_linked", (across > 0).float(), persistent=False)
        self.register_buffer("means", torch.zeros(2, n_clusters, n_joined))
        self.register_buffer("has_means", torch.tensor(0))

    def forward(  # type: ignore[override]
        self, inputs: Tensor, points: Tensor | None = None, is_source: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Features and class scores of normalised inputs.

        Parameters
        ----------
        inputs : Tensor of shape (n, 3, size, size) or (n, n_inputs)
        points : Tensor of shape (n, 5, 2), optional
            As in `FaceNodes`.
        is_source : Tensor of bool of shape (n,), optional
            By default all are of the target.

        Returns
        -------
        features : Tensor of shape (n, n_nodes * n_units)
            Nodes after the convolutions, L2-normalised together.
        logits : Tensor of shape (n, n_classes)
        """
        layer = _map_layer(self.backbone)
        if layer is None:
            nodes = self.nodes(self.backbone(inputs))
        else:
            with Tap(layer) as tap:
                pooled = self.backbone(inputs)
            nodes = self.nodes(pooled, tap.value, points)
        if is_source is None:
            is_source = torch.zeros(len(nodes), dtype=torch.bool, device=nodes.device)
        joined = self._convolve(nodes, is_source)
        return nn.functional.normalize(joined, dim=1), self.classifier(joined)

    def _convolve(self, nodes: Tensor, is_source: Tensor) -> Tensor:
        mine = is_source[:, None, None]
        others = self._nearest_means(nodes, ~is_source)
        pair = [torch.where(mine, nodes, others), torch.where(mine, others, nodes)]
        first, second = self.within
        for i, part in enumerate(pair):
            hidden = self.dropout(torch.relu(first(part, self.links_within)))
            pair[i] = second(hidden, self.links_within)
        both = self.across(torch.cat(pair, dim=1), self.links_across * self.is_linked)
        halves = both.chunk(2, dim=1)
        return torch.where(mine, halves[0], halves[1]).flatten(1)

    @torch.no_grad()
    def _nearest_means(self, nodes: Tensor, of_source: Tensor) -> Tensor:
        flat = nodes.detach().flatten(1).float()
        near = [means[torch.cdist(flat, means).argmin(dim=1)] for means in self.means]
        found = torch.where(of_source[:, None], near[0], near[1])
        return torch.where(self.has_means > 0, found, flat).reshape(nodes.shape).to(nodes.dtype)

    @torch.no_grad()
    def set_means(self, means: NDArray) -> None:
        """Set the means of both domains.

        Parameters
        ----------
        means : ndarray of shape (2, n_clusters, n_nodes * n_units)
        """
        self.means.copy_(torch.from_numpy(means).to(self.means))
        self.has_means.fill_(1)

    @torch.no_grad()
    def update_means(self, nodes: Tensor, is_source: Tensor, momentum: float) -> None:
        """Move the means towards those of the rows that are nearest to them.

        Parameters
        ----------
        nodes : Tensor of shape (n, n_nodes, n_units)
            Before the convolutions.
        is_source : Tensor of bool of shape (n,)
        momentum : float
            Share of the new mean.
        """
        flat = nodes.flatten(1).float()
        for means, members in zip(self.means, (is_source, ~is_source), strict=True):
            near = torch.cdist(flat, means).argmin(dim=1)
            member = nn.functional.one_hot(near, len(means)).float() * members[:, None]
            counts = member.sum(dim=0)[:, None]
            found = member.T @ flat / counts.clamp_min(1)
            means += torch.where(counts > 0, momentum * (found - means), torch.zeros_like(means))


def _map_layer(backbone: nn.Module) -> nn.Module | None:
    """Layer whose output places are looked up in: the second of residual networks."""
    if isinstance(backbone, ConvNet):
        return backbone[7]  # end of its second block
    layer = getattr(backbone, "layer2", None)
    return layer if isinstance(layer, nn.Module) else None


@torch.no_grad()
def _n_map_channels(network: AdaFERNetwork) -> int | None:
    layer = _map_layer(network.backbone)
    if layer is None:
        return None
    was_training = network.training
    network.eval()
    with Tap(layer) as tap:
        network.backbone(torch.zeros(1, 3, 64, 64, device=network.mean.device))
    network.train(was_training)
    assert tap.value is not None
    return tap.value.shape[1]


class GraphFeed(Feed):
    """A feed that knows the rows' domains, and five points of each face.

    Parameters
    ----------
    parts : list of ndarray
        As in `Feed`.
    points : list of ndarray of float of shape (n, 5, 2) or None
        One for each part; None, and NaN, where they are not known.
    n_source : int
        Rows of the source, which come first.
    device : torch.device
    """

    def __init__(
        self,
        parts: list[NDArray],
        points: list[NDArray | None],
        n_source: int,
        device: torch.device,
    ):
        super().__init__(parts, device)
        self.n_source = n_source
        self.points: Tensor | None = None
        if any(given is not None for given in points):
            unknown = [np.full((len(part), *FIVE_POINTS.shape), np.nan) for part in parts]
            found = [u if p is None else p for p, u in zip(points, unknown, strict=True)]
            self.points = torch.from_numpy(np.concatenate(found).astype(np.float32))

    def beside(self, rows: Tensor) -> dict[str, Tensor]:
        """Domains and points of some rows.

        Parameters
        ----------
        rows : Tensor of int64 of shape (n,)

        Returns
        -------
        beside : dict of str -> Tensor
            "is_source", and "points" where any are known.
        """
        found = {"is_source": send(rows < self.n_source, self.device)}
        if self.points is not None:
            found["points"] = send(self.points[rows], self.device)
        return found
