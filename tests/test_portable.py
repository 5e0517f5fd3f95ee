"""Models that arrive from another machine: pickled, and saved."""

import io
import json
import pickle

import joblib
import numpy as np
import pytest
import torch

from adafer import (
    AdaFERClassifier,
    AUExtractor,
    AUGuidedAnnotator,
    AUInputClassifier,
    AUQueryClassifier,
    PseudoLabelClassifier,
    SourceOnlyClassifier,
    _portable,
)
from adafer.persistence import load_model
from adafer.rivals import AGRAClassifier, DANNClassifier, T3AClassifier

SMALL = {"epochs": 1, "batch_size": 32, "device": "cpu", "random_state": 0}


def there_and_back(how, thing, folder):
    if how == "pickle":
        return pickle.loads(pickle.dumps(thing))
    joblib.dump(thing, folder / "model.joblib")
    return joblib.load(folder / "model.joblib", mmap_mode="r" if how == "mmap" else None)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize("how", ["pickle", "joblib", "mmap"])
@pytest.mark.parametrize(
    "kind",
    [
        AdaFERClassifier,
        AUInputClassifier,
        AUQueryClassifier,
        PseudoLabelClassifier,
        SourceOnlyClassifier,
        AGRAClassifier,
        DANNClassifier,
        T3AClassifier,
    ],
)
def test_pickles_predict_the_same_and_can_be_fitted_again(how, kind, feature_problem, tmp_path):
    p = feature_problem
    options = {} if kind is AUQueryClassifier else SMALL
    data = {"X_tgt": p["X_tgt"], "au_src": p["au_src"], "au_tgt": p["au_tgt"]}
    if kind in (AGRAClassifier, DANNClassifier, T3AClassifier, SourceOnlyClassifier):
        data = {"X_tgt": p["X_tgt"]}
    classifier = kind(**options).fit(p["X"], p["y"], **data)
    beside = {"au": p["au_tgt"]} if kind in (AUInputClassifier, AUQueryClassifier) else {}
    expected = classifier.predict_proba(p["X_tgt"], **beside)
    copy = there_and_back(how, classifier, tmp_path)
    np.testing.assert_array_equal(copy.predict_proba(p["X_tgt"], **beside), expected)
    assert "_adafer_versions" not in vars(copy)
    assert copy.get_params().keys() == classifier.get_params().keys()
    again = copy.fit(p["X"], p["y"], **data).predict_proba(p["X_tgt"], **beside)
    np.testing.assert_array_equal(again, expected)


def test_a_fitted_extractor_and_annotator_are_pickled_with_the_classifier(face_problem):
    p = face_problem
    classifier = AdaFERClassifier("convnet", image_size=24, **SMALL)
    classifier.fit(p["X"], p["y"], p["X_tgt"], au_src=p["au_src"], au_tgt=p["au_tgt"])
    extractor = AUExtractor()
    extractor.score_faces(p["X"][:1])
    classifier.au_extractor_ = extractor
    copy = pickle.loads(pickle.dumps(classifier))
    assert isinstance(copy.annotator_, AUGuidedAnnotator)
    np.testing.assert_array_equal(
        copy.au_extractor_.score_faces(p["X"][:2]), extractor.score_faces(p["X"][:2])
    )
    np.testing.assert_array_equal(
        copy.predict_proba(p["X_tgt"]), classifier.predict_proba(p["X_tgt"])
    )


@pytest.mark.usefixtures("no_gpu")
def test_a_pickle_from_a_gpu_predicts_where_there_is_none_and_says_so(feature_problem):
    p = feature_problem
    classifier = SourceOnlyClassifier(**SMALL).fit(p["X"], p["y"])
    expected = classifier.predict_proba(p["X_tgt"])
    content = pickle.dumps(classifier.set_params(device="cuda:1"))
    with pytest.warns(UserWarning, match=r"device='cuda:1', which is not on this machine"):
        copy = pickle.loads(content)
    assert copy.device == "auto"
    np.testing.assert_array_equal(copy.predict_proba(p["X_tgt"]), expected)


@pytest.mark.usefixtures("no_gpu")
def test_a_folder_from_a_gpu_predicts_where_there_is_none_and_says_so(feature_problem, tmp_path):
    p = feature_problem
    classifier = SourceOnlyClassifier(**SMALL).fit(p["X"], p["y"])
    expected = classifier.predict_proba(p["X_tgt"])
    classifier.set_params(device="cuda").save(tmp_path / "model")
    with pytest.warns(UserWarning, match=r"device='cuda', which is not on this machine"):
        loaded = load_model(tmp_path / "model")
    assert loaded.device == "auto"
    np.testing.assert_array_equal(loaded.predict_proba(p["X_tgt"]), expected)


def test_a_fitted_network_is_kept_on_the_cpu(feature_problem):
    """So that no pickle asks for the device it was made on."""
    classifier = SourceOnlyClassifier(**SMALL).fit(feature_problem["X"], feature_problem["y"])
    stream = io.BytesIO()
    torch.save(classifier.network_.state_dict(), stream)
    assert b"cuda" not in stream.getvalue()
    assert {tensor.device.type for tensor in classifier.network_.state_dict().values()} == {"cpu"}


def test_an_unfitted_pickle_is_not_looked_at():
    copy = pickle.loads(pickle.dumps(SourceOnlyClassifier(device="cuda:7")))
    assert copy.device == "cuda:7"


# --------------------------------------------------------------------- versions


def edit_versions(folder, **versions):
    path = folder / "model.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    description["versions"] |= {name.replace("_", "-"): v for name, v in versions.items()}
    description.pop("description_sha256", None)  # as a file of another version
    path.write_text(json.dumps(description), encoding="utf-8")


@pytest.fixture
def folder(feature_problem, tmp_path):
    classifier = SourceOnlyClassifier(**SMALL).fit(feature_problem["X"], feature_problem["y"])
    classifier.save(tmp_path / "model")
    return tmp_path / "model"


def test_a_model_of_a_newer_adafer_is_told(folder):
    edit_versions(folder, adafer="12.0.1")
    with pytest.warns(UserWarning, match=r"made by adafer 12\.0\.1, newer than .* Update adafer"):
        load_model(folder)


def test_other_major_versions_are_told_and_others_are_not(folder):
    edit_versions(folder, torch="1.13.1+cu117", numpy="2.0.0", ai_edge_litert="not installed")
    with pytest.warns(UserWarning, match=r"was made with torch 1\.13\.1\+cu117 \(here 2\.") as told:
        load_model(folder)
    [warning] = told
    assert "numpy" not in str(warning.message)
    assert "litert" not in str(warning.message)
    edit_versions(folder, torch="2.0.0", adafer="0.0.9")
    load_model(folder)


def test_pickles_tell_versions_too(feature_problem, monkeypatch):
    classifier = SourceOnlyClassifier(**SMALL).fit(feature_problem["X"], feature_problem["y"])
    content = pickle.dumps(classifier)
    here = _portable.versions()
    monkeypatch.setattr(_portable, "versions", lambda: here | {"adafer": "0.0.1"})
    with pytest.warns(UserWarning, match="The pickled SourceOnlyClassifier was made by adafer"):
        pickle.loads(content)
