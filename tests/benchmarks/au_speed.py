"""How many faces a second get AU scores, by one worker, by two, and from the cache.

    python tests/benchmarks/au_speed.py --output au_speed.md
    git worktree add ../before COMMIT
    python tests/benchmarks/au_speed.py --baseline ../before --output au_speed.md

Faces are the embedded ones, by domain, and with ``--data FOLDER`` some pictures of that
folder. Routes are timed each in turn, several rounds; a ratio is taken within a round and
the median reported. Ratios are to one face at a time by names, of the version in the folder
``--baseline`` if there is one. Scores of all routes are compared first: they must be the same.

CPU time is given beside, and the ratio that it allows if each worker has a core for itself:
on a machine that others use, too, two workers may get no more of it than one.

Counted beside it: how often the networks run for a face, what a run multiplies, and how
much of the time the networks take, which is the limit.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from adafer._files import check_output_file, new_file
from adafer._versions import versions
from adafer.aus import AUExtractor, LandmarkDetector
from adafer.aus._face_models import _PARTS, MODEL_SHA256, FaceModels, read_model
from adafer.datasets import load_facs_faces
from adafer.faces import check_faces

ONE = "names, one face at a time"
BEFORE = "names, one face at a time, baseline"
# route -> mark for its ratio to the first
MARKS = {"heads, 2 threads": 2, "heads, 2 processes": 2, "heads, from the cache": 100}
WORKERS = 2
BATCH = 8


def main() -> None:
    """Compare scores, time the routes, count, and write the tables."""
    options = parse_arguments()
    lines = [
        "# Speed of AU scores",
        "",
        f"{options.faces} faces of each domain, median of {options.rounds} rounds, ratios within "
        f"a round. {date.today()}, {platform.processor() or platform.machine()}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start, "
        + ", ".join(f"{name} {version}" for name, version in versions().items())
        + ".",
        "",
        f"`python tests/benchmarks/au_speed.py --faces {options.faces} --rounds {options.rounds}"
        + (f" --baseline {options.baseline.name}`" if options.baseline else "`"),
        "",
        *time_networks(options.rounds),
    ]
    for name, pictures in read_pictures(options).items():
        lines += ["", f"## {name}", "", *report(pictures, options)]
        print("\n".join(lines[-14:]), flush=True)
    lines += ["", f"Load at the end: {os.getloadavg()[0]:.1f}."]
    with new_file(options.output) as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_pictures(options: argparse.Namespace) -> dict[str, list[np.ndarray]]:
    """Faces spread over each domain."""
    pictures: dict[str, list[np.ndarray]] = {}
    for domain in ("studio", "wild", "webcam"):
        images = load_facs_faces(domain=domain, split="test").images
        rows = np.linspace(0, len(images) - 1, options.faces).astype(int)
        pictures[domain] = list(images[rows])
    if options.data is not None:
        paths = sorted(p for p in options.data.rglob("*") if p.suffix.lower() in (".jpg", ".png"))
        if not paths:
            raise SystemExit(f"{options.data} holds no .jpg or .png files.")
        rows = np.linspace(0, len(paths) - 1, options.faces).astype(int)
        chosen = check_faces([str(paths[row]) for row in rows])
        pictures["--data"] = [image for _, images in chosen.chunks() for image in images]
    return pictures


def report(pictures: list[np.ndarray], options: argparse.Namespace) -> list[str]:
    """Tables of one domain."""
    runs, share = count_runs(pictures)
    speeds, cpu = time_routes(pictures, options)
    base = BEFORE if BEFORE in speeds else ONE
    lines = [
        f"Runs a face: {runs['landmarks']:.2f} of the landmark network, {runs['boxes']:.2f} of "
        f"the box network, {runs['blendshapes']:.2f} of the blendshape network; they take "
        f"{100 * share:.0f} % of the time of one worker by names.",
        "",
        f"| route | faces a second | CPU ms a face | ratio to {base} | by CPU time | mark |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for route, values in speeds.items():
        ratio = np.median(np.array(values) / np.array(speeds[base]))
        used = bound = "-"
        if "processes" not in route:
            spent, workers = np.median(cpu[route]), WORKERS if "threads" in route else 1
            used = f"{1000 * spent:.2f}"
            bound = f"{workers * np.median(cpu[base]) / spent:.2f}"
        mark = f">= {MARKS[route]}" if route in MARKS else "-"
        lines.append(
            f"| {route} | {np.median(values):.1f} | {used} | {ratio:.2f} | {bound} | {mark} |"
        )
    return lines


def time_routes(
    pictures: list[np.ndarray], options: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Faces a second and CPU seconds a face, of each route in each round."""
    names, heads = LandmarkDetector(heads="blendshape-names"), LandmarkDetector()
    names_2 = LandmarkDetector(heads="blendshape-names", n_jobs=WORKERS)
    heads_2 = LandmarkDetector(n_jobs=WORKERS)

    def by_processes(detector: LandmarkDetector) -> np.ndarray:
        with joblib.parallel_config("loky"):
            return detector.detect(pictures)

    with tempfile.TemporaryDirectory() as folder:
        cached = AUExtractor(cache=Path(folder) / "aus.sqlite")
        routes: dict[str, Callable[[], np.ndarray]] = {
            ONE: lambda: np.concatenate([names.detect([picture]) for picture in pictures]),
            "names": lambda: names.detect(pictures),
            "names, 2 threads": lambda: names_2.detect(pictures),
            "names, 2 processes": lambda: by_processes(names_2),
            "heads": lambda: heads.detect(pictures),
            "heads, 2 threads": lambda: heads_2.detect(pictures),
            "heads, 2 processes": lambda: by_processes(heads_2),
            "heads, from the cache": lambda: cached.score_faces(pictures),
        }
        # Warms up, too: interpreters, processes, cache.
        scores = {route: run() for route, run in routes.items()}
        for route, table in scores.items():
            np.testing.assert_array_equal(table, scores["names" if "names" in route else "heads"])
        timed: dict[str, Callable[[], tuple[float, float]]] = {
            route: lambda run=run: time_run(run) for route, run in routes.items()
        }
        if options.baseline is not None:
            before = Baseline(options.baseline, pictures, Path(folder))
            np.testing.assert_array_equal(before.scores, scores["names"])
            timed = {BEFORE: before.time, **timed}
        speeds: dict[str, list[float]] = {route: [] for route in timed}
        cpu: dict[str, list[float]] = {route: [] for route in timed}
        for _ in range(options.rounds):
            for route, measure in timed.items():
                passed, used = measure()
                speeds[route].append(len(pictures) / passed)
                cpu[route].append(used / len(pictures))
        if options.baseline is not None:
            before.close()
    return speeds, cpu


