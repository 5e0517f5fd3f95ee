"""Whatever `save` takes is reported and served."""

from importlib import import_module

import numpy as np
import pytest

from adafer._folders import AUTable
from adafer.aus import LandmarkDetector, landmarks
from adafer.pages import write_report
from adafer.pages.analysis import PictureAnalyst
from adafer.persistence import _CLASSIFIERS, load_model

from .conftest import Page


@pytest.fixture(scope="module")
def au_names():
    return list(LandmarkDetector().au_names)


@pytest.mark.parametrize("name", sorted(_CLASSIFIERS))
def test_each_classifier_is_reported_and_served(
    name, face_problem, au_names, tmp_path, monkeypatch
):
    # the toy pictures show no faces; to search them in all turns would take long
    monkeypatch.setattr(landmarks, "find_face", lambda *_: None)
    p = {key: values[:20] for key, values in face_problem.items()}
    kind = getattr(import_module(_CLASSIFIERS[name]), name)
    wanted = {
        "backbone": "convnet",
        "image_size": 32,
        "epochs": 1,
        "batch_size": 16,
        "random_state": 0,
        "device": "cpu",
    }
    known = kind().get_params(deep=False)
    classifier = kind(**{key: value for key, value in wanted.items() if key in known})

    def scores(au):
        rest = np.full((len(au), len(au_names) - 3), 0.5)
        return AUTable(np.hstack([au, rest + np.linspace(0, 0.1, len(au))[:, None]]), au_names)

    classifier.fit(
        p["X"], p["y"], p["X_tgt"], au_src=scores(p["au_src"]), au_tgt=scores(p["au_tgt"])
    )
    classifier.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")

    page = Page(write_report(loaded, tmp_path / "r.html").read_text(encoding="utf-8"))
    assert name in page.text
    assert f"all{len(p['X'])}" in page.text
    # what goes in as it is must come out as from predict
    found = PictureAnalyst(loaded, None).analyse(p["X"][0], "crop")["faces"][0]
    shares = [row["probability"] for row in found["expressions"]]
    assert found["aus"] is None
    assert shares == pytest.approx(classifier.predict_proba(p["X"][:1])[0].tolist(), abs=1e-6)
