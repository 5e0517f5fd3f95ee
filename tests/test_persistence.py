import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from adafer import AdaFERClassifier, AUExtractor, AUGuidedAnnotator, persistence
from adafer.persistence import check_model_path, load_model, save_model

FILES = ["README.md", "model.json", "model.safetensors"]


def small(**options):
    settings = {"epochs": 2, "batch_size": 32, "random_state": 0, "device": "cpu"}
    return AdaFERClassifier(**(settings | options))


def adapted(problem, **options):
    annotator = AUGuidedAnnotator(("t-soft",), threshold=0.5)
    return small(annotator=annotator, **options).fit(
        problem["X"],
        problem["y"],
        problem["X_tgt"],
        au_src=problem["au_src"],
        au_tgt=problem["au_tgt"],
    )


@pytest.fixture
def saved(feature_problem, tmp_path):
    """A model folder, and what its classifier predicts."""
    classifier = adapted(feature_problem, epochs=1)
    classifier.save(tmp_path / "model")
    return tmp_path / "model", classifier.predict_proba(feature_problem["X_tgt"])


def edit(folder, change, *, sealed=False):
    path = folder / "model.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    change(description)
    if not sealed:
        description.pop("description_sha256", None)
    path.write_text(json.dumps(description), encoding="utf-8")


def names_in(folder):
    return sorted(entry.name for entry in folder.iterdir())


def assert_same(first, second, X):
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    np.testing.assert_array_equal(first.transform(X), second.transform(X))
    np.testing.assert_array_equal(first.predict(X), second.predict(X))


# ------------------------------------------------------------- there and back


def test_features_model_predicts_the_same_after_loading(feature_problem, tmp_path):
    classifier = adapted(feature_problem)
    classifier.save(tmp_path / "model")
    assert names_in(tmp_path / "model") == FILES
    assert names_in(tmp_path) == ["model"]
    loaded = AdaFERClassifier.load(tmp_path / "model")
    assert_same(classifier, loaded, feature_problem["X_tgt"])
    assert loaded.n_features_in_ == 3
    with pytest.raises(ValueError, match="features"):
        loaded.predict(feature_problem["X_tgt"][:, :2])


def test_faces_model_predicts_the_same_to_the_bit(face_problem, tmp_path):
    classifier = adapted(face_problem, backbone="convnet", image_size=32)
    classifier.save(tmp_path / "model")
    loaded = load_model(str(tmp_path / "model"))
    assert_same(classifier, loaded, face_problem["X_tgt"])
    assert loaded.image_shape_ == (32, 32, 3)
    assert not loaded.network_.training
    # another memory layout may sum in another order
    layouts = [
        [tensor.stride() for tensor in clf.network_.parameters()] for clf in (classifier, loaded)
    ]
    assert layouts[0] == layouts[1]


def test_a_residual_network_comes_back_too(face_problem, tmp_path):
    classifier = small(epochs=0, backbone="resnet18", image_size=24)
    classifier.fit(face_problem["X"], face_problem["y"]).save(tmp_path / "model")
    assert_same(classifier, load_model(tmp_path / "model"), face_problem["X_tgt"][:4])


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["joy", "Ärger"]),
        np.array(["joy", "fear"], dtype="<U20"),
        np.array(["joy", "fear"], dtype=object),
        np.array([3, -1]),
        np.array([1, 2], dtype=np.uint8),
        np.array([True, False]),
        np.array([1.0, 2.0], dtype=np.float32),
    ],
    ids=lambda labels: str(labels.dtype),
)
def test_classes_keep_their_type(labels, tmp_path):
    X = np.random.default_rng(0).normal(size=(8, 3))
    classifier = small(epochs=0).fit(X, labels[[0, 1] * 4])
    classifier.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.classes_.dtype == classifier.classes_.dtype
    assert_same(classifier, loaded, X)


def test_results_and_parameters_come_back(feature_problem, tmp_path):
    pd = pytest.importorskip("pandas")
    p = feature_problem
    classifier = small(
        annotator=AUGuidedAnnotator(("s-hard", "t-soft"), matching="hamming", quantile=0.6),
        au_extractor=AUExtractor(min_presence=0.3),
        learning_rate=np.float64(0.01),
        margin="learnable",
    ).fit(
        p["X"],
        p["y"],
        p["X_tgt"],
        au_src=pd.DataFrame(p["au_src"], columns=["AU01", "AU02", "AU04", "AU12"]),
        au_tgt=p["au_tgt"],
    )
    classifier.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    for name in ("history_", "n_iter_", "coverage_", "margin_", "n_skipped_anchors_", "au_names_"):
        assert getattr(loaded, name) == getattr(classifier, name), name
    np.testing.assert_array_equal(loaded.au_thresholds_, classifier.annotator_.thresholds_)
    assert repr(loaded.get_params()) == repr(
        clone(classifier).set_params(learning_rate=0.01).get_params()
    )
    assert loaded.annotator.schemes == ("s-hard", "t-soft")


