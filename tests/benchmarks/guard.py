"""The cheap marks of speed as ratios, with generous limits: a slow change fails here.

    python tests/benchmarks/guard.py
    python tests/benchmarks/guard.py --append tests/benchmarks/results/history.jsonl

Each mark compares two ways of doing one thing within this run, so that a slow
machine changes both. What runs in one thread is measured in CPU seconds, which
other processes on the machine hardly change. A mark that misses its limit is
measured twice more before it counts as missed. ``--append`` adds one line of
JSON with date, versions, machine and ratios to a file: the history of the marks.
The marks at full size are in the other scripts of this folder.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

# ratios of single threads; set before numpy, faiss and torch are loaded
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402


class Mark(NamedTuple):
    """One ratio that is watched.

    Attributes
    ----------
    name : str
    measure : callable
        Gives the ratio.
    at_most : bool
        Whether the limit is an upper one.
    limit : float
        What fails.
    """

    name: str
    measure: Callable[[], float]
    at_most: bool
    limit: float

    def holds(self, ratio: float) -> bool:
        return ratio <= self.limit if self.at_most else ratio >= self.limit


def cpu_seconds(function: Callable[[], object], repeats: int = 3) -> float:
    """Least CPU time of a few calls."""
    found = []
    for _ in range(repeats):
        started = time.process_time()
        function()
        found.append(time.process_time() - started)
    return min(found)


def import_seconds(statement: str) -> float:
    """CPU time of a new interpreter that imports, the least of three."""
    found = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", statement], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def import_package() -> float:
    """``import adafer`` against ``import sklearn``."""
    return import_seconds("import adafer") / import_seconds("import sklearn")


def import_classifier() -> float:
    """The classifier's class against one of scikit-learn's."""
    ours = import_seconds("from adafer import AdaFERClassifier")
    return ours / import_seconds("from sklearn.linear_model import LogisticRegression")


def make_scores(n: int, seed: int) -> np.ndarray:
    """AU scores whose codes repeat as those of faces do: few AUs, seen together."""
    rng = np.random.default_rng(seed)
    patterns = np.random.default_rng(0).random((200, 20)) < 0.3
    codes = patterns[rng.integers(len(patterns), size=n)] ^ (rng.random((n, 20)) < 0.05)
    return 0.25 + 0.5 * codes + rng.uniform(-0.2, 0.2, (n, 20))


def exact_annotating() -> float:
    """faiss' binary range search at radius 0, and its votes, against exact annotating."""
    import faiss

    from adafer import AUGuidedAnnotator

    n, n_queries = 40_000, 2_000
    source, target = make_scores(n, 1), make_scores(n, 2)
    labels = np.random.default_rng(3).integers(7, size=n)

    def ours() -> None:
        AUGuidedAnnotator(threshold=0.5).fit(source, labels).annotate(target)

    def by_search() -> None:
        index = faiss.IndexBinaryFlat(24)
        index.add(np.packbits(source > 0.5, axis=1))
        limits, _, found = index.range_search(np.packbits(target[:n_queries] > 0.5, axis=1), 1)
        rows = np.repeat(np.arange(n_queries), np.diff(limits.astype(np.int64)))
        np.bincount(rows * 7 + labels[found], minlength=n_queries * 7)

    return cpu_seconds(by_search) * n / n_queries / cpu_seconds(ours)


def triplets() -> float:
    """The obvious loop over anchors against drawing all at once."""
    from adafer import TripletMiner

    n, n_looped = 20_000, 100
    source, target = make_scores(n, 4), make_scores(n, 5)
    codes = [scores > 0.5 for scores in (source, target)]
    units = [scores / np.linalg.norm(scores, axis=1, keepdims=True) for scores in (source, target)]
    miner = TripletMiner(anchors="source").fit(source, target)

    def loop() -> None:
        rng = np.random.default_rng(0)
        for anchor in range(n_looped):
            same = (codes[1] == codes[0][anchor]).all(axis=1)
            if not same.any():
                continue
            rng.choice(np.flatnonzero(same))
            similarity = units[1] @ units[0][anchor]
            hard = np.flatnonzero(~same & (similarity > 0.5))
            rng.choice(hard) if len(hard) else np.where(same, -2, similarity).argmax()

    return cpu_seconds(loop) * n / n_looped / cpu_seconds(lambda: miner.draw(0))


