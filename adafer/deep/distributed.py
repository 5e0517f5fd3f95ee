"""Training in several processes as if it were one: torch DDP, started by torchrun.

All processes draw the same batches from the same random stream. Each passes its
share of a batch's pictures through the network; features and class scores are
then gathered, and every process computes the objective on the whole batch. So a
loss need not be a mean over pictures, triplets may lie across processes, and
whatever a method keeps beside the network stays the same everywhere.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .._ranks import this_rank
from .device import seeded
from .normalization import batch_norm_layers

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Group", "SplitScorer", "join", "quiet"]

_T = TypeVar("_T")


def join(device: torch.device, precision: str = "32-true") -> tuple[Fabric, Group]:
    """Set up this process' part in training, and wait for the others at the first call.

    Parameters
    ----------
    device : torch.device
        As `resolve_device` gives it.
    precision : str
        Of Lightning Fabric.

    Returns
    -------
    fabric : lightning_fabric.Fabric
    group : Group
        Of one process, unless torchrun started more.
    """
    from lightning_fabric import Fabric

    rank = this_rank()
    if rank.count == 1:
        with quiet():
            fabric = Fabric(
                accelerator=device.type,
                devices=[device.index or 0] if device.type == "cuda" else 1,
                precision=precision,  # type: ignore[arg-type]
            )
        return fabric, Group(fabric, device)
    from lightning_fabric.plugins.environments import TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy

    fabric = Fabric(
        accelerator=device.type,
        devices=rank.local_count,
        num_nodes=rank.n_machines,
        precision=precision,  # type: ignore[arg-type]
        strategy=DDPStrategy(cluster_environment=TorchElasticEnvironment()),
    )
    with quiet():
        fabric.launch()
    return fabric, Group(fabric, device, rank.index, rank.count)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep to itself what Lightning Fabric tells of its settings."""
    logger = logging.getLogger("lightning_fabric")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


