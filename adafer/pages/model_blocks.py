"""What a model itself can tell: its data, AUs, matches and training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .._network_classifier import NetworkClassifier
from .._versions import versions
from ..aus.facs import ACTION_UNITS, au_number
from ..aus.statistics import AUFrequencies
from ..display import AUDistributionDisplay
from ..study.blocks import Block, Drawing, Heading, Paragraph, Picture, Table
from .charts import bars, curves
from .pictures import figure_names

__all__ = [
    "au_figure",
    "au_meaning",
    "fact_blocks",
    "fit_blocks",
    "fitted_au_frequencies",
    "model_facts",
    "settings_blocks",
]

# columns of history_ that are no curves
_NO_CURVES = {"stage", "epoch", "learning_rate", "seconds", "images_per_second"}
_OPINIONS = {"network": "the network", "aus": "the AUs"}
_WAYS = {
    "exact": "source faces with the same AUs",
    "hamming": "source faces with nearly the same AUs",
    "near": "the nearest source faces",
    "prior": "the frequencies of the classes",
    "none": "nothing: they have no label",
}


def au_meaning(name: str) -> str:
    """Say what FACS calls an AU.

    Parameters
    ----------
    name : str
        Such as "AU12".

    Returns
    -------
    meaning : str
        Such as "Lip corner puller"; empty if it is unknown.

    Examples
    --------
    >>> from adafer.pages.model_blocks import au_meaning
    >>> au_meaning("AU12"), au_meaning("brightness")
    ('Lip corner puller', '')
    """
    try:
        number = au_number(name)
    except ValueError:
        return ""
    return next((unit.name for unit in ACTION_UNITS if unit.number == number), "")


def model_facts(classifier: Any) -> dict[str, str]:
    """List what to know of a model at a glance, by a short name."""
    facts = {
        "method": type(classifier).__name__,
        "classes": ", ".join(str(name) for name in classifier.classes_),
    }
    if isinstance(classifier, NetworkClassifier):
        if hasattr(classifier, "n_features_in_"):
            facts["network"] = f"perceptron on {classifier.n_features_in_} features"
        else:
            size = classifier.image_shape_[0]
            facts["network"] = f"{classifier.backbone}, pictures of {size} x {size} pixels"
        facts["epochs"] = str(len(classifier.history_))
    if hasattr(classifier, "recipe"):
        facts["recipe"] = str(classifier.recipe)
    if getattr(classifier, "au_names_", None):
        facts["action units"] = str(len(classifier.au_names_))
    if hasattr(classifier, "coverage_"):
        facts["coverage"] = f"{100 * classifier.coverage_:.1f} %"
    return facts


def fact_blocks(classifier: Any) -> Iterator[Block]:
    """Tell what the model is."""
    yield Heading("The model")
    rows = [[name, text] for name, text in model_facts(classifier).items()]
    yield Table(["fact", "value"], rows, words=True)


def fit_blocks(classifier: Any) -> Iterator[Block]:
    """Tell what the model was fitted on and how: what needs no faces.

    Parameters
    ----------
    classifier : DomainClassifier
        Fitted or loaded.

    Yields
    ------
    block : Block
    """
    summary = getattr(classifier, "fit_summary_", None)
    yield Heading("What it was fitted on")
    if summary is None:
        yield Paragraph(
            "The model was saved by an older adafer, which kept no counts of its data. Fit and "
            "save it again to see them here."
        )
    else:
        yield from _data(classifier, summary)
        yield from _aus(classifier, summary)
        yield from _matches(classifier, summary)
    yield from _training(classifier)


def _data(classifier: Any, summary: Mapping[str, Any]) -> Iterator[Block]:
    source, target = summary["source"], summary["target"]
    columns = ["source, labelled"]
    counts = [source["per_class"]]
    rest = [["not labelled", "-"]]
    if target is not None:
        columns.append("target, by the labels it got")
        known = target["per_class"] is not None
        counts.append(target["per_class"] if known else ["-"] * len(classifier.classes_))
        rest[0].append(str(target["n_unlabelled"]) if known else str(target["n"]))
    domains = [source] if target is None else [source, target]
    for key, name in (
        ("n", "all"),
        ("n_without_face", "of these without AU scores"),
        ("n_unreadable", "unreadable, left out"),
    ):
        cells = ["-" if domain[key] is None else str(domain[key]) for domain in domains]
        if key == "n" or any(cell not in ("0", "-") for cell in cells):
            rest.append([name, *cells])
    if target is None:
        del rest[0]
    rows = [
        [str(name), *(str(column[i]) for column in counts)]
        for i, name in enumerate(classifier.classes_)
    ]
    yield Table(["class", *columns], rows + rest)
    if target is None:
        yield Paragraph("It was fitted on labelled faces alone and adapted to no target.")
    elif target["mean_labels"] is not None:
        yield Paragraph(
            "Labels of the target are those that the method gave to its unlabelled faces: the "
            "most probable class of each. Nobody has checked them."
        )


def fitted_au_frequencies(classifier: Any) -> dict[str, AUFrequencies]:
    """AU frequencies of both domains at the fit, by domain; empty where none were kept."""
    summary = getattr(classifier, "fit_summary_", None) or {}
    found = {}
    for domain in ("source", "target"):
        part = summary.get(domain) or {}
        if part.get("au_frequencies") is not None:
            found[domain] = AUFrequencies(
                np.array([str(name) for name in classifier.classes_]),
                np.array(part["au_frequencies"], dtype=np.float64),
                np.array(part["per_class"]),
                part["n_without_face"],
            )
    return found


def au_figure(frequencies: Mapping[str, AUFrequencies], au_names: Sequence[str]) -> Any:
    """Draw AU frequencies, with names of classes that are not too long."""
    labels = next(iter(frequencies.values())).labels.tolist()
    written = np.array(list(figure_names(labels).values()))
    named = {domain: part._replace(labels=written) for domain, part in frequencies.items()}
    return AUDistributionDisplay(named, list(figure_names(au_names).values())).plot().figure_


def _aus(classifier: Any, summary: Mapping[str, Any]) -> Iterator[Block]:
    frequencies = fitted_au_frequencies(classifier)
    if not frequencies:
        return
    n_aus = next(iter(frequencies.values())).frequencies.shape[1]
    names = getattr(classifier, "au_names_", None) or [str(i + 1) for i in range(n_aus)]
    yield Heading("Action units")
    yield Picture.of(
        au_figure(frequencies, names),
        "How often each class shows each action unit. In the source by its labels"
        + (", in the target by the labels it got." if "target" in frequencies else "."),
    )
    meanings = [[name, au_meaning(name)] for name in names]
    if any(meaning for _, meaning in meanings):
        yield Table(["action unit", "meaning"], meanings, words=True)


def _matches(classifier: Any, summary: Mapping[str, Any]) -> Iterator[Block]:
    matches = summary["matches"]
    if matches is None:
        return
    yield Heading("Coverage and matches")
    n = summary["target"]["n"]
    yield Paragraph(
        f"{100 * classifier.coverage_:.1f} % of the {n} target faces show exactly the action units "
        "of at least one source face. "
        + " ".join(
            f"{count} got their label by {_WAYS.get(way, way)}."
            for way, count in sorted(matches["matched_by"].items())
        )
    )
    yield Drawing(
        "Target faces, by how many source faces show the same action units.",
        bars(
            dict(zip(matches["bins"], matches["faces"], strict=True)),
            "Bars: number of target faces for each number of source faces with the same AUs",
        ),
    )
    accuracies = getattr(classifier, "opinion_accuracies_", None)
    if accuracies:
        yield Paragraph(
            "How often each opinion is right about the target, estimated without labels, from "
            "their agreement: "
            + ", ".join(
                f"{_OPINIONS.get(name, name)} {100 * share:.0f} %"
                for name, share in accuracies.items()
            )
            + "."
        )


def _training(classifier: Any) -> Iterator[Block]:
    history = getattr(classifier, "history_", None)
    if not history:
        return
    yield Heading("Training")
    stages = [str(row["stage"]) for row in history]
    columns = dict.fromkeys(name for row in history for name in row if name not in _NO_CURVES)
    series = {
        name: values
        for name in columns
        # what never changes is no curve
        if len(np.unique((values := _column(history, name))[np.isfinite(values)])) > 1
    }
    if series:
        charts = "".join(
            curves({name: values}, stages, f"{name} over the epochs", name.replace("_", " "))
            for name, values in series.items()
        )
        yield Drawing(
            "Values per epoch. A dashed line parts the stages: source faces alone, then both "
            "domains.",
            f'<div class="panels">{charts}</div>',
        )
    seconds = float(np.nansum(_column(history, "seconds")))
    yield Paragraph(f"{len(history)} epochs took {seconds:.0f} seconds.")


def _column(history: list[dict], name: str) -> Any:
    values = (row.get(name) for row in history)
    return np.array(
        [value if isinstance(value, (int, float)) else np.nan for value in values], dtype=np.float64
    )


def settings_blocks(classifier: Any) -> Iterator[Block]:
    """List parameters and the versions in use."""
    yield Heading("Parameters")
    rows = [[name, _text(value)] for name, value in classifier.get_params(deep=False).items()]
    yield Table(["parameter", "value"], rows, words=True)
    yield Heading("Versions that wrote this page")
    yield Table(["package", "version"], [[name, number] for name, number in versions().items()])


def _text(value: Any) -> str:
    if hasattr(value, "get_params"):
        return " ".join(repr(value).split())
    return value if isinstance(value, str) else repr(value)