def joint_step() -> float:
    """A joint step of AdaFER against forward, backward and optimiser on one batch."""
    import torch

    from adafer import AdaFERClassifier

    torch.set_num_threads(1)
    rng = np.random.default_rng(6)
    n, size, batch_size = 64, 32, 64
    faces = rng.integers(256, size=(2, n, size, size, 3), dtype=np.uint8)
    labels = np.arange(n) % 4
    aus = np.eye(4)[labels] * 0.8 + 0.1

    def fit(epochs: int) -> tuple[float, AdaFERClassifier]:
        classifier = AdaFERClassifier(
            "convnet",
            image_size=size,
            epochs=epochs,
            source_epochs=0,
            batch_size=batch_size,
            norm_statistics="running",
            precision="fp32",
            device="cpu",
            random_state=0,
        )
        started = time.process_time()
        classifier.fit(faces[0], labels, faces[1], au_src=aus, au_tgt=aus)
        return time.process_time() - started, classifier

    # later epochs alone: what comes before the first one is no step
    short, first = min((fit(1) for _ in range(2)), key=lambda found: found[0])
    long, classifier = min((fit(5) for _ in range(2)), key=lambda found: found[0])
    n_steps = sum(row["n_triplets"] for row in classifier.history_)
    n_steps -= sum(row["n_triplets"] for row in first.history_)
    joint = (long - short) / (3 * n_steps)

    network = classifier.network_.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4)
    batch = torch.rand(3 * batch_size, 3, size, size).to(memory_format=torch.channels_last)
    truth = torch.randint(4, (3 * batch_size,))

    def bare() -> None:
        for _ in range(4):
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(network(batch)[1], truth).backward()
            optimizer.step()

    return joint / (cpu_seconds(bare) / (4 * len(batch)))


def cached_aus() -> float:
    """Scoring AUs against reading them from the cache."""
    from adafer import AUExtractor
    from adafer.datasets import load_facs_faces

    images = load_facs_faces(domain="studio", split="test").images[:24]
    with tempfile.TemporaryDirectory() as folder:
        extractor = AUExtractor(cache=Path(folder) / "aus.sqlite", n_jobs=1)
        extractor.score_faces([])  # loads the models
        fresh = cpu_seconds(lambda: extractor.score_faces(images), repeats=1)
        return fresh / cpu_seconds(lambda: extractor.score_faces(images))


MARKS = [
    Mark("import adafer / import sklearn", import_package, True, 2.5),
    Mark("import AdaFERClassifier / LogisticRegression", import_classifier, True, 2.5),
    Mark("faiss range search / exact annotating", exact_annotating, False, 20.0),
    Mark("loop over anchors / triplets", triplets, False, 200.0),
    Mark("joint step / bare step", joint_step, True, 1.3),
    Mark("AU scoring / from cache", cached_aus, False, 20.0),
]


def machine() -> dict[str, object]:
    """What the ratios were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.system()}


def commit() -> str | None:
    """Short hash of the commit that is checked out, where there is one."""
    here = Path(__file__).parent
    found = subprocess.run(
        ["git", "-C", here, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    return found.stdout.strip() or None


def main() -> int:
    """Measure all marks; 1 if one misses its limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--append", type=Path, metavar="FILE", help="history to add a line to")
    arguments = parser.parse_args()
    ratios, missed = {}, []
    started = time.perf_counter()
    for mark in MARKS:
        for _ in range(3):
            ratio = mark.measure()
            if mark.holds(ratio):
                break
        else:
            missed.append(mark.name)
        ratios[mark.name] = float(f"{ratio:.4g}")
        sign = "<=" if mark.at_most else ">="
        verdict = "missed" if mark.name in missed else "holds"
        print(f"{mark.name:<46} {ratio:10.4g}   {sign} {mark.limit:<5g} {verdict}", flush=True)
    print(f"{time.perf_counter() - started:.0f} s")
    if arguments.append is not None:
        from adafer._versions import versions

        now = datetime.datetime.now(datetime.timezone.utc)
        line = {
            "date": now.isoformat(timespec="seconds"),
            "commit": commit(),
            "versions": versions(),
            "machine": machine(),
            "ratios": ratios,
        }
        with arguments.append.open("a", encoding="utf-8") as history:
            history.write(json.dumps(line) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
