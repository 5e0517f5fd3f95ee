"""Pictures of a study, drawn by `adafer.display`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..annotation import AUGuidedAnnotator
from ..display import (
    AblationDisplay,
    AUDistributionDisplay,
    ConfusionDisplay,
    CoverageDisplay,
    FeaturesDisplay,
    ParameterCurveDisplay,
    PseudoLabelsDisplay,
)
from ..display._samples import one_of_each
from .blocks import Picture
from .plan import FigurePlan
from .results import MEAN, Results
from .run import Row

__all__ = ["DRAWING", "draw_figures"]

_Pair = tuple[str, str]


def draw_figures(results: Results, *, tell: Callable[[str], None] = print) -> list[Picture]:
    """Draw what a plan asks for; without ``[[figures]]``, bars of the accuracy.

    Parameters
    ----------
    results : Results
    tell : callable, default=print
        Is given what could not be drawn.

    Returns
    -------
    pictures : list of Picture
    """
    plan = results.study.plan
    pictures: list[Picture] = []
    for figure, pair in _single(results):
        what = figure.title or figure.kind
        if pair != MEAN:
            what += f": {pair[0]} to {pair[1]}"
        if figure.kind == "pseudo_labels":
            what += f", {figure.methods[0]}"
        try:
            drawn = DRAWING[figure.kind](results, figure, pair)
        except Exception as error:
            # a picture that fails must not cost the tables
            tell(f"{plan.name}: the figure {what!r} cannot be drawn: {error}")
            continue
        if drawn is not None:
            name = f"{plan.name}-{len(pictures) + 1}-{figure.kind}.png"
            pictures.append(Picture.of(drawn.figure_, what, name=name))
    return pictures


def _single(results: Results) -> Iterator[tuple[FigurePlan, _Pair]]:
    """Figures and the pairs that have one each; faces with labels are drawn by method."""
    for figure in results.study.plan.figures or (FigurePlan("ablation"),):
        by_method = figure.kind == "pseudo_labels"
        parts = [(name,) for name in _methods(results, figure)] if by_method else [figure.methods]
        for pair in _pairs(results, figure):
            for methods in parts:
                yield replace(figure, methods=methods), pair


def _pairs(results: Results, figure: FigurePlan) -> list[_Pair]:
    """Pairs with a picture each; curves and AU distributions show all pairs in one."""
    if figure.kind in ("au_distribution", "curve"):
        return [MEAN]
    return [
        (source, target)
        for source, target in results.study.plan.pairs
        if figure.source in (None, source) and figure.target in (None, target)
    ]


def _protocol(results: Results, pair: _Pair) -> str | None:
    """Find the first protocol of the plan that the pair is scored by."""
    for protocol in (*results.study.plan.protocols, *results.protocols):
        if protocol in results.protocols and (pair == MEAN or pair in results.pairs(protocol)):
            return protocol
    return None


def _methods(results: Results, figure: FigurePlan) -> list[str]:
    return list(figure.methods) or [method.name for method in results.methods()]


def _over_seeds(
    results: Results, pair: _Pair, methods: list[str], protocol: str, metric: str
) -> NDArray:
    seeds = results.study.plan.seeds
    found = np.full((len(methods), len(seeds)), np.nan)
    for row, method in enumerate(methods):
        values = results.values(pair, method, protocol, metric)
        found[row] = [values.get(seed, np.nan) for seed in seeds]
    return found


# --------------------------------------------------------------------- drawing


def _ablation(results: Results, figure: FigurePlan, pair: _Pair) -> Any:
    protocol = _protocol(results, pair)
    if protocol is None:
        return None
    methods = _methods(results, figure)
    values = _over_seeds(results, pair, methods, protocol, figure.metric)
    shown = np.isfinite(values).any(axis=1)
    methods = [name for name, there in zip(methods, shown, strict=True) if there]
    if not methods:
        return None
    reference = results.study.plan.reference
    return AblationDisplay.from_results(
        methods,
        values[shown],
        reference=reference if reference in methods else None,
        score_name=f"{figure.metric.replace('_', ' ')}, {protocol}",
    )


def _curve(results: Results, figure: FigurePlan, pair: _Pair) -> Any:
    assert figure.parameter is not None
    protocol = _protocol(results, pair)
    points = {
        method.name: method.grid[figure.parameter]
        for method in results.methods()
        if figure.parameter in method.grid and method.name in _methods(results, figure)
    }
    if protocol is None or not points:
        return None
    # a name such as "learnable" has no place on an axis of numbers: it becomes a line
    numbers = {name: value for name, value in points.items() if not isinstance(value, str)}
    lines = {}
    for one in results.pairs(protocol):
        label = f"{one[0]} to {one[1]}"
        lines[label] = _over_seeds(results, one, list(numbers), protocol, figure.metric)
        for name, value in points.items():
            if name not in numbers:
                flat = _over_seeds(results, one, [name], protocol, figure.metric)
                lines[f"{label}, {value}"] = np.repeat(flat, len(numbers), axis=0)
    return ParameterCurveDisplay.from_results(
        list(numbers.values()),
        lines,
        parameter_name=figure.parameter,
        score_name=f"{figure.metric.replace('_', ' ')}, {protocol}",
    )


def _first_seed(results: Results, figure: FigurePlan, pair: _Pair) -> dict[str, Row]:
    found = {
        name: results.row(pair, name, results.study.plan.seeds[0])
        for name in _methods(results, figure)
    }
    return {name: row for name, row in found.items() if row is not None}


def _predictions(
    results: Results, figure: FigurePlan, pair: _Pair
) -> tuple[NDArray, dict[str, NDArray]] | None:
    """Truth and predictions of the first seed."""
    protocol, study = _protocol(results, pair), results.study
    truth = study.data[pair[1]].truth
    if protocol is None or truth is None:
        return None
    found = {
        name: np.array(row.result["classes"])[row.result["predictions"][protocol]]
        for name, row in _first_seed(results, figure, pair).items()
        if row.result is not None and protocol in row.result["predictions"]
    }
    rows = study.parts[pair[1], study.plan.seeds[0]][protocol].rows
    return (truth[rows], found) if found else None


def _confusion(results: Results, figure: FigurePlan, pair: _Pair) -> Any:
    found = _predictions(results, figure, pair)
    return None if found is None else ConfusionDisplay.from_predictions(*found)


def _arrays(results: Results, figure: FigurePlan, pair: _Pair) -> dict[str, dict[str, NDArray]]:
    """Read what cells kept for pictures, by method."""
    found = {}
    for name, row in _first_seed(results, figure, pair).items():
        path = results.study.cell_file(row).with_suffix(".npz")
        if path.is_file():
            with np.load(path, allow_pickle=False) as archive:
                found[name] = {key: archive[key] for key in archive.files}
    return found


def _features(results: Results, figure: FigurePlan, pair: _Pair) -> Any:
    study = results.study
    protocol = _protocol(results, pair) or "transductive"
    truth = study.data[pair[1]].truth
    target = study.parts[pair[1], study.plan.seeds[0]][protocol]
    features, rows = {}, None
    for name, arrays in _arrays(results, figure, pair).items():
        if "source_features" in arrays and f"{protocol}_features" in arrays:
            features[name] = (arrays["source_features"], arrays[f"{protocol}_features"])
            rows = arrays["source_rows"], arrays[f"{protocol}_rows"]
    if rows is None:
        return None
    return FeaturesDisplay.from_features(
        features,
        study.sources[pair[0]][1][rows[0]],
        None if truth is None else truth[target.rows][rows[1]],
    )


def _pseudo_labels(results: Results, figure: FigurePlan, pair: _Pair) -> Any:
    """Draw the same faces whatever the method, one of each class where classes are known."""
    study = results.study
    data, target = study.data[pair[1]], study.parts[pair[1], study.plan.seeds[0]]["transductive"]
    labels = _arrays(results, figure, pair).get(figure.methods[0], {}).get("target_labels")
    if labels is None or (isinstance(data.X, np.ndarray) and data.X.ndim == 2):
        return None
    truth = None if data.truth is None else data.truth[target.rows]
    shown = one_of_each(truth, len(target), 8)
    return PseudoLabelsDisplay.from_predictions(
        [data.X[row] for row in target.rows[shown]],
        # single precision on disk: rows sum to 1 again
        _normalised(labels[shown]),
        np.unique(study.sources[pair[0]][1]),
        y_true=None if truth is None else truth[shown],
        n_columns=len(shown),
    )


def _normalised(shares: NDArray) -> NDArray:
    shares = shares.astype(np.float64)
    sums = shares.sum(axis=1, keepdims=True)
    return np.divide(shares, sums, out=np.zeros_like(shares), where=sums > 0)


def _coverage(results: Results, figure: FigurePlan, pair: _Pair) -> Any:
    """Coverage of exact matching, or that of the first method shown with an annotator."""
    study = results.study
    source, labels = study.sources[pair[0]]
    target = study.parts[pair[1], study.plan.seeds[0]]["transductive"]
    if source.au is None or target.au is None:
        return None
    parameters = next(
        (dict(method.parameters) for method in results.methods() if method.name in figure.methods),
        {},
    )
    own = {
        key.removeprefix("annotator__"): value
        for key, value in parameters.items()
        if key.startswith("annotator__")
    }
    annotation = AUGuidedAnnotator(**own).fit(source.scores(), labels).annotate(target.scores())
    truth = study.data[pair[1]].truth
    return CoverageDisplay.from_annotation(
        annotation, None if truth is None else truth[target.rows]
    )


def _au_distribution(results: Results, figure: FigurePlan, pair: _Pair) -> Any:
    study = results.study
    domains = {}
    for name, data in study.data.items():
        truth = data.truth if name not in study.sources else data.labels
        if data.au is not None and truth is not None:
            domains[name] = (data.au, truth)
    if not domains:
        return None
    names = next(data.au_names for data in study.data.values() if data.au is not None)
    return AUDistributionDisplay.from_domains(
        domains, au_names=names, labels=list(figure.labels) or None
    )


# kind of a figure in a plan -> what draws it
DRAWING: dict[str, Callable[[Results, FigurePlan, _Pair], Any]] = {
    "ablation": _ablation,
    "au_distribution": _au_distribution,
    "confusion": _confusion,
    "coverage": _coverage,
    "curve": _curve,
    "features": _features,
    "pseudo_labels": _pseudo_labels,
}
