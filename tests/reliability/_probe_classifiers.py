"""Right calls and wrong values: all classifiers of two domains."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path

import numpy as np
from _probes import (
    AU,
    IMAGES,
    NOTHING,
    ROWS,
    Call,
    X,
    Y,
    construct_and_fit,
    domains,
    estimators,
    fitted,
    labels,
    matrices,
    numbers,
    quick,
    read_paths,
    scores,
    write_paths,
)


def classifier_calls() -> dict[str, Call]:
    """Constructors, whose parameters `fit` judges, and the methods that many share."""
    found: dict[str, Call] = {}
    for name, kind in estimators().items():
        if hasattr(kind, "save") and name != "AUNetwork":
            found.update(_classifier_calls(name, kind))
    return found


def _saved(name: str) -> Path:
    """Save a model, and say where."""
    place = Path(f"saved-{name}")
    fitted(name).save(place)
    return place


def _classifier_calls(name: str, kind: type) -> dict[str, Call]:
    constraints = kind._parameter_constraints
    wrong: dict[str, list] = {
        "backbone": ["no such", "", NOTHING, 7],
        "weights": ["/no/such/weights.pth", NOTHING, 7, b"imagenet"],
        "device": ["no such", "cuda:99", NOTHING, 7],
        "store": [str(Path(__file__) / "below"), NOTHING, 7],
        "checkpoint_dir": [str(Path(__file__) / "below"), NOTHING, 7],
        "image_size": [15, 10**9, 10**30, 24.5, "24", NOTHING],
        "schemes": [("no such",), "t-soft", 7, ("t-soft", "t-soft")],
        "n_jobs": [0, 1.5, "all", NOTHING],
        "annotator": [NOTHING, 7, "exact"],
        "au_extractor": [NOTHING, 7, "landmarks"],
    }
    wrong = {k: v for k, v in wrong.items() if k in inspect.signature(kind).parameters}
    faces = {"X": IMAGES, "y": Y, "X_tgt": IMAGES, "au_src": AU, "au_tgt": AU}
    if name == "SourceOnlyClassifier":
        faces = {"X": IMAGES, "y": Y}
    build = {**quick(kind), "image_size": 16, "backbone": "convnet"}
    build = {k: v for k, v in build.items() if k in inspect.signature(kind).parameters}
    names = {"X": ("X",), "y": ("y",)}
    fit_wrong = {
        "X": [*matrices(X)[:-1], None],
        "y": labels(Y),
        "X_tgt": [*matrices(X, fewer=False, none=False)],
        "sample_weight": numbers(np.ones(ROWS), none=False),
        "au_src": scores(AU, none=False),
        "au_tgt": scores(AU, none=False),
    }
    # of features no points can be told, whatever their form
    points = [7, "text", NOTHING, np.zeros((ROWS, 5, 2)), np.zeros((ROWS, 3))]
    fit_wrong |= {"points_src": points, "points_tgt": points}
    if name == "AUQueryClassifier":
        fit_wrong["X"] = [7, NOTHING, X[:-1], None]
        fit_wrong["X_tgt"] = [7, NOTHING, X[:-1]]
    calls = {
        name: Call(
            functools.partial(construct_and_fit, kind, faces),
            lambda build=build: dict(build),
            wrong,
            constraints,
        ),
        f"{name}.fit": Call(
            lambda **given: kind(**quick(kind)).fit(**given), domains, fit_wrong, {}, names
        ),
        f"{name}.fit_transform": Call(
            lambda **given: kind(**quick(kind)).fit_transform(**given),
            domains,
            fit_wrong,
            {},
            names,
        ),
        f"{name}.load": Call(kind.load, lambda: {"path": _saved(name)}, {"path": read_paths()}),
        f"{name}.save": Call(
            lambda path: fitted(name).save(path),
            lambda: {"path": "model"},
            {"path": write_paths()},
        ),
    }
    if hasattr(kind, "export_onnx"):
        calls[f"{name}.export_onnx"] = Call(
            lambda path: fitted(name).export_onnx(path),
            lambda: {"path": "model.onnx"},
            {"path": write_paths()},
        )
    takes_aus = "au" in inspect.signature(kind.predict).parameters
    for method in ("predict", "predict_proba", "transform", "score"):
        right = {"X": X, "y": Y} if method == "score" else {"X": X}
        wrong_here = {"X": [*matrices(X, fewer=False), X[:, :-1]]}
        if name == "AUQueryClassifier":
            wrong_here = {"X": [7, NOTHING, None]}
        if takes_aus:
            right["au"] = AU
            wrong_here["au"] = [*scores(AU, none=False), AU[:, :-1]]
        wrong_here["points"] = points
        wrong_here["y"] = labels(Y)
        wrong_here["sample_weight"] = numbers(np.ones(ROWS), none=False)
        calls[f"{name}.{method}"] = Call(
            lambda method=method, **given: getattr(fitted(name), method)(**given),
            lambda right=right: dict(right),
            wrong_here,
        )
    return calls
