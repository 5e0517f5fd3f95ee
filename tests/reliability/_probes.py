"""Right calls of everything public, and wrong values of each parameter."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import (
    InvalidParameterError,
    generate_invalid_param_val,
    make_constraint,
    validate_parameter_constraints,
)

PACKAGES = (
    "adafer",
    "adafer.aus",
    "adafer.datasets",
    "adafer.demo",
    "adafer.display",
    "adafer.faces",
    "adafer.model_selection",
    "adafer.pages",
    "adafer.persistence",
    "adafer.rivals",
    "adafer.study",
)

# What functions give back, and forms that users fill with functions of their own: they
# hold what they are given.
RECORDS = {
    "AUDetector",  # a protocol
    "AUFrequencies",
    "ActionUnit",
    "DemoSettings",
    "Faces",  # made by check_faces
    "JoinReport",
    "PictureLimits",  # judges by itself, see tests/test_picture_files.py
    "SkippedFace",
    "Study",
    "StudyPlan",  # made by make_plan and read_plan, which judge
}

NOTHING = object()
ROWS, AUS = 24, 5
rng = np.random.default_rng(0)
X = rng.random((ROWS, 6)).astype(np.float32)
Y = np.repeat(["anger", "fear", "neutral"], ROWS // 3)
AU = rng.random((ROWS, AUS))
IMAGES = rng.integers(0, 255, (ROWS, 32, 32, 3), dtype=np.uint8)
PROBABILITIES = np.full((ROWS, 3), 1 / 3)
NAMES = ("AU01", "AU02", "AU04", "AU06", "AU12")

# (call, parameter) to which anything may be given, and why.
_LABEL = "what errors call the argument"
_UNSEEN = "not looked at: scikit-learn gives it to all scorers"
ANYTHING: dict[tuple[str, str], str] = {
    ("*", "fit_params"): "passed on to fit",
    ("picture_limits", "changes"): "judged by PictureLimits",
    ("*", "input_features"): "ignored, as scikit-learn asks",
    **{(f"AUGuidedAnnotator.{m}", "name"): _LABEL for m in ("annotate", "codes")},
    **{(name, "name"): _LABEL for name in ("check_faces", "read_faces", "decode_face")},
    **{
        (f"{c}.{m}", "y"): "ignored"
        for c in ("AUExtractor", "FaceAligner")
        for m in ("fit", "fit_transform")
    },
    ("AGRAClassifier.export_onnx", "path"): "never exported: ONNX has no operator for its graph",
    ("AUInputClassifier.export_onnx", "path"): "never exported: it needs AUs at predict",
    ("PyFeatDetector.detect", "images"): "needs py-feat",
    **{
        (f"AUQueryClassifier.{m}", a): "not read: there is no network to adapt"
        for m in ("fit", "fit_transform")
        for a in ("X_tgt", "au_tgt")
    },
    ("as_target", "X_tgt"): "wrapped as it is",
    ("AUScoreCache", "path"): "looked at when it is first used",
    ("*", "options"): "what `**options` hold is judged by the method that it goes on to",
    ("TargetEntropyScorer.score", "X"): _UNSEEN,
    ("TargetEntropyScorer.score", "y"): _UNSEEN,
    ("SoftNeighborhoodDensityScorer.score", "X"): _UNSEEN,
    ("SoftNeighborhoodDensityScorer.score", "y"): _UNSEEN,
    ("AUAgreementScorer.score", "X"): "looked at only where au_src is not given",
}


@dataclass
class Call:
    """A call that works, and what is wrong for its parameters.

    Attributes
    ----------
    function : callable
    arguments : callable
        Gives keyword arguments that work.
    wrong : mapping of str to list
        By parameter.
    constraints : mapping of str to list
        As scikit-learn's; wrong values are made of them for the other parameters.
    other_names : mapping of str to sequence of str
        What an error may call a parameter instead.
    works : bool
        Whether the right arguments alone must do; not where they name no file of the
        right form, and what is wrong is told before that is seen.
    """

    function: Callable
    arguments: Callable[[], dict[str, Any]]
    wrong: Mapping[str, list] = field(default_factory=dict)
    constraints: Mapping[str, list] = field(default_factory=dict)
    other_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    works: bool = True


def wrong_for_constraints(constraints: list | None) -> list:
    """Values that none of a parameter's constraints takes."""
    if constraints is None:
        return []
    tried: list[Any] = [
        NOTHING,
        np.array([["a"]]),
        float("nan"),
        -1.5,
        "\0 no such",
        10**30,
        -(10**30),
    ]
    for constraint in constraints:
        with contextlib.suppress(NotImplementedError):
            tried.append(generate_invalid_param_val(make_constraint(constraint)))
    wrong = []
    for value in tried:
        try:
            validate_parameter_constraints({"it": constraints}, {"it": value}, caller_name="it")
        except InvalidParameterError:
            wrong.append(value)
    return wrong


# ------------------------------------------------------- kinds of wrong values


