"""How well scorers without target labels rank configurations, on the embedded domains.

    python tests/benchmarks/model_selection.py --work DIR --output FILE.md [--pictures]

Networks are small and learn gradient histograms of the faces, or, with ``--pictures``,
the faces themselves, which takes a hundred times as long. For each pair of domains one
source stage is trained and 20 configurations go on from its network. Each scorer orders
them without the target's labels; the true order is by accuracy on target faces of other
people, against the expression that was drawn. What was trained is kept in DIR, so that a
run goes on where it stopped and scorers can be changed afterwards.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.metrics import accuracy_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from adafer import (
    AdaFERClassifier,
    AUExtractor,
    AUGuidedAnnotator,
    PseudoLabelClassifier,
    SourceOnlyClassifier,
)
from adafer._files import check_output_file, new_file
from adafer._versions import versions
from adafer.aus.appearance import gradient_histograms
from adafer.datasets import load_facs_faces
from adafer.model_selection import (
    AUAgreementScorer,
    DeepEmbeddedValidationScorer,
    ImportanceWeightedScorer,
    SoftNeighborhoodDensityScorer,
    TargetEntropyScorer,
)
from adafer.persistence import load_model
from adafer.rivals import DANNClassifier, MCCClassifier

DOMAINS = ("studio", "wild", "webcam")
PAIRS = [(source, target) for source in DOMAINS for target in DOMAINS if source != target]
N_COMPONENTS = 64
COMMON: dict[str, Any] = {
    "backbone": "convnet",
    "image_size": 48,
    "batch_size": 64,
    "source_epochs": 0,
    "warm_start": True,
    "random_state": 0,
    "device": "cpu",
}
# sizes of the two studies: faces per domain, epochs of the source stage and of each configuration
SIZES = {False: (400, 15, 5), True: (300, 10, 3)}


def configurations(n_epochs: int) -> dict[str, Any]:
    """Twenty of them: methods, and the fused recipe's and the paper's parameters."""
    COMMON["epochs"] = n_epochs
    paper: dict[str, Any] = {"recipe": "paper", **COMMON}
    return {
        "source only": SourceOnlyClassifier(**COMMON),
        "pseudo-labels, hard": PseudoLabelClassifier(**COMMON),
        "pseudo-labels, soft": PseudoLabelClassifier(labels="soft", **COMMON),
        "MCC": MCCClassifier(**COMMON),
        "MCC, rate x 3": MCCClassifier(**COMMON | {"learning_rate": 3e-3}),
        "DANN": DANNClassifier(hidden_units=128, **COMMON),
        "DANN, weight 0.3": DANNClassifier(hidden_units=128, adversarial_weight=0.3, **COMMON),
        "paper": AdaFERClassifier(**paper),
        "paper, beta 0.3": AdaFERClassifier(beta=0.3, **paper),
        "paper, beta 3": AdaFERClassifier(beta=3.0, **paper),
        "paper, no triplets": AdaFERClassifier(epsilon=0.0, **paper),
        "paper, no labels": AdaFERClassifier(beta=0.0, **paper),
        "paper, near matching": AdaFERClassifier(
            annotator=AUGuidedAnnotator(matching="near"), **paper
        ),
        "fused": AdaFERClassifier(**COMMON),
        "fused, beta 0.3": AdaFERClassifier(beta=0.3, **COMMON),
        "fused, beta 3": AdaFERClassifier(beta=3.0, **COMMON),
        "fused, no triplets": AdaFERClassifier(epsilon=0.0, **COMMON),
        "fused, confusion 3": AdaFERClassifier(confusion_weight=3.0, **COMMON),
        "fused, rate x 3": AdaFERClassifier(**COMMON | {"learning_rate": 3e-3}),
        "fused, rate / 10": AdaFERClassifier(**COMMON | {"learning_rate": 1e-4}),
    }


def scorers() -> dict[str, Any]:
    """What is compared, by the names in the tables."""
    return {
        "entropy": TargetEntropyScorer(),
        "entropy, with diversity": TargetEntropyScorer(diversity=True),
        "SND": SoftNeighborhoodDensityScorer(),
        "IWCV, errors": ImportanceWeightedScorer(loss="zero_one"),
        "IWCV, log loss": ImportanceWeightedScorer(),
        "DEV, errors": DeepEmbeddedValidationScorer(loss="zero_one"),
        "DEV, log loss": DeepEmbeddedValidationScorer(),
        "AU agreement, accuracy": AUAgreementScorer(),
        "AU agreement, likelihood": AUAgreementScorer(measure="likelihood"),
    }


def main() -> None:
    """Train what is missing, score, and write the tables."""
    options = parse_arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    extractor = AUExtractor(cache=options.work / "aus.sqlite")
    tables, seconds = {}, {}
    for source, target in PAIRS[: options.pairs]:
        pair = f"{source} → {target}"
        print(pair, flush=True)
        data = read_pair(source, target, extractor, options.pictures)
        kind = "pictures" if options.pictures else "histograms"
        models = train(data, options.work / f"{kind}-{source}-{target}", options.pictures)
        tables[pair], seconds[pair] = score(models, data)
        with new_file(options.output) as path:
            path.write_text(report(tables, seconds, options.pictures), encoding="utf-8")


def read_pair(source: str, target: str, extractor: AUExtractor, pictures: bool) -> dict[str, Any]:
    """Training and held-out source, by person, and the target; with AU scores."""
    n_faces = SIZES[pictures][0]
    faces = load_facs_faces(domain=source, split="train")
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    fitted, held_out = next(folds.split(faces.images, faces.target, faces.identity))
    rng = np.random.default_rng(0)
    fitted = rng.permutation(fitted)[:n_faces]
    others = load_facs_faces(domain=target, split="train")
    kept = rng.permutation(len(others.images))[:n_faces]
    unseen = load_facs_faces(domain=target, split="test")
    data = {
        "X": faces.images[fitted],
        "y": faces.target[fitted],
        "X_val": faces.images[held_out],
        "y_val": faces.target[held_out],
        "X_tgt": others.images[kept],
        "X_test": unseen.images,
        "y_test": unseen.clean_target,
    }
    for part in ("", "_val", "_tgt"):
        data[f"au{part or '_src'}"] = extractor.fit_transform(data[f"X{part}"])
    if not pictures:
        histograms = make_pipeline(
            FunctionTransformer(_histograms), PCA(N_COMPONENTS, random_state=0)
        ).fit(data["X"])
        for part in ("", "_val", "_tgt", "_test"):
            data[f"X{part}"] = histograms.transform(data[f"X{part}"]).astype(np.float32)
    return data


def _histograms(images: np.ndarray) -> np.ndarray:
    return gradient_histograms((images @ [0.299, 0.587, 0.114]).round().astype(np.uint8))


def train(data: dict[str, Any], folder: Path, pictures: bool) -> dict[str, Any]:
    """Fit each configuration on from one source stage, or read it."""
    _, n_source_epochs, n_epochs = SIZES[pictures]
    folder.mkdir(exist_ok=True)
    trained = SourceOnlyClassifier(
        **COMMON | {"source_epochs": n_source_epochs, "warm_start": False}
    )
    if (folder / "source").is_dir():
        trained = load_model(folder / "source")
    else:
        trained.fit(data["X"], data["y"])
        trained.save(folder / "source")
    models = {}
    for number, (name, classifier) in enumerate(configurations(n_epochs).items()):
        place = folder / f"{number:02d}"
        if not place.is_dir():
            started = time.perf_counter()
            classifier.network_ = deepcopy(trained.network_)
            classifier.classes_ = trained.classes_
            scores = {"au_src": data["au_src"], "au_tgt": data["au_tgt"]}
            classifier.fit(data["X"], data["y"], data["X_tgt"], **scores)
            classifier.save(place)
            print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
        models[name] = load_model(place)
    return models


def score(models: dict[str, Any], data: dict[str, Any]) -> tuple[dict, dict]:
    """True accuracy and all scores of each configuration; seconds per scorer."""
    table: dict[str, dict] = {"accuracy": {}}
    seconds = dict.fromkeys(scorers(), 0.0)
    for name, model in models.items():
        table["accuracy"][name] = accuracy_score(data["y_test"], model.predict(data["X_test"]))
    table["source accuracy"] = {
        name: accuracy_score(data["y_val"], model.predict(data["X_val"]))
        for name, model in models.items()
    }
    for kind, scorer in scorers().items():
        table[kind] = {}
        for name, model in models.items():
            more = {"X_tgt": data["X_tgt"]}
            if isinstance(scorer, AUAgreementScorer):
                more |= {"au_src": data["au_val"], "au_tgt": data["au_tgt"]}
            started = time.perf_counter()
            table[kind][name] = scorer(model, data["X_val"], data["y_val"], **more)
            seconds[kind] += (time.perf_counter() - started) / len(models)
    # the labels may come from all of the source instead of its held-out part
    scorer = AUAgreementScorer()
    table["AU agreement, whole source"] = {
        name: scorer(
            model, data["X"], data["y"], X_tgt=data["X_tgt"], au_src=data["au_src"],
            au_tgt=data["au_tgt"],
        )
        for name, model in models.items()
    }  # fmt: skip
    return table, seconds


def report(tables: dict[str, dict], seconds: dict[str, dict], pictures: bool) -> str:
    """Rank correlation and regret of each scorer, and the accuracies behind them."""
    pairs = list(tables)
    kinds = [kind for kind in tables[pairs[0]] if kind != "accuracy"]
    n_faces, _, n_epochs = SIZES[pictures]
    network = (
        "Convnet at 48 pixels"
        if pictures
        else f"Small network on {N_COMPONENTS} principal components of gradient histograms"
    )
    lines = [
        "# Choosing without target labels",
        "",
        f"{date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        + ", ".join(f"{name} {version}" for name, version in versions().items())
        + f". {network}, at most {n_faces} faces of each domain, one seed, one source stage per "
        f"pair, 20 configurations adapted from it in {n_epochs} epochs. Accuracy counts on target "
        "faces of other people; scorers saw the target's pictures that were adapted to, and "
        "source faces of people held out.",
        "",
        "Rank: Spearman's correlation of score and accuracy over the configurations. Regret: "
        "accuracy of the best configuration less that of the one with the best score, in points.",
        "",
        "| scorer | "
        + " | ".join(f"{pair}: rank | regret" for pair in pairs)
        + " | mean rank | mean regret | AdaFER only: mean rank | mean regret | seconds |",
        "| --- |" + " --- |" * (2 * len(pairs) + 5),
    ]
    for kind in kinds:
        ranks, regrets = zip(*(judge(tables[pair], kind) for pair in pairs), strict=True)
        own = [judge(tables[pair], kind, ("paper", "fused")) for pair in pairs]
        cells = [
            text for r, g in zip(ranks, regrets, strict=True) for text in (f"{r:.2f}", f"{g:.1f}")
        ]
        times = [seconds[pair][kind] for pair in pairs if kind in seconds[pair]]
        spent = f"{np.mean(times):.2f}" if times else ""
        lines.append(
            f"| {kind} | {' | '.join(cells)} | {np.mean(ranks):.2f} | {np.mean(regrets):.1f} | "
            f"{np.mean([r for r, _ in own]):.2f} | {np.mean([g for _, g in own]):.1f} | {spent} |"
        )
    blind, own = (
        [blind_regret(tables[pair], families) for pair in pairs]
        for families in (("",), ("paper", "fused"))
    )
    cells = [text for g in blind for text in ("0.00", f"{g:.1f}")]
    lines.append(
        f"| a blind choice | {' | '.join(cells)} | 0.00 | {np.mean(blind):.1f} | 0.00 | "
        f"{np.mean(own):.1f} | |"
    )
    lines += [
        "",
        "## Accuracy of each configuration, %",
        "",
        f"| configuration | {' | '.join(pairs)} |",
        "| --- |" + " --- |" * len(pairs),
    ]
    for name in tables[pairs[0]]["accuracy"]:
        cells = [f"{100 * tables[pair]['accuracy'][name]:.1f}" for pair in pairs]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def judge(table: dict, kind: str, families: tuple[str, ...] = ("",)) -> tuple[float, float]:
    """Rank correlation and regret of a score, over configurations whose names begin so."""
    names = [name for name in table["accuracy"] if name.startswith(families)]
    accuracy, found = (np.array([table[k][name] for name in names]) for k in ("accuracy", kind))
    return (
        float(spearmanr(found, accuracy).statistic),
        100 * float(accuracy.max() - accuracy[found.argmax()]),
    )


def blind_regret(table: dict, families: tuple[str, ...] = ("",)) -> float:
    """Regret of choosing any of them by chance."""
    found = [value for name, value in table["accuracy"].items() if name.startswith(families)]
    return 100 * (max(found) - float(np.mean(found)))


def parse_arguments() -> argparse.Namespace:
    """Read the command line and check where the result goes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, metavar="DIR")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.md")
    parser.add_argument("--pictures", action="store_true", help="train on the faces themselves")
    parser.add_argument("--pairs", type=int, default=len(PAIRS), help="how many of the pairs")
    options = parser.parse_args()
    check_output_file(options.output)
    return options


if __name__ == "__main__":
    main()
