"""Annotating and drawing triplets for many faces: time, memory, growth, and their limits.

    OMP_NUM_THREADS=1 python tests/benchmarks/matching_scale.py \\
        --keep parts --output tests/benchmarks/results/matching_scale.md

Scores are drawn: seven classes show each of 20 AUs with probabilities of their own, and
the target shows them less often. Each part runs in a process of its own, whose peak
memory, with the scores in it, is reported. Rivals run on a sample in the same process,
in turn with what they are compared with, and are scaled by the number of comparisons.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np

from adafer import AUGuidedAnnotator, TripletMiner
from adafer._files import check_output_file, new_file
from adafer._versions import versions
from adafer.aus.scores import row_blocks
from adafer.neighbors import NeighborIndex

N_AUS, N_CLASSES, THRESHOLD, TAU_N = 20, 7, 0.5, 0.5
SHIFT = 0.15  # share of the shown AUs that the target does not show
NEIGHBORS = 100


def main() -> None:
    """Run each part in a process of its own, and write the tables."""
    options = parse_arguments()
    if options.part:
        found = {"n": options.n, **PARTS[options.part](options), "peak_gib": peak_gib()}
        with new_file(kept(options.part, options.n, options)) as path:
            path.write_text(json.dumps(found) + "\n", encoding="utf-8")
        return
    n, tenth = options.n, options.n // 10
    results = {
        "exact": run("exact", n, options),
        "near": run("near", tenth, options),
        "triplets": run("triplets", tenth, options),
        "extreme": run("extreme", n // 1000, options),
    }
    growth = {size: run("growth", size, options) for size in sorted(options.growth)}
    lines = report(results, growth, options)
    print("\n".join(lines))
    with new_file(options.output) as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def run(part: str, n: int, options: argparse.Namespace) -> dict:
    """Measure one part in a new process, unless it was before."""
    result = kept(part, n, options)
    if not result.exists():
        command = [sys.executable, __file__, "--part", part, "--n", str(n)]
        command += ["--seed", str(options.seed), "--rounds", str(options.rounds)]
        command += ["--near-targets", str(options.near_targets), "--keep", str(options.keep)]
        subprocess.run(command, check=True)
    found = json.loads(result.read_text(encoding="utf-8"))
    print(part, n, found, file=sys.stderr, flush=True)
    return found


def kept(part: str, n: int, options: argparse.Namespace) -> Path:
    """Where the result of a part goes."""
    return options.keep / f"{part}-{n}-{options.seed}-{options.rounds}.json"


# ------------------------------------------------------------------- the parts


def measure_exact(options: argparse.Namespace) -> dict:
    """Annotate exactly, against faiss' binary range search at radius 0."""
    import faiss

    source, labels, target = domains(options)
    n, n_sample = options.n, min(100_000, options.n)
    rng = np.random.default_rng(options.seed)
    rows = np.sort(rng.choice(n, n_sample, replace=False))
    packed = [np.packbits(scores[rows] > THRESHOLD, axis=1) for scores in (source, target)]

    def ours() -> AUGuidedAnnotator:
        annotator = AUGuidedAnnotator(threshold=THRESHOLD).fit(source, labels)
        found["coverage"] = annotator.annotate(target).coverage
        found["distinct_codes"] = len(annotator.code_table_.keys)
        return annotator

    def rival() -> None:
        index = faiss.IndexBinaryFlat(8 * packed[0].shape[1])
        index.add(packed[0])
        index.range_search(packed[1], 1)

    found: dict = {}
    started = time.perf_counter()
    ours()
    found["wall"] = time.perf_counter() - started
    found["peak_gib_before_rival"] = peak_gib()
    found |= rounds(options, ours, rival, (n / n_sample) ** 2)
    found["n_sample"] = n_sample
    # what no way of annotating can do without: reading the scores
    found["one_pass"] = median_time(options, lambda: (source.max(), target.max()))
    return found


