"""An epoch of the joint stage on a GPU, from decoded uint8 faces, against the bare step.

    PYTHONPATH=. python tests/benchmarks/step_gpu.py --output step_gpu.md

Takes about three minutes on an H100, half of them for compiling. Before each epoch the bare
step is timed as often as the epoch has steps; ratios are taken within such a pair and the
median is reported. The bare step is forward, cross-entropy, backward and fused Adam on one
batch that lies on the GPU, normalised; network, precision and memory format are the same.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

N_CLASSES = 7


# ----------------------------------------------------------------------------- the problem


def adaptation(n_source: int, n_target: int, rng: np.random.Generator) -> Any:
    """AdaFER's joint stage by the paper, on labels and triplets drawn at random."""
    from adafer.deep.paper import Adaptation

    def part(n_anchors: int, n_others: int) -> Any:
        return SimpleNamespace(
            anchor=np.arange(n_anchors),
            positive=rng.integers(n_others, size=n_anchors),
            negative=rng.integers(n_others, size=n_anchors),
            n_skipped=0,
        )

    labels = rng.dirichlet(np.ones(N_CLASSES), n_target)
    annotation = SimpleNamespace(
        classes=np.arange(N_CLASSES),
        weights=np.ones(n_target, np.float32),
        coverage=1.0,
        labelled_share=1.0,
        scheme_labels=lambda *_: labels,
    )
    miner = SimpleNamespace(
        anchors="both", draw=lambda _: (part(n_source, n_target), part(n_target, n_source))
    )
    return Adaptation(
        annotation=annotation,  # type: ignore[arg-type]
        miner=miner,  # type: ignore[arg-type]
        schemes=("t-soft", "s-hard"),
        conflict="probability",
        beta=1.0,
        epsilon=1.0,
    )


class Bare:
    """Forward, cross-entropy, backward and optimiser on a batch that is on the device."""

    def __init__(self, network: nn.Module, options: argparse.Namespace, compiled: bool):
        self.network = copy.deepcopy(network).to(options.device, memory_format=torch.channels_last)
        self.model = torch.compile(self.network) if compiled else self.network
        self.model.train()
        parameters = self.network.parameters()
        self.optimizer = torch.optim.Adam(parameters, lr=1e-3, weight_decay=1e-4, fused=True)
        shape = (3 * options.triplets, 3, options.size, options.size)
        inputs = torch.randn(shape, device=options.device)
        self.inputs = inputs.contiguous(memory_format=torch.channels_last)
        self.truth = torch.randint(N_CLASSES, shape[:1], device=options.device)
        self.autocast = torch.autocast(options.device, torch.bfloat16, enabled=options.bf16)

    def steps(self, count: int) -> float:
        """Take some steps; seconds."""
        wait()
        started = time.perf_counter()
        for _ in range(count):
            with self.autocast:
                _, logits = self.model(self.inputs)
            loss = functional.cross_entropy(logits.float(), self.truth)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        wait()
        return time.perf_counter() - started


def wait() -> None:
    """Wait for the device."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


# ------------------------------------------------------------------------------- measuring


def make_trainer(network: nn.Module, options: argparse.Namespace, compiled: bool) -> Any:
    """Make the trainer as the classifier does."""
    from adafer.deep.loop import Trainer
    from adafer.deep.losses import Margin

    return Trainer(
        copy.deepcopy(network),  # type: ignore[arg-type]
        Margin(),
        device=torch.device(options.device, 0) if options.device == "cuda" else torch.device("cpu"),
        precision="bf16" if options.bf16 else "fp32",
        batch_size=options.triplets,
        learning_rate=1e-3,
        learning_rate_decay=0.9,
        weight_decay=1e-4,
        augmented=True,
        rng=np.random.default_rng(0),
        verbose=0,
        compiled=compiled,
    )


def pairs(
    trainer: Any, feed: Any, labels: np.ndarray, plan: Any, bare: Bare, n_steps: int, rounds: int
) -> tuple[list[float], list[float]]:
    """Seconds of the bare steps and of the epoch, drawing included, pair by pair."""
    epoch, plain = trainer._epoch, trainer.fit_jointly
    theirs: list[float] = []
    ours: list[float] = []
    drawing = 0.0

    def fit(feed: Any, labels: Any, objective: Any, epochs: int, *, draw: Any, **more: Any) -> None:
        def paired() -> Any:
            nonlocal drawing
            theirs.append(bare.steps(n_steps))
            started = time.perf_counter()
            drawn = draw()
            drawing = time.perf_counter() - started
            return drawn

        plain(feed, labels, objective, epochs, draw=paired, **more)

    def timed(*args: Any) -> None:
        started = time.perf_counter()
        epoch(*args)
        wait()
        ours.append(time.perf_counter() - started + drawing)

    from adafer.deep.paper import fit_paper

    trainer.fit_jointly, trainer._epoch = fit, timed
    fit_paper(trainer, feed, labels, plan, rounds + 1)
    return theirs[1:], ours[1:]  # the first compile, and fill caches


@contextlib.contextmanager
def refusing_to_wait() -> Iterator[None]:
    """Make every wait of the host an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def what_waits(trainer: Any, feed: Any, labels: np.ndarray, plan: Any) -> str:
    """What makes the host wait within the steps of an epoch, after a first epoch."""
    epoch, descend = trainer._epoch, trainer._descend
    count = 0

    def strict(function: Callable) -> Callable:
        def called(*args: Any) -> Any:
            nonlocal count
            count += 1
            if count <= 2:  # the first step moves the inputs and makes the optimiser's state
                return function(*args)
            with refusing_to_wait():
                return function(*args)

        return called

    def watched(stage: Any, number: Any, model: Any, optimizer: Any, batches: Any, step: Any,
                *more: Any) -> None:  # fmt: skip
        epoch(stage, number, model, optimizer, batches, strict(step), *more)

    from adafer.deep.paper import fit_paper

    trainer._epoch, trainer._descend = watched, strict(descend)
    try:
        fit_paper(trainer, feed, labels, plan, 1)
    except RuntimeError as error:
        return f"WAITS: {error}"
    return f"nothing, in {count - 2} halves of steps"