def time_run(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds and CPU seconds that something takes."""
    started, used = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - started, time.process_time() - used


class Baseline:
    """Another version of the package, in a process of its own."""

    PROGRAM = """
import pathlib, sys, time
import numpy as np
import adafer
assert pathlib.Path.cwd() in pathlib.Path(adafer.__file__).parents, adafer.__file__
from adafer.aus import LandmarkDetector
with np.load(sys.argv[1]) as stored:
    pictures = [stored[name] for name in stored.files]
detector = LandmarkDetector(heads="blendshape-names")
np.save(sys.argv[2], np.concatenate([detector.detect([picture]) for picture in pictures]))
print("ready", flush=True)
for _ in sys.stdin:
    started, used = time.perf_counter(), time.process_time()
    for picture in pictures:
        detector.detect([picture])
    print(time.perf_counter() - started, time.process_time() - used, flush=True)
"""

    def __init__(self, checkout: Path, pictures: list[np.ndarray], folder: Path) -> None:
        np.savez(folder / "pictures.npz", *pictures)
        self._process = subprocess.Popen(
            [sys.executable, "-c", self.PROGRAM, folder / "pictures.npz", folder / "scores.npy"],
            cwd=checkout,  # where -c looks for modules first
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._said()
        self.scores = np.load(folder / "scores.npy")

    def _said(self) -> str:
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise SystemExit("The baseline does not run; see above.")
        return line

    def time(self) -> tuple[float, float]:
        """Seconds and CPU seconds that all pictures take, one at a time."""
        self._process.stdin.write("again\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        passed, used = map(float, self._said().split())
        return passed, used

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def count_runs(pictures: list[np.ndarray]) -> tuple[dict[str, float], float]:
    """Runs of each network a face, and their share of the CPU time."""
    runs: Counter[str] = Counter()
    within = 0.0
    original = FaceModels._run

    def counted(self: FaceModels, what: str, values: np.ndarray) -> Any:
        nonlocal within
        started = time.thread_time()
        output = original(self, what, values)
        within += time.thread_time() - started
        runs[what] += 1
        return output

    detector = LandmarkDetector(heads="blendshape-names")
    detector.detect(pictures[:1])
    FaceModels._run = counted  # type: ignore[method-assign]
    try:
        started = time.thread_time()
        detector.detect(pictures)
        total = time.thread_time() - started
    finally:
        FaceModels._run = original  # type: ignore[method-assign]
    return {what: runs[what] / len(pictures) for what in _PARTS}, within / total


def time_networks(rounds: int) -> list[str]:
    """Operations and CPU time of a run of each network, and of a batch of the largest."""
    from ai_edge_litert.interpreter import Interpreter

    content, _ = read_model(None, MODEL_SHA256)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {what: archive.read(part) for what, part in _PARTS.items()}
    lines = [
        "| network | million multiplications a run | CPU ms a run | thousand million a second |",
        "| --- | --- | --- | --- |",
    ]
    for what, model in parts.items():
        network = Interpreter(model_content=model, num_threads=1)
        network.allocate_tensors()
        spent = time_runs(network, rounds)
        count = count_multiplications(model)
        lines.append(
            f"| {what} | {count / 1e6:.1f} | {1e3 * spent:.2f} | {count / spent / 1e9:.1f} |"
        )
    single = Interpreter(model_content=parts["landmarks"], num_threads=1)
    batch = Interpreter(model_content=parts["landmarks"], num_threads=1)
    place = batch.get_input_details()[0]
    batch.resize_tensor_input(place["index"], (BATCH, *place["shape"][1:]))
    for network in (single, batch):
        network.allocate_tensors()
    ratios = [BATCH * time_runs(single, 1) / time_runs(batch, 1) for _ in range(3 * rounds)]
    return [
        *lines,
        "",
        f"The landmark network with {BATCH} faces in one run takes "
        f"{1 / np.median(ratios):.2f} times the CPU time of {BATCH} runs of one face (the other "
        "networks take one face only): faces are run one by one.",
    ]


def time_runs(network: Any, rounds: int) -> float:
    """CPU seconds of a run, median."""
    place = network.get_input_details()[0]
    values = np.random.default_rng(0).random(tuple(place["shape"]), dtype=np.float32)
    network.set_tensor(place["index"], values)
    network.invoke()
    spent = []
    for _ in range(10 * rounds if rounds > 1 else 3):
        started = time.thread_time()
        network.invoke()
        spent.append(time.thread_time() - started)
    return float(np.median(spent))


def count_multiplications(model: bytes) -> int:
    """Multiplications of the convolutions of a run."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    network = Interpreter(
        model_content=model,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    network.allocate_tensors()
    shapes = {tensor["index"]: tensor["shape"] for tensor in network.get_tensor_details()}

    def of(operation: dict[str, Any]) -> int:
        outputs, weights = shapes[operation["outputs"][0]], shapes[operation["inputs"][1]]
        taps: Sequence[int] = weights[1:3] if "DEPTHWISE" in operation["op_name"] else weights[1:]
        return int(np.prod(outputs) * np.prod(taps))

    operations = network._get_ops_details()
    return sum(of(operation) for operation in operations if "CONV" in operation["op_name"])


def parse_arguments() -> argparse.Namespace:
    """Read the command line and check where the result goes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, metavar="FOLDER")
    parser.add_argument("--baseline", type=Path, metavar="CHECKOUT")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.md")
    options = parser.parse_args()
    check_output_file(options.output)
    return options


if __name__ == "__main__":
    main()
