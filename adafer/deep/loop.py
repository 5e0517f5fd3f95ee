"""The two training stages and inference."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..inheritance import TargetAnnotation
from ..triplets import TripletMiner, Triplets
from .backbones import AdaFERNetwork
from .batches import Feed, augment, shuffled_batches
from .losses import Margin, classification_loss, triplet_loss

__all__ = [
    "Adaptation",
    "Trainer",
    "estimate_statistics",
    "infer",
    "pool_triplets",
    "resolve_device",
    "seeded",
]


def resolve_device(device: str) -> torch.device:
    """Turn a device name into a device that is there.

    Parameters
    ----------
    device : str
        "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps".

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If there is no such device on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r} is not known. Expected 'auto', 'cpu', 'cuda', 'cuda:0' or 'mps'."
        ) from error
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (found.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(found.type, False):
        raise ValueError(f"device={device!r} is not on this machine. Use device='auto' or 'cpu'.")
    return torch.device("cuda", 0) if device == "cuda" else found


def resolve_precision(precision: str, device: torch.device) -> str:
    """Choose bf16 where the hardware computes it; emulated bf16 is far slower than fp32."""
    if precision != "auto":
        return {"fp32": "32-true", "bf16": "bf16-mixed"}[precision]
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16-mixed"
    if device.type == "cpu" and getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)():
        return "bf16-mixed"
    return "32-true"


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch inside, and leave the caller's random state as it was outside."""
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@dataclass(frozen=True)
class Adaptation:
    """What the joint stage needs beyond the inputs.

    Attributes
    ----------
    annotation : TargetAnnotation
    miner : TripletMiner
        Fitted on both domains.
    schemes : tuple of str
    conflict : str
    beta, epsilon : float
        Weights of the target terms and of the triplet loss.
    """

    annotation: TargetAnnotation
    miner: TripletMiner
    schemes: tuple[str, ...]
    conflict: str
    beta: float
    epsilon: float


def pool_triplets(drawn: tuple[Triplets, ...], anchors: str, n_source: int) -> tuple[NDArray, int]:
    """Rows of all triplets in the pooled order, source first and then target.

    Parameters
    ----------
    drawn : tuple of Triplets
        As `TripletMiner.draw` gives them.
    anchors : {"both", "source", "target"}
    n_source : int

    Returns
    -------
    rows : ndarray of int64 of shape (n_triplets, 3)
        Anchor, positive, negative.
    n_skipped : int
    """
    kinds = ("source", "target") if anchors == "both" else (anchors,)
    parts = []
    for kind, triplets in zip(kinds, drawn, strict=True):
        near, far = (0, n_source) if kind == "source" else (n_source, 0)
        parts.append(
            np.stack(
                [triplets.anchor + near, triplets.positive + far, triplets.negative + far], axis=1
            )
        )
    return np.concatenate(parts), sum(triplets.n_skipped for triplets in drawn)


