import json

import numpy as np
import pytest
from PIL import Image

from adafer import AdaFERClassifier
from adafer import demo as demo_module
from adafer.datasets import load_facs_faces
from adafer.demo import DemoSettings, run_demo

TINY = DemoSettings(image_size=16, source_epochs=1, epochs=1, batch_size=32, max_faces=80)


class TrueUnits:
    """Knows the action units of the rendered faces by heart."""

    def __init__(self):
        faces = load_facs_faces()
        self.known = {image.tobytes(): au for image, au in zip(faces.images, faces.au, strict=True)}

    def score_faces(self, images):
        return np.array([self.known[image.tobytes()] for image in images])

    def fit_scores(self, scores):
        return self


@pytest.fixture(scope="module")
def units():
    return TrueUnits()


@pytest.fixture(scope="module")
def finished(units, tmp_path_factory):
    output = tmp_path_factory.mktemp("demo") / "new" / "folder"
    return output, run_demo(output, settings=TINY, au_extractor=units, device="cpu")


def test_the_result_is_written_as_it_is_returned(finished):
    output, result = finished
    stored = json.loads((output / "result.json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(result))
    assert sorted(path.name for path in output.iterdir()) == ["demo.png", "result.json"]


def test_the_result_tells_all_that_matters(finished):
    _, result = finished
    shares = [name for name in result if name.endswith(("accuracy", "coverage", "share"))]
    assert len(shares) == 8
    assert all(0 <= result[name] <= 1 for name in shares)
    assert result["n_faces"] == {"source": 80, "target": 80, "test": 80}
    assert set(result["recall"]) == {"source_only", "adafer"}
    assert len(result["recall"]["adafer"]) == 7
    assert result["seconds"] >= result["seconds_by_part"]["adapting"] > 0
    assert result["settings"]["image_size"] == 16
    assert result["seed"] == 0
    assert "torch" in result["versions"]


def test_true_units_alone_find_most_expressions(finished):
    _, result = finished
    assert result["au_matching_accuracy"] > 0.6
    assert result["pseudo_label_accuracy"] > 0.6


def test_the_picture_is_a_picture(finished):
    output, _ = finished
    with Image.open(output / "demo.png") as picture:
        picture.load()
        assert picture.width > 1200
        assert picture.height > 600


def test_two_runs_with_one_seed_are_equal(finished, units, tmp_path):
    _, first = finished
    second = run_demo(tmp_path, settings=TINY, au_extractor=units, device="cpu")
    for result in (first, second):
        del result["seconds"], result["seconds_by_part"]
    assert first == second


def test_the_targets_labels_never_reach_fit(units, tmp_path, monkeypatch):
    """With nonsense for the wild labels all predictions stay the same."""
    seen = []
    predict = AdaFERClassifier.predict

    def watched(self, X):
        seen.append(predict(self, X))
        return seen[-1]

    def with_nonsense(**which):
        faces = load_facs_faces(**which)
        if which["domain"] == "wild":
            faces.target = np.roll(faces.target, 3)
        return faces

    monkeypatch.setattr(AdaFERClassifier, "predict", watched)
    run_demo(tmp_path, settings=TINY, au_extractor=units, device="cpu")
    monkeypatch.setattr(demo_module, "load_facs_faces", with_nonsense)
    run_demo(tmp_path, settings=TINY, au_extractor=units, device="cpu")
    assert len(seen) == 4
    np.testing.assert_array_equal(seen[0], seen[2])
    np.testing.assert_array_equal(seen[1], seen[3])


def test_the_table_is_printed(units, tmp_path, capsys):
    run_demo(tmp_path, settings=TINY, au_extractor=units, device="cpu", verbose=1)
    out, err = capsys.readouterr()
    assert "source only" in out
    assert "happiness" in out
    assert str(tmp_path / "demo.png") in out
    assert err.splitlines()[:2] == ["faces ...", "action units ..."]


def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_module, "load_facs_faces", lambda **_: pytest.fail("work was begun"))
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for path in (tmp_path / "file", tmp_path / "file" / "demo"):
        with pytest.raises(NotADirectoryError, match="is a file, expected a folder"):
            run_demo(path)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"output": 7.5}, r"output: .*got float"),
        ({"seed": -1}, "'seed' parameter of run_demo"),
        ({"settings": "quick"}, "'settings' parameter"),
        ({"au_extractor": "landmarks"}, "'au_extractor' parameter"),
        ({"device": "no such"}, "device='no such' is not known"),
        ({"verbose": "much"}, "'verbose' parameter"),
    ],
)
def test_wrong_arguments_are_named_before_anything_is_computed(tmp_path, wrong, words, monkeypatch):
    monkeypatch.setattr(demo_module, "load_facs_faces", lambda **_: pytest.fail("work was begun"))
    with pytest.raises((ValueError, TypeError), match=words):
        run_demo(**{"output": tmp_path / "demo", **wrong})
