"""What a step of training costs beside forward, backward and optimiser, on a CPU.

    python tests/benchmarks/step.py --rows step profile rates jpeg memory --output step.md

Times are compared pair by pair within one run, each with its neighbour, and the median
of the ratios is reported, by the clock and by the processor's time of this process,
which other programs on the machine disturb less. "rates" needs skada, which is no
dependency of adafer. Faces are noise: a step takes as long as with others.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from adafer import AdaFERClassifier, AUGuidedAnnotator, SourceOnlyClassifier, store
from adafer._files import check_output_file, new_file
from adafer._versions import versions
from adafer.deep.backbones import build_network
from adafer.deep.batches import Feed
from adafer.domains import read_domain
from adafer.faces import check_faces

N_CLASSES = 7
CPU = torch.device("cpu")


def main() -> None:
    """Measure the chosen rows and write them."""
    options = parse_arguments()
    if options.probe is not None:
        probe_memory(options.probe, options.count)
        return
    torch.set_num_threads(options.threads)
    rows = {
        "step": step_row,
        "profile": profile_row,
        "rates": rates_row,
        "jpeg": jpeg_row,
        "memory": memory_row,
    }
    lines = [
        f"{date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"{options.threads} used; "
        + ", ".join(f"{name} {version}" for name, version in versions().items())
        + ".",
        "",
        f"Command: `python tests/benchmarks/step.py {' '.join(sys.argv[1:])}`",
    ]
    for name in options.rows:
        lines += ["", *rows[name](options)]
        print("\n".join(lines), flush=True)
        if options.output is not None:
            with new_file(options.output) as path:
                path.write_text("\n".join(lines) + "\n", encoding="utf-8")


# ------------------------------------------------------------------------ the joint step


class Clock:
    """Seconds by the wall and by the processor."""

    @contextmanager
    def __call__(self) -> Iterator[Clock]:
        """Time what is inside."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield self
        self.wall, self.cpu = time.perf_counter() - wall, time.process_time() - cpu


def bare_step(network: nn.Module, precision: str) -> Callable[[int], None]:
    """Forward, cross-entropy, backward and Adam on given tensors of a copy of a network."""
    bare = copy.deepcopy(network).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(bare.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    size = 64
    inputs = torch.randn(1200, 3, size, size).contiguous(memory_format=torch.channels_last)
    truth = torch.randint(N_CLASSES, (len(inputs),))

    def step(n_pictures: int) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            _, logits = bare(inputs[:n_pictures])
        loss = functional.cross_entropy(logits.float(), truth[:n_pictures])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


class Paired(AdaFERClassifier):
    """Takes a bare step before each epoch of the joint stage, which is one step."""

    def _adapt(self, trainer: Any, feed: Any, labels: Any, plan: Any) -> None:
        trainer.network.to(memory_format=torch.channels_last)
        bare, plain = bare_step(trainer.network, self.precision), trainer.fit_jointly
        epoch, clock = trainer._epoch, Clock()
        self.pairs_: list[dict] = []

        def fit(feed: Any, labels: Any, objective: Any, epochs: int, *, draw: Any, **more: Any):
            def draw_paired() -> tuple[Any, dict]:
                with clock():
                    drawn = draw()
                pair = {"draw": (clock.wall, clock.cpu), "n": drawn[0].size}
                with clock():
                    bare(drawn[0].size)
                pair["bare"] = (clock.wall, clock.cpu)
                self.pairs_.append(pair)
                return drawn

            return plain(feed, labels, objective, epochs, draw=draw_paired, **more)

        def timed_epoch(*args: Any) -> None:
            with clock():
                epoch(*args)
            self.pairs_[-1]["ours"] = (clock.wall, clock.cpu)

        trainer.fit_jointly, trainer._epoch = fit, timed_epoch
        super()._adapt(trainer, feed, labels, plan)


def joint_problem(n_faces: int, size: int) -> dict[str, Any]:
    """Noise of two domains, with AU scores of few codes, so that each anchor has triplets."""
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (2, n_faces, size, size, 3), dtype=np.uint8)
    y = np.arange(n_faces) % N_CLASSES
    codes = np.eye(N_CLASSES)[y] * 0.8 + 0.1
    noise = rng.uniform(0, 0.05, (2, n_faces, N_CLASSES))
    return {
        "X": faces[0],
        "y": y,
        "X_tgt": faces[1],
        "au_src": codes + noise[0],
        "au_tgt": codes + noise[1],
    }


