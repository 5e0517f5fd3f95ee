import json
import shutil
from dataclasses import fields

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from adafer import (
    AdaFERClassifier,
    AUInputClassifier,
    PseudoLabelClassifier,
    SourceOnlyClassifier,
    rivals,
)
from adafer.study import run as run_module
from adafer.study.cells import Cell, stage_of
from adafer.study.methods import build_estimator

METHODS = ["source_only", "au_query", "au_query_near", "pseudo_hard", "au_input", "adafer"]


def results_of(study):
    """What says that two models are the same."""
    return {
        (row.source, row.target, row.method, row.seed): (
            row.result["network_sha256"],
            row.result["probabilities_sha256"],
            row.result["predictions"],
        )
        for row in study.rows
        if row.result is not None
    }


class Fails(ClassifierMixin, BaseEstimator):
    """An estimator that cannot be fitted."""

    def fit(self, X, y):
        raise RuntimeError("no\nway")


class Majority(ClassifierMixin, BaseEstimator):
    """An estimator that knows nothing of targets."""

    def fit(self, X, y):
        self.classes_, counts = np.unique(y, return_counts=True)
        self.most_ = self.classes_[counts.argmax()]
        return self

    def predict(self, X):
        return np.full(len(X), self.most_)


def test_every_cell_is_scored_by_every_protocol(plan_of, run, feature_problem):
    study = run(plan_of())
    assert study.failures == []
    assert [(row.method, row.seed) for row in study.rows] == [
        (method, seed) for method in METHODS for seed in (0, 1)
    ]
    for row in study.rows:
        assert set(row.scores) == {"transductive", "inductive"}
        for protocol, part in study.parts["target", row.seed].items():
            classes = np.array(row.result["classes"])
            predicted = classes[row.result["predictions"][protocol]]
            right = np.mean(predicted == feature_problem["y_tgt"][part.rows])
            assert row.scores[protocol]["accuracy"] == pytest.approx(right)
    facts = {row.method: row.result["facts"] for row in study.rows}
    assert 0 < facts["adafer"]["coverage"] <= 1
    assert facts["source_only"] == {}


def test_cells_may_keep_checkpoints(plan_of, run, table, tmp_path):
    kept = {**table["base"], "checkpoint_dir": str(tmp_path / "checkpoints" / "{fit}")}
    study = run(plan_of(methods=["pseudo_hard", "adafer"], base=kept))
    assert study.failures == []
    # two source stages, and two joint stages each
    assert len(list((tmp_path / "checkpoints").iterdir())) == 6
    for output in tmp_path.glob("**/cells"):
        shutil.rmtree(output)
    again = run(plan_of(methods=["pseudo_hard", "adafer"], base=table["base"]))
    assert again.n_computed == 4
    assert results_of(again) == results_of(study)


def test_nothing_is_computed_twice(plan_of, run, count_fits):
    first = run(plan_of())
    # source_only, pseudo_hard and adafer share a stage; au_input has its own; two seeds
    assert count_fits == {"cells": 12, "stages": 4}
    again = run(plan_of())
    assert count_fits == {"cells": 12, "stages": 4}
    assert (first.n_computed, again.n_computed) == (12, 0)
    assert results_of(again) == results_of(first)


def test_a_killed_study_goes_on_where_it_stopped(plan_of, run, count_fits, monkeypatch):
    whole = results_of(run(plan_of(), output="whole"))
    count_fits.update(cells=0, stages=0)
    original = run_module.fit_cell

    def killed(*arguments):
        if count_fits["cells"] == 5:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(run_module, "fit_cell", killed)
    with pytest.raises(KeyboardInterrupt):
        run(plan_of(), output="parts")
    assert count_fits == {"cells": 5, "stages": 4}
    monkeypatch.setattr(run_module, "fit_cell", original)
    study = run(plan_of(), output="parts")
    assert count_fits == {"cells": 12, "stages": 4}
    assert study.n_computed == 7
    assert results_of(study) == whole


