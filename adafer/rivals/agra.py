"""AGRA: whole faces and five places of them, joined by graphs within and across domains."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from numbers import Integral, Real
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import naming
from .._network_classifier import NetworkClassifier, NetworkOptions
from .._sklearn import Interval, accuracy
from ..domains import DomainInputs, is_features
from ..target import unwrap_target

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from typing_extensions import Self, Unpack

    from ..deep.backbones import AdaFERNetwork
    from ..deep.batches import Feed
    from ..deep.graphs import FaceGraphNetwork, GraphFeed
    from ..deep.joint import JointBatch
    from ..deep.loop import Trainer

__all__ = ["AGRAClassifier"]

# Epochs after which the clusters are found anew.
_RECLUSTER_EVERY = 10


class AGRAClassifier(NetworkClassifier):
    """Adversarial graph representation adaptation: holistic and local features.

    The pooled features make one node of a graph, crops of an earlier feature map
    at the eyes, the nose and the corners of the mouth five more. A face gets the
    nodes of the other domain from that domain's clusters: the mean that is
    nearest. Graph convolutions, first within the domain and then across both,
    mix the nodes; the classifier takes the face's own six. A discriminator tells
    the domains by the same six, and its gradient is reversed as in DANN.

    Parameters
    ----------
    adversarial_weight : float, default=1.0
        Weight of the discriminator's loss beside the source's cross-entropy.
    hidden_units : int, default=1024
        Units in each of the discriminator's two hidden layers.
    n_clusters : int or None, default=None
        Means that each domain has; None means as many as classes.
    node_units : int, default=64
        Length of a node's vector.
    mean_momentum : float, default=0.1
        How far a mean moves, with each batch, towards the rows nearest to it.
    %(shared_parameters)s

    Attributes
    ----------
    %(shared_attributes)s

    See Also
    --------
    DANNClassifier : The same discriminator on the pooled features.
    adafer.FaceAligner : Brings faces to where the five points are expected.

    Notes
    -----
    Local features come from the output of ``layer2`` of residual networks, and
    of the second block of ``backbone="convnet"``. Other backbones have no such
    map, and neither has 2-D input: there the graph has one node for each domain,
    the holistic one.

    The five points are, unless `fit` and `predict` are given others, those of
    aligned faces, at which `FaceAligner` puts them. Faces that are not aligned
    need `points_src`, `points_tgt` and `points`.

    `predict` takes faces as of the target. A fit without target data trains
    the same network, in which a face's own nodes stand in for the other domain's.

    Differences from the paper: holistic features are a linear layer on the
    pooled features rather than a convolution before the pooling; crops cover a
    quarter of the face's side whatever the size of the map; the source stage
    trains the graph, too, and has one loss.

    References
    ----------
    Y. Xie, T. Chen, T. Pu, H. Wu, L. Lin: Adversarial Graph Representation
    Adaptation for Cross-Domain Facial Expression Recognition, ACM Multimedia
    2020.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.rivals import AGRAClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=80)
    >>> X_src = rng.normal(size=(80, 4)) + 3 * y[:, None]
    >>> X_tgt = X_src + 1.0
    >>> clf = AGRAClassifier(
    ...     hidden_units=32, epochs=10, batch_size=32, random_state=0, device="cpu"
    ... )
    >>> clf.fit(X_src, y, X_tgt).score(X_tgt, y) > 0.8
    True
    """

    _parameter_constraints: dict = {
        **NetworkClassifier._parameter_constraints,
        "adversarial_weight": [Interval(Real, 0, None, closed="left")],
        "hidden_units": [Interval(Integral, 1, None, closed="left")],
        "n_clusters": [None, Interval(Integral, 1, None, closed="left")],
        "node_units": [Interval(Integral, 1, None, closed="left")],
        "mean_momentum": [Interval(Real, 0, 1, closed="both")],
    }

    _au_parameter = "points"

    __metadata_request__fit = {"points_src": True, "points_tgt": True}
    __metadata_request__predict = {"points": True}
    __metadata_request__predict_proba = {"points": True}
    __metadata_request__transform = {"points": True}
    __metadata_request__score = {"points": True}

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        adversarial_weight: float = 1.0,
        hidden_units: int = 1024,
        n_clusters: int | None = None,
        node_units: int = 64,
        mean_momentum: float = 0.1,
        **shared: Unpack[NetworkOptions],
    ):
        super().__init__(backbone, **shared)
        self.adversarial_weight = adversarial_weight
        self.hidden_units = hidden_units
        self.n_clusters = n_clusters
        self.node_units = node_units
        self.mean_momentum = mean_momentum

    # ----------------------------------------------------------------- fitting

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        X_tgt: Any = None,
        *,
        sample_weight: ArrayLike | None = None,
        au_src: ArrayLike | None = None,
        au_tgt: ArrayLike | None = None,
        points_src: ArrayLike | None = None,
        points_tgt: ArrayLike | None = None,
    ) -> Self:
        """Train on the labelled source, and adapt to the target where there is one.

        Parameters
        ----------
        X, y, X_tgt, sample_weight : as in `DANNClassifier.fit`
        au_src, au_tgt : ignored
            Taken so that methods can be exchanged.
        points_src, points_tgt : array-like of shape (n, 5, 2), default=None
            x and y of both eyes, tip of the nose and corners of the mouth, left
            ones of the picture first, in parts of the picture's side; NaN where
            unknown. By default, and where NaN, those of aligned faces.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            As other methods, or if points do not fit, or are given where the
            network has no local features.
        """
        points_tgt = unwrap_target(points_tgt)
        if X_tgt is None and points_tgt is not None:
            raise ValueError("points_tgt was given without X_tgt. Give the target's pictures too.")
        # points travel as AU scores do; this method has no use for scores
        return super().fit(
            X, y, X_tgt, sample_weight=sample_weight, au_src=points_src, au_tgt=points_tgt
        )

    def _read(
        self, X: Any, X_tgt: Any, au_src: Any, au_tgt: Any, weights: NDArray | None
    ) -> tuple[DomainInputs, DomainInputs | None, dict[str, Any]]:
        points_src = _check_points(au_src, X, "points_src", "X")
        points_tgt = _check_points(au_tgt, X_tgt, "points_tgt", "X_tgt")
        source, target, fitted = super()._read(X, X_tgt, None, None, weights)
        return (
            _with_points(source, points_src),
            None if target is None else _with_points(target, points_tgt),
            fitted,
        )

    def _extend_network(self, network: AdaFERNetwork) -> FaceGraphNetwork:
        from ..deep.graphs import FaceGraphNetwork

        n_clusters = self.n_clusters or network.classifier.out_features
        return FaceGraphNetwork(network, n_clusters, self.node_units)

    def _feed(self, domains: list[DomainInputs], device: torch.device) -> GraphFeed:
        from ..deep.graphs import GraphFeed

        # new samples count as the target's; before there is a target it is all one
        n_source = len(domains[0].inputs) if len(domains) > 1 else 0
        inputs, points = [d.inputs for d in domains], [d.au for d in domains]
        return GraphFeed(inputs, points, n_source, device)

    def _finish_network(
        self, network: AdaFERNetwork, source: DomainInputs, *, is_new: bool
    ) -> AdaFERNetwork:
        network = super()._finish_network(network, source, is_new=is_new)
        if source.au is not None and network.nodes.n_nodes == 1:  # type: ignore[union-attr]
            raise ValueError(
                f"points_src was given, but backbone={self.backbone!r} has no map to look points "
                "up in. Use a residual network or 'convnet', or leave points_src out."
            )
        return network

    def _adapt(self, trainer: Trainer, feed: Feed, labels: NDArray, plan: None) -> None:
        from ..deep.adversarial import (
            DomainDiscriminator,
            domain_loss,
            reversal_coefficient,
            reverse_gradient,
        )
        from ..deep.graphs import FaceGraphNetwork
        from ..deep.joint import mixed_rows
        from ..deep.taps import Tap

        network, n_source = trainer.network, len(labels)
        assert isinstance(network, FaceGraphNetwork)
        discriminator = DomainDiscriminator(network.classifier.in_features, self.hidden_units)
        # clusters are found with the statistics of a source-only fit
        self._estimate_statistics(trainer, feed, n_source, n_source)
        course = SimpleNamespace(n_epochs=0)
        trainer.keep(course, "n_epochs")

        def draw() -> tuple[NDArray, dict]:
            if course.n_epochs % _RECLUSTER_EVERY == 0:
                _find_clusters(network, feed, n_source, trainer.rng)
            course.n_epochs += 1
            return mixed_rows(n_source, len(feed) - n_source, trainer.rng), {}

        def objective(batch: JointBatch) -> dict[str, Tensor]:
            assert tap.value is not None
            nodes = trainer.group.gather(tap.value.detach(), len(batch.rows))
            network.update_means(nodes, batch.is_source, self.mean_momentum)
            features = reverse_gradient(batch.pooled, reversal_coefficient(batch.progress))
            source = batch.source_loss()
            domain = domain_loss(discriminator(features), batch.is_source)
            return {
                "loss": source + self.adversarial_weight * domain,
                "loss_source": source,
                "loss_domain": domain,
            }

        with Tap(network.nodes) as tap:
            trainer.fit_jointly(
                feed, labels, objective, self.epochs, draw=draw, modules=[discriminator]
            )

    # -------------------------------------------------------------- predicting

    def _read_to_predict(
        self, X: Any, au: Any = None, *, image_size: int, n_aus: int | None = None
    ) -> Iterator[DomainInputs]:
        points = _check_points(au, X, "points", "X")
        for domain in super()._read_to_predict(X, image_size=image_size):
            yield _with_points(domain, points)

    def predict(self, X: Any, *, points: ArrayLike | None = None) -> NDArray:
        """Most probable class of each face.

        Parameters
        ----------
        X : as in `fit`
        points : array-like of shape (n, 5, 2), default=None
            As `points_src` in `fit`.

        Returns
        -------
        labels : ndarray of shape (n,)
        """
        return self._decide(self._infer(X, points)[1])

    def predict_proba(self, X: Any, *, points: ArrayLike | None = None) -> NDArray:
        """Class probabilities.

        Parameters
        ----------
        X, points : as in `predict`

        Returns
        -------
        probabilities : ndarray of float64 of shape (n, n_classes)
            Columns in the order of `classes_`.
        """
        return self._infer(X, points)[1]

    def transform(self, X: Any, *, points: ArrayLike | None = None) -> NDArray:
        """Features: the nodes after the graph convolutions, L2-normalised together.

        Parameters
        ----------
        X, points : as in `predict`

        Returns
        -------
        features : ndarray of float32 of shape (n, n_features)
        """
        return self._infer(X, points)[0]

    def score(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        points: ArrayLike | None = None,
    ) -> float:
        """Accuracy.

        Parameters
        ----------
        X, points : as in `predict`
        y : array-like of shape (n,)
        sample_weight : array-like of shape (n,), default=None

        Returns
        -------
        accuracy : float
        """
        return accuracy(y, self.predict(X, points=points), sample_weight)


def _check_points(points: Any, X: Any, name: str, of: str) -> NDArray | None:
    """Judge five points of each face."""
    if points is None or X is None:
        return None
    if is_features(X):
        raise ValueError(f"{name} was given, but {of} holds 2-D features. Leave {name} out.")
    with naming(name):
        found: NDArray = np.asarray(points, dtype=np.float64)
    if found.shape != (len(X), 5, 2):
        raise ValueError(
            f"{name} has shape {found.shape}; expected ({len(X)}, 5, 2): x and y of five points "
            f"for each face of {of}."
        )
    if (np.abs(found[~np.isnan(found)] - 0.5) > 1.5).any():
        raise ValueError(
            f"{name} has values from {np.nanmin(found):.3g} to {np.nanmax(found):.3g}; expected "
            "parts of the picture's side, about 0 to 1. Divide pixels by the side."
        )
    return found


def _with_points(domain: DomainInputs, points: NDArray | None) -> DomainInputs:
    return domain._replace(au=None if points is None else points[domain.kept])


def _find_clusters(
    network: FaceGraphNetwork, feed: Feed, n_source: int, rng: np.random.Generator
) -> None:
    """Set the means of both domains to those of k-means on their nodes."""
    import torch
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    from ..deep.inference import forward
    from ..deep.taps import Tap

    found = []
    network.eval()
    with torch.no_grad(), Tap(network.nodes) as tap:
        for rows in torch.arange(len(feed)).split(256):
            forward(network, network, feed, rows)
            assert tap.value is not None
            found.append(tap.value.flatten(1).float().cpu().numpy())
    network.train()
    nodes = np.concatenate(found)
    n_clusters = network.means.shape[1]
    means = np.zeros(network.means.shape, dtype=np.float32)
    for side, own in enumerate((nodes[:n_source], nodes[n_source:])):
        k_means = KMeans(min(n_clusters, len(own)), n_init=1, random_state=int(rng.integers(2**31)))
        # sums in another order would be other bits
        with threadpool_limits(1), warnings.catch_warnings():
            # equal faces, or too few of them, for as many clusters: some means occur twice
            warnings.simplefilter("ignore", ConvergenceWarning)
            centres = k_means.fit(own).cluster_centers_
        means[side] = centres[np.arange(n_clusters) % len(centres)]
    network.set_means(means)
