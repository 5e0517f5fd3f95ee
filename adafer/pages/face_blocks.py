"""What a model says of a folder of faces."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score

from ..aus.scores import has_scores
from ..aus.statistics import au_frequencies
from ..display import ConfusionDisplay, PseudoLabelsDisplay
from ..display._samples import one_of_each
from ..display.features import embed
from ..study.blocks import Block, Drawing, Heading, Paragraph, Picture, Table
from .charts import Point, bars, scatter
from .model_blocks import au_figure, fitted_au_frequencies
from .pictures import figure_names
from .seen import SeenFaces

__all__ = ["face_blocks"]

_MOST_POINTS = 600  # of the map
_MOST_FACES = 16  # with their labels
_MOST_NAMES = 20  # of files in a list


def face_blocks(classifier: Any, seen: SeenFaces, folder: str) -> Iterator[Block]:
    """Make the parts of a report that show faces.

    Parameters
    ----------
    classifier : DomainClassifier
    seen : SeenFaces
    folder : str
        What the faces are called.

    Yields
    ------
    block : Block
    """
    classes = [str(name) for name in classifier.classes_]
    yield Heading(f"Faces of {folder}")
    yield Paragraph(_counts(seen))
    if seen.unreadable:
        yield Paragraph(f"Left out: {_listed(seen.unreadable)}.")
    if seen.truth is None:
        yield Paragraph(
            "No folder in it is named like a class of the model, so that nothing can be scored: "
            "what follows is what the model says, right or wrong."
        )
        yield from _labels_given(seen, classes)
    else:
        yield from _scores(seen, seen.truth, classes)
    yield from _with_labels(classifier, seen)
    yield from _map(seen, classes)
    yield from _aus(classifier, seen)


def _counts(seen: SeenFaces) -> str:
    missing = int((~has_scores(seen.au)).sum())
    text = f"{len(seen)} pictures were read"
    if seen.unreadable:
        text += f", {len(seen.unreadable)} could not be"
    text += "; a face was found in all of them." if not missing else (
        f"; in {missing} of them no face was found. These count all the same."
    )  # fmt: skip
    return text + f" The model is sure of its label by {_percent(_sureness(seen))} on average."


def _sureness(seen: SeenFaces) -> float:
    return float(seen.probabilities.max(axis=1).mean())


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _labels_given(seen: SeenFaces, classes: list[str]) -> Iterator[Block]:
    counts = {name: int((seen.predicted == name).sum()) for name in classes}
    yield Drawing(
        "Faces by the label that the model gives.",
        bars(
            {name: float(count) for name, count in counts.items()},
            "Bars: number of faces that get each label",
            texts=[f"{count} ({_percent(count / len(seen))})" for count in counts.values()],
        ),
    )


def _scores(seen: SeenFaces, truth: NDArray, classes: list[str]) -> Iterator[Block]:
    right = truth == seen.predicted
    there = sorted(set(truth.tolist()))
    low, high = _interval(int(right.sum()), len(truth))
    yield Heading("How often it is right", 3)
    f1 = f1_score(truth, seen.predicted, labels=there, average="macro", zero_division=0)
    recalls = {name: float(right[truth == name].mean()) for name in there}
    yield Table(
        ["score", "%"],
        [
            ["accuracy", f"{100 * accuracy_score(truth, seen.predicted):.1f}"],
            ["balanced accuracy (mean recall)", f"{100 * np.mean(list(recalls.values())):.1f}"],
            ["macro F1", f"{100 * f1:.1f}"],
        ],
    )
    yield Paragraph(
        f"95 % interval of the accuracy for faces like these: {100 * low:.1f} to "
        f"{100 * high:.1f} % (Wilson); wider in truth where faces are of the same people."
    )
    foreign = sorted(set(there) - set(classes))
    if foreign:
        yield Paragraph(
            f"The model knows no class {', '.join(foreign)}; its answers there count as wrong."
        )
    yield Drawing(
        "Recall of each class: share of its faces that are found.",
        bars(
            {name: 100 * recall for name, recall in recalls.items()},
            "Bars: recall of each class in percent",
            texts=[
                f"{_percent(recall)} of {int((truth == name).sum())}"
                for name, recall in recalls.items()
            ],
        ),
    )
    written = figure_names(classes + foreign)
    display = ConfusionDisplay.from_predictions(
        np.array([written[name] for name in truth]),
        {"share of each true class": np.array([written[name] for name in seen.predicted])},
        labels=list(written.values()),
    )
    yield Picture.of(display.figure_, "Confusion matrix: rows are true classes.")


def _interval(n_right: int, n: int) -> tuple[float, float]:
    """Wilson's interval of a share, at 95 %."""
    z, share = 1.959964, n_right / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