class Group:
    """The processes that train one network together; mostly there is one.

    Parameters
    ----------
    fabric : lightning_fabric.Fabric
    device : torch.device
    index, count : int
        Which of how many processes this is.
    """

    def __init__(self, fabric: Fabric, device: torch.device, index: int = 0, count: int = 1):
        self.fabric = fabric
        self.device = device
        self.index = index
        self.count = count
        self.n_passes = 0

    def own(self, n: int) -> slice:
        """Rows of a batch that this process passes through the network.

        Parameters
        ----------
        n : int
            Rows of the whole batch.

        Returns
        -------
        rows : slice
            Shares differ by one row at most.

        Raises
        ------
        ValueError
            If there are fewer rows than processes.
        """
        if n < self.count:
            raise ValueError(
                f"A step has {n} pictures for {self.count} processes. Start fewer processes, or "
                "raise batch_size."
            )
        return _share(n, self.index, self.count)

    def gather(self, values: Tensor, n: int) -> Tensor:
        """Rows of all processes, in the order of the batch.

        Every process then computes the same loss. Its gradient comes back to the
        own rows times the number of processes, so that the mean over processes,
        which DDP takes for the network's weights, is the gradient of that loss.

        Parameters
        ----------
        values : Tensor of shape (n_own, ...)
            Of the rows that `own` gave.
        n : int
            Rows of the whole batch.

        Returns
        -------
        values : Tensor of shape (n, ...)
        """
        if self.count == 1:
            return values
        return _Gather.apply(values, n, self.index, self.count)

    def shared(self, value: _T) -> _T:
        """Give all processes what the first one has.

        Parameters
        ----------
        value : object that can be pickled
            Every process must call this.
        """
        return value if self.count == 1 else self.fabric.broadcast(value)

    def by_first(self, act: Callable[[], _T]) -> _T:
        """Let the first process act; all get what it gives, or raise what it raised.

        Parameters
        ----------
        act : callable
            Gives an object that can be pickled. Every process must call this.
        """
        if self.count == 1:
            return act()
        found: tuple[Any, Exception | None] = (None, None)
        if self.index == 0:
            try:
                found = act(), None
            except Exception as error:
                found = None, error
        value, failed = self.shared(found)
        if failed is not None:
            raise failed
        return value

    def align(self, values: Tensor) -> None:
        """Overwrite a tensor by the first process' one."""
        if self.count > 1:
            torch.distributed.broadcast(values, 0)

    def gather_arrays(self, part: NDArray) -> list[NDArray]:
        """Arrays of all processes, in their order."""
        if self.count == 1:
            return [part]
        parts: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(parts, part)
        return parts

    @contextlib.contextmanager
    def own_draws(self) -> Iterator[None]:
        """Let torch draw other numbers in each process inside, and the same ones after it.

        Dropout inside the network is to differ between rows; what objectives draw
        is to be the same in all processes, and as in a single one.
        """
        if self.count == 1:
            yield
            return
        self.n_passes += 1
        source = np.random.SeedSequence([torch.initial_seed(), self.n_passes, self.index])
        with seeded(int(source.generate_state(1, np.uint64)[0] >> 1), self.device):
            yield

    def unsynchronized(self, model: nn.Module) -> contextlib.AbstractContextManager:
        """Leave gradients of the network to `average`, whichever there will be."""
        return self.fabric.no_backward_sync(model)  # type: ignore[arg-type]

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Take the mean of gradients over all processes.

        Parameters
        ----------
        parameters : iterable of torch.nn.Parameter
            The same in all processes; those without a gradient are passed over.
        """
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not gradients:
            return
        together = torch.cat([gradient.reshape(-1) for gradient in gradients])
        torch.distributed.all_reduce(together)
        together /= self.count
        parts = together.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    @contextlib.contextmanager
    def whole_batch_statistics(self, network: nn.Module) -> Iterator[None]:
        """Let batch normalisation see the whole batch inside, not the own share of it.

        Parameters
        ----------
        network : torch.nn.Module
            Its layers are as they were afterwards.
        """
        layers: Sequence[nn.Module] = ()
        if self.count > 1:
            layers = batch_norm_layers(network)
        classes = [type(layer) for layer in layers]
        # torch's own takes no tensors on the CPU
        whole = nn.SyncBatchNorm if self.device.type == "cuda" else _WholeBatchNorm
        try:
            for layer in layers:
                # weights, statistics and hooks stay, only `forward` is another
                layer.__class__ = whole
                layer.process_group = None  # type: ignore[assignment]
            yield
        finally:
            for layer, kind in zip(layers, classes, strict=True):
                layer.__class__ = kind
                layer.__dict__.pop("process_group", None)


def _share(n: int, index: int, count: int) -> slice:
    """Cut n rows into nearly equal parts."""
    return slice(index * n // count, (index + 1) * n // count)


class _Gather(torch.autograd.Function):
    """All rows; backwards the own rows' gradient, times the number of processes."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, n: int, index: int, count: int) -> Tensor:
        ctx.own, ctx.count = _share(n, index, count), count
        shares = [_share(n, i, count) for i in range(count)]
        sizes = [share.stop - share.start for share in shares]
        # all must send as many rows
        padded = values.new_zeros((max(sizes), *values.shape[1:]))
        padded[: len(values)] = values
        parts = [torch.empty_like(padded) for _ in range(count)]
        torch.distributed.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        return gradient[ctx.own] * ctx.count, None, None, None


class _Sum(torch.autograd.Function):
    """Sum over the processes; backwards, too, since all of them use it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


class _WholeBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation over the rows of all processes, with gloo on a CPU."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Take what the layer's own class took."""

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return super().forward(inputs)
        axes = [0, *range(2, inputs.ndim)]
        shape = [1, -1] + [1] * (inputs.ndim - 2)
        values = inputs.float()
        local = torch.tensor([float(values.numel() // values.shape[1])])
        # the mean first: a difference of sums of squares would lose digits
        sums = _Sum.apply(torch.cat([values.sum(dim=axes), local]))
        n = float(sums[-1].detach())
        mean = sums[:-1] / n
        centred = values - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(dim=axes)) / n
        if self.track_running_stats:
            self._note(mean.detach(), variance.detach() * (n / max(1.0, n - 1)))
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        found = centred * scale.view(shape)
        if self.affine:
            found = found + self.bias.view(shape)
        return found.to(inputs.dtype)

    @torch.no_grad()
    def _note(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics as torch does."""
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        assert self.running_mean is not None
        assert self.running_var is not None
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class SplitScorer:
    """An AU extractor that scores a share of each piece of pictures, and gets the rest.

    Parameters
    ----------
    extractor : AUExtractor
    group : Group
        Every process must score the same pictures in the same pieces.
    """

    def __init__(self, extractor: Any, group: Group):
        self.extractor = extractor
        self.group = group

    @property
    def detector_(self) -> Any:
        """What the extractor scores by."""
        return self.extractor.detector_

    def score_faces(self, images: Sequence[NDArray]) -> NDArray:
        """Score pictures, as `AUExtractor.score_faces`."""
        own = _share(len(images), self.group.index, self.group.count)
        return np.concatenate(self.group.gather_arrays(self.extractor.score_faces(images[own])))