class Trainer:
    """Runs the source stage and the joint stage on one network.

    Parameters
    ----------
    network : AdaFERNetwork
        Trained in place.
    margin : Margin
    device : torch.device
    precision : {"auto", "fp32", "bf16"}
    batch_size : int
        Triplets of a joint step (three times as many pictures), pictures of a
        source step.
    learning_rate, learning_rate_decay, weight_decay : float
        Adam, with the rate multiplied by the decay after each epoch.
    augmented : bool
        Flip and erase faces at random.
    rng : numpy.random.Generator
        All draws come from it.
    verbose : int
    """

    def __init__(
        self,
        network: AdaFERNetwork,
        margin: Margin,
        *,
        device: torch.device,
        precision: str,
        batch_size: int,
        learning_rate: float,
        learning_rate_decay: float,
        weight_decay: float,
        augmented: bool,
        rng: np.random.Generator,
        verbose: int,
    ):
        from lightning_fabric import Fabric

        self.network = network
        self.margin = margin
        self.device = device
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_decay = learning_rate_decay
        self.weight_decay = weight_decay
        self.augmented = augmented
        self.rng = rng
        self.verbose = verbose
        self.history: list[dict] = []
        self._generator = torch.Generator().manual_seed(int(rng.integers(2**63 - 1)))
        self.fabric = Fabric(
            accelerator=device.type,
            devices=[device.index or 0] if device.type == "cuda" else 1,
            precision=resolve_precision(precision, device),  # type: ignore[arg-type]
        )

    def fit_source(self, feed: Feed, labels: NDArray, epochs: int) -> None:
        """Source stage: cross-entropy on the labelled domain.

        Parameters
        ----------
        feed : Feed
            The source comes first in it.
        labels : ndarray of int64 of shape (n_source,)
        epochs : int
        """
        truth = torch.from_numpy(labels).to(self.device)
        # target rows may follow in the feed; only the labelled ones are drawn
        n_source = len(labels)

        def step(model: nn.Module, rows: NDArray) -> dict[str, Tensor]:
            _, logits = model(self._inputs(feed, rows))
            loss = nn.functional.cross_entropy(logits.float(), truth[torch.from_numpy(rows)])
            return {"loss": loss}

        for epoch, model, optimizer in self._epochs("source", epochs):
            batches = list(shuffled_batches(n_source, self.batch_size, self.rng))
            self._epoch("source", epoch, model, optimizer, batches, step, 1, {})

    def fit_joint(self, feed: Feed, labels: NDArray, adaptation: Adaptation, epochs: int) -> None:
        """Joint stage: Equation 3 on all pictures and Equation 4 on the triplets.

        Parameters
        ----------
        feed : Feed
            Source rows first, then target rows.
        labels : ndarray of int64 of shape (n_source,)
        adaptation : Adaptation
        epochs : int
        """
        n_source, n_all = len(labels), len(feed)
        annotation, n_classes = adaptation.annotation, len(adaptation.annotation.classes)
        truth = torch.full((n_all,), -1, dtype=torch.int64)
        truth[:n_source] = torch.from_numpy(labels)
        truth = truth.to(self.device)
        weights = torch.zeros(n_all)
        weights[n_source:] = torch.from_numpy(annotation.weights)
        weights = weights.to(self.device)
        pseudo: dict[str, Tensor] = {}

        def step(model: nn.Module, triplets: NDArray) -> dict[str, Tensor]:
            # one forward pass for anchors, positives and negatives
            rows = triplets.T.ravel()
            features, logits = model(self._inputs(feed, rows))
            at = torch.from_numpy(rows).to(self.device)
            loss, terms = classification_loss(
                logits.float(),
                at < n_source,
                truth[at],
                {scheme: table[at] for scheme, table in pseudo.items()},
                weights[at],
                adaptation.beta,
            )
            found = {f"loss_{name}": term for name, term in terms.items()}
            if adaptation.epsilon > 0:
                anchor, positive, negative = features.float().chunk(3)
                margin = self.margin()
                found["loss_triplet"], found["triplets_active"] = triplet_loss(
                    anchor, positive, negative, margin
                )
                loss = loss + adaptation.epsilon * found["loss_triplet"] + self.margin.penalty()
            return {"loss": loss, **found}

        for epoch, model, optimizer in self._epochs("joint", epochs):
            for scheme in adaptation.schemes if adaptation.beta > 0 else ():
                table = torch.zeros(n_all, n_classes)
                table[n_source:] = torch.from_numpy(
                    annotation.scheme_labels(scheme, adaptation.conflict, self.rng)
                ).float()
                pseudo[scheme] = table.to(self.device)
            triplets, n_skipped = pool_triplets(
                adaptation.miner.draw(self.rng), adaptation.miner.anchors, n_source
            )
            batches = [
                triplets[rows]
                for rows in shuffled_batches(len(triplets), self.batch_size, self.rng)
            ]
            known = {
                "coverage": annotation.coverage,
                "labelled_share": annotation.labelled_share,
                "n_triplets": len(triplets),
                "n_skipped_anchors": n_skipped,
            }
            self._epoch("joint", epoch, model, optimizer, batches, step, 3, known)

    # ------------------------------------------------------------------ parts

    def _inputs(self, feed: Feed, rows: NDArray) -> Tensor:
        batch = self.network.normalize(feed.batch(torch.from_numpy(rows)))
        if feed.is_faces and self.augmented:
            batch = augment(batch, self._generator)
        return batch

    def _epochs(
        self, stage: str, epochs: int
    ) -> Iterator[tuple[int, nn.Module, torch.optim.Optimizer]]:
        """Set up one stage's optimiser, and lower its rate after each epoch."""
        if epochs == 0:
            return
        parameters = list(self.network.parameters())
        self.margin.to(self.device)
        groups: list[dict] = [{"params": parameters, "weight_decay": self.weight_decay}]
        if stage == "joint" and self.margin.learnable:
            groups.append({"params": list(self.margin.parameters()), "weight_decay": 0.0})
        if self.is_faces_network:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.Adam(groups, lr=self.learning_rate)
        model, optimizer = self.fabric.setup(self.network, optimizer)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, self.learning_rate_decay)
        model.train()
        for epoch in range(epochs):
            yield epoch, model, optimizer
            scheduler.step()

    @property
    def is_faces_network(self) -> bool:
        """Whether the network takes pictures."""
        return self.network.mean.ndim == 3

    def _epoch(
        self,
        stage: str,
        epoch: int,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        batches: list[NDArray],
        step: Callable[[nn.Module, NDArray], dict[str, Tensor]],
        pictures_per_row: int,
        known: dict,
    ) -> None:
        """Run the steps of one epoch; losses stay on the device until its end."""
        started = time.perf_counter()
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.device))
        bar = tqdm(
            batches,
            desc=f"{stage} {epoch + 1}",
            leave=False,
            disable=None if self.verbose else True,  # no bar in a file
            file=sys.stderr,
        )
        for batch in bar:
            found = step(model, batch)
            optimizer.zero_grad(set_to_none=True)
            self.fabric.backward(found["loss"])
            optimizer.step()
            for name, value in found.items():
                sums[name] = sums[name] + value.detach()
        means = {name: float(total) / len(batches) for name, total in sums.items()}
        seconds = time.perf_counter() - started
        n_pictures = pictures_per_row * sum(len(batch) for batch in batches)
        row = {
            "stage": stage,
            "epoch": epoch + 1,
            **means,
            **known,
            "margin": float(self.margin().detach()),
            "learning_rate": optimizer.param_groups[0]["lr"],
            "seconds": seconds,
            "images_per_second": n_pictures / seconds,
        }
        self.history.append(row)
        if self.verbose:
            tqdm.write(_line(row), file=sys.stderr)
        if not np.isfinite(row["loss"]):
            raise FloatingPointError(
                f"The loss became {row['loss']} in epoch {epoch + 1} of the {stage} stage. "
                "Lower learning_rate, or use precision='fp32'."
            )


