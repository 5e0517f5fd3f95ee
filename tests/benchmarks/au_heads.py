"""What the AU heads are best trained on: held-out renders, and faces with expressions.

    adafer render --faces combinations --n 400 --size 96 --seed 100 --output combinations
    adafer render --n 400 --size 96 --seed 101 --output expressions
    python tests/benchmarks/au_heads.py --combinations combinations/*.npz \
        --expressions expressions/*.npz --faces PATH/diffusionfer PATH/photographs \
        --output tests/benchmarks/results/au_heads.md

Renders: AUC of each AU in the domain that was held out, mean over domains. Faces: a
folder per expression each, nothing known but the expression. An AU counts as shown by as
large a share of an expression's faces as people who pose it show it, `SHARES`: a weak
check, since few faces in daily life show what is posed. Faces of no such expression,
neutral ones too, are left out there; "against neutral" compares the expressions that
show the AU in most faces with neutral ones instead.
"""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from adafer._files import check_output_file, new_file
from adafer._versions import versions
from adafer.aus import LandmarkDetector
from adafer.aus.heads import TrainedHeads
from adafer.aus.measurements import Measurements
from adafer.aus.training import BY_THEMSELVES, HEAD_AUS, VISIBLE, fit_heads, measure_both
from adafer.datasets import load_image_folder
from adafer.faces import read_faces

# Shares of posed faces that show an AU, set by hand after EMFACS; rough.
SHARES: dict[str, dict[str, float]] = {
    "anger": {"AU04": 0.9, "AU05": 0.15, "AU07": 0.7, "AU17": 0.7, "AU23": 0.7, "AU24": 0.5},
    "disgust": {"AU04": 0.6, "AU06": 0.25, "AU07": 0.5, "AU09": 0.85, "AU10": 0.3, "AU17": 0.5},
    "fear": {"AU01": 0.95, "AU02": 0.6, "AU04": 0.75, "AU05": 0.6, "AU20": 0.7, "AU25": 0.9},
    "happiness": {"AU06": 0.85, "AU07": 0.1, "AU12": 1, "AU25": 0.9},
    "sadness": {"AU01": 0.9, "AU02": 0.15, "AU04": 0.75, "AU15": 0.85, "AU17": 0.8},
    "surprise": {"AU01": 0.95, "AU02": 0.98, "AU05": 0.85, "AU25": 0.95, "AU26": 0.9},
}
SHARES["anger"] |= {"AU09": 0.05, "AU25": 0.15}
SHARES["disgust"] |= {"AU15": 0.15, "AU25": 0.25}
SHARES["fear"] |= {"AU07": 0.25, "AU26": 0.4}
MARKED = [f"AU{n:02d}" for n in (1, 2, 4, 5, 6, 7, 9, 12, 15, 17, 20, 25)]


def main() -> None:
    """Measure once, train with each setting, and write the table."""
    options = parse_arguments()
    measured, truth, domains, posed = measure_both(
        options.combinations, options.expressions, n_jobs=options.jobs
    )
    photographs = {path.name: measure_folder(path) for path in options.faces}
    every = np.full(len(domains), True)
    rows = []
    for taught, which, apart in (
        ("combinations", ~posed, ()),
        ("both", every, ()),
        (f"both; {' and '.join(BY_THEMSELVES)} on combinations", every, BY_THEMSELVES),
    ):

        def train(some: np.ndarray, apart: tuple[str, ...] = apart) -> TrainedHeads:
            heads, _ = fit_heads(
                measured.rows(some),
                truth[some],
                HEAD_AUS,
                domains[some],
                expressions=posed[some],
                by_themselves=apart,
            )
            return heads

        held_out = np.empty((len(domains), len(HEAD_AUS)))
        for domain in sorted(set(domains)):
            away = domains == domain
            held_out[away] = train(which & ~away).scores(measured.rows(away))
        cells = row(held_out, posed, truth, domains) + weak(train(which), photographs)
        rows.append([taught, *cells])
    lines = report(rows, photographs, domains, options)
    print("\n".join(lines))
    with new_file(options.output) as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def row(
    scores: np.ndarray, posed: np.ndarray, truth: np.ndarray, domains: np.ndarray
) -> list[float]:
    """Mean AUC in held-out domains, of combinations and of expressions."""
    cells = []
    for kind in (~posed, posed):
        areas = []
        for au in MARKED:
            k = HEAD_AUS.index(au)
            for domain in sorted(set(domains)):
                some = kind & (domains == domain)
                areas.append(roc_auc_score(truth[some, k] >= VISIBLE, scores[some, k]))
        cells.append(float(np.mean(areas)))
    return cells


def measure_folder(path: Path) -> tuple[Measurements, np.ndarray]:
    """Measure pictures in a folder per expression."""
    faces = load_image_folder(path)
    seen = LandmarkDetector(heads="blendshape-names").measure(list(read_faces(faces.paths)))
    return seen.rows(seen.found), np.asarray(faces.target)[seen.found]


def weak(heads: TrainedHeads, photographs: dict) -> list[float]:
    """AUC against what posed expressions show, and of expressions against neutral."""
    cells = []
    for measured, labels in photographs.values():
        scores = heads.scores(measured)
        posed = np.isin(labels, list(SHARES))
        each = np.array([1 / (labels == label).sum() for label in labels[posed]])
        graded, clear = [], []
        for au in MARKED:
            column = scores[:, HEAD_AUS.index(au)]
            share = np.array([SHARES[label].get(au, 0) for label in labels[posed]])
            graded.append(
                roc_auc_score(
                    np.repeat([True, False], posed.sum()),
                    np.tile(column[posed], 2),
                    sample_weight=np.concatenate([each * share, each * (1 - share)]),
                )
            )
            for expression, shares in SHARES.items():
                pair = np.isin(labels, [expression, "neutral"])
                if shares.get(au, 0) > 0.5 and len(set(labels[pair])) == 2:
                    clear.append(roc_auc_score(labels[pair] == expression, column[pair]))
        cells += [np.mean(graded), np.mean(clear)]
    return cells


def report(
    rows: list[list], photographs: dict, domains: np.ndarray, options: argparse.Namespace
) -> list[str]:
    """Write the table in Markdown."""
    columns = ["combinations, held out", "expressions, held out"]
    for name in photographs:
        columns += [name, f"{name}, against neutral"]
    counts = ", ".join(f"{name}: {len(labels):,}" for name, (_, labels) in photographs.items())
    return [
        "# Settings of the AU heads",
        "",
        f"{len(domains):,} rendered faces of {', '.join(sorted(set(domains)))}; {counts} faces. "
        f"Mean AUC of {', '.join(MARKED)}. {date.today()}, "
        + ", ".join(f"{name} {version}" for name, version in versions().items())
        + ".",
        "",
        f"| trained on | {' | '.join(columns)} |",
        "| --- |" + " --- |" * len(columns),
        *(f"| {name} | {' | '.join(f'{cell:.3f}' for cell in cells)} |" for name, *cells in rows),
    ]


def parse_arguments() -> argparse.Namespace:
    """Read the command line and check where the result goes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--combinations", type=Path, nargs="+", required=True, metavar="NPZ")
    parser.add_argument("--expressions", type=Path, nargs="+", required=True, metavar="NPZ")
    parser.add_argument("--faces", type=Path, nargs="*", default=[], metavar="DIR")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.md")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    check_output_file(options.output)
    return options


if __name__ == "__main__":
    main()
