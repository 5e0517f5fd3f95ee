"""Right calls and wrong values: displays, scorers, reports, models, studies, faces."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _probes import (
    AU,
    IMAGES,
    NAMES,
    NOTHING,
    PROBABILITIES,
    Call,
    X,
    Y,
    choices,
    fitted,
    functions,
    labels,
    matrices,
    pictures,
    public,
    read_paths,
    scores,
    write_paths,
)
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier

# Wrong for a parameter of this name, of whichever display.
_OF_DISPLAYS: dict[str, list] = {
    "ax": ["no such", 7, NOTHING, {}, [7, 7]],
    "percent": ["no such", 7, None],
    "log_scale": ["no such", 7, None],
    "score_name": [7, None, NOTHING],
    "parameter_name": [7, None, NOTHING],
    "labels": [7, [], NOTHING, ["anger", "anger"], [["anger"], ["a", "b"]]],
    "normalize": ["no such", 7],
    "quantile": [0.0, 1.0, float("nan"), "a"],
    "threshold": ["no such", -1.0, 2.0, [0.5]],
    "au_names": [7, [], ["AU01"], "AU01"],
    "confidence": [0.0, 1.0, -1, float("nan"), "a", None],
    "subsample": [0, -1, 1.5, "a"],
    "perplexity": [0, -1.0, float("nan"), "a", None],
    "random_state": [-1, 1.5, "a", NOTHING],
    "n_columns": [0, -1, 1.5, "a"],
    "n_top": [0, -1, 1.5, "a", None],
    "kind": ["no such", 7, None],
    "entries": [7, [], ["no such"]],
    "cmap": ["no such", 7],
    "reference": ["no such", NOTHING, [1]],
}


def display_calls() -> dict[str, Call]:
    """The displays' class methods, and `plot` of what they give."""
    from adafer import AUGuidedAnnotator
    from adafer.aus import AUExtractor
    from adafer.display import new_figure

    model = functools.partial(fitted, "AdaFERClassifier")
    annotation = functools.cache(lambda: AUGuidedAnnotator(engine="numpy").fit(AU, Y).annotate(AU))
    history = [{"stage": "joint", "epoch": i + 1, "loss": 1.0 / (i + 1)} for i in range(3)]
    values = np.array([[0.5, 0.6], [0.6, 0.7]])
    estimator = {"estimator": [7, None, NOTHING]}
    estimators = {"estimators": [7, None, {}, {"a": 7}]}
    truth = {"y": labels(Y), "y_true": labels(Y), "X": [*matrices(X), X[:, :-1]]}
    both = {
        "X_src": matrices(X), "y_src": labels(Y), "X_tgt": matrices(X, fewer=False),
        "y_tgt": [7, NOTHING, Y[:-1], Y[:0], [["a"], ["b", "c"]]],
    }  # fmt: skip
    aus = {
        **both,
        "au_src": scores(AU),
        "au_tgt": [*scores(AU), AU[:, :-1]],
        "y_tgt": both["y_tgt"],
    }
    constant = DummyClassifier().fit(X, Y)
    shown = {"images": [7, None, IMAGES[:-1], IMAGES[..., :2]]}
    right: dict[str, tuple[dict, dict]] = {
        "AUDistributionDisplay.from_domains": (
            {"domains": {"a": (AU, Y)}, "au_names": NAMES},
            {"domains": [7, None, {}, {"a": 7}, {"a": (AU, Y[:-1])}, {"a": (AU * 7, Y)}]},
        ),
        "AUDistributionDisplay.from_predictions": (
            {"au_src": AU, "y_src": Y, "au_tgt": AU, "y_tgt": Y, "au_names": NAMES},
            {**aus, "domain_names": [7, ("a",), ("a", "a")]},
        ),
        "AUDistributionDisplay.from_estimator": (
            {"extractor": AUExtractor(_Brightness()).fit(IMAGES[:2]), "X_src": IMAGES, "y_src": Y, "X_tgt": IMAGES, "y_tgt": Y},
            {"extractor": [7, None, NOTHING], "X_src": pictures(), "X_tgt": pictures(), "y_src": labels(Y), "y_tgt": both["y_tgt"]},
        ),
        "AblationDisplay.from_results": (
            {"names": ["a", "b"], "values": values},
            {"names": [7, None, [], ["a"], "ab"], "values": [7, None, "a", values[:1], values * np.nan, np.full((2, 2), "a"), np.zeros((2, 2, 2))]},
        ),
        "ParameterCurveDisplay.from_results": (
            {"parameter_values": [0.1, 0.2], "scores": {"a": values}},
            {"parameter_values": [7, None, [], [0.1], [float("nan"), 1.0], [1.0, 1.0], [[0.1, 0.2]], [None, 1.0]], "scores": [7, None, {}, {"a": values[:1]}, {"a": 7}, {"a": np.full((2, 2), "a")}]},
        ),
        "ConfusionDisplay.from_predictions": ({"y_true": Y, "predictions": {"a": Y}}, {**truth, "predictions": [7, None, {}, {"a": Y[:-1]}, {"a": 7}]}),
        "ConfusionDisplay.from_estimator": ({"estimator": model(), "X": X, "y": Y}, {**truth, **estimator}),
        "ConfusionDisplay.from_estimators": ({"estimators": {"a": model()}, "X": X, "y": Y}, {**truth, **estimators}),
        "RecallDisplay.from_predictions": ({"y_true": Y, "predictions": {"a": Y}}, {**truth, "predictions": [7, None, {}, {"a": Y[:-1]}, {"a": 7}]}),
        "RecallDisplay.from_estimator": ({"estimator": model(), "X": X, "y_true": Y}, {**truth, **estimator}),
        "RecallDisplay.from_estimators": ({"estimators": {"a": model()}, "X": X, "y_true": Y}, {**truth, **estimators}),
        "CoverageDisplay.from_annotation": ({"annotation": annotation(), "y": Y}, {"annotation": [7, None, NOTHING], "y": [7, Y[:-1], NOTHING]}),
        "CoverageDisplay.from_estimator": ({"estimator": model()}, {**estimator, "X_tgt": matrices(X, none=False)[:-1], "y_tgt": [7, Y[:-1]]}),
        "FeaturesDisplay.from_features": (
            {"features": {"a": (X, X)}, "y_src": Y},
            {"features": [7, None, {}, {"a": 7}, {"a": (X, X[:, :-1])}, {"a": (X[:-1], X)}, {"a": (X * np.nan, X)}], "y_src": labels(Y), "y_tgt": both["y_tgt"]},
        ),
        "FeaturesDisplay.from_estimators": ({"estimators": {"a": model()}, "X_src": X, "y_src": Y, "X_tgt": X}, {**both, **estimators}),
        "FeaturesDisplay.from_estimator": ({"estimator": model(), "X_src": X, "y_src": Y, "X_tgt": X}, {**both, **estimator}),
        "HistoryDisplay.from_history": ({"history": history}, {"history": [7, None, [], [7], [{}]]}),
        "HistoryDisplay.from_estimator": ({"estimator": model()}, estimator),
        "PredictionsDisplay.from_predictions": (
            {"images": IMAGES, "y_true": Y, "before": Y, "after": Y},
            {**shown, "y_true": labels(Y), "before": labels(Y), "after": labels(Y)},
        ),
        "PredictionsDisplay.from_estimators": (
            {"before": constant, "after": constant, "X": IMAGES, "y_true": Y},
            {"before": estimator["estimator"], "after": estimator["estimator"], "X": pictures(), "y_true": labels(Y)},
        ),
        "PseudoLabelsDisplay.from_estimator": (
            {"estimator": _LabelsOf(IMAGES), "X_tgt": IMAGES, "subsample": None},
            {**estimator, "X_tgt": pictures(), "y_tgt": [7, NOTHING, Y[:-1], Y[:0], [["a"], ["b", "c"]]]},
        ),
        "PseudoLabelsDisplay.from_predictions": (
            {"images": IMAGES, "label_distribution": PROBABILITIES, "classes": np.unique(Y)},
            {**shown, "label_distribution": [7, None, PROBABILITIES[:-1], PROBABILITIES[:, :2], PROBABILITIES * 2, -PROBABILITIES], "classes": [7, None, ["a"]], "y_true": [7, Y[:-1]]},
        ),
    }  # fmt: skip
    found = {}
    for name, (arguments, wrong) in right.items():
        kind = getattr(importlib.import_module("adafer.display"), name.split(".")[0])
        function = getattr(kind, name.split(".")[1])
        found[name] = Call(function, lambda a=arguments: dict(a), {**_OF_DISPLAYS, **wrong})
        plot = f"{name.split('.')[0]}.plot"
        if plot not in found:
            made = functools.cache(lambda function=function, a=arguments: function(**a))
            found[plot] = Call(lambda made=made, **given: made().plot(**given), dict, _OF_DISPLAYS)
    sizes = [0, -1.0, float("nan"), float("inf"), "a", None]
    found["new_figure"] = Call(
        new_figure, lambda: {"width": 2.0, "height": 2.0}, {"width": sizes, "height": sizes}
    )
    return found


