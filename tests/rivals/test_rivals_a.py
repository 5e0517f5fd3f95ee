"""DANN, CADA, Deep CORAL, MCC, SAFN, SWD and AGRA: what all of them must do."""

import inspect
from functools import cache

import joblib
import numpy as np
import pytest
import torch
from scipy.linalg import expm
from sklearn.base import clone
from sklearn.datasets import make_moons

from adafer import SourceOnlyClassifier, as_target
from adafer.persistence import load_model
from adafer.rivals import (
    AGRAClassifier,
    CADAClassifier,
    DANNClassifier,
    DeepCORALClassifier,
    MCCClassifier,
    SAFNClassifier,
    SWDClassifier,
)

METHODS = [
    DANNClassifier,
    CADAClassifier,
    DeepCORALClassifier,
    MCCClassifier,
    SAFNClassifier,
    SWDClassifier,
    AGRAClassifier,
]
PLAIN = METHODS[:-1]  # they train the network that source-only training has


def make(method, **options):
    training = {
        "epochs": 3,
        "batch_size": 32,
        "learning_rate": 0.003,
        "random_state": 0,
        "device": "cpu",
    }
    if "hidden_units" in method._get_param_names():
        training["hidden_units"] = 64
    return method(**(training | options))


def on_faces(method, **options):
    return make(method, **({"backbone": "convnet", "image_size": 24, "epochs": 2} | options))


def turned_clusters(seed, n=200, d=10, n_classes=4):
    """Clusters in ten dimensions, the target's all turned alike about the origin."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n_classes, d))
    centres *= 2 / np.linalg.norm(centres, axis=1, keepdims=True)
    y_src, y_tgt = rng.integers(n_classes, size=(2, n))
    X_src, X_tgt = (centres[y] + 0.5 * rng.normal(size=(n, d)) for y in (y_src, y_tgt))
    plane = rng.normal(size=(d, d))
    plane -= plane.T
    return X_src, y_src, X_tgt @ expm(2 * plane / np.linalg.norm(plane)), y_tgt


def moved_clusters(seed, n=120):
    """Three clusters in the plane, the target's turned by 29 degrees and moved."""
    rng = np.random.default_rng(seed)
    centres = np.array([[2, 0], [-1, 1.7], [-1, -1.7]])
    y_src, y_tgt = rng.integers(3, size=(2, n))
    X_src, X_tgt = (centres[y] + 0.45 * rng.normal(size=(n, 2)) for y in (y_src, y_tgt))
    c, s = np.cos(0.5), np.sin(0.5)
    return X_src, y_src, X_tgt @ [[c, s], [-s, c]] + [0.8, 0.5], y_tgt


def turned_moons(seed, n=120):
    """Two moons, the target's turned by 34 degrees about their mean."""
    (X_src, y_src), (X_tgt, y_tgt) = (
        make_moons(n, noise=0.08, random_state=seed + k) for k in (0, 100)
    )
    c, s = np.cos(0.6), np.sin(0.6)
    middle = X_tgt.mean(axis=0)
    return X_src, y_src, (X_tgt - middle) @ [[c, s], [-s, c]] + middle, y_tgt


@cache
def score(method, problem, seed):
    X, y, X_tgt, y_tgt = problem(seed)
    rate = 0.001 if problem is turned_clusters else 0.003
    clf = make(method, epochs=8, learning_rate=rate, random_state=seed)
    return clf.fit(X, y, X_tgt).score(X_tgt, y_tgt)


# ----------------------------------------------------------------- all of them


@pytest.mark.parametrize(
    ("method", "problem", "gain"),
    [
        (DANNClassifier, moved_clusters, 0.05),
        (CADAClassifier, moved_clusters, 0.05),
        (DeepCORALClassifier, moved_clusters, 0.02),
        (MCCClassifier, moved_clusters, 0.05),
        # longer features alone help little, and only where they are many
        (SAFNClassifier, turned_clusters, 0.01),
        (SWDClassifier, turned_moons, 0.03),
        (AGRAClassifier, moved_clusters, 0.02),
    ],
)
def test_each_beats_source_only_on_a_known_shift(method, problem, gain):
    gains = [
        score(method, problem, seed) - score(SourceOnlyClassifier, problem, seed)
        for seed in range(5)
    ]
    assert np.mean(gains) > gain, gains


@pytest.mark.parametrize("method", METHODS)
def test_one_seed_gives_equal_bits_and_saving_keeps_them(face_problem, method, tmp_path):
    p = face_problem
    clf = on_faces(method, epochs=1)
    first = clone(clf).fit(p["X"], p["y"], p["X_tgt"])
    torch.manual_seed(5)  # what torch drew before must not matter
    first.save(tmp_path / "model")
    joblib.dump(first, tmp_path / "clf.joblib")
    for same in (
        clone(clf).fit(p["X"], p["y"], p["X_tgt"]),
        load_model(tmp_path / "model"),
        joblib.load(tmp_path / "clf.joblib"),
    ):
        assert type(same) is method
        for name in ("predict_proba", "transform", "predict"):
            np.testing.assert_array_equal(
                getattr(same, name)(p["X_tgt"]), getattr(first, name)(p["X_tgt"])
            )
        assert same.get_params() == first.get_params()
    other = clone(clf).set_params(random_state=1).fit(p["X"], p["y"], p["X_tgt"])
    assert (other.predict_proba(p["X_tgt"]) != first.predict_proba(p["X_tgt"])).any()