def measure_near(options: argparse.Namespace) -> dict:
    """Annotate by near scores, against faiss' exact search on the same points."""
    import faiss

    source, labels, target = domains(options)
    rng = np.random.default_rng(options.seed)
    sample = rng.choice(len(target), min(500, len(target)), replace=False)
    found: dict = {}
    for metric in ("discriminant", "euclidean"):
        settings = {"threshold": THRESHOLD, "matching": "near", "n_neighbors": NEIGHBORS}
        annotator = AUGuidedAnnotator(metric=metric, **settings).fit(source, labels)
        row: dict = {}
        row["first_thousand"], _ = timed(lambda a=annotator: a.annotate(target[:1000]))
        space = annotator.au_space_
        points = space.points(source)
        exact = faiss.IndexFlatL2(points.shape[1])
        exact.add(points)
        asked = space.points(target[sample])
        index = NeighborIndex(points, NEIGHBORS)
        squared, indices = index.search(asked)
        true_squared, true_indices = exact.search(asked, NEIGHBORS)
        row["recall"] = recall(indices, true_indices)
        row["recall_by_distance"] = float(np.mean(squared <= true_squared[:, -1:] * (1 + 1e-5)))
        row["dimensions"], row["is_exact"] = points.shape[1], index.is_exact
        few, many = 200, min(2_000, len(target))
        starts = iter(range(0, 10**9, many))

        def ours(a=annotator, starts=starts, many=many) -> None:
            start = next(starts) % len(target)
            a.annotate(target[start : start + many])

        row |= rounds(options, ours, lambda e=exact, q=asked[:few]: e.search(q, NEIGHBORS),
                      many / few)  # fmt: skip
        row["targets_a_second"] = many / row["ours"]
        if metric == "discriminant":
            del exact, points, index
            row["n_asked"] = min(options.near_targets, len(target))
            asked = target[: row["n_asked"]]
            some, _ = timed(lambda a=annotator, t=asked: a.annotate(t))
            row["all_targets"] = some * len(target) / row["n_asked"]
            whole = row["first_thousand"] + row["all_targets"]
            row["ratio_with_index"] = row["rival"] / many * len(target) / whole
            row["peak_gib"] = peak_gib()
        found[metric] = row
    return found


def measure_triplets(options: argparse.Namespace) -> dict:
    """Draw one epoch, against the obvious loop over some anchors."""
    source, _, target = domains(options)
    found: dict = {}
    found["fit"], miner = timed(lambda: TripletMiner(tau_n=TAU_N).fit(source, target))
    found["peak_gib_fit"] = peak_gib()
    codes = [scores > THRESHOLD for scores in (source, target)]
    units = [scores / np.linalg.norm(scores, axis=1, keepdims=True) for scores in (source, target)]
    rng = np.random.default_rng(options.seed)
    n_sample = 20

    def rival() -> None:
        for near, far in ((0, 1), (1, 0)):
            for anchor in rng.integers(len(codes[near]), size=n_sample):
                same = (codes[far] == codes[near][anchor]).all(axis=1)
                similarity = units[far] @ units[near][anchor]
                hard = np.flatnonzero(~same & (similarity > TAU_N))
                if same.any():
                    rng.choice(np.flatnonzero(same))
                    if len(hard):
                        rng.choice(hard)
                    else:
                        np.where(same, -1, similarity).argmax()

    seeds = iter(range(1000))
    found |= rounds(options, lambda: miner.draw(next(seeds)), rival, len(source) / n_sample)
    found["triplets"] = sum(len(drawn) for drawn in miner.draw(0))
    return found