def test_feature_names_come_back(feature_problem, tmp_path):
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(feature_problem["X"], columns=["a", "b", "c"])
    small(epochs=0).fit(X, feature_problem["y"]).save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    loaded.predict(X)
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(X.rename(columns={"a": "z"}))


def test_a_loaded_source_model_can_be_adapted_without_training_it_again(feature_problem, tmp_path):
    p = feature_problem
    domains = {"X_tgt": p["X_tgt"], "au_src": p["au_src"], "au_tgt": p["au_tgt"]}
    classifier = small(warm_start=True).fit(p["X"], p["y"])
    classifier.save(tmp_path / "source")
    loaded = load_model(tmp_path / "source").set_params(source_epochs=0)
    loaded.fit(p["X"], p["y"], **domains)
    classifier.set_params(source_epochs=0).fit(p["X"], p["y"], **domains)
    assert {row["stage"] for row in loaded.history_} == {"joint"}
    assert_same(classifier, loaded, p["X_tgt"])


def test_what_json_cannot_hold_is_left_out_and_named(feature_problem, tmp_path):
    class Detector:
        au_names = ("AU01",)

        def detect(self, images):
            raise NotImplementedError

    classifier = small(
        random_state=np.random.RandomState(0), au_extractor=AUExtractor(detector=Detector())
    ).fit(feature_problem["X"], feature_problem["y"])
    classifier.save(tmp_path / "model")
    description = json.loads((tmp_path / "model" / "model.json").read_text(encoding="utf-8"))
    assert description["parameters_left_out"] == ["au_extractor", "random_state"]
    loaded = load_model(tmp_path / "model")
    assert loaded.random_state is None
    assert loaded.au_extractor is None


def test_the_description_can_be_read_by_people(face_problem, tmp_path):
    adapted(face_problem, epochs=1, backbone="convnet", image_size=24).save(tmp_path / "model")
    description = json.loads((tmp_path / "model" / "model.json").read_text(encoding="utf-8"))
    assert description["classes"]["values"] == ["joy", "sad"]
    assert description["network"]["backbone"] == "convnet"
    assert description["preprocessing"]["resize"] == [24, 24]
    assert description["preprocessing"]["mean"] == pytest.approx([0.485, 0.456, 0.406])
    assert description["parameters"]["annotator"]["parameters"]["threshold"] == 0.5
    assert {"adafer", "python", "numpy", "scikit-learn", "torch"} <= set(description["versions"])


def test_saving_and_loading_leave_the_random_state_alone(feature_problem, tmp_path):
    classifier = adapted(feature_problem, epochs=1)
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    classifier.save(tmp_path / "model")
    load_model(tmp_path / "model")
    assert torch.equal(before, torch.random.get_rng_state())


# ------------------------------------------------------------- places to save


def test_an_earlier_model_is_replaced(saved, feature_problem):
    folder, before = saved
    adapted(feature_problem, epochs=2, random_state=5).save(folder)
    assert np.any(load_model(folder).predict_proba(feature_problem["X_tgt"]) != before)
    assert names_in(folder.parent) == ["model"]


def test_an_earlier_model_survives_a_failed_save(saved, feature_problem, monkeypatch):
    folder, before = saved

    def fail(path):
        raise OSError("No space left on device")

    monkeypatch.setattr(persistence, "sha256", fail)
    with pytest.raises(OSError, match="No space"):
        save_model(adapted(feature_problem, epochs=1), folder)
    monkeypatch.undo()
    np.testing.assert_array_equal(
        load_model(folder).predict_proba(feature_problem["X_tgt"]), before
    )
    assert names_in(folder.parent) == ["model"]


def test_a_link_to_a_model_stays_a_link(saved, feature_problem):
    folder, _ = saved
    link = folder.parent / "latest"
    link.symlink_to(folder)
    adapted(feature_problem, epochs=1).save(link)
    assert link.is_symlink()
    assert names_in(folder) == FILES


def test_an_empty_folder_and_missing_parents_are_fine(feature_problem, tmp_path):
    classifier = adapted(feature_problem, epochs=0, source_epochs=0)
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "new" / "deep" / "model"):
        classifier.save(path)
        assert names_in(path) == FILES
        assert load_model(path).classes_.tolist() == classifier.classes_.tolist()


@pytest.mark.parametrize("content", ["thesis.txt", "model.json", "model.safetensors"])
def test_a_foreign_folder_is_never_replaced(feature_problem, tmp_path, content):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / content).write_text('{"format": "another"}', encoding="utf-8")
    classifier = small(epochs=0).fit(feature_problem["X"], feature_problem["y"])
    with pytest.raises(FileExistsError, match="not replaced by a model"):
        classifier.save(folder)
    assert names_in(tmp_path) == ["mine"]
    assert (folder / content).read_text(encoding="utf-8") == '{"format": "another"}'


