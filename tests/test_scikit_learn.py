"""Pipelines, searches and other tools of scikit-learn around the classifiers."""

import warnings

import numpy as np
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    StratifiedGroupKFold,
    cross_val_predict,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from adafer import (
    AdaFERClassifier,
    AUExtractor,
    AUGuidedAnnotator,
    AUInputClassifier,
    FaceAligner,
    SourceOnlyClassifier,
    as_target,
)
from adafer.model_selection import TargetEntropyScorer
from adafer.rivals import DANNClassifier
from adafer.target import UntransformedTargetWarning

WHOLE = 100  # source rows; targets of as many, and of other lengths


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def small(method=AdaFERClassifier, **options):
    settings = {"epochs": 2, "batch_size": 32, "learning_rate": 0.01, "random_state": 0}
    if method is AdaFERClassifier:
        settings["annotator"] = AUGuidedAnnotator(threshold=0.5, matching="near")
    return method(**(settings | {"device": "cpu"} | options))


def on_faces(**options):
    return small(**({"backbone": "convnet", "image_size": 24, "epochs": 1} | options))


def source(p):
    return p["X"][:WHOLE], p["y"][:WHOLE]


def given(p, n_target=WHOLE):
    return {
        "X_tgt": as_target(p["X_tgt"][:n_target]),
        "au_src": p["au_src"][:WHOLE],
        "au_tgt": as_target(p["au_tgt"][:n_target]),
    }


# -------------------------------------------------------------------- pipelines


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("n_target", [WHOLE, 120])
def test_a_pipeline_transforms_the_target_too(feature_problem, n_target):
    p = feature_problem
    pipeline = make_pipeline(StandardScaler(), small(), transform_input=["X_tgt"])
    pipeline.fit(*source(p), **given(p, n_target))
    X, y = source(p)
    scaler = StandardScaler().fit(X)
    metadata = given(p, n_target) | {"X_tgt": scaler.transform(p["X_tgt"][:n_target])}
    by_hand = small().fit(scaler.transform(X), y, **metadata)
    np.testing.assert_array_equal(
        pipeline.predict_proba(p["X_tgt"]), by_hand.predict_proba(scaler.transform(p["X_tgt"]))
    )


@pytest.mark.usefixtures("routing")
def test_photographs_pass_the_aligner_in_both_domains(face_problem):
    p = face_problem
    larger = {name: p[name].repeat(2, axis=1).repeat(2, axis=2) for name in ("X", "X_tgt")}
    scores = {"au_src": p["au_src"], "au_tgt": p["au_tgt"]}
    pipeline = make_pipeline(
        FaceAligner(size=24, aligned=True), on_faces(), transform_input=["X_tgt"]
    )
    pipeline.fit(larger["X"], p["y"], X_tgt=as_target(larger["X_tgt"]), **scores)
    aligner = FaceAligner(size=24, aligned=True).fit(larger["X"])
    X, X_tgt = aligner.transform(larger["X"]), aligner.transform(larger["X_tgt"])
    by_hand = on_faces().fit(X, p["y"], X_tgt, **scores)
    np.testing.assert_array_equal(
        pipeline.predict_proba(larger["X_tgt"]), by_hand.predict_proba(X_tgt)
    )


@pytest.mark.usefixtures("routing")
def test_a_nested_pipeline_transforms_the_target_in_each(feature_problem):
    p = feature_problem
    halve, shift = FunctionTransformer(lambda X: X / 2), FunctionTransformer(lambda X: X + 1)
    inner = make_pipeline(shift, small(), transform_input=["X_tgt"])
    outer = make_pipeline(halve, inner, transform_input=["X_tgt"]).fit(*source(p), **given(p))
    X, y = source(p)
    by_hand = small().fit(X / 2 + 1, y, **given(p) | {"X_tgt": p["X_tgt"][:WHOLE] / 2 + 1})
    np.testing.assert_array_equal(
        outer.predict_proba(p["X"]), by_hand.predict_proba(p["X"] / 2 + 1)
    )


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("transform_input", [None, ["x_tgt"]], ids=["forgotten", "misspelt"])
def test_a_target_that_skips_the_steps_before_is_told(feature_problem, transform_input):
    p = feature_problem
    pipeline = make_pipeline(StandardScaler(), small(), transform_input=transform_input)
    with pytest.warns(UntransformedTargetWarning, match=r"\['standardscaler'\] before AdaFER"):
        pipeline.fit(*source(p), **given(p))
    inner = make_pipeline(small(), transform_input=transform_input)
    outer = make_pipeline(StandardScaler(), inner, transform_input=transform_input)
    with pytest.warns(UntransformedTargetWarning, match="standardscaler"):
        outer.fit(*source(p), **given(p))


