"""Predict for hours on generated pictures: memory and file handles must stay where they are.

    python tests/reliability/soak.py --hours 2 --record
    python tests/reliability/soak.py --short

A small AdaFERClassifier and a model that scores AUs in `predict` look at pictures that
are new each round: arrays and files, of several sizes, grey and colour, JPEG and PNG.
Every few seconds private memory, file handles and threads are noted. After a warm-up
straight lines are laid through them. Neighbouring readings depend on each other, so that
the interval of a slope comes from the slope's spread when whole blocks of readings are
drawn again (moving-block bootstrap). ``--leak BYTES`` keeps so much more each round, and
``--leak-handles`` one open file: both must fail.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
from _record import report  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from PIL import Image  # noqa: E402

MIB = 2**20
# Growth that fails the long run, by the lower end of the slope's interval; and the widest
# half interval at which a run may say that memory is flat.
MIB_PER_HOUR = 4.0


class Reading(NamedTuple):
    """What the process held at one time.

    Attributes
    ----------
    hours : float
        Since the start.
    memory : float
        MiB that are this process' alone (Private_Clean and Private_Dirty).
    handles, threads : int
    pictures : int
        Predicted so far.
    """

    hours: float
    memory: float
    handles: int
    threads: int
    pictures: int


def read(started: float, pictures: int) -> Reading:
    """Take a reading from the system's own files."""
    kib = sum(
        int(line.split()[1])
        for line in Path("/proc/self/smaps_rollup").read_text().splitlines()
        if line.startswith("Private_")
    )
    return Reading(
        (time.monotonic() - started) / 3600,
        kib / 1024,
        len(os.listdir("/proc/self/fd")),
        len(os.listdir("/proc/self/task")),
        pictures,
    )


def new_pictures(faces: NDArray, rng: np.random.Generator) -> list[NDArray]:
    """Make a few pictures of random size and light out of faces."""
    made = []
    for face in faces[rng.integers(len(faces), size=rng.integers(1, 24))]:
        size = int(rng.integers(32, 320))
        picture = np.asarray(Image.fromarray(face).resize((size, size)), dtype=np.float32)
        picture = picture * rng.uniform(0.4, 1.4) + rng.normal(0, 12, picture.shape)
        made.append(picture.clip(0, 255).astype(np.uint8))
    return made


def write(pictures: list[NDArray], folder: Path, rng: np.random.Generator) -> list[Path]:
    """Write pictures as files, grey and colour."""
    paths = []
    for i, picture in enumerate(pictures):
        image = Image.fromarray(picture)
        path = folder / f"{i}.{rng.choice(['jpg', 'png'])}"
        (image.convert("L") if rng.random() < 0.3 else image).save(path)
        paths.append(path)
    return paths


def slope(hours: NDArray, values: NDArray, rng: np.random.Generator) -> tuple[float, float]:
    """Least-squares slope, and the half width of its 95 % interval by blocks of residuals."""
    n = len(hours)
    gradient, level = np.polyfit(hours, values, 1)
    fitted = gradient * hours + level
    residuals = values - fitted
    length = max(2, round(n ** (1 / 2)))
    found = []
    for _ in range(2000):
        starts = rng.integers(0, n - length + 1, size=-(-n // length))
        drawn = np.concatenate([residuals[s : s + length] for s in starts])[:n]
        found.append(np.polyfit(hours, fitted + drawn, 1)[0])
    low, high = np.percentile(found, [2.5, 97.5])
    return float(gradient), float(high - low) / 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--short", action="store_true", help="45 seconds; catches coarse leaks")
    parser.add_argument("--share", type=float, default=1.0, help="of the time that it works")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--leak", type=int, default=0, metavar="BYTES")
    parser.add_argument("--leak-handles", action="store_true")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    hours = 45 / 3600 if options.short else options.hours

    import torch

    from adafer import AdaFERClassifier, AUExtractor
    from adafer.baselines import AUInputClassifier
    from adafer.datasets import load_facs_faces

    torch.set_num_threads(1)
    rng = np.random.default_rng(options.seed)
    studio, wild = (load_facs_faces(domain=part) for part in ("studio", "wild"))
    faces = np.asarray(wild.images)
    few = np.concatenate([np.flatnonzero(studio.target == c)[:6] for c in set(studio.target)])
    settings = {
        "backbone": "convnet", "image_size": 48, "epochs": 1, "batch_size": 16, "random_state": 0
    }  # fmt: skip
    X, y = np.asarray(studio.images)[few], studio.target[few]
    model = AdaFERClassifier(**settings).fit(X, y, faces[:40])
    scoring = AUInputClassifier(**settings).fit(X, y, faces[:40])
    extractor = AUExtractor().fit(X[:2])

    kept: list[object] = []
    readings: list[Reading] = []
    pictures = rounds = 0
    started = time.monotonic()
    every = max(1.0, hours * 3600 / 720)
    due = started
    with tempfile.TemporaryDirectory() as place:
        while time.monotonic() - started < hours * 3600:
            began = time.monotonic()
            made = new_pictures(faces, rng)
            with tempfile.TemporaryDirectory(dir=place) as folder:
                given = write(made, Path(folder), rng) if rounds % 2 else made
                probabilities = model.predict_proba(given)
                assert probabilities.shape == (len(made), len(model.classes_))
                assert np.allclose(probabilities.sum(axis=1), 1)
                model.transform(given)
                if rounds % 4 == 0:
                    scoring.predict(given)
                if rounds % 4 == 2:
                    extractor.transform(given)
            pictures += len(made)
            rounds += 1
            if options.leak:
                kept.append(bytearray(os.urandom(options.leak)))
            if options.leak_handles:
                kept.append(open(os.devnull))  # noqa: SIM115
            now = time.monotonic()
            if now >= due:
                readings.append(read(started, pictures))
                due = now + every
            if options.share < 1:
                time.sleep((now - began) * (1 / options.share - 1))

    table = np.array(readings)
    settled = table[table[:, 0] >= 0.1 * table[-1, 0]]
    grows, half = slope(settled[:, 0], settled[:, 1], rng)
    handles, handles_half = slope(settled[:, 0], settled[:, 2], rng)
    limit = 2000.0 if options.short else MIB_PER_HOUR
    flat = grows - half <= 0 or grows + half <= limit
    sure = options.short or half <= MIB_PER_HOUR
    handles_flat = settled[:, 2].max() <= settled[0, 2] + 2
    report(
        "Soak",
        {
            "time": f"{table[-1, 0]:.2f} h, {rounds} rounds, {pictures} pictures",
            "private memory after warm-up": f"{settled[0, 1]:.1f} MiB",
            "private memory at the end": f"{settled[-1, 1]:.1f} MiB",
            "slope of memory": f"{grows:+.2f} ± {half:.2f} MiB/h",
            "file handles, least and most": f"{settled[:, 2].min():.0f}, {settled[:, 2].max():.0f}",
            "slope of file handles": f"{handles:+.2f} ± {handles_half:.2f} per hour",
            "threads, least and most": f"{settled[:, 3].min():.0f}, {settled[:, 3].max():.0f}",
            "memory flat": "yes" if flat and sure else "NO",
            "file handles flat": "yes" if handles_flat else "NO",
        },
        seed=options.seed,
        record=options.record,
    )
    return 0 if flat and sure and handles_flat else 1


if __name__ == "__main__":
    sys.exit(main())