def _line(row: dict) -> str:
    """One epoch in one line."""
    losses = " ".join(
        f"{name.removeprefix('loss_')} {value:.3f}"
        for name, value in row.items()
        if name.startswith("loss")
    )
    coverage = f" | coverage {row['coverage']:.2f}" if "coverage" in row else ""
    return (
        f"{row['stage']:>6} {row['epoch']:>3} | {losses}{coverage} | "
        f"{row['images_per_second']:.0f} images/s"
    )


@torch.no_grad()
def estimate_statistics(
    network: AdaFERNetwork, feed: Feed, rows: NDArray, *, batch_size: int = 256
) -> None:
    """Set the statistics of batch normalisation to those of the given inputs.

    While the weights still move, the running averages that training leaves
    behind belong to weights of some steps ago, and predictions by them are a
    matter of luck. Here each layer gets the average over all the rows' batches
    under the final weights, without augmentation, as in `predict`.

    Parameters
    ----------
    network : AdaFERNetwork
        On the feed's device; changed in place, left as it is where it has no
        batch normalisation.
    feed : Feed
    rows : ndarray of int64 of shape (n,)
        Mixed, so that each batch looks like all of them.
    batch_size : int, default=256
    """
    layers = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    network.eval()  # dropout stays off
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain average over the batches
        layer.train()
    for batch in np.array_split(rows, max(1, -(-len(rows) // batch_size))):
        network(network.normalize(feed.batch(torch.from_numpy(batch))))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    network.eval()


@torch.no_grad()
def infer(network: AdaFERNetwork, feed: Feed, *, batch_size: int = 256) -> tuple[NDArray, NDArray]:
    """Features and class probabilities of all rows, no AUs involved.

    Parameters
    ----------
    network : AdaFERNetwork
        On the feed's device.
    feed : Feed
    batch_size : int, default=256

    Returns
    -------
    features : ndarray of float32 of shape (n, n_features)
        L2-normalised.
    probabilities : ndarray of float64 of shape (n, n_classes)
    """
    network.eval()
    features, probabilities = [], []
    for rows in torch.arange(len(feed)).split(batch_size):
        found, logits = network(network.normalize(feed.batch(rows)))
        features.append(found.float().cpu().numpy())
        probabilities.append(torch.softmax(logits.float().cpu().double(), dim=1).numpy())
    return np.concatenate(features), np.concatenate(probabilities)