@pytest.mark.parametrize("method", METHODS)
def test_models_of_features_are_saved_too(feature_problem, method, tmp_path):
    p = feature_problem
    clf = make(method).fit(p["X"], p["y"], p["X_tgt"])
    clf.save(tmp_path / "model")
    np.testing.assert_array_equal(
        method.load(tmp_path / "model").predict_proba(p["X_tgt"]), clf.predict_proba(p["X_tgt"])
    )


@pytest.mark.parametrize("method", METHODS)
def test_faces_are_learnt_and_the_joint_stage_is_told(face_problem, method):
    p = face_problem
    # so few steps do not get over the first ones of a full weight on confident scores
    options = {"coral_weight": 0.01} if method is DeepCORALClassifier else {}
    clf = on_faces(method, epochs=3, **options).fit(p["X"], p["y"], p["X_tgt"])
    assert clf.score(p["X"], p["y"]) > 0.9
    joint = [row for row in clf.history_ if row["stage"] == "joint"]
    assert len(joint) == 3
    terms = {name for name in joint[0] if name.startswith(("loss_", "norm_", "discrepancy_"))}
    assert len(terms) >= 2
    assert all(np.isfinite(row[name]) for row in joint for name in terms)


@pytest.mark.parametrize("method", PLAIN)
def test_without_a_target_or_joint_epochs_it_is_source_only_training(feature_problem, method):
    p = feature_problem
    plain = make(SourceOnlyClassifier).fit(p["X"], p["y"]).predict_proba(p["X_tgt"])
    alone = make(method).fit(p["X"], p["y"])
    np.testing.assert_array_equal(alone.predict_proba(p["X_tgt"]), plain)
    waiting = make(method, epochs=0, source_epochs=3).fit(p["X"], p["y"], p["X_tgt"])
    np.testing.assert_array_equal(waiting.predict_proba(p["X_tgt"]), plain)


@pytest.mark.parametrize("method", METHODS)
def test_a_source_model_is_adapted_without_training_it_again(face_problem, method):
    p = face_problem
    clf = on_faces(method, epochs=1, warm_start=True).fit(p["X"], p["y"])
    before = clf.predict_proba(p["X_tgt"])
    clf.set_params(source_epochs=0).fit(p["X"], p["y"], p["X_tgt"])
    assert np.abs(clf.predict_proba(p["X_tgt"]) - before).max() > 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_few_targets_and_unequal_domains_are_coped_with(feature_problem, method):
    p = feature_problem
    clf = make(method).fit(p["X"], p["y"], as_target(p["X_tgt"][:2]))
    assert np.isfinite(clf.predict_proba(p["X_tgt"])).all()


@pytest.mark.parametrize("method", METHODS)
def test_labels_of_the_target_have_no_way_in(method):
    points = {"points_src", "points_tgt"} if method is AGRAClassifier else set()
    taken = set(inspect.signature(method.fit).parameters)
    assert taken == {"self", "X", "y", "X_tgt", "sample_weight", "au_src", "au_tgt"} | points


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (DANNClassifier, {"adversarial_weight": 0.0}),
        (CADAClassifier, {"adversarial_weight": 0.0}),
        (CADAClassifier, {"entropy_conditioning": False}),
        (CADAClassifier, {"max_units": 50}),
        (DeepCORALClassifier, {"coral_weight": 0.0}),
        (MCCClassifier, {"confusion_weight": 0.0}),
        (MCCClassifier, {"temperature": 1.0}),
        (SAFNClassifier, {"norm_weight": 0.0}),
        (SAFNClassifier, {"norm_step": 0.1}),
        (SAFNClassifier, {"entropy_weight": 0.1}),
        (SWDClassifier, {"discrepancy_weight": 0.0}),
        (SWDClassifier, {"n_directions": 3}),
        (AGRAClassifier, {"adversarial_weight": 0.0}),
        (AGRAClassifier, {"n_clusters": 1}),
        (AGRAClassifier, {"node_units": 16}),
        (AGRAClassifier, {"mean_momentum": 0.0}),
    ],
)
def test_each_switch_changes_the_network(feature_problem, method, options):
    p = feature_problem
    # late enough for a reversed gradient to have a coefficient
    rows = slice(None, None, 3)
    plain, changed = (
        make(method, epochs=2, **o).fit(p["X"][rows], p["y"][rows], p["X_tgt"][rows])
        for o in ({}, options)
    )
    assert (changed.predict_proba(p["X_tgt"]) != plain.predict_proba(p["X_tgt"])).any()
    (name,) = options
    with pytest.raises(ValueError, match=f"The '{name}' parameter"):
        make(method, **{name: -1}).fit(p["X"], p["y"])
