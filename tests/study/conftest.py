"""A study small enough to run in a second: features with AUs, in files."""

import copy

import numpy as np
import pytest

from adafer.study import make_plan, run_studies

METHODS = ["source_only", "au_query", "au_query_near", "pseudo_hard", "au_input", "adafer"]


@pytest.fixture
def write_features(feature_problem):
    """Write the two clouds as files; target labels may be replaced."""

    def write(folder, y_tgt=None, names=("source", "target")):
        folder.mkdir(exist_ok=True)
        labels = feature_problem["y_tgt"] if y_tgt is None else y_tgt
        np.savez(
            folder / f"{names[0]}.npz",
            X=feature_problem["X"],
            labels=feature_problem["y"],
            au=feature_problem["au_src"],
        )
        np.savez(
            folder / f"{names[1]}.npz",
            X=feature_problem["X_tgt"],
            labels=labels,
            au=feature_problem["au_tgt"],
        )
        return folder

    return write


@pytest.fixture
def features(write_features, tmp_path):
    return write_features(tmp_path / "features")


@pytest.fixture
def table():
    """The plan on these files, as TOML would give it."""
    return {
        "sources": ["source"],
        "targets": ["target"],
        "data": {
            "source": {"reader": "npz", "path": "source.npz"},
            "target": {"reader": "npz", "path": "target.npz"},
        },
        "methods": list(METHODS),
        "protocols": ["transductive", "inductive"],
        "seeds": 2,
        "base": {
            "epochs": 1,
            "batch_size": 32,
            "learning_rate": 0.01,
            "device": "cpu",
            "annotator__threshold": 0.5,
            "annotator__n_neighbors": 10,
        },
    }


@pytest.fixture
def plan_of(table, features):
    """Make the plan, with some of it changed."""

    def make(*, name="study", folder=features, **changes):
        return make_plan({**copy.deepcopy(table), **changes}, name=name, folder=folder)

    return make


@pytest.fixture
def lines():
    return []


@pytest.fixture
def run(tmp_path, lines):
    """Run one plan; what it tells goes into `lines`."""

    def run_plan(plan, output="results", jobs=1):
        return run_studies([plan], tmp_path / output, jobs=jobs, report=lines.append)[0]

    return run_plan


@pytest.fixture
def count_fits(monkeypatch):
    """Count what is computed in this process."""
    from adafer.study import run

    counts = {"cells": 0, "stages": 0}

    def counted(function, what):
        def call(*arguments):
            counts[what] += 1
            return function(*arguments)

        return call

    monkeypatch.setattr(run, "fit_cell", counted(run.fit_cell, "cells"))
    monkeypatch.setattr(run, "fit_stage", counted(run.fit_stage, "stages"))
    return counts