def test_damaged_results_are_computed_again(plan_of, run, count_fits):
    plan = plan_of(methods=["source_only"])
    study = run(plan)
    path = study.cell_file(study.rows[0])
    before = results_of(study)
    path.write_text(path.read_text()[:-20])
    again = run(plan)
    assert again.n_computed == 1
    assert results_of(again) == before


def test_plans_share_cells(plan_of, run, tmp_path, count_fits, lines):
    run(plan_of(methods=["source_only", "adafer"], seeds=1))
    count_fits.update(cells=0, stages=0)
    renamed = {"method": "adafer", "name": "the same", "parameters": {"beta": 1}}
    plans = [
        plan_of(name="a", methods=["source_only", renamed], seeds=2),
        plan_of(name="b", methods=["source_only", "pseudo_soft"], seeds=[1]),
    ]
    studies = run_module.run_studies(plans, tmp_path / "results", report=lines.append)
    # new are: source_only and adafer with seed 1, pseudo_soft with seed 1
    assert count_fits == {"cells": 3, "stages": 1}
    assert [study.n_computed for study in studies] == [2, 2]
    assert "5 cells, of which 2 are there already" in lines


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": [5]},
        {"base": {"epochs": 2}},
        {"methods": [{"method": "adafer", "parameters": {"epsilon": 0.5}}]},
        {"held_out": 0.25},
    ],
)
def test_what_determines_a_result_is_in_its_key(plan_of, run, change):
    methods = {"methods": ["adafer"], "seeds": [0]}
    first = run(plan_of(**methods))
    assert run(plan_of(**{**methods, **change})).n_computed == 1
    assert run(plan_of(**{**methods, "base": {**plan_base(plan_of), "verbose": 1}})).n_computed == 0
    assert first.n_computed == 1


def plan_base(plan_of):
    return dict(plan_of(methods=["adafer"]).methods[0].parameters)


def test_content_of_the_data_is_in_the_key(plan_of, run, features):
    plan = plan_of(methods=["source_only", "au_query"], seeds=1)
    assert run(plan).n_computed == 2
    with np.load(features / "source.npz") as archive:
        arrays = dict(archive)
    np.savez(features / "source.npz", **{**arrays, "au": arrays["au"] * 0.5})
    # only what looks at AUs changes
    assert run(plan).n_computed == 1
    np.savez(features / "source.npz", **{**arrays, "labels": arrays["labels"][::-1]})
    assert run(plan).n_computed == 2


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (SourceOnlyClassifier, "source_only"),
        (PseudoLabelClassifier, "pseudo_soft"),
        (AdaFERClassifier, "adafer"),
        (AUInputClassifier, "au_input"),
        *(
            (getattr(rivals, name), f"adafer.rivals:{name}")
            for name in rivals.__all__
            if name != "AGRAClassifier"
        ),
    ],
)
def test_a_shared_source_stage_equals_a_separate_one_to_the_bit(plan_of, run, kind, name):
    study = run(plan_of(methods=["source_only", "pseudo_hard", name][-2:], seeds=[3]))
    row = next(row for row in study.rows if row.method == name)
    assert row.result["shared_source_stage"]
    source, labels = study.sources["source"]
    parts = study.parts["target", 3]
    alone = build_estimator(name, plan_of(methods=[name]).methods[0].parameters, seed=3)
    assert isinstance(alone, kind)
    aus = {"au_src": source.scores(), "au_tgt": parts["transductive"].scores()}
    X_tgt = parts["transductive"].inputs()
    trained_on_aus = name in ("adafer", "au_input")
    first = {"au_src": aus["au_src"]} if trained_on_aus else {}
    alone.fit(source.inputs(), labels, **first)
    if kind is not SourceOnlyClassifier:
        alone.set_params(warm_start=True, source_epochs=0)
        alone.fit(source.inputs(), labels, X_tgt, **(aus if trained_on_aus else {}))
    held = parts["inductive"]
    au = {"au": held.scores()} if name == "au_input" else {}
    probabilities = alone.predict_proba(held.inputs(), **au)
    expected = np.searchsorted(alone.classes_, alone.classes_[probabilities.argmax(axis=1)])
    assert row.result["predictions"]["inductive"] == expected.tolist()
    from adafer.study.cells import _network_digest

    assert row.result["network_sha256"] == _network_digest(alone)


