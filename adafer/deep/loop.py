"""The two training stages."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import SimpleNamespace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from .._ranks import is_writer
from .backbones import AdaFERNetwork
from .batches import Feed, shuffled_batches
from .device import resolve_precision, send
from .distributed import join, quiet
from .inference import forward
from .joint import FurtherStep, JointBatch, mixed_rows
from .losses import Margin
from .taps import Tap
from .trainer_state import SharedCheckpoints, capture, restore

__all__ = ["Trainer"]


_Step: TypeAlias = Callable[[nn.Module, NDArray], dict[str, Tensor]]


class Trainer:
    """Runs the source stage and the joint stage on one network.

    Parameters
    ----------
    network : AdaFERNetwork
        Trained in place.
    margin : Margin or None, default=None
        Margin of AdaFER's triplet loss.
    device : torch.device
    precision : {"auto", "fp32", "bf16"}
    batch_size : int
        Triplets of a joint step (three times as many pictures), pictures of a
        source step.
    learning_rate, learning_rate_decay, weight_decay : float
        Adam, with the rate multiplied by the decay after each epoch.
    compiled : bool, default=False
        Compile the backbone while it trains on a GPU.
    augmented : bool
        Flip and erase faces at random.
    rng : numpy.random.Generator
        All draws come from it.
    verbose : int

    Attributes
    ----------
    checkpoints : SharedCheckpoints or None
        Where set, the state after each epoch is kept, and stages go on from it.
    history : list of dict
    """

    def __init__(
        self,
        network: AdaFERNetwork,
        margin: Margin | None = None,
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
        compiled: bool = False,
    ):
        self.network = network
        self.margin = margin
        self.device = device
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_decay = learning_rate_decay
        self.weight_decay = weight_decay
        self.augmented = augmented
        self.rng = rng
        self.verbose = verbose if is_writer() else 0
        self.compiled = compiled and device.type == "cuda"
        self.history: list[dict] = []
        self.checkpoints: SharedCheckpoints | None = None
        self.kept: list[tuple[object, tuple[str, ...]]] = []
        self._n_stages = 0
        self._source_weights: Tensor | None = None
        self.generator = torch.Generator().manual_seed(int(rng.integers(2**63 - 1)))
        self.fabric, self.group = join(device, resolve_precision(precision, device))

    def weigh_source(self, weights: NDArray | None) -> None:
        """Let source rows count more or less in their loss.

        Parameters
        ----------
        weights : ndarray of float of shape (n_source,), or None
        """
        if weights is None:
            self._source_weights = None
        else:
            scaled = torch.from_numpy(weights / weights.mean())
            self._source_weights = scaled.float().to(self.device)

    def keep(self, thing: object, *names: str) -> None:
        """Name what changes in the epochs of the next stage, beside network and modules.

        It goes into checkpoints, and is there again when the stage is resumed. What
        is made before the stage and stays need not be named: the code before a
        stage runs again, from the same state, when the fit is resumed.

        Parameters
        ----------
        thing : object
        *names : str
            Attributes that hold tensors, generators of torch, arrays, or what JSON
            holds.
        """
        self.kept.append((thing, names))

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
            logits = self.group.gather(self._forward(model, feed, rows)[1].float(), len(rows))
            at = send(torch.from_numpy(rows), self.device)
            if self._source_weights is None:
                return {"loss": nn.functional.cross_entropy(logits, truth[at])}
            losses = nn.functional.cross_entropy(logits, truth[at], reduction="none")
            return {"loss": (losses * self._source_weights[at]).mean()}

        for epoch, model, optimizer in self._epochs("source", epochs):
            batches = list(shuffled_batches(n_source, self.batch_size, self.rng))
            feed.expect(torch.from_numpy(self._own(rows)) for rows in batches)
            self._epoch("source", epoch, model, optimizer, batches, step, 1, {})

    def fit_jointly(
        self,
        feed: Feed,
        labels: NDArray,
        objective: Callable[[JointBatch], dict[str, Tensor]],
        epochs: int,
        *,
        draw: Callable[[], tuple[NDArray, dict]] | None = None,
        modules: Sequence[nn.Module] = (),
        decayed: bool = True,
        further: Sequence[FurtherStep] = (),
    ) -> None:
        """Joint stage of any method: an objective on batches of both domains.

        Parameters
        ----------
        feed : Feed
            Source rows first, then target rows.
        labels : ndarray of int64 of shape (n_source,)
        objective : callable
            Gets a `JointBatch`, gives the terms to be noted in the history;
            "loss" is minimised.
        epochs : int
        draw : callable, optional
            Called before each epoch: rows of shape (n, 3), three pictures of
            the feed that stay in one batch (or any other number of them), and
            what else to note in the history. By default `mixed_rows`.
        modules : sequence of torch.nn.Module, optional
            Trained beside the network, such as a domain discriminator.
        decayed : bool, default=True
            Whether the weight decay holds for `modules`, too.
        further : sequence of FurtherStep, optional
            Taken one after the other on the same pictures after each step on
            `objective`, which trains everything.
        """
        n_source, n_all = len(labels), len(feed)
        truth = torch.full((n_all,), -1, dtype=torch.int64)
        truth[:n_source] = torch.from_numpy(labels)
        truth = truth.to(self.device)
        weights = None
        if self._source_weights is not None:
            weights = torch.ones(n_all, device=self.device)
            weights[:n_source] = self._source_weights
        course = SimpleNamespace(n_done=0)
        self.keep(course, "n_done")
        n_steps = 1

        def in_line(rows: NDArray) -> NDArray:
            # anchors, positives and negatives share one forward pass
            return rows.T.ravel()

        def look(model: nn.Module, rows: NDArray) -> JointBatch:
            rows = in_line(rows)
            with Tap(self.network.classifier, "input") as tap:
                features, logits = self._forward(model, feed, rows)
            assert tap.value is not None
            n = len(rows)
            at = send(torch.from_numpy(rows), self.device)
            return JointBatch(
                rows=at,
                is_source=at < n_source,
                source_at=send(torch.from_numpy(np.flatnonzero(rows < n_source)), self.device),
                target_at=send(torch.from_numpy(np.flatnonzero(rows >= n_source)), self.device),
                labels=truth[at],
                features=self.group.gather(features.float(), n),
                logits=self.group.gather(logits.float(), n),
                progress=(course.n_done - 1) / n_steps,
                pooled=self.group.gather(tap.value.float(), n),
                weights=None if weights is None else weights[at],
            )

        def step(model: nn.Module, rows: NDArray) -> dict[str, Tensor]:
            course.n_done += 1
            return objective(look(model, rows))

        def further_step(one: FurtherStep, model: nn.Module, rows: NDArray) -> dict[str, Tensor]:
            return one.objective(look(model, rows))

        more = [(partial(further_step, one), one.trained) for one in further]

        for epoch, model, optimizer in self._epochs("joint", epochs, modules, decayed):
            known: dict = {}
            if draw is None:
                drawn = mixed_rows(n_source, n_all - n_source, self.rng)
            else:
                # the first process' draw, should a method's labels differ by a rounding
                drawn, known = self.group.shared(draw())
            batches = [
                drawn[rows] for rows in shuffled_batches(len(drawn), self.batch_size, self.rng)
            ]
            feed.expect(torch.from_numpy(self._own(in_line(rows))) for rows in batches)
            # an estimate where the number of rows differs between epochs
            n_steps = course.n_done + (epochs - epoch) * len(batches)
            self._epoch(
                "joint", epoch, model, optimizer, batches, step, drawn.shape[1], known, more
            )

    # ------------------------------------------------------------------ parts

    def _own(self, rows: NDArray) -> NDArray:
        """Rows that this process passes through the network."""
        return rows[self.group.own(len(rows))]

    def _forward(self, model: nn.Module, feed: Feed, rows: NDArray) -> tuple[Tensor, Tensor]:
        """Pass this process' share of the rows."""
        generator = self.generator if self.augmented else None
        own = self.group.own(len(rows))
        with self.group.own_draws():
            return forward(
                model,
                self.network,
                feed,
                torch.from_numpy(rows[own]),
                generator,
                among=(own.start, len(rows)),
            )

    def _epochs(
        self, stage: str, epochs: int, modules: Sequence[nn.Module] = (), decayed: bool = True
    ) -> Iterator[tuple[int, nn.Module, torch.optim.Optimizer]]:
        """Set up one stage's optimiser, and lower its rate after each epoch.

        With checkpoints the epochs that were done before are left out.
        """
        number = self._n_stages
        self._n_stages += 1
        if epochs == 0:
            self.kept.clear()
            return
        parameters = list(self.network.parameters())
        beside = list(modules)
        if self.margin is not None and self.margin not in beside:
            beside.append(self.margin)
        for module in beside:
            module.to(self.device)
        groups: list[dict] = [{"params": parameters, "weight_decay": self.weight_decay}]
        extra = [parameter for module in modules for parameter in module.parameters()]
        if extra:
            decay = self.weight_decay if decayed else 0.0
            groups.append({"params": extra, "weight_decay": decay})
        if self.is_faces_network:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # one kernel for all weights, that on a GPU asks the host for nothing
        fused = self.device.type in ("cpu", "cuda")
        optimizer = torch.optim.Adam(groups, lr=self.learning_rate, fused=fused)
        with self.group.whole_batch_statistics(self.network):
            with quiet():
                model, optimizer = self.fabric.setup(self.network, optimizer)
            scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, self.learning_rate_decay)
            model.train()
            n_done = self._resume(number, beside, optimizer, scheduler)
            if n_done and self.verbose:
                tqdm.write(f"{stage:>6} {n_done:>3} | from the checkpoint", file=sys.stderr)
            with self._compiled_backbone():
                for epoch in range(n_done, epochs):
                    yield epoch, model, optimizer
                    scheduler.step()
                    if self.checkpoints is not None:
                        take = partial(capture, self, beside, optimizer)
                        self.checkpoints.write(number, epoch + 1, take)
        self.kept.clear()

    def _resume(
        self,
        stage: int,
        beside: Sequence[nn.Module],
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
    ) -> int:
        """Go to where the stage was when it was interrupted, and tell how many epochs are done."""
        found = None if self.checkpoints is None else self.checkpoints.read(stage)
        if found is None:
            return 0
        n_done, state = found
        restore(self, beside, optimizer, state)
        scheduler.last_epoch = n_done
        return n_done

    @contextlib.contextmanager
    def _compiled_backbone(self) -> Iterator[None]:
        """Let the backbone run compiled inside; the network is as it was outside."""
        if not (self.compiled and self.network.can_be_compiled):
            yield
            return
        plain = self.network.backbone
        self.network.backbone = torch.compile(plain)  # type: ignore[assignment]
        try:
            yield
        finally:
            self.network.backbone = plain

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
        step: _Step,
        pictures_per_row: int,
        known: dict,
        further: Sequence[tuple[_Step, Sequence[nn.Module]]] = (),
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
            self._descend(optimizer, found["loss"])
            for one, trained in further:
                with self.group.unsynchronized(model):
                    more = one(model, batch)
                    self._descend(optimizer, more.pop("loss"), trained)
                found |= more
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
            **({} if self.margin is None else {"margin": float(self.margin().detach())}),
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

    def _descend(
        self,
        optimizer: torch.optim.Optimizer,
        loss: Tensor,
        trained: Sequence[nn.Module] | None = None,
    ) -> None:
        """Take a step that changes all, or only what is in `trained`."""
        optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        if trained is not None:
            kept = {id(weight) for module in trained for weight in module.parameters()}
            for weight in weights:
                if id(weight) not in kept:
                    # Adam passes over weights without a gradient, their decay included
                    weight.grad = None
            self.group.average(weights)
        else:
            # DDP has seen to the network's, the first group
            self.group.average(weights[len(optimizer.param_groups[0]["params"]) :])
        optimizer.step()


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
