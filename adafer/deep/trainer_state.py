"""What a trainer holds between two epochs: taken out for a checkpoint, and put back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from .._checkpoints import Checkpoints, State
from .distributed import Group

if TYPE_CHECKING:
    from .loop import Trainer

__all__ = ["SharedCheckpoints", "capture", "restore"]

# what torch.compile puts into the names of a network's tensors
_COMPILED = "_orig_mod."


class SharedCheckpoints:
    """Checkpoints of a fit in one or several processes: the first writes, all read.

    Parameters
    ----------
    checkpoints : Checkpoints or None
        None in all processes but the first.
    seed : int
    group : Group
    """

    def __init__(self, checkpoints: Checkpoints | None, seed: int, group: Group):
        self._own = checkpoints
        self.seed = seed
        self.group = group

    @classmethod
    @contextlib.contextmanager
    def opened(
        cls, folder: Path, fit: dict[str, Any], seed: int, resume: str, group: Group
    ) -> Iterator[SharedCheckpoints]:
        """Hold a folder inside; see `Checkpoints`."""
        own: list[Checkpoints] = []

        def take() -> int:
            own.append(Checkpoints(folder, fit, seed, resume))
            return own[0].seed

        try:
            found = group.by_first(take)
            yield cls(own[0] if own else None, found, group)
        finally:
            for checkpoints in own:
                checkpoints.close()

    def read(self, stage: int) -> tuple[int, State] | None:
        """Give all processes the last good checkpoint of a stage."""
        return self.group.by_first(lambda: None if self._own is None else self._own.read(stage))

    def write(self, stage: int, epoch: int, state: Callable[[], State]) -> None:
        """Write a checkpoint, in the first process."""
        if self._own is not None:
            self._own.write(stage, epoch, state())


def capture(
    trainer: Trainer, modules: Sequence[nn.Module], optimizer: torch.optim.Optimizer
) -> State:
    """Take a trainer's state out after an epoch.

    Parameters
    ----------
    trainer : Trainer
    modules : sequence of torch.nn.Module
        Beside the network.
    optimizer : torch.optim.Optimizer
        Adam.

    Returns
    -------
    state : State
    """
    tensors: dict[str, Tensor] = {}
    for label, module in _labelled(trainer, modules):
        for name, value in module.state_dict().items():
            tensors[f"{label}.{name.replace(_COMPILED, '')}"] = value
    for i, weight in enumerate(_weights(optimizer)):
        for name, value in optimizer.state.get(weight, {}).items():
            tensors[f"optimizer.{i}.{name}"] = value
    for name, generator in _generators(trainer).items():
        tensors[f"random.{name}"] = generator.get_state()
    kept: list[dict[str, Any]] = []
    for i, (thing, names) in enumerate(trainer.kept):
        kept.append({})
        for name in names:
            value = getattr(thing, name, None)
            if isinstance(value, torch.Generator):
                value = value.get_state()
            if isinstance(value, np.ndarray):
                value = torch.from_numpy(value)
            if isinstance(value, Tensor):
                tensors[f"kept.{i}.{name}"] = value
            elif value is not None:
                kept[i][name] = value
    values = {
        "learning_rates": [group["lr"] for group in optimizer.param_groups],
        "random": trainer.rng.bit_generator.state,
        "n_passes": trainer.group.n_passes,
        "history": trainer.history,
        "kept": kept,
    }
    found = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    return State(found, values)


def restore(
    trainer: Trainer,
    modules: Sequence[nn.Module],
    optimizer: torch.optim.Optimizer,
    state: State,
) -> None:
    """Put back what `capture` took out.

    Parameters
    ----------
    trainer, modules, optimizer : as for `capture`
        Set up anew as they were before the stage's first epoch.
    state : State

    Raises
    ------
    ValueError
        If the state is of another network or method.
    """
    try:
        _restore(trainer, modules, optimizer, state)
    except (KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise ValueError(
            f"A checkpoint of this fit does not fit its network ({type(error).__name__}: {error}). "
            "Use resume='never' to start anew."
        ) from error


def _restore(
    trainer: Trainer,
    modules: Sequence[nn.Module],
    optimizer: torch.optim.Optimizer,
    state: State,
) -> None:
    tensors, values = state
    for label, module in _labelled(trainer, modules):
        module.load_state_dict(_below(tensors, f"{label}."))
    for i, weight in enumerate(_weights(optimizer)):
        found = _below(tensors, f"optimizer.{i}.")
        if found:
            optimizer.state[weight] = {name: _like(weight, value) for name, value in found.items()}
    for group, rate in zip(optimizer.param_groups, values["learning_rates"], strict=True):
        group["lr"] = float(rate)
    for name, generator in _generators(trainer).items():
        generator.set_state(tensors[f"random.{name}"])
    for i, (thing, names) in enumerate(trainer.kept):
        found = {**values["kept"][i], **_below(tensors, f"kept.{i}.")}
        for name in names:
            if name in found:
                _put(thing, name, found[name])
    trainer.rng.bit_generator.state = values["random"]
    trainer.group.n_passes = int(values["n_passes"])
    trainer.history[:] = [dict(row) for row in values["history"]]


def _labelled(trainer: Trainer, modules: Sequence[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    yield "network", trainer.network
    for i, module in enumerate(modules):
        yield f"module.{i}", module


def _weights(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


class _TorchsOwn:
    """The generator that torch draws from on its own, on the CPU or a GPU."""

    def __init__(self, device: torch.device | None = None):
        self._device = device

    def get_state(self) -> Tensor:
        if self._device is None:
            return torch.get_rng_state()
        return torch.cuda.get_rng_state(self._device)

    def set_state(self, state: Tensor) -> None:
        if self._device is None:
            torch.set_rng_state(state)
        else:
            torch.cuda.set_rng_state(state, self._device)


def _generators(trainer: Trainer) -> dict[str, Any]:
    found = {"trainer": trainer.generator, "torch": _TorchsOwn()}
    if trainer.device.type == "cuda":
        found["cuda"] = _TorchsOwn(trainer.device)
    return found


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)
    }


def _like(weight: Tensor, value: Tensor) -> Tensor:
    """Give a tensor of the optimiser the place and, in memory, the order of its weight."""
    if value.shape != weight.shape:
        return value.to(weight.device)
    return torch.empty_like(weight, dtype=value.dtype).copy_(value)


def _put(thing: Any, name: str, value: Any) -> None:
    """Set an attribute; tensors and generators that others hold, too, are changed in place."""
    now = getattr(thing, name, None)
    if isinstance(now, torch.Generator):
        now.set_state(value)
    elif isinstance(now, Tensor):
        now.copy_(value)
    else:
        setattr(thing, name, value.numpy() if isinstance(value, Tensor) else value)
