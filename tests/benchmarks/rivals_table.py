"""One table of all methods: how well they do on both kinds of pairs, and what they cost.

    python tests/benchmarks/rivals_table.py --embedded DIR --development DIR --cost cost.csv

DIR are outputs of ``adafer study`` with ``rivals_embedded.toml`` and of
``development_pair.py``; ``cost.csv`` is written by ``rival_cost.py``. Prints Markdown.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from adafer.study.statistics import Summary, paired_difference, summarise

OURS = "fused"
REFERENCE = "source_only"
METRICS = ("accuracy", "balanced_accuracy")
# Mean accuracy on CK+, JAFFE, FER2013 and ExpW from RAF-DB with ResNet-18 (Table 5 of the
# paper), less that of its source-only baseline, which has 57.87.
PUBLISHED = {
    "CADA": 61.87, "SAFN": 59.98, "SWD": 61.29, "LPL": 62.20, "DETN": 50.55, "ECAN": 54.52,
    "AGRA": 65.79, "paper": 67.73,
}  # fmt: skip
PUBLISHED_SOURCE_ONLY = 57.87
# as rival_cost.py calls them
COSTS = {
    "source_only": "source only", "paper": "AdaFER paper", "fused": "AdaFER fused",
    "Deep CORAL": "DeepCORAL", "self-training": "SelfTraining",
    "batch statistics": "BatchStatistics",
}  # fmt: skip

Scores = dict[str, dict[int, float]]


def mean_scores(path: Path, metric: str, protocol: str) -> Scores:
    """Read the mean over the pairs by method and seed."""
    found: dict[tuple[str, int], dict[tuple[str, str], float]] = defaultdict(dict)
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["metric"] == metric and row["protocol"] == protocol:
                pair = (row["source"], row["target"])
                found[row["method"], int(row["seed"])][pair] = float(row["value"])
    n_pairs = max(len(pairs) for pairs in found.values())
    scores: Scores = defaultdict(dict)
    for (method, seed), pairs in found.items():
        if len(pairs) == n_pairs:
            scores[method][seed] = float(np.mean(list(pairs.values())))
    return scores


def interval(summary: Summary, sign: str = "") -> str:
    """Percent with its 95 % half width."""
    return f"{100 * summary.mean:{sign}.1f} ± {100 * summary.half_width:.1f}"


def score_table(path: Path, protocol: str) -> list[list[str]]:
    """A row per method: scores, gains over the reference, and what ours is ahead."""
    header, rows = ["method"], []
    scores = {metric: mean_scores(path, metric, protocol) for metric in METRICS}
    for metric in METRICS:
        name = metric.replace("_", " ")
        header += [f"{name} %", f"gain over {REFERENCE}", f"{OURS} is ahead by"]
    for method in scores["accuracy"]:
        row = [method]
        for metric in METRICS:
            own = scores[metric][method]
            row.append(interval(summarise(list(own.values()))))
            for one, other, skipped in (
                (own, scores[metric][REFERENCE], REFERENCE),
                (scores[metric][OURS], own, OURS),
            ):
                found = paired_difference(one, other)
                row.append("-" if method == skipped else interval(found, "+"))
        rows.append(row)
    return [header, *rows]


def gain_table(path: Path, protocol: str) -> list[list[str]]:
    """Relative gains over source only, ours beside the published ones."""
    scores = mean_scores(path, "accuracy", protocol)
    base = np.mean(list(scores[REFERENCE].values()))
    rows = [["method", "published relative gain %", "relative gain here %"]]
    for method, published in PUBLISHED.items():
        here = np.mean(list(scores[method].values()))
        rows.append(
            [
                method,
                f"{100 * (published / PUBLISHED_SOURCE_ONLY - 1):+.1f}",
                f"{100 * (here / base - 1):+.1f}",
            ]
        )
    return rows


def with_costs(table: list[list[str]], path: Path) -> list[list[str]]:
    """Add what a step costs."""
    with path.open(newline="", encoding="utf-8") as stream:
        costs = {row["method"]: row for row in csv.DictReader(stream)}
    table[0] += ["ms per step", "ratio to source only", "peak MiB"]
    for row in table[1:]:
        cost = costs.get(COSTS.get(row[0], row[0]), {})
        row += [cost.get(key) or "-" for key in ("milliseconds_per_step", "ratio", "peak_mib")]
    return table


def markdown(table: list[list[str]]) -> str:
    """Write a table."""
    lines = [table[0], ["---"] * len(table[0]), *table[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--embedded", type=Path, required=True, metavar="DIR")
    parser.add_argument("--development", type=Path, required=True, metavar="DIR")
    parser.add_argument("--cost", type=Path, required=True)
    parser.add_argument("--protocol", default="inductive")
    options = parser.parse_args()
    embedded = options.embedded / "rivals_embedded.csv"
    development = options.development / "rivals_development.csv"
    print("## The embedded domains, mean of six directions\n")
    print(markdown(with_costs(score_table(embedded, options.protocol), options.cost)))
    print("## FER2013 to DiffusionFER\n")
    print(markdown(score_table(development, options.protocol)))
    for title, path in (("embedded domains", embedded), ("FER2013 to DiffusionFER", development)):
        print(f"## Relative gain over source only, beside the published one: {title}\n")
        print(markdown(gain_table(path, options.protocol)))


if __name__ == "__main__":
    main()