@pytest.mark.usefixtures("routing")
def test_a_picture_target_that_skips_the_aligner_is_an_error(face_problem):
    p = face_problem
    pipeline = make_pipeline(FaceAligner(size=32, aligned=True), on_faces())
    with (
        pytest.warns(UntransformedTargetWarning),
        pytest.raises(ValueError, match="24x24 but X has 32x32"),
    ):
        pipeline.fit(p["X"], p["y"], X_tgt=p["X_tgt"], au_src=p["au_src"], au_tgt=p["au_tgt"])


def test_without_routing_the_target_is_transformed_by_hand(feature_problem):
    p = feature_problem
    X, y = source(p)
    pipeline = make_pipeline(StandardScaler(), small())
    target = pipeline[:-1].fit(X).transform(p["X_tgt"])
    scores = {f"adaferclassifier__{name}": p[name] for name in ("au_tgt",)}
    scores["adaferclassifier__au_src"] = p["au_src"][:WHOLE]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntransformedTargetWarning)
        pipeline.fit(X, y, adaferclassifier__X_tgt=target, **scores)
    by_hand = small().fit(
        StandardScaler().fit(X).transform(X), y, target, au_src=p["au_src"][:WHOLE],
        au_tgt=p["au_tgt"],
    )  # fmt: skip
    np.testing.assert_array_equal(pipeline.predict_proba(p["X_tgt"]), by_hand.predict_proba(target))
    with pytest.warns(UntransformedTargetWarning):
        pipeline.fit(X, y, adaferclassifier__X_tgt=p["X_tgt"], **scores)


def test_without_steps_before_or_without_a_target_nothing_is_told(feature_problem):
    p = feature_problem
    make_pipeline(small()).fit(*source(p))
    make_pipeline(StandardScaler(), small()).fit(*source(p))
    make_pipeline("passthrough", small()).fit(
        *source(p), **{f"adaferclassifier__{name}": value for name, value in given(p).items()}
    )


# --------------------------------------------------- cross-validation and search


@pytest.mark.parametrize("n_target", [WHOLE, 120, 60])
def test_cross_validation_keeps_a_wrapped_target_whole(feature_problem, n_target):
    p = feature_problem
    found = cross_validate(
        small(), *source(p), cv=2, params=given(p, n_target), return_estimator=True,
        error_score="raise",
    )  # fmt: skip
    assert (found["test_score"] > 0.5).all()
    assert [len(clf.target_labels_) for clf in found["estimator"]] == [n_target, n_target]
    predicted = cross_val_predict(small(), *source(p), cv=2, params=given(p, n_target))
    assert predicted.shape == (WHOLE,)


@pytest.mark.parametrize("name", ["X_tgt", "au_tgt"])
def test_a_target_that_cross_validation_cut_is_an_error(feature_problem, name):
    p = feature_problem
    params = given(p) | {name: p[name][:WHOLE]}
    message = f"{name} has 50 rows, as many as X, inside a cross-validation.*as_target"
    with pytest.raises(ValueError, match=message):
        cross_validate(small(), *source(p), cv=2, params=params, error_score="raise")
    with pytest.raises(ValueError, match=message):
        cross_val_predict(small(), *source(p), cv=2, params=params)
    with pytest.raises(ValueError, match=message):
        CalibratedClassifierCV(small(), cv=2).fit(*source(p), **params)
    small().fit(*source(p), **params)  # outside nothing cuts it
    wrapped = given(p) | {"au_src": as_target(p["au_src"][:WHOLE])}
    with pytest.raises(ValueError, match="belongs to X and must be cut"):
        cross_validate(small(), *source(p), cv=2, params=wrapped, error_score="raise")
    if name == "X_tgt":
        uncut = given(p, 120) | {name: p[name]}
        cross_validate(small(), *source(p), cv=2, params=uncut, error_score="raise")


@pytest.mark.parametrize("n_target", [WHOLE, 120])
@pytest.mark.parametrize("search", [GridSearchCV, HalvingGridSearchCV])
def test_searches_keep_a_wrapped_target_whole(feature_problem, search, n_target):
    p = feature_problem
    grid = {"epsilon": [0.0, 1.0], "annotator__shrinkage": [5.0]}
    more = {}
    if search is HalvingGridSearchCV:
        more = {"resource": "epochs", "min_resources": 1, "max_resources": 2, "factor": 2}
    found = search(small(), grid, cv=2, error_score="raise", **more)
    found.fit(*source(p), **given(p, n_target))
    assert found.best_estimator_.target_labels_.shape == (n_target, 3)
    assert found.predict(p["X_tgt"]).shape == (120,)