def _with_labels(classifier: Any, seen: SeenFaces) -> Iterator[Block]:
    if not seen.thumbnails[0]:
        return
    known = seen.predicted if seen.truth is None else seen.truth
    shown = one_of_each(known, len(seen), _MOST_FACES)
    written = figure_names([*(str(name) for name in classifier.classes_), *known.tolist()])
    display = PseudoLabelsDisplay.from_predictions(
        [seen.paths[row] for row in shown],
        seen.probabilities[shown],
        [written[str(name)] for name in classifier.classes_],
        y_true=None if seen.truth is None else [written[name] for name in seen.truth[shown]],
        n_columns=min(len(shown), 8),
    )
    yield Heading("Labels on faces", 3)
    yield Picture.of(
        display.figure_,
        "The most probable labels"
        + ("." if seen.truth is None else ", under the true one.")
        + " Faces are drawn at random, of each class one at first.",
    )


def _map(seen: SeenFaces, classes: list[str]) -> Iterator[Block]:
    if len(seen) < 4 or not np.ptp(seen.features, axis=0).any():
        return
    rows = np.sort(np.random.default_rng(0).permutation(len(seen))[:_MOST_POINTS])
    places = embed(seen.features[rows])
    points = []
    for row, (x, y) in zip(rows.tolist(), places.tolist(), strict=True):
        label, tip = str(seen.predicted[row]), f"{seen.names[row]}\n"
        wrong = False
        if seen.truth is not None:
            wrong = label != seen.truth[row]
            tip += f"true: {seen.truth[row]}\n"
        tip += f"model: {label}, {_percent(seen.probabilities[row].max())}"
        points.append(
            Point(x, y, classes.index(label), tip, hollow=wrong, face=seen.thumbnails[row])
        )
    yield Heading("Map of the features", 3)
    drawn = f"{len(rows)} of the {len(seen)} faces, drawn at random" if len(rows) < len(seen) else (
        f"All {len(seen)} faces"
    )  # fmt: skip
    empty = "" if seen.truth is None else ", empty where it is wrong"
    yield Drawing(
        f"{drawn}, placed by t-SNE of the model's features; colour and shape are the label that "
        f"the model gives{empty}. Neighbours are alike to the model; distances between groups, "
        "and their sizes, mean nothing. Point at a face to see what it is, or reach the map by "
        "the tab key and walk by the arrow keys.",
        scatter(points, classes, "Map of the faces by their features, coloured by label"),
    )


def _aus(classifier: Any, seen: SeenFaces) -> Iterator[Block]:
    """Compare AUs of the faces with those of the fit, where the same AUs were scored."""
    thresholds = getattr(getattr(classifier, "annotator_", None), "thresholds_", None)
    if thresholds is None:
        thresholds = getattr(classifier, "au_thresholds_", None)
    same = getattr(classifier, "au_names_", None) == seen.au_names
    if not has_scores(seen.au).any():
        return
    label = seen.predicted if seen.truth is None else seen.truth
    classes = [str(name) for name in classifier.classes_]
    labels = np.array(classes + sorted(set(label.tolist()) - set(classes)))
    own = au_frequencies(
        seen.au,
        label,
        threshold=thresholds if same and thresholds is not None else "quantile",
        labels=labels,
    )
    domains = {"these faces": own}
    fitted = fitted_au_frequencies(classifier)
    if same and thresholds is not None and len(labels) == len(classes):
        domains = {**fitted, **domains}
    yield Heading("Action units of these faces", 3)
    yield Picture.of(
        au_figure(domains, seen.au_names),
        "How often each class shows each action unit, by "
        + ("the model's labels." if seen.truth is None else "the true labels.")
        + (" Beside it: what the model was fitted on." if len(domains) > 1 else ""),
    )
