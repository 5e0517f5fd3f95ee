"""What expression classifiers lose from domain to domain, on pixels and on action units.

    python tests/benchmarks/domain_loss.py --output tests/benchmarks/results/domain_loss.md

Each classifier is trained on the train split of one embedded domain, with the labels
that its annotators gave, and scored on the test splits of all domains, where the
expression that was drawn counts. The loss is accuracy at home less accuracy abroad.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from adafer import SourceOnlyClassifier
from adafer._files import check_output_file, new_file
from adafer._versions import versions
from adafer.aus import AUExtractor
from adafer.aus.appearance import gradient_histograms
from adafer.datasets import load_facs_faces

DOMAINS = ("studio", "wild", "webcam")


def main() -> None:
    """Fit, score, and write the table."""
    options = parse_arguments()
    parts = {
        (domain, split): load_facs_faces(domain=domain, split=split)
        for domain in DOMAINS
        for split in ("train", "test")
    }
    # features are computed where the row is asked for
    routes: dict[str, tuple[Callable, Callable]] = {
        "pixels, small network": (
            lambda: {key: part.images for key, part in parts.items()},
            lambda seed: SourceOnlyClassifier(
                "convnet", image_size=48, epochs=15, batch_size=64, random_state=seed
            ),
        ),
        "pixels, gradient histograms": (lambda: each(parts, histograms), linear),
        "AUs by names": (lambda: each(parts, scorer("blendshape-names", options.cache)), linear),
        "AUs by heads": (lambda: each(parts, scorer("trained", options.cache)), linear),
        "exact AUs": (lambda: {key: part.au for key, part in parts.items()}, linear),
    }
    directions = [f"{source} → {target}" for source in DOMAINS for target in DOMAINS]
    lines = [
        "# Loss from domain to domain",
        "",
        f"Accuracy in %, mean of {options.seeds} seeds. {date.today()}, "
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        + ", ".join(f"{name} {version}" for name, version in versions().items())
        + ".",
        "",
        f"| classifier on | {' | '.join(directions)} | at home | abroad | loss |",
        "| --- |" + " --- |" * (len(directions) + 3),
    ]
    for name in options.rows or routes:
        features, make = routes[name]
        table = accuracies(parts, features(), make, options.seeds)
        home = np.diag(table).mean()
        abroad = table[~np.eye(len(DOMAINS), dtype=bool)].mean()
        cells = [f"{100 * v:.1f}" for v in (*table.ravel(), home, abroad, home - abroad)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    with new_file(options.output) as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def accuracies(parts: dict, features: dict, make: Callable, n_seeds: int) -> np.ndarray:
    """Row: trained on; column: scored on."""
    table = np.zeros((len(DOMAINS), len(DOMAINS)))
    for row, source in enumerate(DOMAINS):
        for seed in range(n_seeds):
            model = make(seed).fit(features[source, "train"], parts[source, "train"].target)
            for column, target in enumerate(DOMAINS):
                predicted = model.predict(features[target, "test"])
                table[row, column] += np.mean(predicted == parts[target, "test"].clean_target)
    return table / n_seeds


def each(parts: dict, compute: Callable) -> dict:
    """Features of every part."""
    return {key: compute(part.images) for key, part in parts.items()}


def histograms(images: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients of whole pictures, in grey."""
    return gradient_histograms((images @ [0.299, 0.587, 0.114]).round().astype(np.uint8))


def scorer(heads: str, cache: Path | None) -> Callable:
    """Make a function that scores AUs; faces that are not found get the mean."""
    extractor = AUExtractor(heads=heads, cache=cache)

    def score(images: np.ndarray) -> np.ndarray:
        scores = extractor.score_faces(images)
        return np.where(np.isnan(scores), np.nanmean(scores, axis=0), scores)

    return score


def linear(_seed: int) -> object:
    """Make a linear classifier."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))


def parse_arguments() -> argparse.Namespace:
    """Read the command line and check where the result goes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.md")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache", type=Path, help="file that keeps AU scores")
    parser.add_argument("--rows", nargs="*", help="these rows alone")
    options = parser.parse_args()
    check_output_file(options.output)
    return options


if __name__ == "__main__":
    main()