@pytest.mark.usefixtures("routing")
def test_a_search_over_methods_in_a_pipeline(feature_problem):
    p = feature_problem
    pipeline = make_pipeline(StandardScaler(), small(), transform_input=["X_tgt"])
    grid = {"adaferclassifier": [small(), small(DANNClassifier, hidden_units=8)]}
    search = GridSearchCV(
        pipeline, grid, cv=2, scoring=TargetEntropyScorer(), error_score="raise"
    ).fit(*source(p), **given(p))
    scorer, target = TargetEntropyScorer(), p["X_tgt"][:WHOLE]
    assert search.best_score_ == max(search.cv_results_["mean_test_score"]) < 0
    folds = cross_validate(
        pipeline, *source(p), cv=2, params=given(p), scoring=scorer, return_estimator=True
    )
    for clf, score in zip(folds["estimator"], folds["test_score"], strict=True):
        probabilities = clf.predict_proba(target)
        slow = np.mean([sum(q * np.log(q) for q in row if q > 0) for row in probabilities])
        assert score == pytest.approx(slow)


@pytest.mark.usefixtures("routing")
def test_subjects_stay_together(feature_problem):
    p = feature_problem
    X, y = source(p)
    subjects = np.arange(WHOLE) // 5
    seen = []

    class Noting(SourceOnlyClassifier):
        def fit(self, X, y, X_tgt=None, **more):
            seen.append(X)
            return super().fit(X, y, X_tgt, **more)

    folds = StratifiedGroupKFold(3, shuffle=True, random_state=0)
    cross_validate(small(Noting), X, y, cv=folds, params={"groups": subjects})
    for rows in seen:
        used = {int(s) for row, s in zip(X, subjects, strict=True) if (rows == row).all(1).any()}
        assert sum(np.isin(subjects, list(used))) == len(rows)


def test_two_processes_find_what_one_finds(feature_problem):
    p = feature_problem
    scores = []
    for n_jobs in (1, 2):
        search = GridSearchCV(small(), {"epsilon": [0.0, 1.0]}, cv=2, n_jobs=n_jobs)
        search.fit(*source(p), **given(p))
        scores.append(search.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(*scores)


class Bars:
    """AUs without faces: where the bright bar is; counts the pictures that it is asked about."""

    au_names = ("AU01", "AU12")
    identity = "bars"
    asked = 0

    def detect(self, images):
        type(self).asked += len(images)
        rows = [(i[3:9].mean(), i[15:21].mean()) for i in images]
        return np.abs(np.array(rows, dtype=np.float32) - 128) / 128


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("method", [AdaFERClassifier, AUInputClassifier])
def test_aus_are_computed_once_over_a_whole_search(face_problem, tmp_path, method):
    p = face_problem
    X, y, X_tgt = p["X"][:40], p["y"][:40], p["X_tgt"]
    Bars.asked = 0
    clf = small(method, backbone="convnet", image_size=24, epochs=1).set_params(
        au_extractor=AUExtractor(detector=Bars(), cache=tmp_path / "aus.sqlite")
    )
    pipeline = make_pipeline(FaceAligner(size=24, aligned=True), clf, transform_input=["X_tgt"])
    name = f"{method.__name__.lower()}__beta"
    search = GridSearchCV(pipeline, {name: [0.3, 1.0]}, cv=2, error_score="raise")
    search.fit(X, y, X_tgt=as_target(X_tgt))
    assert Bars.asked == len(X) + len(X_tgt)
    if method is AdaFERClassifier:
        assert search.best_estimator_[-1].target_labels_.shape == (40, 2)


def test_calibration_and_votes_take_a_target(feature_problem):
    p = feature_problem
    calibrated = CalibratedClassifierCV(small(), cv=2).fit(*source(p), **given(p))
    np.testing.assert_allclose(calibrated.predict_proba(p["X"]).sum(axis=1), 1)
    members = [c.estimator.target_labels_ for c in calibrated.calibrated_classifiers_]
    assert [len(labels) for labels in members] == [WHOLE, WHOLE]
    with sklearn.config_context(enable_metadata_routing=True):
        votes = VotingClassifier(
            [("adafer", small()), ("dann", small(DANNClassifier, hidden_units=8))], voting="soft"
        ).fit(*source(p), **given(p))
        assert votes.score(*source(p)) > 0.5
        # scikit-learn hands the target on to the final estimator; docs/scikit_learn.md says so
        stack = StackingClassifier([("adafer", small())], LogisticRegression(), cv=2)
        with pytest.raises(TypeError, match="X_tgt"):
            stack.fit(*source(p), **given(p))
