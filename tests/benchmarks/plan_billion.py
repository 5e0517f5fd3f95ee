"""Plan a billion faces: bytes, hours and machines, from measured rates.

    python tests/benchmarks/plan_billion.py --measure tests/benchmarks/results/rates.json
    python tests/benchmarks/plan_billion.py --rates tests/benchmarks/results/rates.json

Rates are seconds of one core per face (of one GPU where the name says so), measured
in CPU time on one thread, so that they scale by the number of cores. Edit the file,
or measure on your machines, and plan anew: ``--trained``, ``--hours`` and the rest
change what is planned.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402

BYTES_PER_AU = 4  # float32


def cpu_seconds(function: Callable[[], object], n: int, repeats: int = 2) -> float:
    """Least CPU time for one of n faces."""
    found = []
    for _ in range(repeats):
        started = time.process_time()
        function()
        found.append((time.process_time() - started) / n)
    return float(f"{min(found):.3g}")


def measure() -> dict[str, object]:
    """Rates of this machine, one thread; about two minutes of one core."""
    import torch
    from PIL import Image

    from adafer import AdaFERClassifier, AUExtractor, AUGuidedAnnotator, TripletMiner
    from adafer._versions import versions
    from adafer.datasets import load_facs_faces
    from adafer.faces import read_face

    torch.set_num_threads(1)
    faces = load_facs_faces(domain="studio", split="test").images[:32]
    rates: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "face.jpg"
        picture = Image.fromarray(faces[0]).resize((224, 224))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=90)
        path.write_bytes(buffer.getvalue())
        rates["read a JPEG of 224 px"] = cpu_seconds(lambda: [read_face(path)] * 1, 1, 20)
        extractor = AUExtractor(n_jobs=1)
        extractor.score_faces([])
        rates["score AUs"] = cpu_seconds(lambda: extractor.score_faces(faces), len(faces))

    rng = np.random.default_rng(0)
    n = 1_000_000
    codes = (rng.random((500, 18)) < 0.3)[rng.integers(500, size=n)]
    scores = (0.25 + 0.5 * codes + rng.uniform(-0.2, 0.2, codes.shape)).astype(np.float32)
    labels = rng.integers(7, size=n)
    annotator = AUGuidedAnnotator(threshold=0.5)
    rates["count labels by AU code"] = cpu_seconds(
        lambda: annotator.partial_fit(scores, labels, classes=np.arange(7)), n
    )
    rates["annotate, exact"] = cpu_seconds(lambda: annotator.annotate(scores), n)
    few = slice(0, 100_000)
    miner = TripletMiner(anchors="target").fit(scores[few], scores[few])
    rates["draw triplets"] = cpu_seconds(lambda: miner.draw(0), 100_000)

    size, n = 224, 16
    pictures = rng.integers(256, size=(2, n, size, size, 3), dtype=np.uint8)
    classifier = AdaFERClassifier(
        "resnet18", image_size=size, epochs=1, source_epochs=0, batch_size=n,
        norm_statistics="running", precision="fp32", device="cpu", random_state=0,
    )  # fmt: skip
    truth, aus = np.arange(n) % 2, np.eye(2)[np.arange(n) % 2] * 0.8 + 0.1
    started = time.process_time()
    classifier.fit(pictures[0], truth, pictures[1], au_src=aus, au_tgt=aus)
    whole = time.process_time() - started
    n_passed = 3 * classifier.history_[-1]["n_triplets"]
    rates["joint step, ResNet-18, 224 px, per picture"] = float(f"{whole / n_passed:.3g}")
    rates["predict, ResNet-18, 224 px"] = cpu_seconds(lambda: classifier.predict(pictures[0]), n)
    return {
        "seconds_per_face": rates,
        "machine": f"{platform.machine()}, one thread, CPU time",
        "versions": versions(),
    }


def amount(n_bytes: float) -> str:
    """Bytes in the unit that suits them."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} PB"


def plan(rates: dict[str, float], options: argparse.Namespace) -> list[str]:
    """Tables of what has to be stored and computed, as Markdown."""
    n, size = options.faces, options.size
    stored = [
        ("faces as JPEG files", n, options.jpeg_bytes, "shared, or split over the machines"),
        (f"AU scores, {options.aus} AUs as float32", n, options.aus * BYTES_PER_AU, "shared"),
        ("labels and probabilities, 7 classes as float32", n, 7 * 4, "shared"),
        (f"decoded faces of a fit, {size} px", options.trained, 3 * size**2, "each machine"),
        ("AU scores of a fit as float64, and triplets", options.trained, 8 * options.aus + 72,
         "each process"),
    ]  # fmt: skip
    lines = ["| kept | faces | bytes a face | in all | where |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {what} | {count:.3g} | {each:,.0f} | {amount(count * each)} | {where} |"
        for what, count, each, where in stored
    ]
    read = rates["read a JPEG of 224 px"]
    passed = 3 * options.trained * options.epochs
    work = [
        ("read and score AUs of all", n, read + rates["score AUs"], "core"),
        ("count labels of the source", options.source, rates["count labels by AU code"], "core"),
        ("annotate all", n, rates["annotate, exact"], "core"),
        ("draw triplets, all epochs", options.trained * options.epochs, rates["draw triplets"],
         "core"),
        ("train, pictures passed", passed, rates["joint step, ResNet-18, 224 px, per picture"],
         "core"),
        ("read and predict all", n, read + rates["predict, ResNet-18, 224 px"], "core"),
    ]  # fmt: skip
    if options.gpu_images_per_second:
        each = 1 / options.gpu_images_per_second
        work[4] = ("train, pictures passed", passed, each, "GPU")
        work[5] = ("read all and predict", n, max(each / 3, read / options.cores_per_gpu), "GPU")
    lines += [
        "",
        f"| step | faces | seconds a face | hours of one | for {options.hours:g} h |",
        "| --- | --- | --- | --- | --- |",
    ]
    for what, count, each, of in work:
        hours = count * each / 3600
        needed = max(1, int(np.ceil(hours / options.hours)))
        machines = f"{needed:,} {of}" if needed == 1 else f"{needed:,} {of}s"
        lines.append(f"| {what} | {count:.3g} | {each:.3g} | {hours:,.3g} ({of}) | {machines} |")
    return lines


def main() -> None:
    """Measure rates, or print a plan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", type=Path, metavar="FILE", help="measure rates and write them")
    parser.add_argument("--rates", type=Path, help="rates to plan by")
    parser.add_argument("--faces", type=float, default=1e9, help="faces to label")
    parser.add_argument("--source", type=float, default=1e6, help="labelled faces")
    parser.add_argument("--trained", type=float, default=1e6, help="faces that a fit takes")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--size", type=int, default=224, help="pixels")
    parser.add_argument("--aus", type=int, default=18)
    parser.add_argument("--jpeg-bytes", type=float, default=15_000, help="of one file")
    parser.add_argument("--hours", type=float, default=24, help="in which each step is to end")
    parser.add_argument(
        "--gpu-images-per-second", type=float, help="joint stage on one of your GPUs"
    )
    parser.add_argument("--cores-per-gpu", type=float, default=16)
    options = parser.parse_args()
    if options.measure is not None:
        text = json.dumps(measure(), indent=2) + "\n"
        options.measure.write_text(text, encoding="utf-8")
        print(text)
    if options.rates is not None:
        found = json.loads(options.rates.read_text(encoding="utf-8"))
        print("\n".join(plan(found["seconds_per_face"], options)))


if __name__ == "__main__":
    main()