def measure_growth(options: argparse.Namespace) -> dict:
    """Draw one epoch at one size."""
    source, _, target = domains(options)
    found: dict = {}
    found["fit"], miner = timed(lambda: TripletMiner(tau_n=TAU_N).fit(source, target))
    n_rounds = max(options.rounds, 200_000 // options.n) if options.n < 10**7 else 3
    times = [timed(lambda seed=seed: miner.draw(seed))[0] for seed in range(n_rounds)]
    return {**found, "draw": float(np.median(times)), "n_rounds": n_rounds}


def measure_extreme(options: argparse.Namespace) -> dict:
    """Draw where no face has a hard negative: each shows one AU alone."""
    rng = np.random.default_rng(options.seed)
    both = [rng.random((options.n, N_AUS), dtype=np.float32) * 0.1 for _ in range(2)]
    for scores in both:
        shown = rng.integers(N_AUS, size=options.n)
        scores[np.arange(options.n), shown] = rng.uniform(0.8, 1, options.n)
    miner = TripletMiner(tau_n=TAU_N).fit(*both)
    first, drawn = timed(lambda: miner.draw(0))
    later, _ = timed(lambda: miner.draw(1))
    return {"first": first, "later": later, "triplets": sum(len(part) for part in drawn)}


PARTS: dict[str, Callable[[argparse.Namespace], dict]] = {
    "exact": measure_exact,
    "near": measure_near,
    "triplets": measure_triplets,
    "growth": measure_growth,
    "extreme": measure_extreme,
}


# ------------------------------------------------------------------- their data


def domains(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores and labels of the source, and scores of the target."""
    source, labels = faces(options.n, 2 * options.seed, 0.0)
    target, _ = faces(options.n, 2 * options.seed + 1, SHIFT)
    return source, labels, target


def faces(n: int, seed: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw AU scores and classes; blocks keep the memory that this takes small."""
    shown_by_class = np.random.default_rng(5).beta(0.6, 1.4, (N_CLASSES, N_AUS))
    rng = np.random.default_rng(seed)
    labels = rng.integers(N_CLASSES, size=n)
    scores = np.empty((n, N_AUS), dtype=np.float32)
    for rows in row_blocks(n):
        shape = (rows.stop - rows.start, N_AUS)
        shown = rng.random(shape, dtype=np.float32) < (1 - shift) * shown_by_class[labels[rows]]
        high = 0.5 + 0.5 * rng.random(shape, dtype=np.float32)
        low = 0.5 * rng.random(shape, dtype=np.float32) ** 3
        scores[rows] = np.where(shown, high, low)
    return scores, labels


# ------------------------------------------------------------------- measuring


def rounds(
    options: argparse.Namespace,
    ours: Callable[[], object],
    rival: Callable[[], object],
    scale: float,
) -> dict:
    """Time both in turn; the rival's time is scaled, ratios are taken within a round."""
    pairs = np.array([(timed(ours)[0], timed(rival)[0]) for _ in range(options.rounds)])
    ratios = scale * pairs[:, 1] / pairs[:, 0]
    return {
        "ours": float(np.median(pairs[:, 0])),
        "rival": float(np.median(pairs[:, 1]) * scale),
        "ratio": float(np.median(ratios)),
        "ratios": ratios.tolist(),
    }


def timed(action: Callable) -> tuple[float, object]:
    """CPU seconds that it takes, which other programs hardly change, and what it gives."""
    started = time.process_time()
    result = action()
    return time.process_time() - started, result


def median_time(options: argparse.Namespace, action: Callable) -> float:
    """Median over the rounds."""
    return float(np.median([timed(action)[0] for _ in range(options.rounds)]))


def recall(found: np.ndarray, true: np.ndarray) -> float:
    """Share of the true neighbours that were found."""
    pairs = zip(found, true, strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in pairs]))