def matrices(valid: NDArray, *, nan: bool = True, fewer: bool = True, none: bool = True) -> list:
    """Wrong forms of a table of numbers with one row per sample."""
    valid = np.asarray(valid)
    found: list[Any] = [
        "text", 7, NOTHING, {"a": 1}, [[1.0, 2.0], [3.0]], valid[:0], valid.reshape(-1), valid[None, None],
        valid.astype(complex), np.full(valid.shape, "a"), np.full(valid.shape, NOTHING),
    ]  # fmt: skip
    if nan:
        found += [_with(valid, np.nan), _with(valid, np.inf)]
    if fewer:
        found.append(valid[:-1])
    if none:
        found.append(None)
    return found


def scores(valid: NDArray, *, fewer: bool = True, none: bool = True) -> list:
    """Wrong forms of AU scores: also other scales than [0, 1]; rows of NaN are right."""
    more = [valid * 5, valid * 100, -valid, _with(valid, np.inf), valid * np.nan]
    return matrices(valid, nan=False, fewer=fewer, none=none) + more


def labels(valid: NDArray, *, fewer: bool = True, none: bool = True) -> list:
    """Wrong forms of one label per sample."""
    valid = np.asarray(valid)
    found: list[Any] = [
        7, NOTHING, valid[:0], np.column_stack([valid, valid]), np.full(len(valid), None),
        np.full(len(valid), np.nan), [*valid.tolist()[:-1], None], [["a"], ["b", "c"]],
        np.linspace(0.1, 0.9, len(valid)),
    ]  # fmt: skip
    if fewer:
        found.append(valid[:-1])
    if none:
        found.append(None)
    return found


def numbers(valid: NDArray, *, negative: bool = True, none: bool = True) -> list:
    """Wrong forms of one number per sample."""
    valid = np.asarray(valid, dtype=float)
    found = ["text", NOTHING, valid[:0], valid[:-1], _with(valid, np.nan), _with(valid, np.inf)]
    found += [np.stack([valid, valid]), np.full(len(valid), "a")]
    if negative:
        found.append(-valid)
    if none:
        found.append(None)
    return found


def _with(valid: NDArray, value: float) -> NDArray:
    changed = np.array(valid, dtype=float)
    changed.flat[len(changed) // 2] = value
    return changed


def pictures() -> list:
    """Wrong forms of pictures."""
    return [
        7, NOTHING, {"a": 1}, IMAGES[:0], [], IMAGES.astype(complex), IMAGES.astype(float) * 3.0,
        _with(IMAGES / 255.0, np.nan), _with(IMAGES / 255.0, np.inf), IMAGES.astype(np.int64),
        IMAGES[..., :2], IMAGES[None], [None, None], [IMAGES[0], None], ["/no/such/picture.jpg"],
        [IMAGES[0], "/no/such/picture.jpg"], [[1, 2], [3]], np.full((4, 8, 8), "a"),
    ]  # fmt: skip


def read_paths() -> list:
    """Wrong places to read from."""
    return [NOTHING, 7.5, "/no/such/place", "", "\0"]


def write_paths() -> list:
    """Wrong places to write to."""
    return [NOTHING, 7.5, str(Path(__file__) / "below"), "/proc/no/such", "\0"]


def choices() -> list:
    """Wrong for one of a few words."""
    return ["no such", 7, NOTHING, ["all"]]


# ------------------------------------------------------------ ways to call


def public(package: str, name: str) -> Any:
    return getattr(importlib.import_module(package), name)


def estimators() -> dict[str, type]:
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) and hasattr(thing, "_parameter_constraints"):
                found[name] = thing
    return found


def domains() -> dict[str, Any]:
    return {"X": X, "y": Y, "X_tgt": X, "au_src": AU, "au_tgt": AU}


def taken_as_they_are() -> dict[tuple[str, str], str]:
    """Parameters to which anything may be given, and why."""
    without_aus = [n for n, k in estimators().items() if getattr(k, "_au_use", "") == "never"]
    return {
        **ANYTHING,
        **{
            (f"{name}.{method}", au): "not read: the method looks at no AUs"
            for name in without_aus
            for method in ("fit", "fit_transform")
            for au in ("au_src", "au_tgt")
        },
    }


@functools.cache
def fitted(name: str) -> Any:
    """A classifier that has learnt something; it is not changed."""
    kind = estimators()[name]
    return kind(**quick(kind)).fit(**domains())


def quick(kind: type) -> dict[str, Any]:
    wanted = {"epochs": 1, "batch_size": 8, "random_state": 0, "verbose": 0}
    return {k: v for k, v in wanted.items() if k in inspect.signature(kind).parameters}


def methods(
    name: str, make: Callable[[], Any], methods: Mapping[str, tuple[dict, dict]]
) -> dict[str, Call]:
    """Calls of methods on an object made anew: right arguments and wrong values of each."""

    def call(method: str) -> Callable:
        return lambda **given: getattr(make(), method)(**given)

    return {
        f"{name}.{method}": Call(call(method), lambda right=right: dict(right), wrong)
        for method, (right, wrong) in methods.items()
    }


def functions(package: str, table: Mapping[str, tuple[dict, dict]]) -> dict[str, Call]:
    found = {}
    for name, (right, wrong) in table.items():
        function = functools.reduce(getattr, name.split("."), importlib.import_module(package))
        found[name] = Call(function, lambda right=right: dict(right), wrong)
    return found


def construct_and_fit(kind: type, data: dict[str, Any], /, **parameters: Any) -> Any:
    return kind(**parameters).fit(**data)
