import json

import numpy as np
import pytest
from PIL import Image
from sklearn.exceptions import NotFittedError
from typer.testing import CliRunner

from adafer import AdaFERClassifier, AUGuidedAnnotator, AUQueryClassifier, SourceOnlyClassifier
from adafer.cli import app
from adafer.pages import write_report
from adafer.pages.face_blocks import _interval
from adafer.pages.seen import folder_with_labels
from adafer.persistence import load_model

from .conftest import EVIL, Page


def adafer(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def report(model, faces, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "report.html"
    result = adafer("report", model, "--faces", faces, "--output", output, "--on-error", "skip")
    assert result.exit_code == 0, result.output
    return output.read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_has_all_parts(report):
    page = Page(report)
    for part in (
        "The model",
        "convnet, pictures of 32 x 32 pixels",
        "How often it is right",
        "Labels on faces",
        "Map of the features",
        "What it was fitted on",
        "Action units",
        "Coverage and matches",
        "Training",
        "Parameters",
        "A face that shows an expression need not feel the emotion",
    ):
        assert part in page.text, part
    assert "10 pictures were read, 1 could not be" in page.text
    assert page.tags.count("h1") == 1
    assert all(image["alt"] for image in page.all("img"))
    assert all(svg.get("aria-label") or "aria-hidden" in svg for svg in page.all("svg"))


def test_names_cannot_become_markup(report):
    page = Page(report)
    assert page.tags.count("script") == 1
    assert {"b", "i", "u"}.isdisjoint(page.tags)
    assert EVIL in page.text
    assert "mo<b>del" in page.text
    assert "broken<u>.png" in page.text
    assert any("<i>" in attributes.get("data-tip", "") for attributes in page.all("path"))


def test_the_page_fetches_nothing_and_names_no_folder(report, faces, model):
    page = Page(report)
    policy = page.all("meta")[1]
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"].startswith("default-src 'none'; img-src data:;")
    addresses = [a.get("src") for a in page.all("img")]
    addresses += [a["data-face"] for a in page.all("path") if "data-face" in a]
    assert addresses
    assert all(address.startswith("data:image/") for address in addresses)
    assert "link" not in page.tags
    assert "http://" not in report
    assert "https://" not in report
    assert str(faces.parent) not in report
    assert str(model.parent) not in report


@pytest.fixture
def flat(rendered, tmp_path):
    """Four pictures without labels."""
    (tmp_path / "flat").mkdir()
    for number, face in enumerate(rendered[2][0][::3]):
        Image.fromarray(face).save(tmp_path / "flat" / f"{number}.png")
    return tmp_path / "flat"


def test_without_pictures_no_face_is_in_the_page(model, flat, tmp_path):
    page = write_report(model, tmp_path / "r.html", faces=flat, pictures=False)
    text = page.read_text(encoding="utf-8")
    assert "data:image/jpeg" not in text
    assert "Labels on faces" not in text
    assert "Map of the features" in text


def test_faces_without_labels_are_shown_but_not_scored(model, flat, tmp_path):
    page = Page(write_report(model, tmp_path / "r.html", faces=flat).read_text(encoding="utf-8"))
    assert "nothing can be scored" in page.text
    assert "accuracy" not in page.text
    assert "Labels on faces" in page.text


def test_folders_bear_labels_if_one_is_named_like_a_class(faces, tmp_path):
    paths, labels = folder_with_labels(faces, np.array(["happiness", "surprise"]))
    assert sorted(set(labels.tolist())) == ["happiness", "surprise"]
    assert len(paths) == len(labels) == 11
    assert folder_with_labels(faces, np.array(["yes", "no"]))[1] is None


def test_answers_on_classes_that_the_model_lacks_count_as_wrong(report):
    text = Page(report).text
    assert "The model knows no class surprise; its answers there count as wrong." in text
    assert "0 % of 5" in text


def test_wilson_interval_is_that_of_the_textbook():
    # Newcombe (1998), 81 of 263
    low, high = _interval(81, 263)
    assert low == pytest.approx(0.2553, abs=5e-5)
    assert high == pytest.approx(0.3662, abs=5e-5)


# --------------------------------------------------- what is saved for the report


def test_counts_of_the_fit_are_saved_and_are_those_of_a_plain_loop(feature_problem, tmp_path):
    p = feature_problem
    classifier = AdaFERClassifier(
        recipe="paper",
        annotator=AUGuidedAnnotator(("t-soft",), threshold=0.5),
        epochs=1,
        batch_size=32,
        random_state=0,
        device="cpu",
    )
    au_tgt = p["au_tgt"].copy()
    au_tgt[:7] = np.nan
    classifier.fit(p["X"], p["y"], p["X_tgt"], au_src=p["au_src"], au_tgt=au_tgt)
    classifier.save(tmp_path / "model")
    summary = load_model(tmp_path / "model").fit_summary_
    assert summary == json.loads(json.dumps(classifier.fit_summary_))
    assert summary["source"]["n"] == 150
    assert summary["source"]["per_class"] == [int((p["y"] == c).sum()) for c in classifier.classes_]
    assert summary["target"]["n_without_face"] == 7
    labels = classifier.target_labels_
    given = [int(row.argmax()) if row.sum() else -1 for row in labels]
    assert summary["target"]["per_class"] == [given.count(c) for c in range(3)]
    assert summary["target"]["n_unlabelled"] == given.count(-1) >= 7
    shown = [
        [float(np.mean(p["au_src"][p["y"] == c, a] > 0.5)) for a in range(4)]
        for c in classifier.classes_
    ]
    np.testing.assert_allclose(summary["source"]["au_frequencies"], shown, atol=5e-5)
    counts = classifier.annotation_.match_counts
    assert sum(summary["matches"]["faces"]) == 120
    assert summary["matches"]["faces"][0] == int((counts == 0).sum())
    assert summary["matches"]["matched_by"]["exact"] == int((counts > 0).sum())


def test_an_older_model_without_counts_is_reported_too(model, tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    for path in model.iterdir():
        (old / path.name).write_bytes(path.read_bytes())
    description = json.loads((old / "model.json").read_text(encoding="utf-8"))
    del description["results"]["fit_summary_"], description["description_sha256"]
    (old / "model.json").write_text(json.dumps(description), encoding="utf-8")
    text = write_report(old, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "kept no counts of its data" in text


@pytest.mark.parametrize("kind", [SourceOnlyClassifier, AUQueryClassifier])
def test_other_classifiers_are_reported_too(kind, face_problem, tmp_path):
    p = face_problem
    small = {"backbone": "convnet", "epochs": 1, "image_size": 32}
    classifier = kind(**({} if kind is AUQueryClassifier else small))
    classifier.fit(p["X"], p["y"], p["X_tgt"], au_src=p["au_src"], au_tgt=p["au_tgt"])
    classifier.save(tmp_path / "model")
    page = Page(write_report(tmp_path / "model", tmp_path / "r.html").read_text(encoding="utf-8"))
    assert kind.__name__ in page.text
    assert "adapted to no target" in page.text


# ------------------------------------------------------------------ what is refused


def test_faces_are_refused_for_a_model_of_features(feature_problem, faces, tmp_path):
    p = feature_problem
    classifier = SourceOnlyClassifier(epochs=1, device="cpu").fit(p["X"], p["y"])
    classifier.save(tmp_path / "model")
    result = adafer("report", tmp_path / "model", "--faces", faces, "--output", tmp_path / "r.html")
    assert result.exit_code == 2
    assert "fitted on features" in result.output
    assert not (tmp_path / "r.html").exists()
    assert adafer("report", tmp_path / "model", "--output", tmp_path / "r.html").exit_code == 0


def test_a_broken_picture_stops_unless_it_may_be_skipped(model, faces, tmp_path):
    result = adafer("report", model, "--faces", faces, "--output", tmp_path / "r.html")
    assert result.exit_code == 2
    assert "broken" in result.output
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments_are_named_before_a_page_is_written(tmp_path):
    page = tmp_path / "r.html"
    X, y = np.arange(8.0)[:, None], np.repeat(["joy", "sad"], 4)
    fitted = SourceOnlyClassifier(epochs=0, device="cpu").fit(X, y)
    refused = [
        ({"model": 7}, "'model' parameter of write_report"),
        ({"output": 7.5}, r"output: .*got float"),
        ({"faces": 7.5}, "'faces' parameter"),
        ({"pictures": "small"}, "'pictures' parameter"),
        ({"title": 7}, "'title' parameter"),
        ({"on_error": "ignore"}, "'on_error' parameter"),
        ({"n_jobs": 0}, "'n_jobs' parameter"),
    ]
    for wrong, words in refused:
        with pytest.raises((ValueError, TypeError), match=words):
            write_report(**{"model": fitted, "output": page, **wrong})
    with pytest.raises(NotFittedError):
        write_report(SourceOnlyClassifier(), page)
    assert not page.exists()
    assert write_report(fitted, page).exists()