def test_a_model_with_a_foreign_file_in_it_is_not_replaced(saved, feature_problem):
    folder, _ = saved
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match=r"it holds notes\.txt"):
        adapted(feature_problem, epochs=0, source_epochs=0).save(folder)
    assert (folder / "notes.txt").exists()


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match="is a file; a model is a folder"):
        check_model_path(tmp_path / "file")
    with pytest.raises(NotADirectoryError, match="is a file, expected a folder"):
        check_model_path(tmp_path / "file" / "model")


def test_an_unfitted_classifier_is_refused(tmp_path):
    with pytest.raises(NotFittedError):
        AdaFERClassifier().save(tmp_path / "model")
    assert names_in(tmp_path) == []


def test_a_backbone_changed_after_fit_is_noticed(face_problem, tmp_path):
    classifier = small(epochs=0, backbone="convnet", image_size=24)
    classifier.fit(face_problem["X"], face_problem["y"]).set_params(backbone="resnet18")
    with pytest.raises(ValueError, match="backbone was changed after fit"):
        classifier.save(tmp_path / "model")
    assert names_in(tmp_path) == []


# ---------------------------------------------------------------- bad folders


def test_no_folder_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no model"):
        load_model(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_missing_file_is_named(saved, name):
    folder, _ = saved
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"no complete model: {name} is missing"):
        load_model(folder)


@pytest.mark.parametrize("kept", [0, 5, 200, 20_000])
def test_truncated_tensors_are_refused(saved, kept):
    folder, _ = saved
    path = folder / "model.safetensors"
    content = path.read_bytes()
    assert len(content) > kept
    path.write_bytes(content[:kept])
    with pytest.raises(ValueError, match="no complete safetensors file"):
        load_model(folder)


def test_a_single_changed_byte_is_noticed(saved):
    folder, _ = saved
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged or belongs to another model"):
        load_model(folder)


@pytest.mark.parametrize("text", ["", '{"format": "adafer-model"', "\x00\x01", "[" * 100_000])
def test_broken_json_is_refused(saved, text):
    folder, _ = saved
    (folder / "model.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="is not JSON"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format="onnx"), "got format 'onnx', expected 'adafer-model'"),
        (lambda d: d.update(format_version=2), "format version 2; adafer .* reads version 1"),
        (lambda d: d.update({"class": "SVC"}), "describes a 'SVC'"),
        (lambda d: d.pop("classes"), "wrong or missing entry"),
        (lambda d: d.update(history=None), "wrong or missing entry"),
        (lambda d: d["classes"].update(dtype="V8"), "cannot be read"),
        (lambda d: d["classes"].update(dtype="<U99999"), "cannot be read"),
        (lambda d: d["classes"].update(values=["joy", "joy", "sad"]), "all different"),
        (lambda d: d["classes"].update(values=["joy", "sad"]), "classifier.bias.*got shape"),
        (lambda d: d["network"].update(n_features_in=10**13), "'mean': got shape"),
        (lambda d: d["network"].update(inputs="faces", image_size=10**6), "expected 16 to 4096"),
        (lambda d: d["parameters"].update(temperature=1), "does not know: temperature"),
        (lambda d: d["parameters"]["annotator"].update({"class": "os.system"}), "expected one of"),
    ],
)
def test_wrong_entries_are_refused(saved, change, message):
    folder, _ = saved
    edit(folder, change)
    with pytest.raises(ValueError, match=message):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("backbone.0.weight"), r"lacks \['backbone.0.weight'\]"),
        (lambda t: t.update(more=torch.zeros(2)), r"adds \['more'\]"),
        (
            lambda t: t.update({"backbone.0.weight": torch.zeros(3, 128)}),
            r"'backbone.0.weight' has shape \(3, 128\) of F32, expected \(128, 3\)",
        ),
        (
            lambda t: t.update({"classifier.weight": t["classifier.weight"].half()}),
            "of F16, expected .* of F32",
        ),
        (lambda t: t.pop("mean"), "tensor 'mean': got none"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(saved, change, message):
    folder, _ = saved
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    with pytest.raises(ValueError, match=message):
        load_model(folder)


def test_the_tensors_of_another_model_are_refused(saved, feature_problem, tmp_path):
    folder, _ = saved
    adapted(feature_problem, epochs=1, random_state=1).save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", folder)
    with pytest.raises(ValueError, match="belongs to another model"):
        load_model(folder)


def test_the_place_of_a_score_cache_does_not_travel_with_a_model(tmp_path):
    rng = np.random.default_rng(0)
    extractor = AUExtractor(cache=tmp_path / "aus.sqlite", quantile=0.6)
    clf = AdaFERClassifier(au_extractor=extractor, epochs=1, device="cpu", random_state=0)
    clf.fit(rng.normal(size=(20, 3)), np.arange(20) % 2).save(tmp_path / "model")
    loaded = AdaFERClassifier.load(tmp_path / "model")
    assert loaded.au_extractor.get_params() == AUExtractor(quantile=0.6).get_params()
    assert "aus.sqlite" not in (tmp_path / "model" / "model.json").read_text()
