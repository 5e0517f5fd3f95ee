"""Scorers without target labels, compared to slow versions."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_validate
from sklearn.preprocessing import StandardScaler

from adafer import (
    AUExtractor,
    AUGuidedAnnotator,
    AUInputClassifier,
    SourceOnlyClassifier,
    as_target,
    model_selection,
)
from adafer.model_selection import (
    AUAgreementScorer,
    DeepEmbeddedValidationScorer,
    ImportanceWeightedScorer,
    SoftNeighborhoodDensityScorer,
    TargetEntropyScorer,
)

SCORERS = [getattr(model_selection, name) for name in model_selection.__all__]
AU_SCORERS = [DeepEmbeddedValidationScorer, ImportanceWeightedScorer, AUAgreementScorer]


@pytest.fixture
def fitted(feature_problem):
    p = feature_problem
    clf = SourceOnlyClassifier(
        epochs=4, batch_size=32, learning_rate=0.01, random_state=0, device="cpu"
    )
    return clf.fit(p["X"][:80], p["y"][:80]), p["X"][80:], p["y"][80:]


def slow_entropy(row):
    return -sum(q * np.log(q) for q in row if q > 0)


def test_entropy_is_that_of_the_slow_version(fitted, feature_problem):
    clf, X, y = fitted
    target = feature_problem["X_tgt"]
    rows = clf.predict_proba(target)
    mean = np.mean([slow_entropy(row) for row in rows])
    assert TargetEntropyScorer()(clf, X, y, X_tgt=target) == pytest.approx(-mean)
    diverse = TargetEntropyScorer(diversity=True)(clf, X, y, X_tgt=target)
    assert diverse == pytest.approx(slow_entropy(rows.mean(axis=0)) - mean)
    constant = DummyClassifier().fit(X, np.repeat("joy", len(y)))
    assert TargetEntropyScorer()(constant, X, X_tgt=target) == 0.0  # the trap of entropy


def test_soft_neighbourhood_density_is_that_of_the_slow_version(
    fitted, feature_problem, monkeypatch
):
    clf, X, y = fitted
    target = feature_problem["X_tgt"][:30]
    rows = clf.predict_proba(target)
    rows = [row / np.sqrt(sum(row**2)) for row in rows]
    total = 0.0
    for i, row in enumerate(rows):
        weights = np.array([np.exp(row @ other / 0.1) for j, other in enumerate(rows) if j != i])
        total += slow_entropy(weights / weights.sum())
    scorer = SoftNeighborhoodDensityScorer(temperature=0.1)
    assert scorer(clf, X, y, X_tgt=target) == pytest.approx(total / 30)
    monkeypatch.setattr(model_selection, "_BLOCK", 90)  # in pieces of three rows
    assert scorer(clf, X, y, X_tgt=target) == pytest.approx(total / 30)
    with pytest.raises(ValueError, match="two or more"):
        scorer(clf, X, y, X_tgt=target[:1])


def slow_losses(clf, X, y, loss):
    losses = []
    for row, truth in zip(clf.predict_proba(X), y, strict=True):
        k = clf.classes_.tolist().index(truth)
        losses.append(float(row.argmax() != k) if loss == "zero_one" else -np.log(row[k]))
    return np.array(losses)


def slow_ratios(source, target, n_folds=5):
    """Odds of a domain classifier that did not see the sample."""
    points = np.concatenate([source, target])
    domain = np.array([0] * len(source) + [1] * len(target))
    ratios = np.zeros(len(source))
    seed = np.random.RandomState(0).randint(2**31 - 1)
    for fit, ask in StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(points, domain):
        scaler = StandardScaler().fit(points[fit])
        model = LogisticRegression(C=0.1, max_iter=1000)
        model.fit(scaler.transform(points[fit]), domain[fit])
        for i in ask[ask < len(source)]:
            away, like = model.predict_proba(scaler.transform(points[i : i + 1]))[0]
            ratios[i] = like / away * len(source) / len(target)
    return ratios


@pytest.mark.parametrize("loss", ["zero_one", "log_loss"])
def test_weighted_risks_are_those_of_the_slow_versions(fitted, feature_problem, loss):
    clf, X, y = fitted
    target = feature_problem["X_tgt"]
    losses = slow_losses(clf, X, y, loss)
    weights = slow_ratios(X.astype(float), target.astype(float))
    expected = -np.mean([w * loss for w, loss in zip(weights, losses, strict=True)])
    found = ImportanceWeightedScorer(loss=loss)(clf, X, y, X_tgt=target)
    assert found == pytest.approx(expected, rel=1e-3)

    weights = slow_ratios(clf.transform(X), clf.transform(target))
    weighted = weights * losses
    covariance = np.mean((weighted - weighted.mean()) * (weights - weights.mean()))
    eta = -covariance / np.mean((weights - weights.mean()) ** 2)
    expected = -(weighted.mean() + eta * weights.mean() - eta)
    found = DeepEmbeddedValidationScorer(loss=loss)(clf, X, y, X_tgt=target)
    assert found == pytest.approx(expected, rel=1e-3)


def test_the_control_variate_finds_an_even_loss_whatever_the_weights(feature_problem):
    """Where all samples have the same loss, so has the target; weights alone blur that."""
    p = feature_problem
    wrong = DummyClassifier(strategy="constant", constant="joy").fit(p["X"], p["y"])
    wrong.transform = lambda X: X
    rows = p["y"] != "joy"
    scores = [
        method(loss="zero_one")(wrong, p["X"][rows], p["y"][rows], X_tgt=p["X_tgt"])
        for method in (ImportanceWeightedScorer, DeepEmbeddedValidationScorer)
    ]
    assert scores[0] != pytest.approx(-1, abs=0.02)
    assert scores[1] == pytest.approx(-1)


def test_a_class_that_the_classifier_does_not_know_is_an_error_to_it(fitted, feature_problem):
    clf, X, y = fitted
    y = np.where(np.arange(len(y)) < 20, "contempt", y)
    scores = [
        ImportanceWeightedScorer(loss=loss)(clf, X, y, X_tgt=feature_problem["X_tgt"])
        for loss in ("zero_one", "log_loss")
    ]
    assert all(np.isfinite(scores))
    assert scores[0] < ImportanceWeightedScorer(loss="zero_one")(
        *fitted, X_tgt=feature_problem["X_tgt"]
    )


@pytest.mark.parametrize("measure", ["accuracy", "likelihood"])
def test_au_agreement_is_that_of_the_slow_version(fitted, feature_problem, measure):
    clf, X, y = fitted
    p = feature_problem
    au_src, au_tgt = p["au_src"][80:], p["au_tgt"].copy()
    au_tgt[:5] = np.nan  # no face
    annotator = AUGuidedAnnotator(matching="near").fit(au_src, y)
    total, n = 0.0, 0
    rows = clf.predict_proba(p["X_tgt"])
    for row, au in zip(rows, au_tgt, strict=True):
        if np.isnan(au).any():
            continue
        label, n = annotator.predict_proba(au[None])[0], n + 1
        if measure == "accuracy":
            total += label[row.argmax()]
        else:
            total += sum(q * np.log(r) for q, r in zip(label, row, strict=True))
    more = {"X_tgt": p["X_tgt"], "au_tgt": au_tgt}
    found = AUAgreementScorer(measure=measure)(clf, X, y, au_src=au_src, **more)
    assert found == pytest.approx(total / n)
    frozen = FrozenEstimator(annotator)
    found = AUAgreementScorer(measure=measure, annotator=frozen)(clf, X, **more)
    assert found == pytest.approx(total / n)


def test_au_agreement_computes_the_scores_that_are_not_given(face_problem, tmp_path):
    p = face_problem

    class Bars:
        au_names = ("AU01", "AU12")
        identity = "bars"
        asked = 0

        def detect(self, images):
            type(self).asked += len(images)
            rows = [(i[3:9].mean(), i[15:21].mean()) for i in images]
            return np.array(rows, dtype=np.float32) / 255

    extractor = AUExtractor(detector=Bars(), cache=tmp_path / "aus.sqlite")
    clf = SourceOnlyClassifier("convnet", image_size=24, epochs=0, random_state=0, device="cpu")
    clf.fit(p["X"], p["y"])
    scorer = AUAgreementScorer(au_extractor=extractor)
    score = scorer(clf, p["X"], p["y"], X_tgt=p["X_tgt"])
    assert scorer(clf, p["X"], p["y"], X_tgt=p["X_tgt"]) == score
    assert Bars.asked == len(p["X"]) + len(p["X_tgt"])
    assert np.isfinite(DeepEmbeddedValidationScorer()(clf, p["X"], p["y"], X_tgt=p["X_tgt"]))
    assert np.isfinite(ImportanceWeightedScorer()(clf, p["X"], p["y"], X_tgt=p["X_tgt"]))


def test_each_scorer_prefers_the_classifier_that_adapted(feature_problem):
    """On an easy problem all of them do; docs/model_selection.md tells of hard ones."""
    p = feature_problem
    right = LogisticRegression().fit(np.r_[p["X"], p["X_tgt"]], np.r_[p["y"], p["y_tgt"]])
    blurred = LogisticRegression(C=1e-4).fit(p["X"], p["y"])
    right.transform = blurred.transform = lambda X: X
    for method in SCORERS:
        au = {"au_tgt": p["au_tgt"]}
        if method in AU_SCORERS:
            au["au_src"] = p["au_src"]
        scores = [method()(clf, p["X"], p["y"], X_tgt=p["X_tgt"], **au) for clf in (right, blurred)]
        if method is not SoftNeighborhoodDensityScorer:
            assert scores[0] > scores[1], method
        else:  # one dense cloud is the densest of all
            assert scores[0] < scores[1]


@pytest.mark.parametrize("method", SCORERS)
def test_a_search_routes_the_target_to_each_scorer(feature_problem, method):
    p = feature_problem
    clf = SourceOnlyClassifier(epochs=1, batch_size=32, random_state=0, device="cpu")
    grid = {"learning_rate": [1e-3, 1e-2]}
    metadata = {"X_tgt": p["X_tgt"], "au_tgt": p["au_tgt"], "au_src": p["au_src"]}
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            clf, grid, cv=2, scoring={"it": method(), "accuracy": "accuracy"}, refit="it",
            error_score="raise",
        )  # fmt: skip
        wrapped = {k: as_target(v) if k != "au_src" else v for k, v in metadata.items()}
        search.fit(p["X"], p["y"], **wrapped)
    routed = search.cv_results_["mean_test_it"]
    assert np.isfinite(routed).all()
    assert routed[0] != routed[1]
    if method is not AUAgreementScorer:  # which needs au_src, that only routing brings
        held = method(X_tgt=p["X_tgt"], au_tgt=p["au_tgt"])
        search = GridSearchCV(clf, grid, cv=2, scoring=clone(held), error_score="raise")
        search.fit(p["X"], p["y"], X_tgt=as_target(p["X_tgt"]))
        np.testing.assert_allclose(search.cv_results_["mean_test_score"], routed)


@pytest.mark.parametrize("method", SCORERS)
def test_a_scorer_without_a_target_says_how_to_give_it(fitted, method):
    with pytest.raises(ValueError, match=r"got no target.*as_target.*enable_metadata_routing"):
        method()(*fitted)


def test_a_target_that_was_cut_is_refused_by_scorers_too(feature_problem):
    p = feature_problem
    clf = SourceOnlyClassifier(epochs=0, random_state=0, device="cpu")
    with (
        sklearn.config_context(enable_metadata_routing=True),
        pytest.raises(ValueError, match="X_tgt has 60 rows, as many as X"),
    ):
        cross_validate(
            clf.set_fit_request(X_tgt=False), p["X"][:120], p["y"][:120], cv=2,
            params={"X_tgt": p["X_tgt"]}, scoring=TargetEntropyScorer(), error_score="raise",
        )  # fmt: skip


def test_classifiers_that_take_aus_at_predict_get_them(feature_problem):
    p = feature_problem
    clf = AUInputClassifier(epochs=1, batch_size=32, random_state=0, device="cpu")
    clf.fit(p["X"], p["y"], au_src=pd.DataFrame(p["au_src"]))
    au = {"au_tgt": p["au_tgt"]}
    for method in SCORERS:
        more = au | ({"au_src": p["au_src"]} if method in AU_SCORERS else {})
        assert np.isfinite(method()(clf, p["X"], p["y"], X_tgt=p["X_tgt"], **more))


def test_what_a_scorer_needs_is_told(fitted, feature_problem):
    clf, X, y = fitted
    p = feature_problem
    with pytest.raises(ValueError, match="needs y"):
        DeepEmbeddedValidationScorer()(clf, X, X_tgt=p["X_tgt"])
    with pytest.raises(ValueError, match=r"needs y.*frozen"):
        AUAgreementScorer()(clf, X, X_tgt=p["X_tgt"], au_tgt=p["au_tgt"])
    with pytest.raises(ValueError, match="give au_tgt"):
        AUAgreementScorer()(clf, X, y, X_tgt=p["X_tgt"], au_src=p["au_src"][80:])
    plain = LogisticRegression().fit(X, y)
    with pytest.raises(ValueError, match="transform, which LogisticRegression lacks"):
        DeepEmbeddedValidationScorer()(plain, X, y, X_tgt=p["X_tgt"])
    with pytest.raises(ValueError, match="two or more"):
        ImportanceWeightedScorer()(clf, X, y, X_tgt=p["X_tgt"][:1])


def test_scorers_take_all_their_arguments_by_name(fitted, feature_problem):
    clf, X, y = fitted
    score = TargetEntropyScorer().score(estimator=clf, X=X, y=y, X_tgt=feature_problem["X_tgt"])
    assert score == TargetEntropyScorer()(clf, X, y, X_tgt=feature_problem["X_tgt"])


@pytest.mark.parametrize("method", SCORERS)
def test_errors_of_scorers_say_which_argument_is_wrong(fitted, feature_problem, method):
    clf, X, y = fitted
    p = feature_problem
    right = {"X": X, "y": y, "X_tgt": p["X_tgt"], "au_tgt": p["au_tgt"]}
    if method in AU_SCORERS:
        right["au_src"] = p["au_src"][80:]
    refused = [
        ({"estimator": 7}, "The estimator of the scorer needs predict_proba, which int lacks"),
        ({"X_tgt": p["X_tgt"][:, 1:]}, r"X_tgt: .*features|features and X_tgt 2"),
        ({"X_tgt": p["X_tgt"] * np.nan}, r"X_tgt.*NaN"),
        ({"X_tgt": p["X_tgt"][1:]}, r"X_tgt and au_tgt: .*inconsistent"),
        ({"au_tgt": 5 * p["au_tgt"]}, r"au_tgt must lie in \[0, 1\]"),
    ]
    if method in AU_SCORERS:
        refused += [
            ({"y": y[1:]}, r"\by have inconsistent lengths"),
            ({"y": np.full(len(y), None)}, r"^y has no label"),
            ({"au_src": 5 * right["au_src"]}, r"au_src must lie in \[0, 1\]"),
        ]
    for wrong, words in refused:
        with pytest.raises((ValueError, TypeError), match=words):
            method().score(**{"estimator": clf, **right, **wrong})


def test_names_beside_numbers_are_no_errors_of_a_classifier(fitted, feature_problem):
    clf, X, y = fitted
    numbers = np.unique(y, return_inverse=True)[1]
    with pytest.raises(ValueError, match=r"^y: Mix of label input types"):
        ImportanceWeightedScorer()(clf, X, numbers, X_tgt=feature_problem["X_tgt"])