def peak_gib() -> float:
    """Largest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


# ------------------------------------------------------------------- reporting


def report(results: dict, growth: dict, options: argparse.Namespace) -> list[str]:
    """Write all tables in Markdown."""
    exact, near, triplets = results["exact"], results["near"], results["triplets"]
    extreme, default = results["extreme"], near["discriminant"]
    sizes = sorted(growth)
    exponent = np.log(growth[sizes[-1]]["draw"] / growth[sizes[0]]["draw"]) / np.log(
        sizes[-1] / sizes[0]
    )
    lines = [
        "# Matching and triplets for many faces",
        "",
        f"`OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '')} python "
        f"tests/benchmarks/matching_scale.py --n {options.n} --seed {options.seed} "
        f"--rounds {options.rounds}`, {date.today()}, {cpu()}, {os.cpu_count()} cores, "
        + ", ".join(f"{name} {version}" for name, version in versions().items() if name in _SAID)
        + f", faiss {faiss_version()}. {N_AUS} AUs, {N_CLASSES} classes, drawn float32 scores; "
        f"medians of {options.rounds} rounds, ratios within a round. Times are CPU seconds of one "
        "thread, since the machine was shared; peak memory is that of a "
        "process with the scores in it.",
        "",
        "| part | mark | measured |",
        "| --- | --- | --- |",
        f"| exact annotating (fit and annotate), {exact['n']:,} + {exact['n']:,}, against faiss "
        f"binary range search at radius 0 on {exact['n_sample']:,} x {exact['n_sample']:,}, "
        f"scaled | >= 50 times | {exact['ratio']:,.0f} times |",
        f"| its time | <= 30 s | {exact['ours']:.1f} s ({exact['wall']:.1f} s by the clock) |",
        f"| its peak memory | <= 3 GiB | {exact['peak_gib_before_rival']:.2f} GiB |",
        f"| near annotating, {near['n']:,} x {near['n']:,}, k = {NEIGHBORS}, against faiss exact "
        f"search | >= 10 times | {default['ratio']:.1f} times; "
        f"{default['ratio_with_index']:.1f} with the making of the index |",
        f"| its recall | >= 0.98 | {default['recall']:.4f} |",
        f"| triplets of an epoch, {triplets['n']:,} + {triplets['n']:,}, against the obvious loop "
        f"| >= 100 times | {triplets['ratio']:,.0f} times |",
        f"| growth exponent of an epoch's triplets, {sizes[0]:,} to {sizes[-1]:,} | <= 1.1 "
        f"| {exponent:.2f} |",
        "",
        "## Exact annotating",
        "",
        f"{exact['distinct_codes']:,} distinct source codes, coverage {exact['coverage']:.3f}. "
        f"The scores are {8 * exact['n'] * N_AUS / 1e9:.2f} GB. One pass over them, their largest "
        f"value, takes {exact['one_pass']:.2f} s on one core: the limit. Fit and annotate take "
        f"{exact['ours'] / exact['one_pass']:.0f} passes: two that judge the scores, two that "
        "compare and pack them, and gathering and counting 4 bytes a face. Ratios of the rounds: "
        + ", ".join(f"{ratio:,.0f}" for ratio in exact["ratios"])
        + ".",
        "",
        "## Near annotating",
        "",
        "| metric | dimensions | recall | recall by distance | targets a second | ratio | "
        "ratios of the rounds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for metric in ("discriminant", "euclidean"):
        row = near[metric]
        lines.append(
            f"| {metric} | {row['dimensions']} | {row['recall']:.4f} | "
            f"{row['recall_by_distance']:.4f} | {row['targets_a_second']:,.0f} | "
            f"{row['ratio']:.1f} | " + ", ".join(f"{ratio:.1f}" for ratio in row["ratios"]) + " |"
        )
    lines += [
        "",
        f"With the default metric, making space and index took {default['first_thousand']:.0f} s, "
        f"{default['n_asked']:,} targets asked, all {near['n']:,} take "
        f"{default['all_targets']:.0f} s, peak "
        f"{default['peak_gib']:.2f} GiB. Exact search computes {near['n']:.0e} distances a "
        "target million and is bound by them; inverted lists compute the share of the lists that "
        "they look into, and then gathering and weighing "
        f"{NEIGHBORS} neighbours a target count as well.",
        "",
        "## Triplets",
        "",
        f"{triplets['triplets']:,} triplets of {2 * triplets['n']:,} anchors, in "
        f"{triplets['ours']:.2f} s an epoch ({1e9 * triplets['ours'] / 2 / triplets['n']:,.0f} ns "
        f"an anchor); grouping both domains took {triplets['fit']:.1f} s, once. Ratios of the "
        "rounds: " + ", ".join(f"{ratio:,.0f}" for ratio in triplets["ratios"]) + ".",
        "",
        "| faces of each domain | grouping, s | an epoch, s | ns an anchor | peak, GiB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for size, row in growth.items():
        lines.append(
            f"| {size:,} | {row['fit']:.3f} | {row['draw']:.4f} | "
            f"{1e9 * row['draw'] / 2 / size:,.0f} | {row['peak_gib']:.2f} |"
        )
    lines += [
        "",
        "An anchor costs one random read of its positive and one of each proposal's 80 bytes of "
        "scores; while these fit into the cache they are cheap, beyond they wait for memory: that "
        "is the limit, and why the exponent is not 1.",
        "",
        f"The extreme: {extreme['n']:,} + {extreme['n']:,} faces that show one AU each, so that no "
        f"anchor has a hard negative and all ask for their most similar face of another code: "
        f"{extreme['first']:.1f} s in the first epoch, {extreme['later']:.1f} s in the next, peak "
        f"{extreme['peak_gib']:.2f} GiB.",
    ]
    return lines


_SAID = ("adafer", "python", "numpy", "scikit-learn")


def faiss_version() -> str:
    """Version of whichever build of faiss there is."""
    import faiss

    return str(faiss.__version__)


def cpu() -> str:
    """Model of the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        return next(
            line.split(":")[1].strip() for line in text.splitlines() if "model name" in line
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def parse_arguments() -> argparse.Namespace:
    """Read the command line and check where the result goes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, metavar="FILE.md")
    parser.add_argument(
        "--n", type=int, default=10_000_000,
        help="faces of each domain under exact annotating; near annotating and triplets take a "
        "tenth, the extreme a thousandth",
    )  # fmt: skip
    parser.add_argument(
        "--growth", type=int, nargs="+", default=[10**4, 10**5, 10**6, 10**7],
        help="faces of each domain of which the growth of triplets is told",
    )  # fmt: skip
    parser.add_argument(
        "--near-targets", type=int, default=10**9,
        help="targets that are annotated by near scores, if not all",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--keep", type=Path, required=True, metavar="FOLDER",
        help="results of the parts; those that are there already are not measured again",
    )  # fmt: skip
    parser.add_argument("--part", choices=sorted(PARTS), help="measure this alone, at --n faces")
    options = parser.parse_args()
    if options.output is None and options.part is None:
        parser.error("give --output, or --part to measure one part")
    if options.output is not None:
        check_output_file(options.output)
    options.keep.mkdir(parents=True, exist_ok=True)
    return options


if __name__ == "__main__":
    main()