def annotator() -> AUGuidedAnnotator:
    """Codes that are the class, whatever the noise, so that no anchor is skipped."""
    return AUGuidedAnnotator(matching="near", threshold=0.5)


def step_row(options: argparse.Namespace) -> list[str]:
    """Joint step of 384 images against the bare one."""
    lines = [
        "## Joint step, ResNet-18, 64 px, mark <= 1.05",
        "",
        "| recipe | precision | images | bare, s | adafer, s | ratio | ratio, processor |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for recipe in options.recipes:
        problem = joint_problem(64 * options.images // 384, 64)
        clf = Paired(
            "resnet18",
            recipe=recipe,
            annotator=annotator(),
            image_size=64,
            batch_size=128,
            source_epochs=0,
            epochs=options.rounds + 1,
            norm_statistics="running",
            precision=options.precision,
            random_state=0,
            device="cpu",
        )
        clf.fit(**problem)
        pairs = clf.pairs_[1:]  # the first makes the optimisers' state
        ours, bare = ([p[who][0] for p in pairs] for who in ("ours", "bare"))
        ratios = [
            statistics.median((p["ours"][i] + p["draw"][i]) / p["bare"][i] for p in pairs)
            for i in (0, 1)
        ]
        lines.append(
            f"| {recipe} | {options.precision} | {pairs[0]['n']} | {statistics.median(bare):.2f} | "
            f"{statistics.median(ours):.2f} | {ratios[0]:.3f} | {ratios[1]:.3f} |"
        )
        print(lines[-1], flush=True)
    return lines


class Profiled(AdaFERClassifier):
    """Profiles one epoch of the joint stage."""

    def _adapt(self, trainer: Any, feed: Any, labels: Any, plan: Any) -> None:
        from torch.profiler import ProfilerActivity, profile, record_function

        def named(name: str, function: Callable) -> Callable:
            def called(*args: Any, **more: Any) -> Any:
                with record_function(name):
                    return function(*args, **more)

            return called

        trainer.fabric.backward = named("[backward]", trainer.fabric.backward)
        trainer.network.forward = named("[forward]", trainer.network.forward)
        trainer._descend = named("[descend]", trainer._descend)
        feed.batch = named("[gather, to fractions]", feed.batch)
        epoch = named("[epoch]", trainer._epoch)

        def profiled(*args: Any) -> None:
            with profile(activities=[ProfilerActivity.CPU]) as self.profile_:
                epoch(*args)

        trainer._epoch = profiled
        super()._adapt(trainer, feed, labels, plan)


def profile_row(options: argparse.Namespace) -> list[str]:
    """Where a CPU epoch spends its time."""
    problem = joint_problem(64 * options.images // 384 * 2, 64)
    clf = Profiled(
        "resnet18", annotator=annotator(), image_size=64, batch_size=128, source_epochs=0,
        epochs=2, norm_statistics="running", random_state=0, device="cpu",
    )  # fmt: skip
    clf.fit(**problem)
    found = {row.key: row.cpu_time_total / 1e6 for row in clf.profile_.key_averages()}
    step = next(value for name, value in found.items() if name.startswith("Optimizer.step"))
    whole = found["[epoch]"]
    parts = {"forward": found["[forward]"], "backward": found["[backward]"], "optimiser": step}
    lines = [
        f"## Profile of an epoch of the joint stage, {len(problem['y']) * 2} faces, mark >= 90 %",
        "",
        "| part | seconds | share |",
        "| --- | --- | --- |",
    ]
    parts["forward, backward and optimiser"] = sum(parts.values())
    parts["gather, to fractions"] = found["[gather, to fractions]"]
    parts["all"] = whole
    lines += [f"| {name} | {s:.3f} | {100 * s / whole:.1f} % |" for name, s in parts.items()]
    table = clf.profile_.key_averages().table(
        sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=40
    )
    kept = [line for line in table.splitlines() if line.strip()]
    return [*lines, "", "By operation, torch profiler:", "", "```", *kept, "```"]


# --------------------------------------------------------------- images a second, rivals


def rates_row(options: argparse.Namespace) -> list[str]:
    """Images a second of the joint stage against skada and a plain script."""
    n_images, rounds = options.images, options.rounds
    problem = joint_problem(n_images // 2, 64)
    routes = {
        "plain script": plain_script(problem, n_images),
        "skada CDAN": skada_cdan(problem, n_images),
        "adafer, AdaFER": joint_stage(problem, n_images, AdaFERClassifier, "fp32"),
        "adafer, AdaFER, bf16": joint_stage(problem, n_images, AdaFERClassifier, "bf16"),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in routes}
    for _ in range(rounds):
        for name, run in routes.items():
            seconds[name].append(run())
            print(name, seconds[name][-1], flush=True)
    lines = [
        f"## Images a second, ResNet-18, 64 px, {n_images} images a step, mark >= 1.3",
        "",
        "| route | images/s | to the better rival, same round | the same, processor |",
        "| --- | --- | --- | --- |",
    ]
    rivals = ("plain script", "skada CDAN")
    for name, found in seconds.items():
        ratios = [
            statistics.median(
                min(seconds[rival][r][i] for rival in rivals) / found[r][i] for r in range(rounds)
            )
            for i in (0, 1)
        ]
        rate = 1 / statistics.median(wall for wall, _ in found)
        lines.append(f"| {name} | {rate:.1f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")
    return lines


def joint_stage(
    problem: dict, n_images: int, method: type, precision: str
) -> Callable[[], tuple[float, float]]:
    """Seconds per image of our joint stage; the first of three epochs does not count."""

    def run() -> tuple[float, float]:
        clf = method(
            "resnet18", image_size=64, batch_size=n_images // 3, source_epochs=0, epochs=2,
            norm_statistics="running", precision=precision, random_state=0, device="cpu",
        )  # fmt: skip
        from adafer.deep.loop import Trainer

        plain, clock, found = Trainer._epoch, Clock(), []

        def timed(self: Any, stage: str, epoch: int, model: Any, optimizer: Any, batches: Any,
                  *more: Any) -> None:  # fmt: skip
            with clock():
                plain(self, stage, epoch, model, optimizer, batches, *more)
            n_pictures = sum(rows.size for rows in batches)
            found.append((clock.wall / n_pictures, clock.cpu / n_pictures))

        Trainer._epoch = timed
        try:
            clf.fit(**problem)
        finally:
            Trainer._epoch = plain
        return found[-1]

    return run


class Pictures(torch.utils.data.Dataset):
    """Decoded faces, transformed one by one as scripts do."""

    def __init__(self, faces: np.ndarray, labels: np.ndarray):
        from torchvision import transforms

        self.faces, self.labels = faces, labels
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
                transforms.RandomErasing(),
            ]
        )

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """One face and its label."""
        return self.transform(self.faces[index]), int(self.labels[index])


class Plain(nn.Module):
    """The same ResNet-18 and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = build_network("resnet18", N_CLASSES, image_size=64).backbone
        self.fc = nn.Linear(512, N_CLASSES)

    def forward(self, inputs: torch.Tensor, sample_weight: Any = None) -> torch.Tensor:
        """Class scores."""
        return self.fc(self.backbone(inputs))


def plain_script(problem: dict, n_images: int) -> Callable[[], tuple[float, float]]:
    """Seconds per image of two DataLoaders, and one forward pass for each domain."""
    network = Plain().train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4)
    loaders = [
        torch.utils.data.DataLoader(
            Pictures(problem[name], problem["y"]), n_images // 2, shuffle=True
        )
        for name in ("X", "X_tgt")
    ]
    clock = Clock()

    def epoch() -> int:
        count = 0
        for (source, truth), (target, _) in zip(*loaders, strict=True):
            shares = network(target).softmax(1)
            loss = functional.cross_entropy(network(source), truth)
            loss = loss - 0.1 * (shares * shares.clamp_min(1e-6).log()).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            count += len(source) + len(target)
            loss.item()
        return count

    epoch()

    def run() -> tuple[float, float]:
        with clock():
            count = epoch()
        return clock.wall / count, clock.cpu / count

    return run


def skada_cdan(problem: dict, n_images: int) -> Callable[[], tuple[float, float]]:
    """Seconds per image of skada's CDAN, on faces that are normalised tensors already."""
    from skada.deep import CDAN

    both = torch.from_numpy(np.concatenate([problem["X"], problem["X_tgt"]]))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    inputs = ((both.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous().numpy()
    n_source = len(problem["y"])
    domains = np.repeat([1, -2], n_source)
    # targets are masked by a label of -1
    labels = np.concatenate([problem["y"], np.full(n_source, -1)]).astype(np.int64)
    clock = Clock()

    def run() -> tuple[float, float]:
        net = CDAN(
            Plain(), layer_name="backbone", num_features=512, n_classes=N_CLASSES,
            batch_size=n_images // 2, max_epochs=2, train_split=None, verbose=0,
            optimizer=torch.optim.Adam, lr=1e-3, callbacks=[("epochs", epochs)],
        )  # fmt: skip
        net.fit(inputs, labels, sample_domain=domains)
        return epochs.seconds[-1] / len(both), epochs.processor[-1] / len(both)

    from skorch.callbacks import Callback

    class Epochs(Callback):
        def initialize(self) -> Any:
            self.seconds, self.processor = [], []
            return self

        def on_epoch_begin(self, net: Any, **_: Any) -> None:
            self.timer = clock()
            self.timer.__enter__()

        def on_epoch_end(self, net: Any, **_: Any) -> None:
            self.timer.__exit__(None, None, None)
            self.seconds.append(clock.wall)
            self.processor.append(clock.cpu)

    epochs = Epochs()
    return run


# -------------------------------------------------------------------------- from JPEG


def write_jpegs(folder: Path, count: int, size: int = 224) -> list[Path]:
    """JPEGs of smooth noise, about as large as faces' are."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (28, 28, 3), dtype=np.uint8))
        paths.append(folder / f"{i}.jpg")
        coarse.resize((size, size), Image.Resampling.BICUBIC).save(paths[-1], quality=90)
    return paths


def jpeg_row(options: argparse.Namespace) -> list[str]:
    """Source stage from paths: first epoch and later ones, against decoding and computing."""
    from adafer import faces as reading

    lines = [
        "## Source stage from JPEGs of 224 px, mark: the slower of both, nothing decoded later",
        "",
        "| network | faces | decode, s | epoch in memory, s | first with decoding, to the sum "
        "| the same, to the slower | later epochs, mapped, to in memory | decoded per face |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for backbone, size, count in (("convnet", 64, 512), ("resnet18", 64, 48)):
        found: dict[str, list[float]] = {key: [] for key in ("decode", "epoch", "first", "later")}
        n_decoded = 0
        plain = reading._read_file

        def counted(path: str, limits: Any, plain: Callable = plain) -> Any:
            nonlocal n_decoded
            n_decoded += 1
            return plain(path, limits)

        with tempfile.TemporaryDirectory() as folder:
            paths = write_jpegs(Path(folder), count)
            y = np.arange(count) % N_CLASSES
            clf = SourceOnlyClassifier(
                backbone, image_size=size, epochs=2, batch_size=48, norm_statistics="running",
                n_jobs=options.threads, random_state=0, device="cpu",
            )  # fmt: skip
            for _ in range(options.rounds + 1):
                started = time.process_time()
                held = read_domain(check_faces(paths), "X", size, n_jobs=options.threads)
                found["decode"].append(time.process_time() - started)
                started = time.process_time()
                clf.fit(held.inputs, y)
                epoch = (time.process_time() - started) / 2
                found["epoch"].append(epoch)
                limit, store.MEMORY_BYTES = store.MEMORY_BYTES, 0
                reading._read_file, n_decoded = counted, 0
                try:
                    epochs = epochs_of(clf, paths, y)
                finally:
                    store.MEMORY_BYTES, reading._read_file = limit, plain
                found["first"].append(epochs[0])
                found["later"].append(epochs[1])
        decode, epoch, first, later = (np.array(found[k][1:]) for k in found)
        lines.append(
            f"| {backbone} | {count} | {np.median(decode):.2f} | {np.median(epoch):.2f} | "
            f"{np.median(first / (decode + epoch)):.2f} | "
            f"{np.median(first / np.maximum(decode, epoch)):.2f} | "
            f"{np.median(later / epoch):.2f} | {n_decoded / count:.1f} |"
        )
        print(lines[-1], flush=True)
    return [*lines, "", "Seconds of the processor."]


def epochs_of(clf: SourceOnlyClassifier, X: Any, y: np.ndarray) -> tuple[float, float]:
    """Processor's seconds up to the end of the first epoch, and of the second."""
    from adafer.deep.loop import Trainer

    plain, ends = Trainer._epoch, [time.process_time()]

    def timed(self: Any, *args: Any) -> None:
        plain(self, *args)
        ends.append(time.process_time())

    Trainer._epoch = timed
    try:
        clf.fit(X, y)
    finally:
        Trainer._epoch = plain
    return ends[1] - ends[0], ends[2] - ends[1]


# ------------------------------------------------------------------------------ memory


def memory_row(options: argparse.Namespace) -> list[str]:
    """Peak memory of reading and feeding, by the number of pictures."""
    lines = [
        "## Memory above the start, pictures of 224 px given as paths, mark <= 2 GiB for 100,000",
        "",
        "| pictures | decoded, GiB | peak, GiB | seconds |",
        "| --- | --- | --- | --- |",
    ]
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        write_jpegs(Path(folder), 200)
        for count in options.counts:
            command = [sys.executable, __file__, "--probe", folder, "--count", str(count)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            peak, seconds = map(float, done.stdout.split())
            peaks.append(peak)
            lines.append(
                f"| {count} | {count * 224**2 * 3 / 2**30:.2f} | {peak:.2f} | {seconds:.0f} |"
            )
            print(lines[-1], flush=True)
    slope = np.polyfit(options.counts[-2:], peaks[-2:], 1)[0] if len(peaks) > 1 else np.nan
    projected = peaks[-1] + slope * (100_000 - options.counts[-1])
    return [
        *lines,
        "",
        "200 files, named again and again, each decoded as often. Read into the file of a fit, "
        "then two epochs of batches of 384 in random order, without a network. Peak: VmHWM, "
        "mapped pages counted. From the last two rows, 100,000 pictures would take "
        f"{projected:.2f} GiB.",
    ]


def status_gib(key: str) -> float:
    """A line of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 2**20
    raise ValueError(key)


def probe_memory(folder: Path, count: int) -> None:
    """Read and feed in a process of its own; print peak and seconds."""
    torch.set_num_threads(1)
    files = sorted(folder.glob("*.jpg"))
    paths = [files[i % len(files)] for i in range(count)]
    before, started = status_gib("VmRSS"), time.perf_counter()
    domain = read_domain(check_faces(paths), "X", 224, n_jobs=2)
    feed, rng = Feed([domain.inputs], CPU), np.random.default_rng(0)
    for _ in range(2):
        batches = np.array_split(rng.permutation(count), -(-count // 384))
        feed.expect(torch.from_numpy(rows) for rows in batches)
        for rows in batches:
            feed.batch(torch.from_numpy(rows))
    print(status_gib("VmHWM") - before, time.perf_counter() - started)


def parse_arguments() -> argparse.Namespace:
    """Read the command line and check where the result goes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ("step", "profile", "rates", "jpeg", "memory")
    parser.add_argument("--rows", nargs="+", choices=names, default=names)
    parser.add_argument("--output", type=Path, metavar="FILE.md")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=384, help="of a step")
    parser.add_argument("--recipes", nargs="+", default=["fused", "paper"])
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--counts", nargs="+", type=int, default=[5_000, 10_000, 20_000])
    parser.add_argument("--probe", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.output is not None:
        check_output_file(options.output)
    return options


if __name__ == "__main__":
    main()
