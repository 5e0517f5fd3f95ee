"""The main job from start to end, on rendered faces that are part of the package."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score
from sklearn.utils import check_random_state

from ._checks import naming
from ._files import check_output_folder, new_file
from ._sklearn import HasMethods, Interval, judged
from ._versions import versions
from .annotation import AUGuidedAnnotator
from .aus import AUExtractor
from .classifier import AdaFERClassifier
from .datasets import load_facs_faces
from .display import PredictionsDisplay, RecallDisplay, new_figure

__all__ = ["DemoSettings", "run_demo"]

BEFORE, AFTER = "source only", "AdaFER"


@dataclass(frozen=True)
class DemoSettings:
    """What the demo trains with.

    Attributes
    ----------
    backbone : str
    image_size : int
        Pixels.
    source_epochs : int
        Epochs of the source stage.
    epochs : int
        Epochs of the joint stage.
    batch_size : int
    learning_rate : float
    learning_rate_decay : float
    recipe : {"fused", "paper"}
        As in `AdaFERClassifier`.
    matching : {"exact", "hamming", "near"}
        As in `AUGuidedAnnotator`.
    beta, epsilon, tau_n, margin : float
        As in `AdaFERClassifier`.
    max_faces : int or None
        At most this many faces of each part, drawn at random; None takes all.
    n_jobs : int
        Threads that score AUs; -1 takes all cores.
    """

    backbone: str = "convnet"
    image_size: int = 48
    source_epochs: int = 10
    epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 2e-3
    learning_rate_decay: float = 0.9
    recipe: Literal["fused", "paper"] = "fused"
    matching: str = "near"
    beta: float = 1.0
    epsilon: float = 1.0
    tau_n: float = 0.5
    margin: float = 0.5
    max_faces: int | None = None
    n_jobs: int = -1

    @classmethod
    def quick(cls) -> DemoSettings:
        """Take a few faces and one epoch: shows that everything runs, no more."""
        return cls(image_size=32, source_epochs=1, epochs=1, max_faces=70)


def _judge_device(device: Any) -> None:
    from .deep.device import resolve_device

    resolve_device(device)


@judged(
    seed=[Interval(Integral, 0, 2**32 - 1, closed="both")],
    settings=[None, DemoSettings],
    au_extractor=[None, HasMethods("score_faces")],
    device=_judge_device,
    verbose=["verbose"],
)
def run_demo(
    output: str | PathLike[str] = "demo",
    *,
    seed: int = 0,
    settings: DemoSettings | None = None,
    au_extractor: Any = None,
    device: str = "auto",
    verbose: int = 0,
) -> dict[str, Any]:
    """Adapt from studio faces to faces in the wild, and measure what it brings.

    A network is trained on the labelled ``studio`` faces and then adapted to
    the unlabelled ``wild`` faces. Both are scored on ``wild`` faces of people
    that neither has seen, by the expression that was drawn. The source's labels
    are those of its annotators. The faces are rendered, see `load_facs_faces`.

    Parameters
    ----------
    output : path, default="demo"
        Folder for ``result.json`` and ``demo.png``; made if it is not there.
    seed : int, default=0
        Two runs with one seed give the same result on the same machine.
    settings : DemoSettings, optional
    au_extractor : AUExtractor, optional
        What scores AUs; by default the one of the package.
    device : str, default="auto"
        As in `AdaFERClassifier`.
    verbose : int, default=0
        1 tells on the standard error what is being done.

    Returns
    -------
    result : dict
        What ``result.json`` holds. Accuracies are shares of the scored faces:
        ``source_only_accuracy``, ``adafer_accuracy``, the two balanced ones,
        ``au_matching_accuracy`` (labels by equal or near AUs alone, without a
        network). ``accuracy_by_annotators`` counts what the target's annotators
        said as right instead of what was drawn. ``recall`` has them per class, before and after;
        ``coverage``, ``labelled_share`` and ``pseudo_label_accuracy`` tell how
        the target was labelled; ``seconds``, ``seconds_by_part``, ``n_faces``, ``settings``,
        ``seed``, ``device``, ``versions``.

    Raises
    ------
    OSError
        If the output cannot be written; told before anything is computed.
    ValueError, TypeError
        If another argument is wrong.

    Examples
    --------
    >>> from adafer.demo import DemoSettings, run_demo
    >>> result = run_demo("demo", settings=DemoSettings.quick())  # doctest: +SKIP
    >>> result["adafer_accuracy"]  # doctest: +SKIP
    """
    settings = DemoSettings() if settings is None else settings
    with naming("output"):
        output = check_output_folder(output)
    clock = _Clock(verbose)
    pick = _picker(settings.max_faces, seed)

    with clock.part("faces"):
        source = load_facs_faces(domain="studio", split="train")
        rows = pick(len(source.target))
        X, y, names = source.images[rows], source.target[rows], source.target_names
        # of the target, adapting gets the pictures only
        target = load_facs_faces(domain="wild", split="train")
        target_rows = pick(len(target.target))
        X_tgt = target.images[target_rows]
        unseen = load_facs_faces(domain="wild", split="test")
        unseen_rows = pick(len(unseen.target))
        X_test = unseen.images[unseen_rows]

    with clock.part("action_units"):
        extractor = AUExtractor(n_jobs=settings.n_jobs) if au_extractor is None else au_extractor
        au_src, au_tgt, au_test = (extractor.score_faces(part) for part in (X, X_tgt, X_test))

    classifier = _classifier(settings, seed, device, verbose)
    with clock.part("source_training"):
        classifier.fit(X, y)
        before = classifier.predict(X_test)
    with clock.part("adapting"):
        # the same network goes on, without being trained on the source again
        classifier.set_params(source_epochs=0)
        classifier.fit(X, y, X_tgt, au_src=au_src, au_tgt=au_tgt)
        after = classifier.predict(X_test)
        by_units = classifier.annotator_.predict(au_test)

    # here the target's labels are read for the first time, to score
    y_test, y_tgt = unseen.clean_target[unseen_rows], target.clean_target[target_rows]
    y_annotated = unseen.target[unseen_rows]
    labelled = classifier.annotation_.weights > 0
    pseudo_labels = classifier.classes_[classifier.annotation_.hard_labels[labelled]]
    result = {
        "source_only_accuracy": float(accuracy_score(y_test, before)),
        "adafer_accuracy": float(accuracy_score(y_test, after)),
        "source_only_balanced_accuracy": float(balanced_accuracy_score(y_test, before)),
        "adafer_balanced_accuracy": float(balanced_accuracy_score(y_test, after)),
        "au_matching_accuracy": float(accuracy_score(y_test, by_units)),
        "accuracy_by_annotators": {
            name: float(accuracy_score(y_annotated, predicted))
            for name, predicted in (("source_only", before), ("adafer", after))
        },
        "coverage": classifier.coverage_,
        "labelled_share": classifier.annotation_.labelled_share,
        "pseudo_label_accuracy": float(accuracy_score(y_tgt[labelled], pseudo_labels)),
        "recall": {
            name: dict(zip(names, _recalls(y_test, predicted, names), strict=True))
            for name, predicted in (("source_only", before), ("adafer", after))
        },
        "n_faces": {"source": len(X), "target": len(X_tgt), "test": len(X_test)},
        "settings": asdict(settings),
        "seed": seed,
        "device": device,
        "versions": versions(),
    }
    with clock.part("picture"), new_file(output / "demo.png") as path:
        _draw(X_test, y_test, before, after, names, seed).savefig(path, dpi=150)
    result["seconds"], result["seconds_by_part"] = clock.seconds(), clock.parts
    with new_file(output / "result.json") as path:
        path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(_table(result, output))
    return result


class _Clock:
    """Measures the parts of the run."""

    def __init__(self, verbose: int):
        self.verbose = verbose
        self.started = time.perf_counter()
        self.parts: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        if self.verbose:
            print(f"{name.replace('_', ' ')} ...", file=sys.stderr, flush=True)
        started = time.perf_counter()
        yield
        self.parts[name] = round(time.perf_counter() - started, 2)

    def seconds(self) -> float:
        return round(time.perf_counter() - self.started, 2)


def _picker(max_faces: int | None, seed: int) -> Callable[[int], NDArray]:
    """Make a function that draws rows at random, the same for the same seed."""
    random_state = check_random_state(seed)

    def pick(n: int) -> NDArray:
        if max_faces is None or max_faces >= n:
            return np.arange(n)
        return np.sort(random_state.permutation(n)[:max_faces])

    return pick


def _classifier(settings: DemoSettings, seed: int, device: str, verbose: int) -> AdaFERClassifier:
    return AdaFERClassifier(
        settings.backbone,
        image_size=settings.image_size,
        recipe=settings.recipe,
        annotator=AUGuidedAnnotator(matching=settings.matching),
        tau_n=settings.tau_n,
        margin=settings.margin,
        beta=settings.beta,
        epsilon=settings.epsilon,
        source_epochs=settings.source_epochs,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        learning_rate_decay=settings.learning_rate_decay,
        warm_start=True,
        device=device,
        random_state=seed,
        verbose=verbose,
    )


def _recalls(y_true: NDArray, predicted: NDArray, names: list[str]) -> list[float]:
    found = recall_score(y_true, predicted, labels=names, average=None, zero_division=0)
    return [float(value) for value in found]


def _draw(
    images: NDArray, y_true: NDArray, before: NDArray, after: NDArray, names: list[str], seed: int
) -> Any:
    """Draw faces, a column per class, chosen by chance, beside the bars."""
    random_state = check_random_state(seed)
    by_class = [random_state.permutation(np.flatnonzero(y_true == name)) for name in names]
    by_class = [rows for rows in by_class if len(rows)]
    n_rows = min(4, *(len(rows) for rows in by_class))
    shown = np.array([rows[:n_rows] for rows in by_class]).T.ravel()
    figure = new_figure(13.2, 6.8)
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    PredictionsDisplay.from_predictions(
        images[shown], y_true[shown], before[shown], after[shown], n_columns=len(by_class), ax=left
    )
    left.set_title(
        f"Unseen people in the wild: truth above, {BEFORE} → {AFTER} below", fontsize=11, pad=28
    )
    left.set_anchor("N")
    RecallDisplay.from_predictions(y_true, {BEFORE: before, AFTER: after}, labels=names, ax=right)
    right.set_title(f"All {len(y_true)} test faces", fontsize=11, pad=28)
    return figure


def _table(result: dict[str, Any], output: Path) -> str:
    """Say the result in a few lines."""
    n, recall, parts = result["n_faces"], result["recall"], result["seconds_by_part"]
    annotated = result["accuracy_by_annotators"]
    lines = [
        f"{n['source']} labelled studio faces, {n['target']} unlabelled wild faces; scored on "
        f"{n['test']} wild faces of other people.",
        "",
        f"{'%':<20}{BEFORE:>12}{AFTER:>12}{'gain':>8}",
    ]
    pairs = {
        "accuracy": (result["source_only_accuracy"], result["adafer_accuracy"]),
        "balanced accuracy": (
            result["source_only_balanced_accuracy"],
            result["adafer_balanced_accuracy"],
        ),
        **{
            f"  {name}": (recall["source_only"][name], recall["adafer"][name])
            for name in recall["adafer"]
        },
    }
    lines += [
        f"{name:<20}{100 * a:>12.1f}{100 * b:>12.1f}{100 * (b - a):>+8.1f}"
        for name, (a, b) in pairs.items()
    ]
    lines += [
        "",
        "By the labels of the target's annotators: "
        f"{annotated['source_only']:.1%} before, {annotated['adafer']:.1%} after.",
        f"AU matching alone, without a network: {result['au_matching_accuracy']:.1%}.",
        f"{result['coverage']:.1%} of the target share the AU code of a source face; "
        f"{result['labelled_share']:.1%} got labels.",
        f"{result['seconds']:.0f} s, of which action units {parts['action_units']:.0f}, source "
        f"training {parts['source_training']:.0f}, adapting {parts['adapting']:.0f}.",
        f"wrote {output / 'result.json'} and {output / 'demo.png'}",
    ]
    return "\n".join(lines)