class _LabelsOf(BaseEstimator):
    """Has labels of its target, as classifiers that were adapted."""

    def __init__(self, faces: Any):
        self.faces = faces
        self.target_labels_ = np.full((len(faces), 3), 1 / 3)
        self.classes_ = np.unique(Y)

    def fit(self, *_: Any) -> _LabelsOf:
        return self


class _Brightness:
    au_names = ("AU01", "AU02", "AU04", "AU06")
    identity = "brightness"

    def detect(self, images: list) -> Any:
        quarters = [(image[::2], image[1::2], image[:9], image[9:]) for image in images]
        return np.array([[part.mean() / 255 for part in row] for row in quarters], np.float32)


def scorer_calls() -> dict[str, Call]:
    """Scorers' `score`, and their parameters, which it judges."""
    module = importlib.import_module("adafer.model_selection")
    model = functools.partial(fitted, "SourceOnlyClassifier")
    found = {}
    for name in module.__all__:
        kind = getattr(module, name)
        if not hasattr(kind, "_parameter_constraints"):
            continue
        right = {"estimator": model(), "X": X, "y": Y, "X_tgt": X, "au_src": AU, "au_tgt": AU}
        takes = inspect.signature(kind.score).parameters
        right = {k: v for k, v in right.items() if k in takes}
        by_aus = name == "AUAgreementScorer"  # the others need them for some classifiers only
        wrong = {
            "estimator": [7, None, NOTHING],
            "X": matrices(X),
            "X_tgt": [*matrices(X), X[:, :-1]],
            "y": labels(Y),
            "au_src": scores(AU, none=by_aus),
            "au_tgt": scores(AU, none=by_aus),
        }
        judge = functools.partial(_score, kind)
        found[f"{name}.score"] = Call(
            lambda judge=judge, **given: judge({}, given), lambda right=right: dict(right), wrong
        )
        found[name] = Call(
            lambda judge=judge, right=right, **given: judge(given, _without(right, given)),
            dict,
            {name: wrong[name] for name in ("X_tgt", "au_tgt")},
            kind._parameter_constraints,
        )
    return found


