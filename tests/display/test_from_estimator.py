"""Displays made from estimators show what those predict."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, recall_score
from sklearn.pipeline import make_pipeline

from adafer.display import ConfusionDisplay, FeaturesDisplay, PredictionsDisplay, RecallDisplay


@pytest.fixture
def fitted(feature_problem):
    return LogisticRegression().fit(feature_problem["X"], feature_problem["y"])


def test_confusion_of_one_estimator(fitted, feature_problem):
    X, y = feature_problem["X_tgt"], feature_problem["y_tgt"]
    display = ConfusionDisplay.from_estimator(fitted, X, y, normalize=None)
    assert list(display.matrices) == ["LogisticRegression"]
    expected = confusion_matrix(y, fitted.predict(X))
    np.testing.assert_array_equal(display.matrices["LogisticRegression"], expected)


def test_recalls_of_one_and_of_several_estimators(fitted, feature_problem):
    X, y = feature_problem["X_tgt"], feature_problem["y_tgt"]
    expected = recall_score(y, fitted.predict(X), average=None)
    one = RecallDisplay.from_estimator(fitted, X, y)
    np.testing.assert_array_equal(one.recalls["LogisticRegression"], expected)
    two = RecallDisplay.from_estimators({"first": fitted, "second": fitted}, X, y)
    assert list(two.recalls) == ["first", "second"]
    np.testing.assert_array_equal(two.recalls["second"], expected)
    with pytest.raises(ValueError, match="estimators is empty"):
        RecallDisplay.from_estimators({}, X, y)


def test_features_of_one_estimator(feature_problem):
    p = feature_problem
    pca = PCA(2).fit(p["X"])
    display = FeaturesDisplay.from_estimator(pca, p["X"], p["y"], p["X_tgt"], subsample=20)
    assert [panel.get_title() for panel in display.axes_] == ["PCA"]
    assert display.embeddings["PCA"][0].shape == (20, 2)


def test_faces_with_the_predictions_of_two_estimators(adapted_to_faces, face_problem):
    from sklearn.dummy import DummyClassifier
    from sklearn.preprocessing import FunctionTransformer

    classifier, paths = adapted_to_faces
    flat = FunctionTransformer(lambda X: np.zeros((len(X), 1)))
    dummy = make_pipeline(flat, DummyClassifier(strategy="constant", constant="joy"))
    dummy.fit(face_problem["X"], face_problem["y"])
    y_true = face_problem["y_tgt"][3:7]
    display = PredictionsDisplay.from_estimators(dummy, classifier, paths[3:7], y_true)
    assert display.before.tolist() == ["joy"] * 4
    assert display.after.tolist() == classifier.predict(paths[3:7]).tolist()
    np.testing.assert_array_equal(display.images[0], face_problem["X_tgt"][3])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        PredictionsDisplay.from_estimators(dummy, classifier, paths[3:7], y_true[:2])