def main() -> None:
    """Measure, and write the table."""
    options = parse_arguments()
    from adafer.deep import batches
    from adafer.deep.backbones import build_network
    from adafer.deep.batches import Feed, augment

    if options.device == "cuda":
        torch.backends.cudnn.benchmark = options.autotune
    rng = np.random.default_rng(0)
    n_source = n_target = options.steps * options.triplets // 2
    shape = (n_source, options.size, options.size, 3)
    parts = [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(2)]
    labels = rng.integers(N_CLASSES, size=n_source).astype(np.int64)
    plan = adaptation(n_source, n_target, rng)
    torch.manual_seed(0)
    network = build_network("resnet18", N_CLASSES, image_size=options.size)
    n_images = 3 * options.steps * options.triplets
    fits = batches.fits_device

    lines = []
    with tempfile.TemporaryDirectory() as folder:
        maps = []
        for i, part in enumerate(parts):
            part.tofile(Path(folder) / f"{i}.bin")
            maps.append(np.memmap(Path(folder) / f"{i}.bin", np.uint8, mode="r", shape=part.shape))
        bares = {flag: Bare(network, options, flag) for flag in options.compile}
        for compiled in options.compile:
            for held in ("on the device", "in memory", "mapped from a file"):
                if held == "on the device" and options.device == "cpu":
                    continue
                batches.fits_device = fits if held == "on the device" else lambda *_: False
                trainer = make_trainer(network, options, compiled)
                feed = Feed(maps if held == "mapped from a file" else parts, trainer.device)
                theirs, ours = pairs(
                    trainer, feed, labels, plan, bares[compiled], options.steps, options.rounds
                )
                ratio = statistics.median(o / t for o, t in zip(ours, theirs, strict=True))
                cells = [
                    "compiled" if compiled else "as it is",
                    held,
                    f"{n_images / statistics.median(theirs):.0f}",
                    f"{n_images / statistics.median(ours):.0f}",
                    f"{ratio:.3f}",
                ]
                lines.append(f"| {' | '.join(cells)} |")
                print(lines[-1], flush=True)
    batches.fits_device = fits

    waits = "not asked for on a CPU"
    if options.device == "cuda":
        waits = what_waits(make_trainer(network, options, False), Feed(parts, trainer.device),
                           labels, plan)  # fmt: skip
    # what comes before the network, alone
    trainer = make_trainer(network, options, False)
    feed, net = Feed(parts, trainer.device), trainer.network.to(trainer.device)
    generator, rows = torch.Generator().manual_seed(0), torch.arange(3 * options.triplets)
    rows = rows % len(feed)
    for _ in range(2):
        wait()
        started = time.perf_counter()
        for _ in range(options.steps):
            augment(net.normalize(feed.batch(rows), in_place=True), generator)
        wait()
    before = (time.perf_counter() - started) / options.steps
    name = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor()
    report = [
        "## Epoch of the joint stage from decoded uint8, ResNet-18, mark <= 1.10",
        "",
        f"{date.today()}, {name}, python {platform.python_version()}, torch {torch.__version__}; "
        f"{options.size} px, {'bf16' if options.bf16 else 'fp32'}, channels last, "
        f"{3 * options.triplets} images a step, {options.steps} steps, {options.rounds} pairs.",
        "",
        f"Command: `python tests/benchmarks/step_gpu.py {' '.join(sys.argv[1:])}`",
        "",
        "| backbone | faces | bare step, images/s | adafer, images/s | ratio of seconds |",
        "| --- | --- | --- | --- | --- |",
        *lines,
        "",
        f"Gathering, converting, normalising and augmenting: {1000 * before:.2f} ms a step. "
        f"What makes the host wait within an epoch: {waits}.",
    ]
    print("\n" + "\n".join(report), flush=True)
    if options.output is not None:
        options.output.write_text("\n".join(report) + "\n", encoding="utf-8")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, metavar="FILE.md")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--triplets", type=int, default=128, help="of a step, even")
    parser.add_argument("--steps", type=int, default=24, help="of an epoch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fp32", dest="bf16", action="store_false")
    parser.add_argument("--autotune", action="store_true", help="let cuDNN try its algorithms")
    parser.add_argument("--no-compile", dest="compile", action="store_const", const=[False],
                        default=[True, False])  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    main()