def test_stages_are_not_shared_where_they_differ(plan_of, run):
    def stage(name="adafer", seed=0, **parameters):
        plan = plan_of(methods=[{"method": name, "parameters": parameters}], seeds=[seed])
        study = run(plan)
        source, labels = study.sources["source"]
        parts = study.parts["target", seed]
        cell = Cell(
            name, plan.methods[0].parameters, seed, source, labels, parts["transductive"], parts
        )
        return stage_of(cell)

    same = stage()
    for other in (stage("pseudo_hard"), stage(epsilon=0.5), stage(source_epochs=1, epochs=2)):
        assert other.key == same.key
    others = [stage(seed=1), stage(epochs=2), stage(weight_decay=0.1), stage("au_input")]
    assert len({same.key, *(other.key for other in others)}) == 5
    assert stage("au_query") is None
    assert stage("adafer.rivals:AGRAClassifier") is None  # its network is another from the start
    assert stage(norm_statistics="target") is None


def test_wrong_target_labels_give_the_same_models(write_features, plan_of, run, tmp_path):
    rng = np.random.default_rng(1)
    wrong = np.array(["anger", "fear", "joy", "nonsense"])[rng.integers(0, 4, 120)]
    methods = [*METHODS, "pseudo_soft"]
    right = run(plan_of(methods=methods), output="right")
    other = write_features(tmp_path / "other", wrong)
    # computed anew, not found on the disk
    lied_to = run(plan_of(methods=methods, folder=other), output="wrong")
    assert lied_to.n_computed == right.n_computed == 14
    assert results_of(lied_to) == results_of(right)
    assert [row.key for row in lied_to.rows] == [row.key for row in right.rows]
    scores = [[row.scores["inductive"]["accuracy"] for row in s.rows] for s in (right, lied_to)]
    assert not np.allclose(*scores)
    # neither does the order of the target's files tell anything
    with np.load(other / "target.npz") as archive:
        arrays = dict(archive)
    order = np.argsort(arrays["labels"], kind="stable")
    np.savez(other / "target.npz", **{name: array[order] for name, array in arrays.items()})
    assert run(plan_of(methods=methods, folder=other), output="wrong").n_computed == 0


def test_a_fit_has_no_place_for_target_labels():
    """Labels are those of the source; parts hold pictures and AU scores."""
    names = {entry.name for entry in fields(Cell)}
    assert names == {
        "method", "parameters", "seed", "source", "labels", "target", "scored", "keep",
    }  # fmt: skip
    from adafer.study.data import Part

    assert {entry.name for entry in fields(Part)} == {
        "X", "rows", "digest", "au", "au_names", "au_digest",
    }  # fmt: skip


def test_only_the_oracle_sees_target_labels(write_features, plan_of, run, tmp_path):
    methods = ["source_only", "target_supervised"]
    study = run(plan_of(methods=methods, seeds=1))
    oracle = study.rows[1]
    assert set(oracle.scores) == {"inductive"}
    part = study.parts["target", 0]["transductive"]
    alone = build_estimator("source_only", plan_of().methods[0].parameters, seed=0)
    alone.fit(part.inputs(), study.data["target"].truth[part.rows])
    from adafer.study.cells import _network_digest

    assert oracle.result["network_sha256"] == _network_digest(alone)
    wrong = write_features(tmp_path / "other", np.resize(["anger", "fear", "joy"], 120))
    lied_to = run(plan_of(methods=methods, seeds=1, folder=wrong))
    assert next(row.key for row in lied_to.rows) == study.rows[0].key
    assert lied_to.rows[1].result["network_sha256"] != oracle.result["network_sha256"]


def test_a_cell_that_fails_does_not_stop_the_others(plan_of, run, lines, tmp_path):
    fails = {"method": f"{__name__}:Fails", "name": "bad"}
    study = run(plan_of(methods=[fails, "source_only"], base={"epochs": 1}, seeds=1))
    assert [row.method for row in study.failures] == ["bad"]
    assert study.failures[0].failure.error == "RuntimeError: no way"
    assert study.rows[1].scores["inductive"]["accuracy"] > 0
    assert any("bad, seed 0: FAILED, RuntimeError: no way" in line for line in lines)
    (details,) = (tmp_path / "results" / "errors").iterdir()
    assert "Traceback" in details.read_text()