def _score(kind: type, parameters: Mapping[str, Any], given: Mapping[str, Any]) -> float:
    return kind(**parameters).score(**given)


def _without(given: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in given.items() if k not in names}


def other_calls() -> dict[str, Call]:
    """Faces, models, reports, studies, the demo."""
    from adafer.aus import AUExtractor

    model = fitted("AdaFERClassifier")
    model.save("saved")
    plan = {
        "sources": ["studio"], "targets": ["wild"], "methods": ["source_only"], "seeds": 1,
        "base": {"backbone": "convnet", "image_size": 16, "source_epochs": 1, "epochs": 1},
        "data": {name: {"reader": "facs_faces", "path": name, "limit": 40} for name in ("studio", "wild")},
    }  # fmt: skip
    table: Mapping[str, Mapping[str, tuple[dict, dict]]] = {
        "adafer.faces": {
            "check_faces": ({"X": IMAGES}, {"X": pictures(), "limits": [7, "no", {}]}),
            "read_faces": ({"X": IMAGES}, {"X": pictures(), "size": [0, -1, 1.5, "a", 10**9], "on_error": choices(), "limits": [7, "no", {}]}),
            "read_face": ({"path": "folder/anger/0.png"}, {"path": read_paths(), "limits": [7, "no", {}]}),
            "resize_faces": ({"images": IMAGES, "size": 16}, {"images": [7, None, IMAGES.astype(float), IMAGES[..., :2], [None]], "size": [0, -1, 1.5, "a", None, 10**9]}),
            "decode_face": ({"content": b"P6 2 1 255 " + bytes(6)}, {"content": [7, None, "text"], "max_pixels": [0, -1, 1.5, "a"], "limits": [7, "no", {}]}),
        },
        "adafer.persistence": {
            "save_model": ({"classifier": model, "path": "again"}, {"classifier": [7, None, NOTHING], "path": write_paths()}),
            "load_model": ({"path": "saved"}, {"path": read_paths()}),
            "check_model_path": ({"path": "again"}, {"path": write_paths()}),
            "read_description": ({"path": "saved"}, {"path": read_paths()}),
        },
        "adafer.pages": {
            "write_report": ({"model": model, "output": "report.html"}, {"model": [7, None, "/no/such/model"], "output": write_paths(), "faces": ["/no/such/folder", 7.5], "pictures": ["yes", None, 7], "title": [7, NOTHING], "on_error": choices(), "n_jobs": [0, 1.5, "all"]}),
        },
        "adafer.study": {
            "make_plan": ({"table": plan}, {"table": [7, None, {}, {**plan, "methods": ["no such"]}, {**plan, "seeds": 0}, {**plan, "seeds": "a"}, {**plan, "no such": 1}, {**plan, "methods": [7]}, {**plan, "data": {"studio": 7}}, {**plan, "figures": 7}, {**plan, "published": [7]}, {**plan, "methods": [{"method": "adafer", "grid": {"epsilon": 0}}]}], "name": [7, "", "../up", "a/b", "\0", None], "embedded": ["yes", None, 7], "folder": [7.5], "paths": [7, ["a"], {"A": 7}], "base": [7, ["a"], {"no such parameter": 1}]}),
            "read_plan": ({"path": "plan.toml"}, {"path": read_paths(), "paths": [7, ["a"], {"A": 7}], "seeds": [7, [], [-1], ["a"], [1.5]], "embedded": ["yes", None, 7], "base": [7, ["a"], {"no such parameter": 1}]}),
            "run_studies": ({"plans": [], "output": "study"}, {"plans": [7, None, [], [7], "plan.toml"], "output": write_paths(), "jobs": [0, 1.5, "a", None], "threads": [0, -1, 1.5, "a", None], "report": [7, "a"]}),
            "write_reports": ({"output": "study"}, {"studies": [7, None, [], [7]], "output": write_paths(), "tell": [7, "a", None]}),
        },
        "adafer.demo": {
            "run_demo": ({"settings": public("adafer.demo", "DemoSettings").quick(), "au_extractor": AUExtractor(_Brightness())}, {"output": write_paths(), "seed": [-1, 1.5, "a"], "settings": [7, "quick", {}], "au_extractor": [7, "landmarks", NOTHING], "device": ["no such", 7, None], "verbose": [-1, "a"]}),
        },
    }  # fmt: skip
    Path("plan.toml").write_text(
        'sources = ["studio"]\ntargets = ["wild"]\nmethods = ["source_only"]\n'
        '[data.studio]\nreader = "facs_faces"\npath = "studio"\n'
        '[data.wild]\nreader = "facs_faces"\npath = "wild"\n',
        encoding="utf-8",
    )
    found: dict[str, Call] = {}
    for package, rows in table.items():
        found |= functions(package, rows)
    made: Callable = importlib.import_module("adafer.study").make_plan
    found["run_studies"].arguments = lambda: {"plans": [made(plan)], "output": "study"}
    run = functools.cache(lambda: found["run_studies"].function([made(plan)], "study"))
    found["write_reports"].arguments = lambda: {"studies": run(), "output": "study"}
    # an error in a table names what is in it
    found["make_plan"].other_names = {
        "table": ("sources", "seeds", "method", "the plan", "data.studio", "figures", "published")
    }
    return found
