"""What a step of each method costs: seconds and peak memory, one after the other in one run.

    python tests/benchmarks/rival_cost.py --output cost.csv

Each method goes on from a network at random, without a source stage, for two epochs on
the embedded faces (studio to wild), in a process of its own. A step is one batch of both
domains, however many passes the method makes of it; its seconds are those of the processor
on a CPU, with one thread, and of the clock on a GPU. Rounds are repeated and the median is
given, with the ratio to the same network's source-only step on as many pictures. Peak
memory is what `fit` took beyond the loaded package and data: resident memory on a CPU,
allocated memory on a GPU.
"""

from __future__ import annotations

import argparse
import csv
import inspect
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from adafer import rivals
from adafer._files import new_file

METHODS = {
    "source only": "adafer:SourceOnlyClassifier",
    "#3 pseudo_hard": "adafer:PseudoLabelClassifier",
    "#5 au_input": "adafer:AUInputClassifier",
    **{name.removesuffix("Classifier"): f"adafer.rivals:{name}" for name in rivals.__all__},
    "AdaFER paper": "adafer:AdaFERClassifier recipe=paper",
    "AdaFER fused": "adafer:AdaFERClassifier recipe=fused",
}


def measure(method: str, options: argparse.Namespace) -> dict[str, float]:
    """Fit once and read the history; runs in a process of its own."""
    from importlib import import_module

    import numpy as np
    import torch

    from adafer.aus import AUExtractor  # noqa: F401  (imports are not the method's cost)
    from adafer.datasets import load_facs_faces
    from adafer.deep.loop import Trainer

    torch.set_num_threads(1)
    cuda = options.device.startswith("cuda")
    reference, *more = method.split()
    module, _, name = reference.partition(":")
    source, target = (
        load_facs_faces(domain=domain, split="train") for domain in ("studio", "wild")
    )
    joint, n = name != "SourceOnlyClassifier", options.faces
    parameters = dict(item.split("=") for item in more)
    estimator = getattr(import_module(module), name)(
        options.backbone,
        image_size=options.image_size,
        epochs=2,
        source_epochs=0 if joint else 2,
        # as many pictures as a step of the joint stage has
        batch_size=options.batch_size if joint else 3 * options.batch_size,
        random_state=0,
        device=options.device,
        **parameters,
    )
    data: dict = {"X_tgt": target.images[:n]} if joint else {}
    if "au_src" in inspect.signature(estimator.fit).parameters:
        data |= {"au_src": np.clip(source.au[:n], 0, 1)}
        if joint:
            data |= {"au_tgt": np.clip(target.au[:n], 0, 1)}
    warm_up(options)
    costs, run_epoch = [], Trainer._epoch
    # of a CPU the process' own time, which other programs do not lengthen
    clock = time.perf_counter if cuda else time.process_time

    def counted(self: Trainer, stage: str, epoch: int, model: Any, optimizer: Any,
                batches: list, *more: Any) -> None:  # fmt: skip
        started = clock()
        run_epoch(self, stage, epoch, model, optimizer, batches, *more)
        costs.append((clock() - started) / len(batches))

    Trainer._epoch = counted  # type: ignore[method-assign]
    before = 0 if cuda else resident("VmRSS")
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")
    estimator.fit(source.images[:n], source.target[:n], **data)
    peak = torch.cuda.max_memory_allocated() if cuda else resident("VmHWM") - before
    last = [row for row in estimator.history_ if row["stage"] == ("joint" if joint else "source")]
    found = {"peak_mib": peak / 2**20}
    if last:
        found["seconds"] = costs[-1]
    return found


def warm_up(options: argparse.Namespace) -> None:
    """Let torch and the device set up what they need once, on another network."""
    import numpy as np

    from adafer import SourceOnlyClassifier

    rng = np.random.default_rng(0)
    faces = rng.integers(256, size=(8, options.image_size, options.image_size, 3), dtype=np.uint8)
    SourceOnlyClassifier(
        options.backbone, image_size=options.image_size, epochs=1, batch_size=4,
        device=options.device,
    ).fit(faces, [0, 1] * 4)  # fmt: skip


def resident(what: str) -> int:
    """Bytes of this process by the kernel: VmRSS now, VmHWM at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {what}")


def main() -> None:
    """Measure all methods in rounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("rival_cost.csv"))
    parser.add_argument("--backbone", default="convnet")
    parser.add_argument("--image-size", type=int, default=48)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--faces", type=int, default=420, help="of each domain")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options)))
        return
    found: dict[str, list[dict]] = {name: [] for name in METHODS}
    for number in range(options.rounds):
        for name, method in METHODS.items():
            again = [sys.executable, __file__, *sys.argv[1:], "--one", method]
            text = subprocess.run(again, check=True, capture_output=True, text=True).stdout
            found[name].append(json.loads(text.splitlines()[-1]))
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    plain = [entry["seconds"] for entry in found["source only"]]
    with new_file(options.output) as path, path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["method", "milliseconds_per_step", "ratio", "peak_mib"])
        for name, rounds in found.items():
            peak = f"{median(entry['peak_mib'] for entry in rounds):.0f}"
            if "seconds" not in rounds[0]:
                writer.writerow([name, "", "", peak])
                continue
            seconds = [entry["seconds"] for entry in rounds]
            ratio = median(one / other for one, other in zip(seconds, plain, strict=True))
            writer.writerow([name, f"{1000 * median(seconds):.1f}", f"{ratio:.2f}", peak])


if __name__ == "__main__":
    main()
