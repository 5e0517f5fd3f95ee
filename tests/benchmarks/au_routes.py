"""The routes to AU scores, on faces of a domain that none of them was trained on.

    adafer render --faces combinations --n 2100 --size 96 --seed 100 --output renders
    adafer render --n 400 --size 96 --seed 101 --output expressions
    python tests/benchmarks/au_routes.py --renders renders/*.npz \
        --expressions expressions/*.npz --output au_routes.md

Compared are blendshapes by name, heads trained on the other domains (on their
expressions too, if given), and an
`AUNetwork` trained on the other domains, without and with the held-out domain's
pictures as unlabelled ones; faces of the held-out domain count as they
are and degraded to 40 to 80 pixels. An AU is visible from an intensity of 0.2 on.
Then the routes are timed on the same faces, each in turn, several rounds; a ratio is
taken within a round and the median reported.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from adafer._files import check_output_file, new_file
from adafer._versions import versions
from adafer.aus import AUExtractor, AUNetwork, LandmarkDetector
from adafer.aus.heads import NameHeads
from adafer.aus.training import HEAD_AUS, VISIBLE, fit_heads, measure_both, read_renders

ROUTES = ("names", "heads", "network", "network, unlabelled")
BY_NAME = "names, one face at a time"


def main() -> None:
    """Train what has to be trained, score, time, and write the table."""
    options = parse_arguments()
    held_out = next((p for p in options.renders if p.stem == options.held_out), None)
    if held_out is None or len(options.renders) < 3:
        raise SystemExit(
            f"Expected {options.held_out}.npz and two other domains at least; got "
            f"{[path.name for path in options.renders]}."
        )
    others = [path for path in options.renders if path is not held_out]
    expressions = [path for path in options.expressions if path.stem != options.held_out]
    measured, intensities, domains, posed = measure_both(others, expressions, n_jobs=options.jobs)
    heads, _ = fit_heads(measured, intensities, HEAD_AUS, domains, expressions=posed)
    pictures, truth = read_renders(held_out, seed=1)
    network = train_network(others, None, options)
    informed = train_network(others, pictures, options)

    seen = LandmarkDetector(heads="blendshape-names").measure(pictures)
    found = seen.found
    shown = truth[found] >= VISIBLE
    by_name = NameHeads().scores(seen.rows(found))
    scores = {
        "names": dict(zip(NameHeads.au_names, by_name.T, strict=True)),
        "heads": dict(zip(HEAD_AUS, heads.scores(seen.rows(found)).T, strict=True)),
        "network": dict(zip(HEAD_AUS, network.predict_proba(pictures)[found].T, strict=True)),
        "network, unlabelled": dict(
            zip(HEAD_AUS, informed.predict_proba(pictures)[found].T, strict=True)
        ),
    }
    areas = {
        route: {
            au: float(roc_auc_score(shown[:, k], columns[au]))
            for k, au in enumerate(HEAD_AUS)
            if au in columns
        }
        for route, columns in scores.items()
    }
    speeds = time_routes(pictures[: options.n_timed], network, options.rounds)
    lines = report(areas, speeds, found, shown, options)
    print("\n".join(lines))
    with new_file(options.output) as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def train_network(
    files: list[Path], unlabelled: list | None, options: argparse.Namespace
) -> AUNetwork:
    """Train on the other domains' faces, as they are and degraded."""
    pictures, labels = [], []
    for path in files:
        some, truth = read_renders(path)
        pictures += some
        labels.append(truth)
    network = AUNetwork(
        HEAD_AUS,
        backbones=tuple(options.backbones),
        image_size=options.network_size,
        presence=VISIBLE,
        epochs=options.network_epochs,
        random_state=options.seed,
        verbose=1,
    )
    return network.fit(pictures, np.concatenate(labels), unlabelled)


def time_routes(pictures: list, network: AUNetwork, rounds: int) -> dict[str, list[float]]:
    """Faces a second of each route in each round."""
    names, heads = LandmarkDetector(heads="blendshape-names"), LandmarkDetector()
    two = LandmarkDetector(n_jobs=2)
    with tempfile.TemporaryDirectory() as folder:
        cached = AUExtractor(cache=Path(folder) / "aus.sqlite")
        cached.score_faces(pictures)
        routes: dict[str, Callable[[], object]] = {
            BY_NAME: lambda: [names.detect([picture]) for picture in pictures],
            "names": lambda: names.detect(pictures),
            "heads": lambda: heads.detect(pictures),
            "heads, two threads": lambda: two.detect(pictures),
            "heads, from the cache": lambda: cached.score_faces(pictures),
            "network": lambda: network.predict_proba(pictures),
        }
        speeds: dict[str, list[float]] = {route: [] for route in routes}
        for _ in range(rounds):
            for route, run in routes.items():
                started = time.perf_counter()
                run()
                speeds[route].append(len(pictures) / (time.perf_counter() - started))
    return speeds


def report(
    areas: dict[str, dict[str, float]],
    speeds: dict[str, list[float]],
    found: np.ndarray,
    shown: np.ndarray,
    options: argparse.Namespace,
) -> list[str]:
    """Write both tables in Markdown."""
    lines = [
        "# Routes to AU scores",
        "",
        f"Held-out domain: {options.held_out}, {len(found)} pictures, a face found in "
        f"{int(found.sum())}. Trained on: "
        + ", ".join(p.stem for p in options.renders if p.stem != options.held_out)
        + f". Network: {' and '.join(options.backbones)}, {options.network_size} px, "
        f"{options.network_epochs} epochs, seed {options.seed}. {date.today()}, "
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        + ", ".join(f"{name} {version}" for name, version in versions().items())
        + ".",
        "",
        "Area under the ROC curve:",
        "",
        f"| AU | share visible | {' | '.join(ROUTES)} |",
        "| --- |" + " --- |" * (len(ROUTES) + 1),
    ]
    for k, au in enumerate(HEAD_AUS):
        cells = [f"{areas[route][au]:.3f}" if au in areas[route] else "-" for route in ROUTES]
        lines.append(f"| {au} | {shown[:, k].mean():.2f} | {' | '.join(cells)} |")
    common = [au for au in HEAD_AUS if all(au in areas[route] for route in ROUTES)]
    means = [f"{np.mean([areas[route][au] for au in common]):.3f}" for route in ROUTES]
    lines += [
        f"| mean of the {len(common)} AUs all have | | {' | '.join(means)} |",
        "",
        f"Speed, {options.n_timed} faces, median of {options.rounds} rounds, ratios within a "
        "round:",
        "",
        f"| route | faces a second | ratio to {BY_NAME} |",
        "| --- | --- | --- |",
    ]
    for route, values in speeds.items():
        ratio = np.median(np.array(values) / np.array(speeds[BY_NAME]))
        lines.append(f"| {route} | {np.median(values):.0f} | {ratio:.2f} |")
    return lines


def parse_arguments() -> argparse.Namespace:
    """Read the command line and check where the result goes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--renders", type=Path, nargs="+", required=True, metavar="DOMAIN.npz")
    parser.add_argument(
        "--expressions", type=Path, nargs="*", default=[], help="renders for the heads besides"
    )
    parser.add_argument("--held-out", default="webcam")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.md")
    parser.add_argument("--backbones", nargs=2, default=["convnet", "convnet"])
    parser.add_argument("--network-size", type=int, default=48)
    parser.add_argument("--network-epochs", type=int, default=15)
    parser.add_argument("--n-timed", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    check_output_file(options.output)
    return options


if __name__ == "__main__":
    main()