def test_a_stage_that_fails_fails_its_cells(plan_of, run, monkeypatch):
    def broken(self, X, y, *more, **options):
        raise ValueError("no stage")

    monkeypatch.setattr(SourceOnlyClassifier, "fit", broken)
    study = run(plan_of(methods=["adafer", "au_query"], seeds=1))
    assert [row.failure and row.failure.error for row in study.rows] == [
        "ValueError: no stage",
        None,
    ]


def test_estimators_of_other_packages_take_part(plan_of, run, feature_problem):
    own = {"method": f"{__name__}:Majority", "name": "majority"}
    study = run(plan_of(methods=["source_only", own], seeds=1))
    part = study.parts["target", 0]["inductive"]
    names, counts = np.unique(feature_problem["y"], return_counts=True)
    most = names[counts.argmax()]
    expected = np.mean(feature_problem["y_tgt"][part.rows] == most)
    assert study.rows[1].scores["inductive"]["accuracy"] == pytest.approx(expected)


def test_cells_side_by_side_give_what_cells_in_a_row_give(plan_of, run, tmp_path):
    plan = plan_of(methods=["source_only", "au_query", "adafer"], seeds=1)
    in_a_row = run(plan, output="one")
    side_by_side = run(plan, output="two", jobs=2)
    assert side_by_side.n_computed == 3
    assert results_of(side_by_side) == results_of(in_a_row)


def test_results_can_be_read_by_people(plan_of, run):
    study = run(plan_of(methods=["adafer"], seeds=1))
    row = study.rows[0]
    found = json.loads(study.cell_file(row).read_text())
    assert found["row"] == "adafer"
    assert (found["source"], found["target"], found["seed"]) == ("source", "target", 0)
    assert found["estimator"]["parameters"]["annotator"]["parameters"]["threshold"] == 0.5
    assert found["versions"]["adafer"]
    assert [entry["stage"] for entry in found["history"]] == ["joint"]
    assert found["warnings"] == []


def test_data_that_do_not_fit_are_refused_before_any_fit(plan_of, run, features, table, count_fits):
    rng = np.random.default_rng(0)
    np.savez(features / "wide.npz", X=rng.normal(size=(9, 5)), au=rng.random((9, 4)))
    np.savez(features / "aus.npz", X=rng.normal(size=(9, 3)), au=rng.random((9, 7)))
    np.savez(features / "bare.npz", X=rng.normal(size=(9, 3)))
    np.savez(features / "faces.npz", images=rng.integers(0, 9, (9, 8, 8), np.uint8), au=np.zeros(9))
    for name, message in {
        "wide": "has 3 features but the target 'target' has 5",
        "aus": "has the AUs None but the target",
        "faces": "holds features but the target 'target' holds pictures",
    }.items():
        entry = {"reader": "npz", "path": f"{name}.npz"}
        plan = plan_of(methods=["source_only"], data={**table["data"], "target": entry})
        with pytest.raises(ValueError, match=message):
            run(plan)
    bare = {"reader": "npz", "path": "bare.npz"}
    labelled = dict(np.load(features / "source.npz"))
    del labelled["au"]
    np.savez(features / "source.npz", **labelled)
    with pytest.raises(ValueError, match=r"'adafer' needs AU scores.*Add an array 'au'"):
        run(plan_of(methods=["adafer"], data={**table["data"], "target": bare}))
    assert count_fits == {"cells": 0, "stages": 0}


def test_progress_tells_how_long_it_will_take(plan_of, run, lines):
    run(plan_of(methods=["source_only"], seeds=2))
    cells = [line for line in lines if line.startswith("[") and "source_only" in line]
    assert [line.split("]")[0] for line in cells] == ["[1/2", "[2/2"]
    assert cells[0].startswith("[1/2] source to target, source_only, seed 0: ")
    assert all(line.endswith(" left") for line in cells)
