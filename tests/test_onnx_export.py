import json
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from sklearn.exceptions import NotFittedError
from typer.testing import CliRunner

from adafer import (
    AdaFERClassifier,
    AUInputClassifier,
    AUQueryClassifier,
    SourceOnlyClassifier,
    onnx_export,
)
from adafer.cli import app
from adafer.deep.onnx_graph import resize
from adafer.faces import resize_faces
from adafer.rivals import AGRAClassifier, T3AClassifier

SMALL = {"epochs": 1, "batch_size": 32, "device": "cpu", "random_state": 0}


def run(path, samples):
    session = onnxruntime.InferenceSession(str(path))
    [found] = session.run(["probabilities"], {session.get_inputs()[0].name: samples})
    return found


@pytest.fixture(scope="module")
def faces_model(tmp_path_factory):
    """A classifier of small faces, its file, and what the export reported."""
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (24, 24, 24, 3), dtype=np.uint8)
    classifier = SourceOnlyClassifier("convnet", image_size=32, **SMALL)
    classifier.fit(faces, np.array(["joy", "Ärger"])[np.arange(24) % 2])
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    return classifier, path, classifier.export_onnx(path)


# -------------------------------------------------------------------- resizing


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(32, 32, 32), (24, 24, 48), (100, 100, 48), (50, 60, 32), (20, 90, 32), (119, 190, 32)],
)
def test_resizing_is_pillows_to_the_bit(height, width, size):
    faces = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    found = resize(torch.from_numpy(faces).permute(0, 3, 1, 2), size).permute(0, 2, 3, 1)
    np.testing.assert_array_equal(found.numpy(), resize_faces(faces, size))


def test_high_and_very_large_pictures_are_resized_nearly_as_pillow_does():
    rng = np.random.default_rng(0)
    for shape, limit in (((60, 50), 1), ((96, 12), 1), ((400, 400), 5)):
        faces = rng.integers(0, 256, (1, *shape, 3), dtype=np.uint8)
        found = resize(torch.from_numpy(faces).permute(0, 3, 1, 2), 32).permute(0, 2, 3, 1)
        assert np.abs(found.numpy() - resize_faces(faces, 32)).max() <= limit


# -------------------------------------------------------------------- the file


@pytest.mark.parametrize("shape", [(1, 32, 32), (5, 32, 32), (7, 24, 24), (3, 40, 90), (1, 17, 23)])
def test_faces_of_any_number_and_size_give_the_models_probabilities(faces_model, shape):
    classifier, path, _ = faces_model
    faces = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = run(path, faces)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, classifier.predict_proba(faces), atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_the_report_and_the_file_say_what_goes_in_and_out(faces_model):
    classifier, path, report = faces_model
    assert report.input_name == "faces"
    assert report.classes == ["joy", "Ärger"]
    assert report.n_checked > 0
    assert 0 <= report.difference < 1e-5
    model = onnx.load(path)
    assert [opset.version for opset in model.opset_import if opset.domain == ""] == [report.opset]
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(told["adafer.classes"]) == classifier.classes_.tolist()
    assert told["adafer.class"] == "SourceOnlyClassifier"
    [session_input] = onnxruntime.InferenceSession(str(path)).get_inputs()
    assert session_input.type == "tensor(uint8)"
    assert session_input.shape[3] == 3
    assert len({dim for dim in session_input.shape[:3] if isinstance(dim, str)}) == 3


def test_the_file_says_nothing_of_this_machine(faces_model):
    _, path, _ = faces_model
    content = path.read_bytes()
    for place in (str(path.parent), onnx_export.__file__, sys.prefix, ".py"):
        assert place.encode() not in content


def test_features_and_an_adapted_classifier(feature_problem, tmp_path):
    p = feature_problem
    classifier = T3AClassifier(**SMALL).fit(p["X"], p["y"], p["X_tgt"])
    report = classifier.export_onnx(tmp_path / "model.onnx")
    assert (report.input_name, report.input_form) == ("features", "float32 (n, 3)")
    for n in (1, 120):
        X = p["X_tgt"][:n]
        expected = classifier.predict_proba(X)
        np.testing.assert_allclose(run(tmp_path / "model.onnx", X), expected, atol=1e-5)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


def test_exporting_leaves_the_classifier_as_it_was(faces_model):
    classifier, _, _ = faces_model
    layouts = [tensor.stride() for tensor in classifier.network_.parameters()]
    before = {name: tensor.clone() for name, tensor in classifier.network_.state_dict().items()}
    onnx_export._module(classifier)
    assert [tensor.stride() for tensor in classifier.network_.parameters()] == layouts
    for name, tensor in classifier.network_.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_the_command_writes_the_same_model(feature_problem, tmp_path):
    classifier = AdaFERClassifier(**SMALL).fit(feature_problem["X"], feature_problem["y"])
    classifier.save(tmp_path / "model")
    arguments = ["export", tmp_path / "model", "--output", tmp_path / "m.onnx", "--json"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["classes"] == ["anger", "fear", "joy"]
    X = feature_problem["X_tgt"]
    np.testing.assert_allclose(run(tmp_path / "m.onnx", X), classifier.predict_proba(X), atol=1e-5)


def test_the_page_on_saving_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[1] / "docs" / "saving.md").read_text(encoding="utf-8")
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "saving.md", "exec"), names)
    assert {entry.name for entry in tmp_path.iterdir()} == {"model", "model.onnx", "checkpoints"}


# -------------------------------------------------------------------- refusals


def test_what_cannot_be_exported_is_refused_and_nothing_written(feature_problem, tmp_path):
    p = feature_problem
    path = tmp_path / "model.onnx"
    with pytest.raises(NotFittedError):
        AdaFERClassifier().export_onnx(path)
    needs_aus = AUInputClassifier(**SMALL).fit(p["X"], p["y"], au_src=p["au_src"])
    with pytest.raises(ValueError, match="needs action units at predict"):
        needs_aus.export_onnx(path)
    with pytest.raises(ValueError, match="AUQueryClassifier has no network"):
        onnx_export.export_onnx(AUQueryClassifier(), path)
    graph = AGRAClassifier(epochs=1).fit(p["X"], p["y"], p["X_tgt"])
    with pytest.raises(ValueError, match=r"This AGRAClassifier .* cannot be exported"):
        graph.export_onnx(path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_disagrees_with_the_model_is_not_kept(feature_problem, tmp_path, monkeypatch):
    classifier = AdaFERClassifier(**SMALL).fit(feature_problem["X"], feature_problem["y"])
    other = AdaFERClassifier(**SMALL | {"random_state": 1})
    other.fit(feature_problem["X"], feature_problem["y"])
    make = onnx_export._module
    monkeypatch.setattr(onnx_export, "_module", lambda _: make(other))
    with pytest.raises(ValueError, match="gives other probabilities than the model"):
        classifier.export_onnx(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r'pip install "adafer\[onnx\]"'):
        AdaFERClassifier().export_onnx(tmp_path / "model.onnx")
